"""A folder's files are found in order, and what leads out of it is told, not followed."""

import os

import pytest

from retrieval.walk import walk


@pytest.fixture
def folder(tmp_path):
    """A folder of two articles beside one that is none of its business."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.md").write_text("Secret.")
    inside = tmp_path / "articles"
    (inside / "more").mkdir(parents=True)
    (inside / "b.md").write_text("B.")
    (inside / "more" / "a.md").write_text("A.")
    return inside


def names(found):
    return [path.name for path in found.files]


def test_files_come_in_order_and_once(folder):
    """Two runs over one folder do the same."""
    found = walk([folder, folder / "b.md"])

    assert ["b.md", "a.md"] == names(found)


def test_links_out_of_the_folder_are_refused(folder):
    """Who may put files into the folder must not read others through it."""
    (folder / "c.md").symlink_to(folder.parent / "outside" / "secret.md")
    (folder / "linked").symlink_to(folder.parent / "outside")

    found = walk([folder])

    assert ["b.md", "a.md"] == names(found)
    assert 2 == sum("is a link out of the folder" in each.reason for each in found.problems)


def test_links_within_the_folder_are_read(folder):
    """An article may stand under two names."""
    (folder / "c.md").symlink_to("b.md")

    assert ["b.md", "c.md", "a.md"] == names(walk([folder]))


def test_a_link_to_nowhere_and_a_pipe_are_tried_and_told(folder):
    """What is named like an article and can't be read is worth a line."""
    (folder / "c.md").symlink_to("gone.md")
    os.mkfifo(folder / "d.md")

    assert ["b.md", "c.md", "d.md", "a.md"] == names(walk([folder]))


def test_a_link_in_a_circle_ends(folder):
    """A folder that holds itself has no more articles than it has."""
    (folder / "more" / "again").symlink_to(folder)

    assert ["b.md", "a.md"] == names(walk([folder]))


def test_a_folder_that_cannot_be_listed_is_told(folder, lock):
    """Its articles are not gone: nobody could look."""
    lock(folder / "more")
    found = walk([folder])

    assert [folder / "more"] == found.unlisted
    assert ["more can't be listed"] == [each.reason for each in found.problems]


def test_a_name_that_no_database_holds_is_refused(folder):
    """One file from an old disk must not end the ingest."""
    with open(os.path.join(os.fsencode(folder), b"caf\xe9.md"), "w") as file:
        file.write("Coffee.")

    found = walk([folder])

    assert ["b.md", "a.md"] == names(found)
    assert "caf?.md has a name that isn't UTF-8; rename it" == found.problems[0].reason
