"""One frozen Settings: the only reader of the environment (RATCHET_… and .env)."""

from __future__ import annotations

import os
import secrets
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, computed_field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent  # the checkout, or where the wheel is installed
# A checkout keeps its state in itself; what is installed keeps it where every folder finds it.
HOME = (ROOT if (ROOT / "pyproject.toml").is_file() else Path.home()) / ".ratchet"
BROKER_PREFIX = "ratchet:"  # before every key: a Redis may be shared
DEMO_MODEL = ROOT / "examples" / "model"
CHUNK_TOKENS = 120  # of a passage at most; more than the embedder reads helps nobody
NOTHING_FOUND = "Sorry, I couldn't find that in our help articles."


class Settings(BaseSettings):
    """Everything that can be set from outside; each name is RATCHET_<NAME> in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="RATCHET_", env_file=".env", extra="ignore", frozen=True
    )

    home: Path = HOME  # all state of a local stack; 0700
    # Postgres; empty means the embedded server under `home`.
    database_url: str = ""
    # Redis or RabbitMQ; empty means the bundled Redis on a unix socket under `home`.
    broker_url: str = ""

    # The base model: a folder, or a hub name where a hub can be reached.
    model: str = str(DEMO_MODEL)
    # http://host:port, or unix:/path/of/a/socket; empty means the local stack's own socket.
    # Several with commas: every one gets what is live, and the first one answers and is gated on.
    vllm_url: str = ""
    vllm_port: int = 8001  # of a server's vLLM; the local one listens on no port
    vllm_api_key: str = ""  # empty means: of the local one, made at first start
    max_model_len: int = 2048  # tokens, prompt and answer together
    max_answer_tokens: int = 160
    temperature: float = 0.2
    max_lora_rank: int = 16
    max_loras: int = 4

    web_host: str = "127.0.0.1"
    web_port: int = 7860
    # Proxies whose X-Forwarded-For and -Proto are believed: addresses or networks, with commas.
    trusted_proxies: str = ""
    # Names by which the page is reached, with commas; empty means localhost's when it listens
    # there and no proxy is trusted, and any otherwise.
    hosts: str = ""
    # Other sites whose pages may call the chat, like https://shop.example.com, with commas.
    allowed_origins: str = ""
    metrics_token: str = ""  # who shows it as a bearer token reads /metrics; empty means nobody
    max_connections: int = Field(default=1000, ge=10)  # at once, streams included
    max_connections_per_address: int = Field(default=200, ge=4)

    # How often one visitor, and one address, may do a thing: as the `limits` package reads it.
    limit_questions: str = "20/minute;300/hour"
    limit_questions_per_address: str = "120/minute;2000/hour"
    limit_thumbs: str = "60/minute;600/hour"
    limit_thumbs_per_address: str = "300/minute;3000/hour"
    limit_corrections: str = "10/minute;30/hour"
    limit_corrections_per_address: str = "30/minute;200/hour"
    limit_sign_ins_per_address: str = "60/minute"
    limit_requests_per_address: str = "1200/minute"
    limit_calls: str = "120/minute"  # of the chat page's functions: clicks, in the main
    limit_calls_per_address: str = "900/minute"
    # Answers written at once; those that wait beyond are told to come again.
    max_answers: int = Field(default=16, ge=1)
    max_answers_waiting: int = Field(default=32, ge=0)
    max_answers_per_visitor: int = Field(default=2, ge=1)
    max_answers_per_address: int = Field(default=8, ge=1)
    admin_password: str = ""  # empty means: made at first start, kept in home/admin-password
    session_secret: str = ""  # empty means: made at first start, kept in home/session-secret

    company: Path = ROOT / "examples" / "company"  # articles, guidelines.md, golden.jsonl …

    embedding_model: str = ""  # empty means the packaged MiniLM
    chunk_tokens: int = Field(default=CHUNK_TOKENS, ge=16, le=250)
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
    # Of customers' corrections that an admin approved, the newest so many train.
    max_pairs_per_rater: int = 50
    max_pairs_per_address: int = 200
    # A training that needs more ends with that reason; on a GPU only the GPU's memory bounds it.
    train_memory_gib: float = Field(default=8.0, gt=0)
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

    @property
    def vllm_urls(self) -> tuple[str, ...]:
        """Every model server, without a trailing slash: `http://…` or `unix:/path`."""
        given = tuple(url.strip().rstrip("/") for url in self.vllm_url.split(",") if url.strip())
        return given or (f"unix:{self.home / 'vllm' / 'vllm.sock'}",)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def vllm_base_url(self) -> str:
        """The model server that answers: the first one."""
        return self.vllm_urls[0]

    @property
    def vllm_key(self) -> str:
        """The key that vLLM asks for; of the local one it is made like the other secrets."""
        return self.vllm_api_key if self.vllm_url else self.secret("vllm-api-key")

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
