"""Files and folders → chunks → vectors → database; one batch is stored while the next embeds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.db import Database
from core.errors import DocumentError, InvalidInput
from core.settings import get_settings
from retrieval import store
from retrieval.chunk import Chunk, contextual_text, split
from retrieval.embed import Embedder
from retrieval.load import MEDIA_TYPES, LoadedDocument, parse_document, read_bytes

INDEX_VERSION = "1"  # raise it when loading or chunking changes: every file is then ingested anew
BATCH_CHUNKS = 64  # embedded at once, over several small documents


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that could not be ingested, and why in one line."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """How far an ingest has come."""

    n_done: int
    n_files: int
    path: str


@dataclass(slots=True)
class IngestReport:
    """What became of the files; counts are documents except `n_chunks`, the chunks stored."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0  # files in folders whose kind can't be read
    n_chunks: int = 0
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A document cut into chunks, with the texts to embed."""

    document: LoadedDocument
    sha256: str
    chunks: list[Chunk]
    texts: list[str]


def ingest(
    db: Database,
    embedder: Embedder,
    paths: Sequence[Path | str],
    *,
    collection: str = "help",
    on_progress: Callable[[IngestProgress], None] | None = None,
) -> IngestReport:
    """
    Bring a collection in line with files and folders and report what happened.

    Unchanged files cost a hash; a changed one is replaced, one gone from an ingested folder
    is removed, each in its own transaction, so an interrupted run is finished by the next.
    A file that can't be read is reported and what was stored of it before stays.

    Raises:
        InvalidInput: A path does not exist; nothing was done.
        DatabaseUnavailable: Postgres went away; documents already stored stay.
    """
    roots = [Path(path).resolve() for path in paths]
    for root in roots:
        if not root.exists():
            raise InvalidInput(f"{root} does not exist; nothing was ingested")
    report = IngestReport()
    files = list(_files(roots, report))
    with db.connect() as conn:
        known = store.document_hashes(conn, collection)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="store") as storer:
        pending: Future[None] | None = None
        for batch in _batches(_prepare(files, known, embedder, report, on_progress)):
            embeddings_ND = embedder.passages([text for item in batch for text in item.texts])
            if pending:
                pending.result()
            pending = storer.submit(
                _store_batch, db, collection, batch, embeddings_ND, known, report
            )
        if pending:
            pending.result()
    _remove_missing(db, collection, roots, files, known, report)
    return report


def _files(roots: Sequence[Path], report: IngestReport) -> Iterator[Path]:
    """Yield each readable file once, in order; named files are tried whatever their kind."""
    seen: set[Path] = set()
    for root in roots:
        for path in [root] if root.is_file() else sorted(root.rglob("*")):
            inside = path.relative_to(root).parts
            if path in seen or not path.is_file() or any(part[0] == "." for part in inside):
                continue
            seen.add(path)
            if path != root and path.suffix.lower() not in MEDIA_TYPES:
                report.skipped += 1
                continue
            yield path


def _prepare(
    files: Sequence[Path],
    known: dict[str, str],
    embedder: Embedder,
    report: IngestReport,
    on_progress: Callable[[IngestProgress], None] | None,
) -> Iterator[_Prepared]:
    """Read and cut what is new or changed; tell what is unchanged or unreadable."""
    for n_done, path in enumerate(files, start=1):
        try:
            raw = read_bytes(path)
            sha256 = _index_hash(raw, embedder)
            if known.get(str(path)) == sha256:
                report.unchanged += 1
            else:
                yield _cut(parse_document(path, raw), sha256, embedder)
        except DocumentError as exc:
            report.problems.append(Problem(str(path), str(exc)))
        if on_progress:
            on_progress(IngestProgress(n_done, len(files), str(path)))


def _index_hash(raw: bytes, embedder: Embedder) -> str:
    """Hash the content together with what decides how it is indexed."""
    how = f"{INDEX_VERSION} {get_settings().chunk_tokens} {embedder.name}\n"
    return hashlib.sha256(how.encode() + raw).hexdigest()


def _cut(document: LoadedDocument, sha256: str, embedder: Embedder) -> _Prepared:
    chunks = split(document, embedder.count_tokens, get_settings().chunk_tokens)
    if not chunks:
        raise DocumentError(f"{Path(document.uri).name} holds headings only")
    texts = [contextual_text(document.title, chunk, embedder.count_tokens) for chunk in chunks]
    return _Prepared(document, sha256, chunks, texts)


def _batches(prepared: Iterator[_Prepared]) -> Iterator[list[_Prepared]]:
    batch: list[_Prepared] = []
    for item in prepared:
        batch.append(item)
        if sum(len(each.chunks) for each in batch) >= BATCH_CHUNKS:
            yield batch
            batch = []
    if batch:
        yield batch


def _store_batch(
    db: Database,
    collection: str,
    batch: Sequence[_Prepared],
    embeddings_ND: NDArray[np.float32],
    known: dict[str, str],
    report: IngestReport,
) -> None:
    """Store each document in its own transaction; runs in the storing thread."""
    start = 0
    for item in batch:
        rows_ND = embeddings_ND[start : start + len(item.chunks)]
        start += len(item.chunks)
        with db.connect() as conn:
            store.replace_document(
                conn, item.document, item.sha256, item.chunks, rows_ND, collection=collection
            )
        if item.document.uri in known:
            report.changed += 1
        else:
            report.added += 1
        report.n_chunks += len(item.chunks)


def _remove_missing(
    db: Database,
    collection: str,
    roots: Sequence[Path],
    files: Sequence[Path],
    known: dict[str, str],
    report: IngestReport,
) -> None:
    """Remove documents under an ingested folder whose file is gone."""
    present = {str(path) for path in files}
    folders = [root for root in roots if root.is_dir()]
    for uri in sorted(known.keys() - present):
        if any(Path(uri).is_relative_to(folder) for folder in folders):
            with db.connect() as conn:
                report.removed += store.delete_document(conn, collection, uri)
