"""What the desk calls things: plain labels for verdicts, reasons, states and triggers."""

from __future__ import annotations

from core.types import (
    CorrectionStatus,
    Deployment,
    DeploymentKind,
    DeploymentState,
    Reason,
    RunState,
    Verdict,
)

VERDICTS: dict[Verdict, str] = {
    Verdict.ANSWER_FINE: "The answer is fine",
    Verdict.KNOWLEDGE_GAP: "No article covers this",
    Verdict.STALE_ARTICLE: "The article is out of date",
    Verdict.RETRIEVAL_MISS: "The right article was not found",
    Verdict.UNGROUNDED: "It says what no passage says",
    Verdict.TONE_OR_POLICY: "Tone or policy",
    Verdict.SHOULD_HAND_OFF: "A person should have answered",
}

REASONS: dict[str, str] = {
    Reason.INCORRECT: "Incorrect",
    Reason.INCOMPLETE: "Incomplete",
    Reason.NOT_GROUNDED: "Not in the articles",
    Reason.OUTDATED: "Out of date",
    Reason.TONE: "Tone",
    Reason.TOO_LONG: "Too long",
    Reason.NOT_MY_QUESTION: "Not what I asked",
}

CORRECTION_STATES: dict[CorrectionStatus, tuple[str, str]] = {
    CorrectionStatus.PROPOSED: ("Waiting for you", "busy"),
    CorrectionStatus.APPROVED: ("Approved", "good"),
    CorrectionStatus.REJECTED: ("Rejected", "bad"),
}

RUN_STATES: dict[RunState, tuple[str, str]] = {
    RunState.QUEUED: ("Waiting for the trainer", "busy"),
    RunState.FREEZING: ("Collecting examples", "busy"),
    RunState.FITTING: ("Training", "busy"),
    RunState.GATING: ("Comparing with the live model", "busy"),
    RunState.DEPLOYING: ("Going live", "busy"),
    RunState.PROMOTED: ("Promoted", "good"),
    RunState.REJECTED: ("Rejected", "bad"),
    RunState.FAILED: ("Failed", "bad"),
    RunState.CANCELLED: ("Cancelled", "bad"),
}

JOB_STATES: dict[str, tuple[str, str]] = {
    "queued": ("Waiting for the worker", "busy"),
    "running": ("At work", "busy"),
    "done": ("Done", "good"),
    "failed": ("Failed", "bad"),
    "cancelled": ("Cancelled", "bad"),
}

INGEST_COUNTS: dict[str, str] = {
    "added": "new",
    "changed": "changed",
    "unchanged": "unchanged",
    "removed": "removed",
    "skipped": "of a kind that can’t be read",
}

LEGS: dict[str, str] = {
    "dense": "By meaning",
    "text": "By words",
    "fused": "Both fused",
    "reranked": "Fused, reranked",
}

METRICS: dict[str, str] = {
    "recall@1": "Right article first",
    "recall@3": "… in the first 3",
    "recall@5": "… in the first 5",
    "recall@10": "… in the first 10",
    "ndcg@10": "nDCG@10",
    "mrr": "MRR",
}

SHORT_METRICS: dict[str, str] = {
    "recall@1": "First",
    "recall@5": "In 5",
    "ndcg@10": "nDCG@10",
    "mrr": "MRR",
}

ATTEMPT_OUTCOMES: dict[str, str] = {
    "done": "Carried out",
    "failed": "Failed",
    "retried": "Broke off; tried again",
    "cancelled": "Cancelled",
    "lost": "Its worker vanished",
}

TAINTED = "learned from ejected feedback"  # an adapter that does not go live again

TRIGGERS: dict[str, str] = {
    "button": "this page",
    "command": "the command line",
    "beat": "the clock",
    "threshold": "enough newly approved corrections",
}

DEPLOYMENT_KINDS: dict[DeploymentKind, str] = {
    DeploymentKind.PROMOTE: "Went live",
    DeploymentKind.ROLLBACK: "Rolled back to",
}


def deployment_label(deployment: Deployment) -> str:
    """Return what became of a deployment, to stand before the name of its model."""
    if deployment.state is DeploymentState.PENDING:
        return "Waits for the model server:"
    if deployment.ready_at is None:
        is_failed = deployment.state is DeploymentState.FAILED
        return "Did not go live:" if is_failed else "Overtaken by another:"
    return DEPLOYMENT_KINDS[deployment.kind]


def model_name(adapter: str | None) -> str:
    """Return how the desk names what answers: the adapter, or the base model."""
    return adapter or "the base model"
