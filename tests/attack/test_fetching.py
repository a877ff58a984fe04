"""Servers that unfold, drip or keep silent, and addresses that only look like public ones."""

import gzip
import itertools
import socket
import threading
import tracemalloc
import zlib

import pytest

from core.errors import DocumentError, NotAllowed
from retrieval.addresses import is_public
from retrieval.fetch import Fetcher
from tests.website import HTML, Served

MB = 2**20


@pytest.fixture
def served():
    """A website of one's own, gone after the test."""
    site = Served()
    yield site
    site.close()


class RawServer:
    """A server that says what it likes to whom connects, byte by byte: `say(connection, ended)`."""

    def __init__(self, say):
        self._say, self.ended = say, threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        try:
            connection, _ = self._listener.accept()
            with connection:
                self._say(connection, self.ended)
        except OSError:
            pass  # the reader had enough

    def close(self):
        """Stop talking and listening."""
        self.ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def raw_server():
    """Start a raw server with what it says; gone after the test."""
    started = []

    def start(say):
        started.append(RawServer(say))
        return started[-1].place

    yield start
    for server in started:
        server.close()


@pytest.fixture
def fetcher():
    """What reads sites for the command."""
    with Fetcher(public_only=False) as each:
        yield each


def refusal(fetcher, url, *, max_bytes=MB, timeout_s=20.0):
    with pytest.raises(DocumentError) as caught:
        fetcher.get(url, max_bytes=max_bytes, timeout_s=timeout_s)
    return str(caught.value)


def dripping(before, piece, after=b""):
    """A server that sends a piece every 20 ms, for ten seconds."""

    def say(connection, ended):
        connection.recv(10_000)
        connection.sendall(before)
        for _ in range(500):
            if ended.wait(0.02):
                return
            connection.sendall(piece)
        connection.sendall(after)

    return say


def silent(_connection, ended):
    ended.wait(30)


@pytest.mark.parametrize("said", ["gzip, gzip", "gzip,identity", "deflate, gzip", "br", "x" * 999])
def test_what_is_packed_twice_or_in_an_unknown_way_is_refused(served, fetcher, said):
    """Each layer of packing multiplies: 2.6 KB were three gigabytes."""
    packed = gzip.compress(gzip.compress(bytes(50 * MB)))
    served.raw("/", packed, kind=HTML, **{"Content-Encoding": said})

    assert f"is packed as {said[:40]!r}" in refusal(fetcher, served.url)


def test_two_headers_are_two_layers(raw_server, fetcher):
    """A list may be spread over several headers of the same name."""
    body = gzip.compress(gzip.compress(b"text"))
    head = "HTTP/1.1 200 OK\r\n" + "Content-Encoding: gzip\r\n" * 2
    sent = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    place = raw_server(lambda connection, _: (connection.recv(10_000), connection.sendall(sent)))

    assert "is packed as 'gzip, gzip'" in refusal(fetcher, f"http://{place}/")


@pytest.mark.parametrize(("said", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_bomb_is_never_unfolded_beyond_the_limit(served, fetcher, said, pack):
    """What counts is what we would hold, at any moment."""
    served.raw("/", pack(bytes(100 * MB)), kind=HTML, **{"Content-Encoding": said})
    served.raw("/good", pack(b"text"), kind=HTML, **{"Content-Encoding": said})
    tracemalloc.start()

    assert "has more than 1 MB" == refusal(fetcher, served.url)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 20 * MB  # the server's own packed copy among it
    assert b"text" == fetcher.get(f"{served.url}/good", max_bytes=MB, timeout_s=20).body


def test_packed_bytes_that_unfold_to_nothing_end_at_the_limit_too(served, fetcher):
    """Empty blocks can be sent for ever."""
    packer = zlib.compressobj(wbits=31)
    begin = packer.compress(b"a") + packer.flush(zlib.Z_FULL_FLUSH)
    empty = b"\x00\x00\x00\xff\xff" * 10_000
    endless = itertools.chain([begin], itertools.repeat(empty, 10_000))
    served.pages["/"] = (200, {"Content-Type": HTML, "Content-Encoding": "gzip"}, endless)

    assert "has more than 1 MB" == refusal(fetcher, served.url)


@pytest.mark.parametrize("cut", [gzip.compress(b"text" * 99)[:-9], b"\x1f\x8b\x08 nonsense"])
def test_packed_bytes_that_are_damaged_or_cut_off_are_refused(served, fetcher, cut):
    """Half a page would replace the whole one."""
    served.raw("/", cut, kind=HTML, **{"Content-Encoding": "gzip"})

    assert "is packed, and" in refusal(fetcher, served.url)


OK = b"HTTP/1.1 200 OK\r\n"
DRIPS = {
    "headers": dripping(OK, b"X-A: b\r\n", b"\r\n"),
    "half a header": dripping(OK + b"X-A: ", b"b", b"\r\n\r\n"),
    "answers before the answer": dripping(b"", b"HTTP/1.1 103 Hints\r\n\r\n", OK + b"\r\n"),
    "a body": dripping(OK + b"\r\n", b"."),
    "a body in chunks": dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n.\r\n"),
    "nothing": silent,
}


@pytest.mark.parametrize("what", DRIPS)
def test_one_deadline_holds_over_everything_a_server_may_drip(raw_server, fetcher, what):
    """Each piece came in time, and all of them took forty seconds, or for ever."""
    place = raw_server(DRIPS[what])

    assert "did not answer in time" == refusal(fetcher, f"http://{place}/", timeout_s=0.3)


def test_the_deadline_holds_over_a_handshake(raw_server, fetcher):
    """A server may keep silent before it has shown its certificate."""
    place = raw_server(silent)

    assert "did not answer in time" == refusal(fetcher, f"https://{place}/", timeout_s=0.3)


@pytest.mark.parametrize("public_only", [False, True])
def test_the_deadline_holds_over_the_look_up_of_a_name(monkeypatch, public_only):
    """The name server is the attacker's as well; nobody waits for it, not even at the end."""
    answered = threading.Event()

    def slow(*_args, **_hints):
        answered.wait(30)
        return []

    monkeypatch.setattr("socket.getaddrinfo", slow)
    with Fetcher(public_only=public_only) as fetcher:
        assert "did not answer in time" == refusal(fetcher, "http://a.example/", timeout_s=0.2)

    assert not answered.is_set()
    answered.set()


def test_headers_without_end_are_refused(raw_server, fetcher):
    """They are held in memory until the last one has come."""
    place = raw_server(
        lambda connection, _: (
            connection.recv(10_000),
            connection.sendall(OK + b"X-A: b\r\n" * 1_000_000),
        )
    )

    assert "can't be reached (RemoteProtocolError)" == refusal(fetcher, f"http://{place}/")


def test_no_cookie_is_kept(served, fetcher):
    """A jar without a bottom fills the memory over five thousand pages."""
    served.page("/", **{"Set-Cookie": "a=" + "b" * 3000})

    fetcher.get(served.url, max_bytes=MB, timeout_s=20)

    assert [] == list(fetcher._client.cookies.jar)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "1.1.1.1", "93.184.216.34", "100.63.255.255", "172.32.0.1", "192.0.1.1",
        "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1", "64:ff9b::8.8.8.8",
        "::ffff:8.8.8.8", "2002:808:808::1",
    ],
)  # fmt: skip
def test_a_public_address_may_be_read(address):
    """Help centres lie there."""
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        # this machine, private networks, multicast, nobody's
        "0.0.0.0", "127.0.0.1", "127.255.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1",
        "100.64.0.1", "198.18.0.1", "192.0.2.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
        "255.255.255.255",
        # a cloud's own services
        "169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "161.26.0.10",
        "166.9.1.1",
        # protocol assignments and relays
        "192.0.0.8", "192.0.0.9", "192.88.99.1", "192.52.193.1", "192.31.196.1", "192.175.48.1",
        # IPv6 beside what is given out
        "::", "::1", "fe80::1", "fe80::1%lo", "fec0::1", "feff::1", "fc00::1", "fd00:ec2::254",
        "ff02::1", "100::1", "5f00::1", "4000::1", "2001:db8::1", "3fff::1", "2001:2::1",
        "2001:20::1", "2620:4f:8000::1",
        # IPv4 within IPv6: mapped, compatible, translated, NAT64, its local kind, 6to4, Teredo,
        # ISATAP
        "::ffff:10.0.0.1", "::ffff:168.63.129.16", "::127.0.0.1", "::8.8.8.8",
        "::ffff:0:127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::168.63.129.16",
        "64:ff9b:1::8.8.8.8", "2002:a00:1::", "2002:7f00:1::1", "2001:0:808:808::f5ff:fffe",
        "2001:0:a00:1::f7f7:f7f7", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:127.0.0.1",
    ],
)  # fmt: skip
def test_an_address_of_some_inner_network_is_no_public_one(address):
    """The desk's admin is no admin of the machine, nor of the cloud it runs in."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1",
        "127.0.0.1.", "[::1]", "[::ffff:7f00:1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "0",
        "[fe80::1%25lo]", "①②⑦.⓪.⓪.①",
    ],
)  # fmt: skip
def test_however_a_private_address_is_spelt_it_is_not_connected_to(served, host):
    """The resolver takes many spellings; what counts is where it leads."""
    served.page("/")
    port = served.url.rsplit(":", 1)[1]

    with Fetcher(public_only=True) as fetcher, pytest.raises((NotAllowed, DocumentError)):
        fetcher.get(f"http://{host}:{port}/", max_bytes=MB, timeout_s=5)

    assert [] == served.asked


def test_a_name_of_a_public_and_a_private_address_is_refused(monkeypatch):
    """Else the second try would go where the first must not."""
    both = [(2, 1, 6, "", ("8.8.8.8", 80)), (2, 1, 6, "", ("10.0.0.1", 80))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_args, **_hints: both)

    with Fetcher(public_only=True) as fetcher, pytest.raises(NotAllowed, match="private network"):
        fetcher.get("http://a.example/", max_bytes=MB, timeout_s=5)


def test_a_redirect_is_told_and_not_followed(served, fetcher):
    """Where it leads is checked like any other address, by who asked."""
    served.raw("/", "", status=302, Location="http://169.254.169.254/latest/meta-data")

    answer = fetcher.get(served.url, max_bytes=MB, timeout_s=5)

    assert (302, "http://169.254.169.254/latest/meta-data") == (answer.status, answer.location)
