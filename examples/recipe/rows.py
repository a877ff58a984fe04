"""Groups as token rows: one prompt, several conversations after it that can't see each other."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from .prompts import Exchange, Group, Quote, answer_text, system_message
from .tokenizer import TURN_END, TURN_START, token_id

ROW = 416
NOWHERE = -1
DECISION_WEIGHT = 3.0  # where an answer starts, what it cites, whether it ends
UNQUOTED_WEIGHT = 0.3  # of small talk and of "Sorry": always the same words, soon learned
READING_SHARE, READING_WEIGHT = (
    0.12,
    0.25,
)  # the prompt's own words, learned as language
ENDS_SENTENCE = re.compile(r"[.!?:]\s*$")


@dataclass
class TokenRow:
    """Token lists of one length; places are indices into the row, NOWHERE where none."""

    ids: list[int] = field(default_factory=list)
    position: list[int] = field(default_factory=list)
    group: list[int] = field(default_factory=list)
    branch: list[int] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)  # of predicting the next token
    copied_from: list[int] = field(default_factory=list)  # where the next token stands
    header: list[int] = field(default_factory=list)  # the [n] above a passage's token
    sentence: list[int] = field(default_factory=list)  # the first token of its sentence
    chosen: list[int] = field(default_factory=list)  # from a question to the end of its sentence

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, ids: list[int], position: int, branch: int) -> int:
        """Append tokens that nothing is asked of; return where they begin."""
        begin, n = len(self.ids), len(ids)
        self.ids += ids
        self.position += range(position, position + n)
        self.group += [0] * n
        self.branch += [branch] * n
        self.weight += [0.0] * n
        for places in (self.copied_from, self.header, self.sentence, self.chosen):
            places += [NOWHERE] * n
        return begin


@dataclass(frozen=True)
class Batch:
    """Rows padded to one length; every tensor is (rows, tokens)."""

    ids: Tensor
    position: Tensor
    group: Tensor
    branch: Tensor
    weight: Tensor
    copied_from: Tensor
    header: Tensor
    sentence: Tensor
    chosen: Tensor

    def to(self, device: str) -> Batch:
        """Return the batch on another device."""
        return Batch(**{name: tensor.to(device) for name, tensor in vars(self).items()})

    def mask(self) -> Tensor:
        """Return the additive attention mask (rows, 1, tokens, tokens)."""
        n, device = self.ids.shape[1], self.ids.device
        same = self.group[:, :, None] == self.group[:, None, :]
        shared = self.branch[:, None, :] == 0
        own = self.branch[:, :, None] == self.branch[:, None, :]
        seen = same & (shared | own) & torch.ones(n, n, dtype=torch.bool, device=device).tril()
        return torch.zeros(seen.shape, device=device).masked_fill_(~seen, -1e9)[:, None]


class RowWriter:
    """Turns groups into token rows."""

    def __init__(self, tokenizer: Tokenizer, rng: random.Random) -> None:
        self.tokenizer, self.rng = tokenizer, rng
        self.start_id, self.end_id = (token_id(tokenizer, t) for t in (TURN_START, TURN_END))
        self.newline = tokenizer.encode("\n").ids

    def write(self, group: Group, room: int = ROW) -> TokenRow | None:
        """Return the row, with as many of the conversations as there is room for."""
        row = TokenRow()
        ends, begins = self._write_system(row, group)
        prompt_end = len(row)
        for branch, talk in enumerate(group.conversations, 1):
            before = len(row)
            trial = self._write_talk(row, group, talk, branch, prompt_end, ends, begins)
            if trial > room:
                _cut(row, before)
                break
        return row if len(row) > prompt_end else None

    def _write_system(self, row: TokenRow, group: Group) -> tuple[dict[int, int], list[int]]:
        """Write the system turn; return which token ends at a character, and where texts begin."""
        text, begins = system_message(group.guidelines, group.passages)
        coded = self.tokenizer.encode(f"system\n{text}")
        shift = len("system\n")
        row.add([self.start_id, *coded.ids, self.end_id, *self.newline], 0, 0)
        ends = {end - shift: place + 1 for place, (_, end) in enumerate(coded.offsets)}
        self.headers = self._trace_passages(row, group, begins, coded.offsets, shift)
        for place in range(len(row) - 2):
            if self.rng.random() < READING_SHARE:
                row.weight[place] = READING_WEIGHT
        return ends, begins

    def _trace_passages(
        self,
        row: TokenRow,
        group: Group,
        begins: list[int],
        offsets: list[tuple[int, int]],
        shift: int,
    ) -> list[int]:
        """Note each passage token's header and first token of its sentence; return the headers."""
        headers = []
        starts = np.array([start - shift for start, _ in offsets])
        for number, passage in enumerate(group.passages):
            path = len(" > ".join(p for p in (passage.title, passage.heading) if p))
            header = int(np.searchsorted(starts, begins[number] - path - 5)) + 1
            headers.append(header)
            first = int(np.searchsorted(starts, begins[number])) + 1
            last = int(np.searchsorted(starts, begins[number] + len(passage.text))) + 1
            sentence = first
            for place in range(first, last):
                row.header[place], row.sentence[place] = header, sentence
                start, end = offsets[place - 1]
                said = passage.text[start - shift - begins[number] : end - shift - begins[number]]
                if ENDS_SENTENCE.search(said):
                    sentence = place + 1
        return headers

    def _write_talk(
        self,
        row: TokenRow,
        group: Group,
        talk: tuple[Exchange, ...],
        branch: int,
        position: int,
        ends: dict[int, int],
        begins: list[int],
    ) -> int:
        for exchange in talk:
            asked = self.tokenizer.encode(f"user\n{exchange.question}").ids
            opening = self.tokenizer.encode("assistant\n").ids
            turn = [
                self.start_id,
                *asked,
                self.end_id,
                *self.newline,
                self.start_id,
                *opening,
            ]
            begin = row.add(turn, position, branch)
            quote = exchange.gold
            chosen = 0 if quote is None else ends.get(begins[quote.passage] + quote.end, NOWHERE)
            for place in range(begin + 4, begin + len(turn)):
                row.chosen[place] = chosen
            position += len(turn)
            position += self._write_answer(row, group, exchange, branch, position, ends, begins)
        return len(row)

    def _write_answer(
        self,
        row: TokenRow,
        group: Group,
        exchange: Exchange,
        branch: int,
        position: int,
        ends: dict[int, int],
        begins: list[int],
    ) -> int:
        """Write the answer; every token in it is to be predicted. Return its length."""
        coded = self.tokenizer.encode(answer_text(exchange, group.passages))
        begin = row.add([*coded.ids, self.end_id, *self.newline], position, branch)
        n = len(coded.ids) + 1
        if exchange.is_past:
            return n + len(self.newline)
        weight = 1.0 if exchange.gold else UNQUOTED_WEIGHT
        row.weight[begin - 1 : begin - 1 + n] = [weight] * n
        row.weight[begin - 1] = DECISION_WEIGHT * weight
        source = _sources(exchange, begins, ends)
        for index, (_, end) in enumerate(coded.offsets):
            row.copied_from[begin - 1 + index] = source.get(end, NOWHERE)
        for end, passage in _citations(exchange, group):
            for index, (_, stop) in enumerate(coded.offsets):
                if stop == end:
                    row.weight[begin - 1 + index] = DECISION_WEIGHT
                    row.copied_from[begin - 1 + index] = self.headers[passage]
        return n + len(self.newline)


def _sources(exchange: Exchange, begins: list[int], ends: dict[int, int]) -> dict[int, int]:
    """Return for each character end in the answer the prompt token that ends there."""
    source: dict[int, int] = {}
    said = 0
    for part in exchange.answer:
        if isinstance(part, str):
            said += len(part)
            continue
        for offset in range(1, part.end - part.start + 1):
            place = ends.get(begins[part.passage] + part.start + offset)
            if place is not None:
                source[said + offset] = place
        said += part.end - part.start
    return source


def _citations(exchange: Exchange, group: Group) -> Iterator[tuple[int, int]]:
    """Yield (end character, passage) of every citation in the answer."""
    said, quoted = 0, 0
    for part in exchange.answer:
        if isinstance(part, Quote):
            quoted = part.passage
            said += part.end - part.start
        else:
            said += len(part)
            if part == f" [{quoted + 1}]":
                yield said, quoted


def _cut(row: TokenRow, length: int) -> None:
    for column in vars(row).values():
        del column[length:]


def pack(rows: list[TokenRow], length: int = ROW) -> list[TokenRow]:
    """Return fewer, fuller rows; groups put into one row don't see each other."""
    packed: list[TokenRow] = []
    for row in sorted(rows, key=len, reverse=True):
        home = next((p for p in packed if len(p) + len(row) <= length), None)
        if home is None:
            packed.append(row)
        else:
            _join(home, row)
    return packed


def _join(home: TokenRow, guest: TokenRow) -> None:
    shift, number = len(home), home.group[-1] + 1
    for name, column in vars(guest).items():
        if name in ("copied_from", "header", "sentence", "chosen"):
            column = [place + shift if place >= 0 else NOWHERE for place in column]
        elif name == "group":
            column = [number] * len(column)
        getattr(home, name).extend(column)


def collate(rows: list[TokenRow], pad_id: int) -> Batch:
    """Return the rows as tensors, padded at the end to the longest."""
    longest = max(len(row) for row in rows)
    blank = {"ids": pad_id, "position": 0, "group": 999, "branch": 0, "weight": 0.0}

    def column(name: str) -> Tensor:
        fill = blank.get(name, NOWHERE)
        kind = torch.float32 if name == "weight" else torch.int64
        lines = [getattr(row, name) + [fill] * (longest - len(row)) for row in rows]
        return torch.tensor(lines, dtype=kind)

    return Batch(**{name: column(name) for name in Batch.__dataclass_fields__})
