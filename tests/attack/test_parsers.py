"""Files and pages made to take all memory or all day are refused by name, and the rest goes in."""

import gzip
import io
import os
import select
import signal
import subprocess
import sys
import zipfile
import zlib

import pytest

from core.errors import DocumentError
from core.settings import ROOT, Settings
from retrieval.chunk import Chunk
from retrieval.confined import ConfinedProcess, ProcessLimits
from retrieval.embed import get_embedder
from retrieval.ingest import ingest
from retrieval.load import LoadedDocument
from retrieval.parser import Parser
from tests.attack.hostile_parser import ANSWERS
from tests.builders import stored_articles

QUICK = ProcessLimits(seconds=1.0, seconds_per_mb=0.0)
SMALL = ProcessLimits(memory_bytes=256 * 2**20)
WORDS = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
OFFICE = "officeDocument/2006/relationships/officeDocument"


@pytest.fixture(scope="module")
def embedder():
    """The packaged MiniLM."""
    return get_embedder(Settings(_env_file=None))


@pytest.fixture
def quick(embedder):
    """A parser that gives each request one second."""
    with Parser(embedder.tokenizer_json, QUICK) as parser:
        yield parser


@pytest.fixture
def small(embedder):
    """A parser that has a quarter of a gigabyte."""
    with Parser(embedder.tokenizer_json, SMALL) as parser:
        yield parser


def make_docx(n_paragraphs):
    """A Word file whose text is packed a thousand to one."""
    text = "<w:p><w:r><w:t>a</w:t></w:r></w:p>" * n_paragraphs
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{PACKAGE}/content-types"/>')
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r1" '
            f'Target="word/document.xml" Type="http://schemas.openxmlformats.org/{OFFICE}"/>'
            "</Relationships>",
        )
        archive.writestr(
            "word/document.xml",
            f'<w:document xmlns:w="{WORDS}"><w:body>{text}</w:body></w:document>',
        )
    return packed.getvalue()


def make_pdf(n_pages):
    """A PDF whose pages all show the same long text, which lies packed in it once."""
    text = zlib.compress(b"BT /F 9 Tf " + b"(a) Tj 0 -9 Td " * 20_000 + b"ET", 9)
    kids = b" ".join([b"5 0 R"] * n_pages)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%s]>>" % (n_pages, kids),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(text), text),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R"
        b"/Resources<</Font<</F 3 0 R>>>>>>",
    ]
    pdf, places = b"%PDF-1.4\n", [b"0000000000 65535 f \n"]
    for number, each in enumerate(objects, start=1):
        places.append(b"%010d 00000 n \n" % len(pdf))
        pdf += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"xref\n0 6\n" + b"".join(places) + b"trailer<</Size 6/Root 1 0 R>>\n"
    return pdf + table + b"startxref\n%d\n%%%%EOF" % len(pdf)


def make_csv(n_columns):
    """An FAQ of many columns whose rows name the first one only."""
    header = b"question," + b",".join(b"%x" % number for number in range(n_columns))
    return header + b"\n" + b"a\n" * n_columns


SLOW_FILES = {
    "a.docx": lambda: make_docx(300_000),
    "a.pdf": lambda: make_pdf(1000),
    "a.html": lambda: b"<html><body><article><p>words " + b"<span>a</span>" * 100_000,
    "b.html": lambda: b"<html><body><article>" + b"<p>a <b>b</b>" * 200_000,
    "c.html": lambda: b"<html><body><article><table>" + b"<tr><td>a<td>b" * 200_000,
}
SLOW_TEXTS = {
    "one item of a list": lambda: "# a\n\n- a\n" + "  b\n" * 600_000,
    "short paragraphs": lambda: "a\n\n" * 500_000,
    "short sections": lambda: "# a\n\nb\n\n" * 200_000,
    "open emphasis": lambda: "**a " * 400_000,
    "a wide table": lambda: "|" + "a|" * 200_000 + "\n|" + "-|" * 200_000 + "\n|b|" * 3000,
}
# A look-up by name, many times over: each rule counts for each of the names above it.
NAMES, RULES = "User-agent: ratchet\n" * 12_000, "Allow: /a\n" * 26_000
SLOW_WEB = {
    "robots.txt": lambda parser: parser.robots((NAMES + RULES).encode()),
    "page in punycode": lambda parser: parser.page(b"a" * 100 + b"-" + b"b9" * 900_000, "punycode"),
}


@pytest.mark.parametrize("name", SLOW_FILES)
def test_a_file_that_takes_too_long_is_refused_by_name(quick, name):
    """A few kilobytes kept a worker busy for an hour."""
    with pytest.raises(DocumentError, match=rf"^{name} takes more than 1 s to read; split"):
        quick.document(SLOW_FILES[name](), uri="/x", name=name)

    assert "Short" == quick.document(b"# Short\n\nText.\n", uri="/x", name="b.md").title


@pytest.mark.parametrize("kind", SLOW_TEXTS)
def test_a_text_that_takes_too_long_to_cut_is_refused_by_name(quick, kind):
    """Text needs no parser that can be fooled, but it has to be cut as well."""
    document = LoadedDocument("/x/a.md", "a", "text/markdown", SLOW_TEXTS[kind]())

    with pytest.raises(DocumentError, match=r"^a\.md takes more than 1 s to read; split"):
        quick.cut(document, 120)

    short = LoadedDocument("/x/b.md", "Short", "text/markdown", "Text.\n")
    assert [Chunk(0, (), "Text.", 2)] == quick.cut(short, 120).chunks


@pytest.mark.parametrize("kind", SLOW_WEB)
def test_what_a_site_sends_beside_its_pages_is_read_in_time_or_not_at_all(quick, kind):
    """robots.txt and a page's encoding are a stranger's words like the page itself."""
    with pytest.raises(DocumentError, match=r"^takes more than 1 s|^needs more than"):
        SLOW_WEB[kind](quick)

    assert quick.robots(b"").may_read("http://example.com/a")


@pytest.mark.parametrize(
    ("name", "make"), [("a.docx", lambda: make_docx(300_000)), ("a.csv", lambda: make_csv(9_000))]
)
def test_a_file_that_takes_too_much_memory_is_refused_by_name(small, name, make):
    """Half a megabyte took seven gigabytes, and the whole machine with it."""
    with pytest.raises(DocumentError, match=rf"^{name} needs more than 0\.25 GB of memory"):
        small.document(make(), uri="/x", name=name)

    assert "Short" == small.document(b"# Short\n\nText.\n", uri="/x", name="b.md").title


def test_a_sitemap_that_takes_too_much_memory_is_refused(small):
    """Fifty kilobytes of it can hold twelve million elements."""
    bomb = gzip.compress(b"<urlset>" + b"<a/>" * 3_000_000 + b"</urlset>")

    with pytest.raises(DocumentError, match=r"^needs more than 0\.25 GB of memory"):
        small.sitemap(bomb, 50 * 2**20)

    assert [] == small.sitemap(b"<urlset/>", 1000).pages


def test_a_page_of_a_million_links_gives_a_bounded_number(quick):
    """What a page links to waits in our own memory."""
    found = quick.page(
        b"<a href='/a'>a</a>" * 30_000 + b"<a href='/" + b"b" * 3000 + b"'>b</a>", ""
    )

    assert 20_000 == len(found.links.links)


def test_an_answer_without_bounds_is_refused(embedder):
    """What a small file unfolds to may fit the parser and not us."""
    limits = ProcessLimits(answer_bytes=10_000)

    with (
        Parser(embedder.tokenizer_json, limits) as parser,
        pytest.raises(DocumentError, match=r"^a\.md unfolds to more than 0\.00954 MB"),
    ):
        parser.document(b"word " * 3000, uri="/x", name="a.md")


@pytest.mark.parametrize("operation", [name for name in ANSWERS if name != "document"])
def test_a_parser_that_was_taken_over_can_only_say_bounded_text(operation):
    """Who finds a hole in a parser must not get from there into the worker."""
    with (
        ConfinedProcess("tests.attack.hostile_parser", ProcessLimits()) as process,
        pytest.raises(DocumentError, match=r"nonsense|unfolds to|needs more"),
    ):
        process.ask(operation, b"")


def test_an_answer_of_another_shape_is_refused(monkeypatch):
    """Only a document can come of a document."""
    monkeypatch.setattr("retrieval.parser.MODULE", "tests.attack.hostile_parser")

    with Parser() as parser, pytest.raises(DocumentError, match=r"^a\.md made its parser answer"):
        parser.document(b"text", uri="/x", name="a.md")


def test_a_parser_that_dies_is_replaced(quick):
    """A crash costs one file."""
    quick.robots(b"")
    os.kill(quick.pid, signal.SIGKILL)

    with pytest.raises(DocumentError, match=r"^a\.md .* is damaged"):
        quick.document(b"text", uri="/x", name="a.md")

    assert "text\n" == quick.document(b"text", uri="/x", name="a.md").body_markdown


def test_the_parser_knows_no_secret(quick, monkeypatch):
    """Whoever takes it over finds no password there."""
    for name in ("RATCHET_ADMIN_PASSWORD", "RATCHET_DATABASE_URL", "VLLM_API_KEY", "PGPASSWORD"):
        monkeypatch.setenv(name, "a-secret-of-ours")
    quick.robots(b"")

    with open(f"/proc/{quick.pid}/environ", "rb") as environment:
        assert b"a-secret-of-ours" not in environment.read()


def test_the_parser_ends_with_whom_it_works_for():
    """A worker that is killed leaves nothing running."""
    code = """
import os, signal
from retrieval.parser import Parser
parser = Parser()
parser.robots(b"")
print(parser.pid, flush=True)
input()
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=-1, stdout=-1, cwd=ROOT, text=True) as worker:
        handle = os.pidfd_open(int(worker.stdout.readline()))
        worker.stdin.write("\n")

    ended, _, _ = select.select([handle], [], [], 30)
    os.close(handle)

    assert [handle] == ended


def test_a_hostile_file_harms_no_other(database, embedder, tmp_path, monkeypatch):
    """An upload among many must not stop the ingest, and its owner learns which one it was."""
    monkeypatch.setattr("retrieval.parser.LIMITS", QUICK)
    (tmp_path / "a.pdf").write_bytes(make_pdf(1000))
    (tmp_path / "b.md").write_text(SLOW_TEXTS["short paragraphs"]())
    (tmp_path / "c.md").write_text("# Returns\n\nReturns are free for 30 days.\n")

    report = ingest(database, embedder, [tmp_path])

    assert ["a.pdf takes", "b.md takes"] == [p.reason.split(" more")[0] for p in report.problems]
    with database.connect() as conn:
        assert ["Returns"] == [title for title, _ in stored_articles(conn)]
