"""Folders are kept in step with the database, file by file, and bad files harm no others."""

import os

import pytest

from core.errors import DatabaseUnavailable, InvalidInput
from retrieval import store
from retrieval.ingest import ingest
from tests.builders import stored_articles


@pytest.fixture
def folder(tmp_path):
    """Three small articles."""
    articles = tmp_path / "articles"
    (articles / "more").mkdir(parents=True)
    (articles / "returns.md").write_text("# Returns\n\nReturns are free for 30 days.\n")
    (articles / "delivery.md").write_text("# Delivery\n\nParcels take 3 days.\n")
    (articles / "more" / "gifts.txt").write_text("Gift cards never expire.\n")
    return articles


def titles(database):
    with database.connect() as conn:
        return [title for title, _ in stored_articles(conn)]


def chunk_bodies(database):
    with database.connect() as conn:
        return {body for (body,) in conn.execute("SELECT body FROM chunks")}


def chunk_ids(database):
    with database.connect() as conn:
        return {key for (key,) in conn.execute("SELECT id FROM chunks")}


def test_a_folder_is_ingested_whole(database, embedder, folder):
    """One command makes the bot know the articles."""
    report = ingest(database, embedder, [folder])

    assert (3, 0, 0, 3, []) == (
        *(report.added, report.changed, report.unchanged, report.n_chunks),
        report.problems,
    )
    assert ["Delivery", "Gifts", "Returns"] == titles(database)


def test_unchanged_files_are_left_alone(database, embedder, folder):
    """Ingesting every night must cost next to nothing."""
    ingest(database, embedder, [folder])
    before = chunk_ids(database)

    report = ingest(database, embedder, [folder])

    assert (0, 0, 3, 0) == (report.added, report.changed, report.unchanged, report.n_chunks)
    assert before == chunk_ids(database)


def test_a_changed_file_is_replaced(database, embedder, folder):
    """Yesterday's return period must not be quoted."""
    ingest(database, embedder, [folder])
    (folder / "returns.md").write_text("# Returns\n\nReturns are free for 60 days.\n")

    report = ingest(database, embedder, [folder])

    assert (0, 1, 2) == (report.added, report.changed, report.unchanged)
    assert "Returns are free for 60 days." in chunk_bodies(database)
    assert "Returns are free for 30 days." not in chunk_bodies(database)


def test_a_deleted_file_is_removed(database, embedder, folder):
    """A withdrawn article must not be answered from."""
    ingest(database, embedder, [folder])
    (folder / "more" / "gifts.txt").unlink()

    report = ingest(database, embedder, [folder])

    assert 1 == report.removed
    assert ["Delivery", "Returns"] == titles(database)


def test_ingesting_one_folder_leaves_the_others(database, embedder, folder, tmp_path):
    """Only a folder's own files are compared with it."""
    other = tmp_path / "articles-two"
    other.mkdir()
    (other / "care.md").write_text("# Care\n\nDry the pan.\n")
    ingest(database, embedder, [folder, other])

    report = ingest(database, embedder, [folder / "returns.md", other])

    assert 0 == report.removed
    assert 4 == len(titles(database))


def test_a_bad_file_is_reported_and_the_rest_goes_in(database, embedder, folder):
    """One broken export must not keep the other articles out."""
    (folder / "a-locked.pdf").write_bytes(b"not a PDF")
    (folder / "empty.md").write_text("")
    (folder / "latin.txt").write_bytes(b"Caf\xe9")
    (folder / "photo.png").write_bytes(b"\x89PNG")
    (folder / ".hidden.md").write_text("secret")

    report = ingest(database, embedder, [folder])

    assert 3 == report.added
    assert ["a-locked.pdf", "empty.md", "latin.txt"] == [
        problem.reason.split()[0] for problem in report.problems
    ]
    assert all(problem.path.startswith(str(folder)) for problem in report.problems)
    assert 1 == report.skipped


def test_bad_files_of_every_kind_harm_no_others(database, embedder, folder, tmp_path):
    """An export of years holds one of each; every one is told, and the good ones are in."""
    (tmp_path / "secret.md").write_text("# Secret\n\nNot for the bot.\n")
    (folder / "linked.md").symlink_to(tmp_path / "secret.md")
    os.mkfifo(folder / "pipe.md")
    with (folder / "huge.md").open("wb") as file:
        file.truncate(250 * 2**20)
    (folder / "photo.pdf").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "faq.jsonl").write_text('{"question": "Open?", "answer": "Yes."}\n{"question"\n')
    (folder / "cut.docx").write_bytes(b"PK\x03\x04 broken")
    (folder / "headings.md").write_text("# Only\n\n## Headings\n")
    (folder / "long-word.md").write_text("a" * 300_000)
    (folder / "long-heading.md").write_text("# " + "word " * 400_000 + "\n\nText.\n")

    report = ingest(database, embedder, [folder])

    refused = ["cut.docx", "faq.jsonl", "headings.md", "huge.md", "linked.md", "photo.pdf"]
    assert [*refused, "pipe.md"] == sorted(each.path.rsplit("/", 1)[1] for each in report.problems)
    assert 5 == report.added


def test_a_folder_that_cannot_be_listed_loses_no_articles(database, embedder, folder, lock):
    """A disk that is away for a moment is no reason to forget what lay on it."""
    ingest(database, embedder, [folder])
    lock(folder / "more")
    report = ingest(database, embedder, [folder])

    assert (0, 1) == (report.removed, len(report.problems))
    assert "Gifts" in titles(database)


def test_a_file_that_broke_keeps_its_old_text(database, embedder, folder):
    """A half-saved file is no reason to forget the article."""
    ingest(database, embedder, [folder])
    (folder / "returns.md").write_bytes(b"\xff\xfe broken")

    report = ingest(database, embedder, [folder])

    assert 1 == len(report.problems)
    assert "Returns are free for 30 days." in chunk_bodies(database)


def test_progress_is_told_after_every_file(database, embedder, folder):
    """A long ingest shows that it moves."""
    seen = []

    ingest(database, embedder, [folder], on_progress=seen.append)

    assert [(1, 3), (2, 3), (3, 3)] == [(each.n_done, each.n_files) for each in seen]


def test_a_missing_path_stops_before_anything_is_written(database, embedder, folder):
    """A typo in one path must not ingest half of what was meant."""
    with pytest.raises(InvalidInput, match="does not exist"):
        ingest(database, embedder, [folder, folder / "nowhere"])

    assert [] == titles(database)


def test_a_file_named_twice_goes_in_once(database, embedder, folder):
    """A folder and a file within it are one source."""
    report = ingest(database, embedder, [folder, folder / "returns.md", folder / "more"])

    assert (3, []) == (report.added, report.problems)


def test_an_audience_needs_a_name(database, embedder, folder):
    """An article for nobody in particular would be found by nobody."""
    with pytest.raises(InvalidInput, match="no name"):
        ingest(database, embedder, [folder], audience=" ")


def test_an_ingest_cut_short_is_finished_by_the_next(database, embedder, folder, monkeypatch):
    """A crash in the middle leaves whole documents, and the next run adds the others."""
    replace = store.replace_documents

    def die_at_the_second(conn, documents, *args, **kwargs):
        replace(conn, documents, *args, **kwargs)
        if documents[0].document.title == "Gifts":
            raise DatabaseUnavailable("gone")

    monkeypatch.setattr(store, "replace_documents", die_at_the_second)
    monkeypatch.setattr("retrieval.ingest.BATCH_CHUNKS", 1)
    with pytest.raises(DatabaseUnavailable):
        ingest(database, embedder, [folder])
    assert ["Delivery"] == titles(database)
    monkeypatch.undo()

    report = ingest(database, embedder, [folder])

    assert (2, 1) == (report.added, report.unchanged)


def test_chunk_size_is_part_of_what_counts_as_changed(database, embedder, folder):
    """A new setting must reach articles that did not change."""
    ingest(database, embedder, [folder])

    assert 3 == ingest(database, embedder, [folder], chunk_tokens=60).changed


def test_unchanged_files_start_no_parser(database, embedder, folder, monkeypatch):
    """Ingesting every night must not cost the second that the parsers take to load."""
    ingest(database, embedder, [folder])

    def forbidden(*_args, **_options):
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.Popen", forbidden)

    assert 3 == ingest(database, embedder, [folder]).unchanged
