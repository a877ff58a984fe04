"""Document → chunks of bounded tokens, along its headings, paragraphs and sentences; pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from langchain_text_splitters import RecursiveCharacterTextSplitter
from markdown_it import MarkdownIt
from markdown_it.token import Token

from retrieval.load import LoadedDocument

CountTokens = Callable[[str], int]

MODEL_TOKENS = 254  # MiniLM reads 256, two of them its own
MAX_CONTEXT_TOKENS = 64  # what title and headings may take of them
MIN_BODY_TOKENS = 16
MAX_HEADING_CHARS = 200  # a longer one is a text that somebody marked as a heading
_MARKDOWN = MarkdownIt("commonmark").enable("table")
_SENTENCE_END = r"(?<=[.!?])[\"')\]]*\s+|(?<=[。！？])"
# The model takes an endless word for a single unknown token; no real text has 8 letters a token.
MAX_LETTERS_PER_TOKEN = 8


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document that is embedded, found and cited as one."""

    position: int  # 0, 1, 2 … within the document
    heading_path: tuple[str, ...]
    body: str
    n_tokens: int  # of the body


@dataclass(frozen=True, slots=True)
class _Block:
    heading_path: tuple[str, ...]
    text: str
    kind: str  # "text", "list" or "table"


def contextual_text(title: str, chunk: Chunk, count_tokens: CountTokens) -> str:
    """
    Return what is embedded and indexed for a chunk: title and headings, then the body.

    A chunk rarely repeats what its headings said ("It costs $5"); with them it is found.
    Over-long headings are dropped from the outside in, so the body always fits the model.
    """
    return f"{_context(title, chunk.heading_path, count_tokens)}\n{chunk.body}".strip()


def split(document: LoadedDocument, count_tokens: CountTokens, max_tokens: int) -> list[Chunk]:
    """
    Split a document into chunks of at most `max_tokens` tokens (16 to 250) each.

    A section never shares a chunk with another. Within one, paragraphs, list items and table
    rows stay whole when they fit, then sentences, then words; a long table's parts each repeat
    its header row.
    """

    def size(text: str) -> int:
        at_least = len(text) // MAX_LETTERS_PER_TOKEN
        # Far too long is long enough to know; counting megabytes at each cut takes minutes.
        return at_least if at_least > MODEL_TOKENS else max(count_tokens(text), at_least)

    chunks: list[Chunk] = []
    blocks = _blocks(document)
    for heading_path, section in itertools.groupby(blocks, key=lambda block: block.heading_path):
        context = _context(document.title, heading_path, count_tokens)
        limit = min(max_tokens, MODEL_TOKENS - count_tokens(context))
        for body in _pack(section, size, max(limit, MIN_BODY_TOKENS)):
            chunks.append(Chunk(len(chunks), heading_path, body, max(1, size(body))))
    return chunks


def _context(title: str, heading_path: tuple[str, ...], count_tokens: CountTokens) -> str:
    parts = [title, *heading_path]
    while len(parts) > 1 and count_tokens(" > ".join(parts)) > MAX_CONTEXT_TOKENS:
        parts.pop(0)
    words = " > ".join(parts).split(" ")
    while len(words) > 1 and count_tokens(" ".join(words)) > MAX_CONTEXT_TOKENS:
        words = words[: len(words) * 3 // 4]
    return " ".join(words)[:1000]


def _blocks(document: LoadedDocument) -> Iterator[_Block]:
    """Yield the top-level blocks in order, each as its own source lines under its headings."""
    lines = document.body_markdown.split("\n")
    headings: dict[int, str] = {}  # by level
    tokens = _MARKDOWN.parse(document.body_markdown)
    for n, token in enumerate(tokens):
        if token.level > 0 or token.map is None:
            continue
        if token.type == "heading_open":
            level = int(token.tag[1])
            headings = {at: text for at, text in headings.items() if at < level}
            headings[level] = _plain_text(tokens[n + 1])
            continue
        path = tuple(text for _, text in sorted(headings.items()) if text)
        if path[:1] == (document.title,):
            path = path[1:]
        text = "\n".join(lines[token.map[0] : token.map[1]]).strip("\n").rstrip()
        if text.strip():
            yield _Block(path, text, _kind(token))


def _kind(token: Token) -> str:
    if token.type == "table_open":
        return "table"
    return "list" if token.type in ("bullet_list_open", "ordered_list_open") else "text"


def _plain_text(inline: Token) -> str:
    text = "".join(
        child.content if child.type in ("text", "code_inline") else " "
        for child in inline.children or []
        if child.type in ("text", "code_inline", "softbreak", "hardbreak")
    )
    return " ".join(text.split())[:MAX_HEADING_CHARS]


def _pack(blocks: Iterator[_Block], count_tokens: CountTokens, limit: int) -> Iterator[str]:
    """Fill chunks with whole blocks in order; a block that is too long alone is cut finer."""
    filled = ""
    for block in blocks:
        joined = f"{filled}\n\n{block.text}" if filled else block.text
        if count_tokens(joined) <= limit:
            filled = joined
            continue
        if filled:
            yield filled
        *full, filled = _cut(block, count_tokens, limit)
        yield from full
    if filled:
        yield filled


def _cut(block: _Block, count_tokens: CountTokens, limit: int) -> list[str]:
    if count_tokens(block.text) <= limit:
        return [block.text]
    if block.kind == "table":
        return _cut_table(block.text, count_tokens, limit)
    units = _list_items(block.text) if block.kind == "list" else [block.text]
    parts: list[str] = []
    for unit in units:
        joined = f"{parts[-1]}\n{unit}" if parts else unit
        if parts and count_tokens(joined) <= limit:
            parts[-1] = joined
        else:
            parts += _cut_text(unit, count_tokens, limit)
    return parts


def _cut_table(text: str, count_tokens: CountTokens, limit: int) -> list[str]:
    """Repeat the header row over each part; a row too long with it goes without it."""
    header, rows = "\n".join(text.split("\n")[:2]), text.split("\n")[2:]
    parts: list[str] = []
    for row in rows:
        if parts and count_tokens(f"{parts[-1]}\n{row}") <= limit:
            parts[-1] += f"\n{row}"
        elif count_tokens(f"{header}\n{row}") <= limit:
            parts.append(f"{header}\n{row}")
        else:
            parts += _cut_text(row, count_tokens, limit)
    return parts or _cut_text(header, count_tokens, limit)


def _list_items(text: str) -> list[str]:
    """Split a list at its outermost items; what is indented stays with its item."""
    items: list[str] = []
    for line in text.split("\n"):
        if items and (not line.strip() or line[0] in " \t" or not _starts_item(line)):
            items[-1] += f"\n{line}"
        else:
            items.append(line)
    return [item.rstrip() for item in items]


def _starts_item(line: str) -> bool:
    return re.match(r"([-*+]|\d{1,9}[.)])(\s|$)", line) is not None


def _cut_text(text: str, count_tokens: CountTokens, limit: int) -> list[str]:
    """Cut at paragraphs, else sentences, lines, clauses, words, letters: the coarsest that fits."""
    splitter = RecursiveCharacterTextSplitter(
        separators=[r"\n\n", _SENTENCE_END, r"\n", r"(?<=[;,:])\s+", r"\s+"],
        is_separator_regex=True,
        keep_separator="end",
        chunk_size=limit,
        chunk_overlap=0,
        length_function=count_tokens,
    )
    parts = [part for part in splitter.split_text(text) if part.strip()] or [text]
    return [piece for part in parts for piece in _halve(part, count_tokens, limit)]


def _halve(text: str, count_tokens: CountTokens, limit: int) -> list[str]:
    """Cut a word that is longer than a chunk."""
    if count_tokens(text) <= limit or len(text) == 1:
        return [text]
    middle = len(text) // 2
    halves = (text[:middle].rstrip(), text[middle:].lstrip())
    return [piece for half in halves if half for piece in _halve(half, count_tokens, limit)]
