"""Bytes of each kind of file → title and Markdown body; runs in the process of `parser_main`."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import mammoth
import trafilatura
from trafilatura.metadata import extract_metadata
from trafilatura.settings import use_config

from core.errors import DocumentError
from retrieval.load import MAX_TITLE_CHARS, MEDIA_TYPES, LoadedDocument, storable_text
from retrieval.pdf import pdf_markdown

MAX_UNPACKED_BYTES = 200 * 2**20  # a DOCX is a zip; one that unpacks to more is a bomb
_BOUNDED_ZIP = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

# How files of other kinds begin: said by name, such a file is mended sooner.
SIGNATURES = {
    b"%PDF-": ("a PDF", ".pdf"),
    b"PK\x03\x04": ("a ZIP or Office file", ".docx"),
    b"\x89PNG": ("a PNG picture", ""),
    b"\xff\xd8\xff": ("a JPEG picture", ""),
    b"GIF8": ("a GIF picture", ""),
    b"\xd0\xcf\x11\xe0": ("an old Office file", ""),
    b"\x1f\x8b": ("a gzip file", ""),
    b"\xff\xfe": ("UTF-16 text", ""),
    b"\xfe\xff": ("UTF-16 text", ""),
}


# trafilatura takes pages under 250 letters for failures and flattens them; help articles are short
_SHORT_PAGES = use_config()
_SHORT_PAGES.set("DEFAULT", "MIN_EXTRACTED_SIZE", "50")
_SHORT_PAGES.set("DEFAULT", "MIN_OUTPUT_SIZE", "1")


def parse_bytes(raw: bytes, *, uri: str, name: str) -> LoadedDocument:
    """Turn bytes into a document; the kind is told by the suffix of `name`."""
    stem, suffix = Path(name).stem, Path(name).suffix.lower()
    if suffix not in MEDIA_TYPES:
        raise DocumentError(f"{name}: this kind of file can't be read; use {_kinds()}")
    try:
        _check_signature(raw, suffix)
        title, body = _READERS[suffix](raw)
    except DocumentError as exc:
        raise DocumentError(f"{name} {exc}") from exc
    except Exception as exc:  # the loaders raise anything on damaged files; the others go on
        raise DocumentError(f"{name} is damaged ({type(exc).__name__}); save it anew") from exc
    title, body = storable_text(title), storable_text(body)
    if not body.strip():
        raise DocumentError(f"{name} holds no text")
    return LoadedDocument(
        uri=uri,
        title=(title or _title_of(body) or _readable_name(stem))[:MAX_TITLE_CHARS],
        media_type=MEDIA_TYPES[suffix],
        body_markdown=body.strip() + "\n",
    )


def _check_signature(raw: bytes, suffix: str) -> None:
    for signature, (kind, right_suffix) in SIGNATURES.items():
        if raw.startswith(signature) and suffix != right_suffix:
            advice = f"name it {right_suffix}" if right_suffix else "save its text as UTF-8"
            raise DocumentError(f"is {kind}, not what its name says; {advice}")


def _kinds() -> str:
    return ", ".join(suffix.lstrip(".") for suffix in MEDIA_TYPES)


def _title_of(markdown: str) -> str:
    lines = (line.strip() for line in markdown.splitlines())
    return next((line[2:].strip(" #") for line in lines if line.startswith("# ")), "")


def _readable_name(stem: str) -> str:
    name = " ".join(stem.replace("-", " ").replace("_", " ").split())
    return name.upper() if len(name) <= 3 else name[:1].upper() + name[1:]


def _decode(raw: bytes) -> str:
    if b"\0" in raw:
        raise DocumentError("holds NUL bytes, so it isn't text; check what kind of file it is")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DocumentError(f"isn't UTF-8 (byte {exc.start}); save it as UTF-8") from exc
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_markdown(raw: bytes) -> tuple[str, str]:
    return "", _decode(raw)


def _read_html(raw: bytes) -> tuple[str, str]:
    return _html_markdown(_decode(raw))


def _html_markdown(html: str) -> tuple[str, str]:
    body = trafilatura.extract(
        html,
        output_format="markdown",
        include_tables=True,
        favor_recall=True,
        config=_SHORT_PAGES,
    )
    if body is None:
        raise DocumentError("holds no readable text")
    return _title_of(body) or extract_metadata(html).title or "", body


def _read_pdf(raw: bytes) -> tuple[str, str]:
    return pdf_markdown(raw)


def _read_docx(raw: bytes) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            parts = archive.infolist()
            if sum(part.file_size for part in parts) > MAX_UNPACKED_BYTES:
                raise DocumentError("unpacks to more than 200 MB; refused")
            # Of these two kinds no more is unpacked than was declared.
            if any(part.compress_type not in _BOUNDED_ZIP for part in parts):
                raise DocumentError("is packed in a way that no word processor does; refused")
        # mammoth keeps tables and lists in HTML only; images are left out, they hold no text
        html = mammoth.convert_to_html(
            io.BytesIO(raw), convert_image=mammoth.images.img_element(lambda _image: {"src": ""})
        ).value
    except DocumentError:
        raise
    except Exception as exc:
        raise DocumentError(f"is damaged or isn't a DOCX file ({type(exc).__name__})") from exc
    return _html_markdown(f"<html><body><article>{html}</article></body></html>")


def _read_csv(raw: bytes) -> tuple[str, str]:
    text = _decode(raw)
    header = text.lstrip().split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    try:
        reader = csv.DictReader(io.StringIO(text.lstrip()), delimiter=delimiter, strict=True)
        rows: list[tuple[int, dict[Any, Any]]] = []
        for row in reader:
            rows.append((reader.line_num, row))
    except csv.Error as exc:
        line_number = (rows[-1][0] if rows else 1) + 1
        raise DocumentError(f"isn't a readable CSV file, line {line_number}: {exc}") from exc
    return "", _faq_markdown(rows)


def _read_jsonl(raw: bytes) -> tuple[str, str]:
    rows = []
    for line_number, line in enumerate(_decode(raw).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise DocumentError(f"line {line_number} isn't JSON") from exc
        if not isinstance(row, dict):
            raise DocumentError(f"line {line_number} isn't a JSON object")
        rows.append((line_number, row))
    return "", _faq_markdown(rows)


def _faq_markdown(rows: Iterable[tuple[int, dict[object, object]]]) -> str:
    """Each pair becomes a section: the question its heading, the answer its text."""
    sections = []
    for line_number, row in rows:
        named = {str(name).strip().lower(): value for name, value in row.items()}
        question, answer = named.get("question"), named.get("answer")
        if not (isinstance(question, str) and isinstance(answer, str)):
            raise DocumentError(f"line {line_number} lacks a question or an answer column")
        if question.strip() and answer.strip():
            sections.append(f"## {' '.join(question.split())}\n\n{answer.strip()}\n")
    return "\n".join(sections)


_READERS: dict[str, Callable[[bytes], tuple[str, str]]] = {
    ".md": _read_markdown,
    ".markdown": _read_markdown,
    ".html": _read_html,
    ".htm": _read_html,
    ".txt": _read_markdown,
    ".pdf": _read_pdf,
    ".docx": _read_docx,
    ".csv": _read_csv,
    ".jsonl": _read_jsonl,
}
