"""Issue of any visitor reading any file: a path in place of a text, in every function there is."""

import pytest

from core.conversations import list_conversations
from tests.builders import make_turn

FILE = {"meta": {"_type": "gradio.FileData"}}


def shapes(path):
    """Return all the shapes in which Gradio takes a file's place in a call."""
    yield {"path": str(path), **FILE}
    yield {"path": str(path), "url": f"file://{path}", "orig_name": "x", **FILE}
    yield {"path": "x", "url": f"file://{path}", **FILE}
    yield {"path": "http://127.0.0.1:9/x", "url": "http://127.0.0.1:9/x", **FILE}
    yield {"path": str(path), "is_stream": True, **FILE}
    yield [{"path": str(path), **FILE}]
    yield {"text": "hello", "files": [{"path": str(path), **FILE}]}
    yield {"component": "file", "value": {"path": str(path), **FILE}, "constructor_args": {}}
    yield {"__type__": "update", "value": {"path": str(path), **FILE}}


def test_a_question_that_is_a_path_is_refused_before_any_handler_sees_it(
    visitor, web, pages, secret_file
):
    """The attack as it was played: a stored question, and a file in Gradio's cache."""
    path, secret = secret_file
    refused = visitor.call(pages[""]["ChatPage.send"], {"path": str(path), **FILE}, "", "")

    assert (422, "value 1 is not of the expected shape") == (
        refused.status_code,
        refused.json()["detail"],
    )
    with web.database.connect() as conn:
        assert [] == list_conversations(conn, visitor.id)
    assert secret not in visitor.get(f"/gradio_api/file={path}").text
    cached = [p for p in (web.settings.home / "gradio").rglob("*") if p.is_file()]
    assert [] == [p for p in cached if secret in p.read_text(errors="replace")]


@pytest.mark.parametrize("place", range(5))
def test_no_input_of_any_function_takes_a_file_in_any_shape(
    visitor, admin, pages, secret_file, place
):
    """The kind: comment, correction, the desk's question, and whatever comes next."""
    path, _ = secret_file
    for page, who in (("", visitor), ("/desk", admin)):
        for number in pages[page].values():
            for shape in shapes(path):
                data = [None] * 5
                data[place] = shape
                for n_inputs in range(1, 6):
                    answer = who.call(number, *data[:n_inputs], page=page)
                    if place < n_inputs:
                        assert 422 == answer.status_code, (page, number, shape)


@pytest.mark.parametrize("name", ["ChatPage.send_suggested", "ChatPage.rate_answer"])
def test_what_comes_with_an_event_is_no_file_either(visitor, pages, secret_file, name):
    """A choice's value goes where a question goes."""
    path, secret = secret_file
    n_inputs = {"ChatPage.send_suggested": 1, "ChatPage.rate_answer": 2}[name]
    for shape in shapes(path):
        event = {"index": 0, "value": shape, "liked": True}
        answer = visitor.call(pages[""][name], *[""] * n_inputs, event=event)
        said = "" if answer.status_code == 422 else str(visitor.results())
        assert secret not in said
        assert str(path) not in said


def test_the_desk_ingests_no_file_that_was_not_uploaded(admin, web, pages, secret_file):
    """A path in the call, a way out of the upload's folder, a link, an endless device."""
    path, _ = secret_file
    uploads = web.settings.home / "gradio"
    folder = uploads / ("0" * 64)
    folder.mkdir(exist_ok=True)
    link = folder / "link.md"
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    ways = [path, "/dev/zero", f"{folder}/../../session-secret", link, f"{folder}/none.md", uploads]
    for way in ways:
        answer = admin.call(
            pages["/desk"]["BringingIn.ingest_files"],
            [{"path": str(way), **FILE}],
            "everyone",
            page="/desk",
        )
        assert 422 == answer.status_code, way
    link.unlink()


def test_an_upload_still_comes_in(admin, web, pages):
    """What the guard lets through is what the page needs."""
    file = {"files": ("Returns.md", b"# Returns\n\nThirty days.\n")}
    [stored] = admin.post("/desk/gradio_api/upload", files=file).json()
    given = {"path": stored, "orig_name": "Returns.md", "size": 1, **FILE}

    answer = admin.call(
        pages["/desk"]["BringingIn.ingest_files"], [given], "everyone", page="/desk"
    )
    told = admin.results("/desk")

    assert 200 == answer.status_code
    assert "process_completed" in [each["msg"] for each in told]
    assert (web.settings.home / "uploads" / "Returns.md").read_text().startswith("# Returns")


@pytest.mark.parametrize("how", ["file=", "file/"])
def test_gradio_serves_no_file_to_anybody(visitor, admin, web, secret_file, how):
    """Our pages show no file; the route is closed, also for what lies in the cache."""
    inside = web.settings.home / "gradio" / "x.txt"
    inside.write_text("cached")
    for who, page in ((visitor, ""), (admin, ""), (admin, "/desk")):
        for path in (inside, secret_file[0]):
            assert 404 == who.get(f"{page}/gradio_api/{how}{path}").status_code


def test_gradios_own_check_of_paths_is_armed(inventory):
    """Were the guard ever left out, Gradio would still refuse: mounting alone does not arm it."""
    assert [True, True] == inventory["armed"]


def test_uploads_pass_through_a_folder_of_the_owner_only(web):
    """The system's temporary folder is everybody's."""
    assert 0o700 == (web.settings.home / "gradio").stat().st_mode & 0o777


def test_an_answer_is_shown_as_its_own_text(visitor, web, pages):
    """The call by which a browser opens a conversation works through the guard."""
    with web.database.connect() as conn:
        turn = make_turn(conn, owner_id=visitor.id)

    visitor.call(pages[""]["ChatPage.arrive"], str(turn.conversation_id))

    assert "Within 30 days" in str(visitor.results())
