"""Windows that are opened by the thousand, that fetch nothing, and connections that do nothing."""

import asyncio
import socket
import time
from contextlib import ExitStack, closing

import httpx
import pytest

from bot.web import windows as bounds
from tests.attack.conftest import eventually

KEEP = "Sidebar.keep_it"


def test_a_visitor_has_a_bounded_number_of_windows(visitor, nobody, pages):
    """Gradio drops the oldest of two thousand, and its loop ended for everybody when it did."""
    codes = [
        visitor.call(pages[""][KEEP], session=f"w{n}").status_code
        for n in range(bounds.MAX_PER_VISITOR + 3)
    ]
    other = nobody()
    other.get("/")

    assert [200] * bounds.MAX_PER_VISITOR + [429] * 3 == codes
    assert 200 == other.call(pages[""][KEEP]).status_code


def test_a_window_that_fetches_no_answers_is_refused(visitor, pages):
    """Each waits in memory, with a whole conversation in it."""
    codes = [visitor.call(pages[""][KEEP]).status_code for _ in range(bounds.MAX_UNFETCHED + 2)]
    visitor.results()

    assert [200] * bounds.MAX_UNFETCHED + [429] * 2 == codes
    assert 200 == visitor.call(pages[""][KEEP]).status_code


@pytest.fixture
async def small_page():
    """A page with one function; built within a loop, else Gradio leaves one open."""
    import gradio as gr

    with gr.Blocks() as blocks:
        gr.Button().click(lambda: None, None, None)
    blocks.queue()
    return blocks


async def test_sending_to_a_forgotten_window_does_nothing(small_page):
    """In Gradio 6.31 it raises in the loop that serves everybody; another version may differ."""
    known = bounds.Windows(small_page)
    queue = small_page._queue
    queue.pending_messages_per_session["abc"] = asyncio.Queue()
    queue.pending_event_ids_session["abc"] = {"e1"}
    known.call("abc", "anna", "203.0.113.7")
    event = type("Event", (), {"session_hash": "abc", "alive": True, "_id": "e1"})()
    message = type("Message", (), {})()

    queue.send_message(event, message)
    assert 1 == queue.pending_messages_per_session["abc"].qsize()
    assert 1 == known.forget_idle(idle_s=-1)
    queue.send_message(event, message)

    assert not known.is_known("abc")
    assert "abc" not in queue.pending_event_ids_session
    assert not known.is_stopped


def connect(web, request=b""):
    """A raw connection, with something sent."""
    host, port = web.url.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)), timeout=20)
    sock.sendall(request)
    return sock


def is_closed(sock):
    """Whether the server has hung up."""
    sock.settimeout(0.05)
    try:
        return sock.recv(65_536) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_one_address_gets_a_share_of_the_connections(web):
    """A thousand idle ones shut everybody else out."""
    with ExitStack() as stack:
        opened = [stack.enter_context(closing(connect(web))) for _ in range(75)]

        assert eventually(lambda: sum(map(is_closed, opened)) >= 15, 5)
    assert eventually(lambda: httpx.get(f"{web.url}/style.css").status_code == 200)


def test_a_body_that_nobody_waits_for_any_more_ends_the_connection(web):
    """It was answered from its head; one more byte then kept it open for ever."""
    head = b"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"
    with closing(connect(web, head)) as sock:
        assert b"404" in sock.recv(65_536)
        start = time.monotonic()

        sock.sendall(b"x")
        assert eventually(lambda: is_closed(sock), 5)
        assert time.monotonic() - start < 5


def test_a_body_with_two_lengths_is_refused(web):
    """A proxy and we might read two different requests."""
    head = (
        b"POST /desk/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    with closing(connect(web, head)) as sock:
        assert sock.recv(65_536).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("host", ["evil.example.com", "evil.example.com:7860", "", "[::1", "a/b"])
def test_another_name_for_our_address_is_not_us(web, visitor, host):
    """A stranger's name that points here would make the stranger's page one of ours."""
    for path in ("/", "/desk/login"):
        assert visitor.get(path, headers={"host": host}).status_code in (400, 403)


def test_an_allowed_site_may_call_the_chat_and_never_the_desk(admin, visitor, pages):
    """A hole in the shop's page must not promote adapters in the admin's name."""
    shop = {"origin": "https://shop.example.com", "sec-fetch-site": "same-site"}
    call = {"fn_index": pages[""][KEEP], "data": [], "session_hash": "abc"}

    chat = visitor.post("/gradio_api/queue/join", json=call, headers=shop)
    desk = admin.post("/desk/logout", headers=shop)

    assert 200 == chat.status_code
    assert shop["origin"] == chat.headers["access-control-allow-origin"]
    assert 403 == desk.status_code
    assert "access-control-allow-origin" not in desk.headers


def test_what_is_one_visitors_is_kept_by_no_cache(visitor, nobody):
    """A careless cache would hand one visitor's cookie to all."""
    assert "no-store" in visitor.get("/").headers["cache-control"]
    asset = nobody().get("/theme.css")
    assert "set-cookie" not in asset.headers


@pytest.mark.parametrize("name", ["ChatPage.send", "Sidebar.save_title", "ChatPage.arrive"])
def test_fields_that_were_never_touched_are_empty(visitor, inventory, capfd, name):
    """A call with nothing in it gave a traceback in the log."""
    function = inventory["functions"][""][name]
    visitor.call(function["number"], *[None] * len(function["inputs"]))

    told = visitor.results()

    assert "process_completed" in [each["msg"] for each in told]
    assert "Traceback" not in capfd.readouterr().err
