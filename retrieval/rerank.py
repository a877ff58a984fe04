"""Found passages in a better order: the question's words are matched with their tokens."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.types import Passage
from retrieval.embed import Embedder, TokenVectors

N_RERANKED = 8  # the best of the fused order; more gained nothing on three of four sets
BATCH_PASSAGES = 4  # read by the model between two looks at the clock
MAX_REMEMBERED = 2_000  # passages' token vectors, about 40 kB each


class LateInteraction:
    """
    Rank passages by late interaction (ColBERT, Khattab and Zaharia 2020) with the packaged model.

    A passage's score is the mean, over the words of the question weighted by their rarity, of
    the cosine to the token most like it. What was read once is remembered, so a small help
    centre is soon ranked without the model.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._remembered: OrderedDict[str, NDArray[np.float16]] = OrderedDict()
        self._lock = threading.Lock()

    def rerank(
        self,
        question: TokenVectors,
        rarity: Mapping[str, float],
        passages: Sequence[Passage],
        *,
        budget_ms: float,
    ) -> tuple[list[Passage], list[float]]:
        """
        Score the first passages and return all of them, best first, with those scores.

        As many of the first eight as can be read within `budget_ms` are scored, in [-1, 1],
        and lead; all others keep their order behind them.
        """
        deadline_s = time.monotonic() + budget_ms / 1000
        weights_T = np.array([rarity.get(word, 0.0) if word else 0.0 for word in question.words])
        if not weights_T.any():
            return list(passages), []
        weights_T = weights_T / weights_T.sum()
        tokens_TD = question.tokens.astype(np.float32)
        read = self._read(passages[:N_RERANKED], deadline_s)
        scores = [float(weights_T @ (tokens_TD @ seen.T).max(axis=1)) for seen in read]
        order = sorted(range(len(read)), key=lambda place: -scores[place])
        ranked = [passages[place] for place in order] + list(passages[len(read) :])
        return (
            [replace(passage, rank=rank) for rank, passage in enumerate(ranked, start=1)],
            [scores[place] for place in order],
        )

    def _read(self, passages: Sequence[Passage], deadline_s: float) -> list[NDArray[np.float32]]:
        """Return the token vectors of as many of the first passages as there is time for."""
        texts = [_text(passage) for passage in passages]
        read: list[NDArray[np.float32]] = []
        for start in range(0, len(texts), BATCH_PASSAGES):
            batch = texts[start : start + BATCH_PASSAGES]
            if start and time.monotonic() > deadline_s and not self._knows(batch):
                break
            read += [tokens_TD.astype(np.float32) for tokens_TD in self._recall(batch)]
        return read

    def _knows(self, texts: Sequence[str]) -> bool:
        with self._lock:
            return all(text in self._remembered for text in texts)

    def _recall(self, texts: Sequence[str]) -> list[NDArray[np.float16]]:
        with self._lock:
            known = {text: self._remembered.get(text) for text in texts}
        new = [text for text, tokens_TD in known.items() if tokens_TD is None]
        found = {text: known_TD for text, known_TD in known.items() if known_TD is not None}
        for text, seen in zip(new, self._embedder.token_vectors(new), strict=True):
            found[text] = seen.tokens
        with self._lock:
            for text, tokens_TD in found.items():
                self._remembered[text] = tokens_TD
                self._remembered.move_to_end(text)
            while len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return [found[text] for text in texts]


def _text(passage: Passage) -> str:
    """Return what was embedded of a passage: title and headings, then the body."""
    return f"{passage.place}\n{passage.body}"


_ONE_EACH: WeakKeyDictionary[Embedder, LateInteraction] = WeakKeyDictionary()
_MAKING = threading.Lock()


def get_reranker(embedder: Embedder) -> LateInteraction:
    """Return the process's reranker for this embedder."""
    with _MAKING:
        return _ONE_EACH.setdefault(embedder, LateInteraction(embedder))
