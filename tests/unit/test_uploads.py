"""Uploaded articles land under safe names in one folder, and nowhere else."""

import pytest

from bot.desk import uploads
from bot.desk.quality import CARDS
from bot.desk.recall_plot import recall_plot
from bot.desk.uploads import forget_upload, keep_uploads, safe_name
from core.errors import InvalidInput


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\\\docs\\\\Guide.PDF", "Guide.PDF"),
        (".env", "env"),
        ("..", "article"),
        ("a\x00b\n.md", "a_b_.md"),
        ("Über uns (neu).md", "Über uns (neu).md"),
    ],
)
def test_a_name_leads_nowhere_else(given, kept):
    """The name comes from the sender's machine, or from whoever writes requests by hand."""
    assert kept == safe_name(given)


def test_a_long_name_keeps_its_suffix():
    """The suffix says how the file is read."""
    name = safe_name("x" * 300 + ".docx")

    assert (120, ".docx") == (len(name), name[-5:])


def test_an_upload_of_the_same_name_is_the_newer_version(settings, tmp_path):
    """The article is replaced, not kept twice."""
    kept = []
    for text in ("old", "new"):
        (tmp_path / "gifts.md").write_text(text)
        kept += keep_uploads(settings, [str(tmp_path / "gifts.md")])

    assert [str(settings.home / "uploads" / "gifts.md")] * 2 == kept
    assert "new" == (settings.home / "uploads" / "gifts.md").read_text()
    assert ["gifts.md"] == [path.name for path in (settings.home / "uploads").iterdir()]


def test_too_large_and_too_many_are_refused_whole(settings, tmp_path, monkeypatch):
    """Nothing is kept of what was refused."""
    monkeypatch.setattr(uploads, "MAX_BYTES", 10)
    (tmp_path / "small.md").write_text("small")
    (tmp_path / "large.md").write_text("larger than ten")

    with pytest.raises(InvalidInput, match=r"large\.md is larger than"):
        keep_uploads(settings, [str(tmp_path / "small.md"), str(tmp_path / "large.md")])
    with pytest.raises(InvalidInput, match="send at most 100"):
        keep_uploads(settings, [str(tmp_path / "small.md")] * 101)
    with pytest.raises(InvalidInput, match="no file arrived"):
        keep_uploads(settings, [])

    assert not (settings.home / "uploads").exists()


def test_only_an_upload_is_removed_with_its_article(settings, tmp_path):
    """The company's own folder is not the desk's to delete from."""
    (tmp_path / "own.md").write_text("own")
    (tmp_path / "sent.md").write_text("sent")
    [kept] = keep_uploads(settings, [str(tmp_path / "sent.md")])

    assert forget_upload(settings, kept)
    assert not forget_upload(settings, kept)
    assert not forget_upload(settings, str(tmp_path / "own.md"))
    assert not forget_upload(settings, f"{settings.home}/uploads/../../own.md")
    assert (tmp_path / "own.md").exists()


def test_the_curve_says_its_figures_to_those_who_do_not_see_it():
    """And a perfect search still gets a scale."""
    drawn = CARDS.recall_svg(recall_plot({"<By words>": [0.42, 0.9], "Fused": [1.0, 1.0]}))

    assert "&lt;By words&gt; 0.42 first, 0.90 in 2; Fused 1.00 first, 1.00 in 2" in drawn
    assert 2 == drawn.count("<polyline")
    assert "<svg" in CARDS.recall_svg(recall_plot({"Fused": [1.0]}))
