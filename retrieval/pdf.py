"""PDF → Markdown: pypdf reads the text, larger type makes headings, wrapped lines are joined."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from pypdf import PdfReader
from pypdf.errors import DependencyError, FileNotDecryptedError

from core.errors import DocumentError

MAX_PAGES = 2000
HEADING_RATIO = 1.15  # a line set this much larger than the running text is a heading
_LIST_ITEM = re.compile(r"^([-*•–]|\d{1,2}[.)])\s+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(slots=True)
class _Line:
    text: str = ""
    size: float = 0.0


def pdf_markdown(raw: bytes) -> tuple[str, str]:
    """
    Return (title, Markdown body) of a PDF.

    Raises:
        DocumentError: It is encrypted, damaged, has no text layer or over 2000 pages.
    """
    try:
        lines = _read_lines(raw)
    except (FileNotDecryptedError, DependencyError) as exc:
        raise DocumentError("is encrypted; save it without a password") from exc
    except DocumentError:
        raise
    except Exception as exc:  # pypdf raises anything on damaged files
        raise DocumentError(f"is damaged or isn't a PDF ({type(exc).__name__})") from exc
    if not lines:
        raise DocumentError("holds no text; a scanned PDF needs text recognition first")
    return "", _markdown(lines)


def _read_lines(raw: bytes) -> list[_Line]:
    reader = PdfReader(io.BytesIO(raw))
    if reader.is_encrypted and not reader.decrypt(""):
        raise FileNotDecryptedError
    if len(reader.pages) > MAX_PAGES:
        raise DocumentError(f"has {len(reader.pages)} pages; at most {MAX_PAGES} go in")
    lines = [_Line()]

    def visit(text: str, _cm: Any, tm: Any, _font: Any, size: float) -> None:
        # `text` may hold several lines, or a piece of one; the matrix scales the font
        for n, piece in enumerate(text.split("\n")):
            if n:
                lines.append(_Line())
            lines[-1].text += _CONTROL.sub("", piece)
            if piece.strip():
                lines[-1].size = max(lines[-1].size, round(size * (abs(tm[3]) or 1.0), 1))

    for page in reader.pages:
        page.extract_text(visitor_text=visit)
        lines.append(_Line())
    return [line for line in lines if line.text.strip()]


def _markdown(lines: list[_Line]) -> str:
    letters_by_size: Counter[float] = Counter()
    for line in lines:
        letters_by_size[line.size] += len(line.text)
    text_size = letters_by_size.most_common(1)[0][0]
    heading_sizes = sorted(
        {line.size for line in lines if line.size > HEADING_RATIO * text_size}, reverse=True
    )
    width = max(len(line.text) for line in lines if line.size not in heading_sizes)
    blocks: list[str] = []
    previous = ""  # the running-text line before this one, "" after a heading
    for line in lines:
        text = " ".join(line.text.split())
        if line.size in heading_sizes:
            level = min(heading_sizes.index(line.size) + 1, 6)
            blocks.append(f"{'#' * level} {text}")
            previous = ""
        else:
            _append_text(blocks, text, previous, width)
            previous = text
    return "\n\n".join(blocks)


def _append_text(blocks: list[str], text: str, previous: str, width: int) -> None:
    """Join a wrapped line to the one before; start anew at list items and after short ends."""
    if _LIST_ITEM.match(text) and previous:
        blocks[-1] += "\n" + text
    elif not previous or (previous[-1] in ".!?:" and len(previous) < 0.8 * width):
        blocks.append(text)
    else:
        blocks[-1] += " " + text
