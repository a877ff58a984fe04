"""Files, folders and sites → chunks → vectors → database: read, embedded and stored overlapped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.db import Database
from core.errors import DocumentError, InvalidInput, NotAllowed
from core.leases import Check, wait_for
from core.settings import CHUNK_TOKENS, Settings
from core.types import EVERYONE, HELP
from retrieval import store
from retrieval.embed import Embedder
from retrieval.links import is_url
from retrieval.load import LoadedDocument, Problem, read_bytes
from retrieval.parser import Parser
from retrieval.site import Page, Site
from retrieval.walk import Walk, walk

INDEX_VERSION = "1"  # raise it when loading or chunking changes: every file is then ingested anew
BATCH_CHUNKS = 128  # embedded at once and stored in one transaction, over several small documents
CHECK_CHUNKS = 256  # of a large document, embedded between two looks whether to go on


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """How far an ingest has come; of a site `n_files` grows while it is discovered."""

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
    skipped: int = 0  # in folders and sites: what is no article, or asks robots to stay away
    n_chunks: int = 0
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A document cut into chunks, with the text to embed of each."""

    cut: store.CutDocument
    texts: list[str]


OnProgress = Callable[[IngestProgress], None]


def check_sources(settings: Settings, sources: Sequence[str]) -> None:
    """
    Check that a job may read these: URLs, the company's articles, what was uploaded.

    Raises:
        NotAllowed: A path leads elsewhere, be it over a link; the desk is no way to read /etc.
    """
    folders = [(settings.company / "articles").resolve(), (settings.home / "uploads").resolve()]
    for source in sources:
        path = Path(source).resolve()
        if not is_url(source) and not any(path.is_relative_to(folder) for folder in folders):
            raise NotAllowed(
                f"{source} lies outside of the company's articles and of what was uploaded; "
                "run `ratchet ingest` on the server for it"
            )


def ingest(
    db: Database,
    embedder: Embedder,
    sources: Sequence[Path | str],
    *,
    collection: str = HELP,
    audience: str = EVERYONE,
    public_only: bool = False,
    chunk_tokens: int = CHUNK_TOKENS,
    on_progress: OnProgress | None = None,
    check: Check = lambda: None,
) -> IngestReport:
    """
    Bring a collection in line with files, folders and sites and report what happened.

    Unchanged files cost a hash; a changed one is replaced, one gone from an ingested folder
    or site is removed, each in its own transaction, so an interrupted run is finished by the
    next. A file that can't be read, or not within the parser's limits, is reported and what
    was stored of it before stays.
    With `public_only` sites in private networks are refused. `check` is called all the while
    and may raise: then what is stored stays, and nobody waits for the page being read.

    Raises:
        InvalidInput: A path does not exist or a site can't be begun; nothing of it was done.
        DatabaseUnavailable: Postgres went away; documents already stored stay.
    """
    if not audience.strip():
        raise InvalidInput("the audience has no name; say everyone, or a group such as staff")
    urls = [str(url) for url in sources if is_url(str(url))]
    roots = [Path(path).resolve() for path in sources if not is_url(str(path))]
    for root in roots:
        if not root.exists():
            raise InvalidInput(f"{root} does not exist; nothing was ingested")
    with db.connect() as conn:
        known = store.document_hashes(conn, collection)
    found = walk(roots)
    on_progress = on_progress or (lambda _now: None)
    with Parser(embedder.tokenizer_json) as parser:
        sites = [Site(url, parser, public_only=public_only) for url in urls]
        run = _Run(db, embedder, parser, collection, audience, chunk_tokens, known, on_progress)
        run.report.problems += found.problems
        run.report.skipped += found.n_skipped
        _embed_and_store(run, _prepared(run, found.files, sites), check)
        _remove_missing(run, roots, found, sites)
    return run.report


@dataclass(slots=True)
class _Run:
    """One ingest: what every step needs, and what it has found out so far."""

    db: Database
    embedder: Embedder
    parser: Parser
    collection: str
    audience: str
    chunk_tokens: int
    known: dict[str, str]  # uri → hash, as stored before
    on_progress: OnProgress
    report: IngestReport = field(default_factory=IngestReport)
    present: set[str] = field(default_factory=set)  # uris that are there, readable or not
    ended: bool = False

    def is_unchanged(self, uri: str | Path, sha256: str) -> bool:
        """Whether the source is as it was stored; counts it if so."""
        unchanged = self.known.get(str(uri)) == sha256
        self.report.unchanged += unchanged
        return unchanged

    def index_hash(self, content: bytes) -> str:
        """Hash the content together with what decides how it is indexed and for whom."""
        how = f"{INDEX_VERSION} {self.chunk_tokens} {self.embedder.name} {self.audience}\n"
        return hashlib.sha256(how.encode() + content).hexdigest()

    def cut(self, document: LoadedDocument, sha256: str) -> _Prepared:
        """Cut a document into chunks; raises DocumentError when it holds headings only."""
        cut = self.parser.cut(document, self.chunk_tokens)
        return _Prepared(store.CutDocument(document, sha256, cut.chunks), cut.texts)


def _prepared(run: _Run, files: Sequence[Path], sites: Sequence[Site]) -> Iterator[_Prepared]:
    """Read and cut what is new or changed; tell what is unchanged or unreadable."""
    for n_done, (item, n_waiting) in enumerate(_items(files, sites), start=1):
        uri = str(item) if isinstance(item, Path) else item.uri
        if uri in run.present and not isinstance(item, Problem):
            continue  # two of the sites share this page
        run.present.add(uri)
        try:
            if isinstance(item, Problem):
                raise DocumentError(item.reason)
            changed = _changed(run, item)
            if changed:
                yield changed
        except DocumentError as exc:
            run.report.problems.append(Problem(uri, str(exc)))
        run.on_progress(IngestProgress(n_done, n_done + n_waiting, uri))
        if run.ended:
            return
    run.report.skipped += sum(site.n_skipped for site in sites)


def _items(
    files: Sequence[Path], sites: Sequence[Site]
) -> Iterator[tuple[Path | Page | Problem, int]]:
    """Yield files and pages, each with how many are known to follow."""
    for n_left, path in zip(range(len(files) - 1, -1, -1), files, strict=True):
        yield path, n_left + len(sites)
    for n_left, site in zip(range(len(sites) - 1, -1, -1), sites, strict=True):
        for page in site.pages():
            yield page, n_left + site.n_waiting


def _changed(run: _Run, item: Path | Page) -> _Prepared | None:
    """Return what is to be embedded of a file or page; None when it is as it was."""
    if isinstance(item, Path):
        raw = read_bytes(item)
        sha256 = run.index_hash(raw)
        if run.is_unchanged(item, sha256):
            return None
        return run.cut(run.parser.document(raw, uri=str(item), name=item.name), sha256)
    document = run.parser.page_document(item.uri, item.suffix, item.raw)
    # A page's frame may change at every visit (a token, a date), so its text is what counts.
    sha256 = run.index_hash(f"{document.title}\n{document.body_markdown}".encode())
    return None if run.is_unchanged(item.uri, sha256) else run.cut(document, sha256)


def _embed_and_store(run: _Run, prepared: Iterator[_Prepared], check: Check) -> None:
    """Embed each batch while a thread stores the one before and another reads the next."""
    batches = _batches(prepared)
    reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read")
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="store") as storer:
        following = reader.submit(next, batches, None)
        stored: Future[None] | None = None
        try:
            while batch := wait_for(following, check):
                following = reader.submit(next, batches, None)
                embeddings_ND = _embed(run, batch, check)
                if stored:
                    stored.result()
                stored = storer.submit(_store_batch, run, batch, embeddings_ND)
            if stored:
                stored.result()
        finally:
            run.ended = True  # the reader stops at its next file
            reader.shutdown(wait=False)  # it may wait half a minute for a slow site


def _embed(run: _Run, batch: Sequence[_Prepared], check: Check) -> NDArray[np.float32]:
    texts = [text for item in batch for text in item.texts]
    vectors = []
    for start in range(0, len(texts), CHECK_CHUNKS):
        check()
        vectors.append(run.embedder.passages(texts[start : start + CHECK_CHUNKS]))
    return np.concatenate(vectors)


def _batches(prepared: Iterator[_Prepared]) -> Iterator[list[_Prepared]]:
    batch: list[_Prepared] = []
    for item in prepared:
        batch.append(item)
        if sum(len(each.texts) for each in batch) >= BATCH_CHUNKS:
            yield batch
            batch = []
    if batch:
        yield batch


def _store_batch(run: _Run, batch: Sequence[_Prepared], embeddings_ND: NDArray[np.float32]) -> None:
    """Store whole documents, all of a batch in one transaction; runs in the storing thread."""
    with run.db.connect() as conn:
        store.replace_documents(
            conn,
            [item.cut for item in batch],
            embeddings_ND,
            collection=run.collection,
            audience=run.audience,
        )
    n_changed = sum(item.cut.document.uri in run.known for item in batch)
    run.report.changed += n_changed
    run.report.added += len(batch) - n_changed
    run.report.n_chunks += len(embeddings_ND)


def _remove_missing(run: _Run, roots: Sequence[Path], found: Walk, sites: Sequence[Site]) -> None:
    """Remove documents of an ingested folder or site whose file or page is gone."""
    folders = [root for root in roots if root.is_dir()]
    for uri in sorted(run.known.keys() - run.present):
        if _is_gone(uri, folders, found.unlisted, sites):
            with run.db.connect() as conn:
                run.report.removed += store.delete_document(conn, run.collection, uri)


def _is_gone(
    uri: str, folders: Sequence[Path], unlisted: Sequence[Path], sites: Sequence[Site]
) -> bool:
    if is_url(uri):
        return any(uri in site.gone or (site.complete and site.covers(uri)) for site in sites)
    path = Path(uri)
    return any(path.is_relative_to(folder) for folder in folders) and not any(
        path.is_relative_to(folder) for folder in unlisted
    )
