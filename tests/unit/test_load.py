"""Each kind of file becomes Markdown with its headings; what can't be read is refused by name."""

import contextlib
import io
import json
import os
import random
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from pypdf import PdfReader, PdfWriter

from core.errors import DocumentError
from retrieval.formats import parse_bytes
from retrieval.load import read_bytes

ARTICLES = Path(__file__).parents[2] / "examples" / "company" / "articles"

DOCX_XML = """<?xml version="1.0" encoding="UTF-8"?>
<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>
<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Warranty</w:t></w:r></w:p>
<w:p><w:r><w:t>Pans are covered for ten years from the day of purchase.</w:t></w:r></w:p>
<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Item</w:t></w:r></w:p></w:tc>
<w:tc><w:p><w:r><w:t>Years</w:t></w:r></w:p></w:tc></w:tr>
<w:tr><w:tc><w:p><w:r><w:t>Knife</w:t></w:r></w:p></w:tc>
<w:tc><w:p><w:r><w:t>5</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
</w:body></w:document>"""
DOCX_TYPES = """<?xml version="1.0" encoding="UTF-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels"
 ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Override PartName="/word/document.xml" ContentType=
"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>"""
DOCX_RELS = """<?xml version="1.0" encoding="UTF-8"?>
<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="r1" Target="word/document.xml" Type=
"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"/>
</Relationships>"""


def make_docx(**extra_parts):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", DOCX_TYPES)
        archive.writestr("_rels/.rels", DOCX_RELS)
        archive.writestr("word/document.xml", DOCX_XML)
        for name, content in extra_parts.items():
            archive.writestr(name, content)
    return packed.getvalue()


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def load_document(path):
    return parse_bytes(read_bytes(path), uri=str(path), name=path.name)


def refusal(path):
    with pytest.raises(DocumentError) as caught:
        load_document(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_markdown_takes_its_title_from_the_first_heading(tmp_path):
    """Citations show the title a reader knows."""
    loaded = load_document(written(tmp_path, "a.md", "# Gift cards\n\nThey never expire.\n"))

    assert ("Gift cards", "text/markdown") == (loaded.title, loaded.media_type)
    assert "They never expire." in loaded.body_markdown


def test_without_a_heading_the_file_name_is_the_title(tmp_path):
    """Every passage needs a readable name."""
    loaded = load_document(written(tmp_path, "store-hours.txt", "We open at nine.\n"))

    assert "Store hours" == loaded.title


def test_html_keeps_headings_lists_and_tables_and_drops_navigation(tmp_path):
    """Menus repeated on every page would be found for every question."""
    html = """<html><head><title>Delivery</title></head><body>
        <nav><a href="/">Home</a> <a href="/shop">Shop</a></nav><main><h1>Delivery</h1>
        <h2>Prices</h2><p>Parcels leave on working days only.</p>
        <table><tr><th>Size</th><th>Price</th></tr><tr><td>Small</td><td>$5</td></tr></table>
        <ol><li>Pack the box.</li><li>Print the label.</li></ol></main>
        <footer>Imprint</footer></body></html>"""

    body = load_document(written(tmp_path, "a.html", html)).body_markdown

    assert "## Prices" in body
    assert "| Small | $5 |" in body
    assert "2. Print the label." in body
    assert "Shop" not in body


def test_pdf_keeps_headings_and_joins_wrapped_lines():
    """A fact broken over two lines of a PDF must be found as one sentence."""
    loaded = load_document(ARTICLES / "warranty-guide.pdf")

    assert loaded.body_markdown.startswith(f"# {loaded.title}\n")
    assert "\n## " in loaded.body_markdown
    assert all(
        block.startswith("#") or block.rstrip()[-1] in ".!?"
        for block in loaded.body_markdown.split("\n\n")
    )


def test_docx_keeps_headings_and_tables(tmp_path):
    """Word files are what many companies write their policies in."""
    loaded = load_document(written(tmp_path, "warranty.docx", make_docx()))

    assert "Warranty" == loaded.title
    assert "| Knife | 5 |" in loaded.body_markdown


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("faq.csv", 'Question,Answer\n"Open on Sunday?","No, we rest."\n'),
        ("faq.csv", "question;answer\nOpen on Sunday?;No, we rest.\n"),
        ("faq.jsonl", json.dumps({"question": "Open on Sunday?", "answer": "No, we rest."})),
    ],
)
def test_each_question_and_answer_is_a_section(tmp_path, name, content):
    """A customer's question is best found by the question it resembles."""
    loaded = load_document(written(tmp_path, name, content))

    assert "FAQ" == loaded.title
    assert "## Open on Sunday?\n\nNo, we rest." == loaded.body_markdown.strip()


def test_byte_order_marks_and_windows_line_ends_are_read(tmp_path):
    """Files saved on Windows are not to be told apart."""
    loaded = load_document(written(tmp_path, "a.md", b"\xef\xbb\xbf# Caf\xc3\xa9\r\n\r\nOpen.\r\n"))

    assert ("Café", "# Café\n\nOpen.\n") == (loaded.title, loaded.body_markdown)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.md", b"", "is empty"),
        ("a.md", b" \n\n", "is empty"),
        ("a.md", b"Caf\xe9", "isn't UTF-8"),
        ("a.md", b"a\0b", "NUL"),
        ("a.html", b"<html><body></body></html>", "no readable text"),
        ("a.md", b"%PDF-1.7 text", "is a PDF, not what its name says; name it .pdf"),
        ("a.pdf", b"\x89PNG\r\n\x1a\n", "is a PNG picture, not what its name says"),
        (
            "a.html",
            b"\xff\xfea\0b\0",
            "is UTF-16 text, not what its name says; save its text as UTF-8",
        ),
        ("a.docx", b"\xd0\xcf\x11\xe0old", "is an old Office file"),
        ("a.pdf", b"not a PDF at all", "damaged or isn't a PDF"),
        ("a.pdf", b"%PDF-1.7\n1 0 obj\n<<", "damaged or isn't a PDF"),
        ("a.docx", b"PK\x03\x04 broken", "isn't a DOCX"),
        ("a.docx", b"plain text", "isn't a DOCX"),
        ("a.csv", b"name,price\npan,3\n", "lacks a question or an answer"),
        ("a.jsonl", b'{"question": "a", "answer": "b"}\n{oops\n', "line 2 isn't JSON"),
        ("a.csv", b'question,answer\nOpen?,"Yes\n', "isn't a readable CSV file, line 2"),
        ("a.csv", b'question,answer\n"Open\n?",Yes\nShut?\n', "line 4 lacks a question"),
        ("a.jsonl", b"[1]\n", "isn't a JSON object"),
        ("a.jsonl", b"[" * 100_000, "line 1 isn't JSON"),
        ("a.exe", b"MZ", "this kind of file can't be read"),
    ],
)
def test_an_unreadable_file_is_refused_with_its_name_and_reason(tmp_path, name, content, reason):
    """Who ingests a folder must learn which file to mend, and how."""
    message = refusal(written(tmp_path, name, content))

    assert message.startswith(name)
    assert reason in message


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_an_encrypted_pdf_is_refused(tmp_path, algorithm):
    """A password can't be guessed; the text must not end up as gibberish."""
    writer = PdfWriter(clone_from=PdfReader(ARTICLES / "warranty-guide.pdf"))
    writer.encrypt("secret", algorithm=algorithm)
    locked = io.BytesIO()
    writer.write(locked)

    assert "encrypted" in refusal(written(tmp_path, "a.pdf", locked.getvalue()))


def test_a_pdf_of_pictures_is_refused(tmp_path):
    """A scan without a text layer would be ingested as nothing, silently."""
    writer = PdfWriter()
    writer.add_blank_page(200, 200)
    blank = io.BytesIO()
    writer.write(blank)

    assert "holds no text" in refusal(written(tmp_path, "a.pdf", blank.getvalue()))


def test_a_huge_file_is_refused_unread(tmp_path):
    """One wrong file must not fill the memory."""
    path = tmp_path / "a.md"
    with path.open("wb") as file:
        file.truncate(250 * 2**20)

    assert "has 250 MB; at most 20 MB" in refusal(path)


def test_a_zip_bomb_is_refused(tmp_path):
    """A small DOCX can unpack to gigabytes."""
    bomb = make_docx(bomb=b"\0" * (201 * 2**20))

    assert "unpacks to more than 200 MB" in refusal(written(tmp_path, "a.docx", bomb))


def test_a_zip_bomb_that_lies_about_its_size_unpacks_no_further_than_it_said(tmp_path):
    """What a file says of itself is no protection; nothing beyond it is unpacked."""
    honest = make_docx(**{"word/styles.xml": b" " * 50_000_000})
    lying = honest.replace((50_000_000).to_bytes(4, "little"), (9).to_bytes(4, "little"))
    assert lying != honest
    path = written(tmp_path, "a.docx", lying)
    tracemalloc.start()

    assert "isn't a DOCX" in refusal(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 20_000_000


def test_a_zip_whose_packing_knows_no_bounds_is_refused(tmp_path):
    """Some kinds of packing unpack a whole part at once, however large it is."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("word/document.xml", DOCX_XML)

    assert "no word processor" in refusal(written(tmp_path, "a.docx", packed.getvalue()))


@pytest.mark.parametrize("broken", ["<w:document>", '<!DOCTYPE x [<!ENTITY a "b">]>&a;', ""])
def test_a_docx_of_broken_xml_is_refused(tmp_path, broken):
    """A Word file that was cut off in the middle still unpacks."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("[Content_Types].xml", DOCX_TYPES)
        archive.writestr("_rels/.rels", DOCX_RELS)
        archive.writestr("word/document.xml", broken)

    assert "isn't a DOCX" in refusal(written(tmp_path, "a.docx", packed.getvalue()))


@pytest.mark.parametrize("name", ["warranty-guide.pdf", "a.docx"])
def test_damage_anywhere_in_a_file_is_a_refusal_or_a_text(tmp_path, name):
    """A file that was damaged on its way must never stop the ingest of the others."""
    whole = make_docx() if name == "a.docx" else (ARTICLES / name).read_bytes()
    chance, texts = random.Random(4), []
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 30)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path = written(tmp_path, name, bytes(damaged[: chance.randint(1, len(damaged))]))
        with contextlib.suppress(DocumentError):
            texts.append(load_document(path).body_markdown)

    assert all(text.strip() for text in texts)


def test_a_named_pipe_is_refused_without_waiting(tmp_path):
    """Who opens a pipe waits for its other end, for ever."""
    os.mkfifo(tmp_path / "a.md")

    assert "no ordinary file" in refusal(tmp_path / "a.md")


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    """Its owner's wish is told, not stumbled over."""

    def forbidden(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", forbidden)
    path = tmp_path / "a.md"

    assert "a.md can't be opened: Permission denied" == refusal(path)


def test_what_postgres_cannot_hold_is_left_out(tmp_path):
    """JSON can spell out NUL and half letters; the answer around them is still good."""
    line = '{"question": "Open?", "answer": "Yes\\u0000 \\ud800, daily."}'

    body = load_document(written(tmp_path, "a.jsonl", line)).body_markdown

    assert "Yes ?, daily." in body


def test_a_missing_file_is_refused(tmp_path):
    """A path may be gone between listing and reading."""
    assert "can't be opened" in refusal(tmp_path / "gone.md")
