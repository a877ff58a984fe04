"""The values that travel between rooms: frozen, named in the field's own terms."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypedDict
from uuid import UUID

HELP = "help"  # the collection of articles that the chat searches
EVERYONE = "everyone"  # the audience of what all may read


class Message(TypedDict):
    """One chat message exactly as it is sent to the model."""

    role: Literal["system", "user", "assistant"]
    content: str


class Rating(StrEnum):
    """A thumb; CLEARED is a thumb taken back."""

    UP = "up"
    DOWN = "down"
    CLEARED = "cleared"


class Reason(StrEnum):
    """Why an answer was disliked, as the customer ticks it."""

    INCORRECT = "incorrect"
    INCOMPLETE = "incomplete"
    NOT_GROUNDED = "not_grounded"
    OUTDATED = "outdated"
    TONE = "tone"
    TOO_LONG = "too_long"
    NOT_MY_QUESTION = "not_my_question"


class TurnStatus(StrEnum):
    """Where one answer stands; only STREAMING may still change."""

    STREAMING = "streaming"
    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"


class Verdict(StrEnum):
    """What an admin found to be at fault in an answer."""

    ANSWER_FINE = "answer_fine"
    KNOWLEDGE_GAP = "knowledge_gap"
    STALE_ARTICLE = "stale_article"
    RETRIEVAL_MISS = "retrieval_miss"
    UNGROUNDED = "ungrounded"
    TONE_OR_POLICY = "tone_or_policy"
    SHOULD_HAND_OFF = "should_hand_off"


class CorrectionStatus(StrEnum):
    """PROPOSED by a customer, APPROVED or REJECTED by an admin."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    REJECTED = "rejected"


class RunState(StrEnum):
    """The life of a training run; the last four are final."""

    QUEUED = "queued"
    FREEZING = "freezing"
    FITTING = "fitting"
    GATING = "gating"
    DEPLOYING = "deploying"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the run can no longer change."""
        return self in (self.PROMOTED, self.REJECTED, self.FAILED, self.CANCELLED)


class DeploymentKind(StrEnum):
    """How an adapter became the live one."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"


class DeploymentState(StrEnum):
    """Whether a deployment serves: PENDING until every model server has it; at most one is LIVE."""

    PENDING = "pending"
    LIVE = "live"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class ServerState(StrEnum):
    """How far one model server is with a deployment."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Passage:
    """One chunk as the model saw it; `rank` counts from 1 and is its citation number."""

    rank: int
    chunk_id: int | None
    document_id: UUID | None
    uri: str
    title: str
    heading: str  # "Returns > How long", empty when the chunk stands under the title
    body: str
    score: float  # fused score of the search, higher is better
    similarity: float  # cosine in [-1, 1] to the query; the "nothing relevant" test reads it
    dense_rank: int | None
    text_rank: int | None
    position: int | None = None  # of the chunk in its document, where it is known

    @property
    def place(self) -> str:
        """Where it stands, as prompts and pages name it: "Returns > Online > How long"."""
        return " > ".join(part for part in (self.title, self.heading) if part)


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer."""

    id: UUID
    conversation_id: UUID
    position: int  # 0, 1, 2 … within the conversation
    question: str
    answer: str
    status: TurnStatus
    adapter: str | None  # None: the base model answered
    base_model: str
    prompt_version: str
    retrieval_ms: float | None
    first_token_ms: float | None
    total_ms: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    created_at: datetime
    superseded_at: datetime | None  # set when regenerated or edited away
    # Exactly what the model saw. Empty in `load_turns`: a prompt is far longer than its answer.
    messages: list[Message] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A customer's thread of turns."""

    id: UUID
    owner_id: UUID
    title: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Feedback:
    """One thumb as stored; rows are only ever appended."""

    id: UUID
    turn_id: UUID
    rater_id: UUID
    rating: Rating
    reasons: list[str]
    comment: str
    rated_at: datetime


@dataclass(frozen=True, slots=True)
class Correction:
    """What an answer should have said, and who says so."""

    id: UUID
    turn_id: UUID
    author_id: UUID
    by_admin: bool
    body: str
    status: CorrectionStatus
    created_at: datetime
    origin: str = ""  # a keyed hash of the address it came from; empty where that is unknown


@dataclass(frozen=True, slots=True)
class Review:
    """What an admin found to be at fault in an answer."""

    id: UUID
    turn_id: UUID
    reviewer_id: UUID
    verdict: Verdict
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """What was, or is being, learned, with where its job stands; the ids are the same."""

    id: UUID
    state: RunState
    trigger: str  # "command" | "button" | "beat" | "threshold"
    attempt: int  # 1 … max_attempts; 0: no worker took it yet
    progress: dict[str, Any]  # {"step", "total_steps", "loss", "margin"} or {"message"}
    dataset_id: UUID | None
    adapter_name: str | None
    reasons: list[str]  # why it was rejected
    error: str  # why its last attempt did not end well
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One logged optimiser step of a run."""

    step: int
    loss: float
    margin: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Adapter:
    """A trained LoRA on disk, named once and never overwritten."""

    id: UUID
    name: str  # "support-v0007"
    version: int
    run_id: UUID | None
    path: str  # absolute directory that vLLM reads
    sha256: str  # over the sorted files' hashes
    base_model: str
    rank: int
    created_at: datetime
    base_sha256: str | None = None  # None: registered before hashes were stored


@dataclass(frozen=True, slots=True)
class GateReport:
    """Whether a candidate may replace the live adapter, and why not if not."""

    passed: bool
    reasons: list[str]
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One row of the deployment log: what should serve, why, and what became of it."""

    id: int
    adapter_name: str | None  # None: the base model
    kind: DeploymentKind
    actor: str
    reason: str
    created_at: datetime
    state: DeploymentState
    share: float  # of the conversations, in (0, 1]
    was_compared: bool
    baseline: str | None  # what the gate compared it with; None: the base model, or nothing
    base_model: str  # which it is for
    base_sha256: str
    hold: bool  # no run puts anything live until a person promotes
    failure: str  # why it never went live
    ready_at: datetime | None  # when it went live


@dataclass(frozen=True, slots=True)
class Serving:
    """What answers now."""

    adapter: str | None  # None: the base model
    resting: str | None = None  # live by its row, and trained on another base model
    why: str = ""  # it rests; a whole line
    since: datetime | None = None  # None: nothing was ever deployed
