"""One frozen Settings: the only reader of the environment (RATCHET_… and .env)."""

from __future__ import annotations

import os
import secrets
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, computed_field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent
BROKER_PREFIX = "ratchet:"  # before every key: a Redis may be shared
DEMO_MODEL = ROOT / "examples" / "model"
NOTHING_FOUND = "Sorry, I couldn't find that in our help articles."


class Settings(BaseSettings):
    """Everything that can be set from outside; each name is RATCHET_<NAME> in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="RATCHET_", env_file=".env", extra="ignore", frozen=True
    )

    home: Path = ROOT / ".ratchet"  # all state of a local stack; 0700
    # Postgres; empty means the embedded server under `home`.
    database_url: str = ""
    # Redis or RabbitMQ; empty means the bundled Redis on a unix socket under `home`.
    broker_url: str = ""

    # The base model: a folder, or a hub name where a hub can be reached.
    model: str = str(DEMO_MODEL)
    vllm_url: str = ""  # empty means http://127.0.0.1:<vllm_port>
    vllm_port: int = 8001
    vllm_api_key: str = ""
    max_model_len: int = 2048  # tokens, prompt and answer together
    max_answer_tokens: int = 160
    temperature: float = 0.2
    max_lora_rank: int = 16
    max_loras: int = 4

    web_host: str = "127.0.0.1"
    web_port: int = 7860
    admin_password: str = ""  # empty means: made at first start, kept in home/admin-password
    session_secret: str = ""  # empty means: made at first start, kept in home/session-secret

    company: Path = ROOT / "examples" / "company"  # articles, guidelines.md, golden.jsonl …

    embedding_model: str = ""  # empty means the packaged MiniLM
    chunk_tokens: int = Field(default=120, ge=16, le=250)
    # None means 1 for the demo model, which confuses several, and 4 for any other.
    passages_in_prompt: int | None = Field(default=None, ge=1, le=20)
    audience: str = "everyone"  # whom this chat serves; what is for everyone is for them too
    rerank_ms: float = Field(default=80.0, ge=0)  # time to read the best passages again; 0 = never
    # Below this the best passage counts as nothing relevant: the mean of its cosine and its
    # rerank score, or its cosine alone where nothing was reranked.
    min_relevance: float = 0.43
    min_similarity: float = 0.35

    adapters_dir: Path | None = None  # None means home/adapters; a shared volume on servers
    retrain_every_hours: float = 24.0
    retrain_min_new_pairs: int = 50
    max_pairs_per_rater: int = 50
    max_attempts: int = 3
    lease_s: int = 30

    @field_validator("home", "company", "adapters_dir")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        # The stack's programs run in another folder than the command that starts them.
        return path.expanduser().resolve() if path else None

    @field_validator("model")
    @classmethod
    def _absolute_model(cls, model: str) -> str:
        folder = Path(model).expanduser()
        return str(folder.resolve()) if folder.is_dir() else model

    @computed_field  # type: ignore[prop-decorator]
    @property
    def dsn(self) -> str:
        """The libpq connection string of the product's database."""
        if self.database_url:
            return self.database_url
        return f"host={self.home / 'postgres'} dbname=ratchet user=postgres"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def broker(self) -> str:
        """The Celery broker URL."""
        return self.broker_url or f"redis+socket://{self.home / 'redis' / 'redis.sock'}"

    @computed_field  # type: ignore[prop-decorator]
    @property
    def vllm_base_url(self) -> str:
        """Where vLLM answers, without a trailing slash."""
        return (self.vllm_url or f"http://127.0.0.1:{self.vllm_port}").rstrip("/")

    @property
    def n_passages(self) -> int:
        """How many passages the model is given at most."""
        if self.passages_in_prompt is not None:
            return self.passages_in_prompt
        return 1 if Path(self.model).resolve() == DEMO_MODEL else 4

    @property
    def adapters(self) -> Path:
        """The folder with one immutable sub-folder per adapter."""
        return self.adapters_dir or self.home / "adapters"

    @property
    def datasets(self) -> Path:
        """The folder with one frozen sub-folder per dataset."""
        return self.home / "datasets"

    def secret(self, name: str) -> str:
        """
        Return the setting `name` if given, else the 0600 file home/<name>, made on first use.

        Two first users at once agree: the file is linked into place whole, and the loser
        reads the winner's.
        """
        given: Any = getattr(self, name.replace("-", "_"))
        return str(given) if given else _secret_file(self.home / name)


def _secret_file(path: Path) -> str:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(16))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # somebody else was first; theirs is the secret
        finally:
            draft.unlink()
    return path.read_text().strip()


@cache
def get_settings() -> Settings:
    """Return the process's settings, read once."""
    return Settings()
