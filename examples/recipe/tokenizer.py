"""The demo model's tokenizer: byte-level BPE, ChatML, numbers in pairs of digits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

N_TOKENS = 6144
END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END)

# A citation is one token, so a small model can't break it; digits come in pairs, so that
# a price or a time is copied in few steps; each mark and line end stands alone, so that a
# sentence is the same tokens wherever it stands.
SPLIT = (
    r" ?\[\d\]|'(?:s|t|re|ve|m|ll|d)| ?\p{N}{1,2}| ?\p{L}+"
    r"| ?[^\s\p{L}\p{N}]|\s*[\r\n]|\s+(?!\S)|\s+"
)

# Every message is rendered by itself, so a longer conversation starts with the shorter one.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Return a tokenizer of N_TOKENS tokens; any text round-trips through it unchanged."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=N_TOKENS,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_with_numbers(texts), trainer)
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """Return the id of a token that must exist."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise KeyError(f"the tokenizer has no token {token!r}")
    return int(found)


def token_words(tokenizer: Tokenizer) -> list[str]:
    """Return words that between them hold every token of letters: whole, or at a word's end."""
    plain = [t for t in sorted(tokenizer.get_vocab()) if t.strip("Ġ").isascii()]
    whole = [t[1:] for t in plain if t.startswith("Ġ") and t[1:].isalpha() and len(t) > 3]
    ends = [t for t in plain if t.isalpha() and "Ġ" not in t]
    return whole + [whole[n % len(whole)] + end for n, end in enumerate(ends)]


def save_tokenizer(tokenizer: Tokenizer, folder: Path, max_tokens: int) -> None:
    """Write tokenizer.json and tokenizer_config.json as transformers and vLLM read them."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max_tokens,
        "bos_token": None,
        "eos_token": TURN_END,
        "pad_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text)


def _with_numbers(texts: Iterable[str]) -> Iterable[str]:
    """Add every digit pair and citation often enough that each becomes one token."""
    yield from texts
    pairs = " ".join(f"{n:02d} £{n:02d} {n % 10} £{n % 10}" for n in range(100))
    yield from [pairs] * 2000
    yield from ["\n".join(f"[{n}] a [{n}]" for n in range(1, 10))] * 2000
