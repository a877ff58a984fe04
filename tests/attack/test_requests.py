"""Requests as no browser sends them: endless, half, malformed, from another site's page."""

import json
import socket
import time
from contextlib import closing

import httpx
import psutil
import pytest

from tests.web import PASSWORD

STRANGER = {"origin": "https://evil.example.com"}
JOIN = "/gradio_api/queue/join"


def endless(n_bytes, piece=b"x" * 65_536):
    """A body without a length."""
    for _ in range(n_bytes // len(piece)):
        yield piece


def process_of(url):
    """The process that listens at an address."""
    port = int(url.rsplit(":", 1)[1])
    found = [c for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port]
    return psutil.Process(next(c.pid for c in found if c.status == psutil.CONN_LISTEN))


@pytest.mark.parametrize("path", [JOIN, "/desk/login"])
def test_a_body_without_a_length_is_counted_as_it_comes(visitor, web, path):
    """Three hundred megabytes in pieces took 1.7 GB of memory, and kept them."""
    before = process_of(web.url).memory_info().rss
    try:
        form = {"content-type": "application/x-www-form-urlencoded"}
        status = visitor.post(path, content=endless(300_000_000), headers=form).status_code
    except (httpx.WriteError, httpx.RemoteProtocolError):
        status = 413  # we hung up while it was still sending

    assert 413 == status
    assert process_of(web.url).memory_info().rss - before < 50_000_000


def test_an_upload_without_a_length_is_counted_as_well(admin):
    """The desk's files are bounded, together and each."""
    head = (
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.md"\r\n'
        b"Content-Type: text/markdown\r\n\r\n"
    )

    def body():
        yield head
        yield from endless(220_000_000)

    try:
        status = admin.post(
            "/desk/gradio_api/upload",
            content=body(),
            headers={"content-type": "multipart/form-data; boundary=b"},
        ).status_code
    except (httpx.WriteError, httpx.RemoteProtocolError):
        status = 413

    assert 413 == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b"\xff\xfe",
        b'{"data": NaN}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        json.dumps({"fn_index": 0}).encode(),
        json.dumps({"fn_index": "0", "data": [], "session_hash": "a"}).encode(),
        json.dumps({"fn_index": True, "data": [], "session_hash": "a"}).encode(),
        json.dumps({"fn_index": -1, "data": [], "session_hash": "a"}).encode(),
        json.dumps({"fn_index": 10**30, "data": [], "session_hash": "a"}).encode(),
        json.dumps({"fn_index": 16, "data": {}, "session_hash": "a"}).encode(),
        json.dumps({"fn_index": 16, "data": [""], "session_hash": ["a"]}).encode(),
        json.dumps({"fn_index": 16, "data": [""], "session_hash": "../a"}).encode(),
        json.dumps({"fn_index": 16, "data": [""], "session_hash": "a", "x": 1}).encode(),
        json.dumps({"fn_index": 16, "data": [["a"]], "session_hash": "a"}).encode(),
        json.dumps({"fn_index": 16, "data": [1], "session_hash": "a"}).encode(),
        json.dumps({"fn_index": 16, "data": [""], "session_hash": "a", "trigger_id": {}}).encode(),
        json.dumps({"fn_index": 1, "data": [""], "session_hash": "a"}).encode(),
        json.dumps({"fn_index": 1, "data": [""], "session_hash": "a", "event_data": 7}).encode(),
    ],
)
def test_a_call_of_the_wrong_shape_is_refused_in_one_line(visitor, body):
    """A traceback helps an attacker and nobody else."""
    answer = visitor.post(JOIN, content=body)

    assert 400 <= answer.status_code < 500
    assert "\n" not in answer.json()["detail"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/documents/x",
        "/documents/00000000-0000-0000-0000-000000000000?chunk=99999999999999999999999",
        "/documents/00000000-0000-0000-0000-000000000000?chunk=-1",
        "/turns/x/passages/1",
        "/turns/00000000-0000-0000-0000-000000000000/passages/99999999999999999999999",
        "/gradio_api/queue/data",
        "/gradio_api/queue/data?session_hash=" + "a" * 5000,
        "/gradio_api/heartbeat/..%2f..%2fx",
        "/%00",
        "/..%2f..%2fetc%2fpasswd",
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/static/..%5c..%5cx",
    ],
)
def test_an_address_of_the_wrong_shape_is_refused_in_one_line(visitor, path):
    """Mistyped links and scanners come every day."""
    answer = visitor.get(path)

    assert 400 <= answer.status_code < 500
    assert "Traceback" not in answer.text
    assert "root:" not in answer.text


def test_a_person_reads_a_page_where_a_program_reads_json(visitor):
    """The same line, as each of them can use it."""
    page = visitor.get("/nowhere", headers={"accept": "text/html"})

    assert (404, True) == (page.status_code, "There is no such page." in page.text)
    assert {"detail": "there is no such page"} == visitor.get("/nowhere").json()


def connection(web):
    """A raw connection to the server."""
    host, port = web.url.removeprefix("http://").split(":")
    return closing(socket.create_connection((host, int(port)), timeout=30))


def answer_of(sock):
    """All that comes until the server hangs up."""
    pieces = []
    while piece := sock.recv(65_536):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_request_that_is_never_finished_is_hung_up_on(web, sent):
    """A connection held by half a request is one that no customer has."""
    with connection(web) as sock:
        sock.sendall(sent)
        start = time.monotonic()
        answer_of(sock)

        assert time.monotonic() - start < 15


def test_a_head_that_drips_is_hung_up_on_all_the_same(web):
    """The time counts from its first byte, not from its last."""
    with connection(web) as sock:
        start = time.monotonic()
        sock.sendall(b"GET / HTTP/1.1\r\n")
        sock.settimeout(1)
        while time.monotonic() - start < 20:
            try:
                sock.sendall(b"x-a: b\r\n")
                if sock.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break

        assert time.monotonic() - start < 15


def test_a_head_without_end_is_refused(web):
    """Headers are held in memory until the last has come."""
    with connection(web) as sock:
        try:
            sock.sendall(b"GET / HTTP/1.1\r\n" + b"x-a: b\r\n" * 20_000)
            answer = answer_of(sock)
        except OSError:
            answer = b"HTTP/1.1 400"

        assert answer.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", JOIN), ("POST", "/desk/login"), ("POST", "/desk/logout")]
)
@pytest.mark.parametrize(
    "headers",
    [
        STRANGER,
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "same-origin", **STRANGER},
        {"origin": "ftp://testserver"},
    ],
    ids=str,
)
def test_another_sites_page_changes_nothing(admin, method, path, headers):
    """Its visitors' browsers send their cookies along."""
    refused = admin.request(method, path, headers=headers)

    assert (403, "this request was sent from another site's page") == (
        refused.status_code,
        refused.json()["detail"],
    )
    assert 200 == admin.get("/desk/").status_code


@pytest.mark.parametrize("host", ["127.0.0.1", "help.example.com"])
@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "https://help.example.com"])
def test_no_origin_is_given_access_but_those_that_are_configured(visitor, web, host, origin):
    """With a host that is no localhost, Gradio reflects whatever origin asks."""
    for path in ("/", "/gradio_api/queue/data?session_hash=a", "/health", "/nowhere"):
        answer = visitor.get(path, headers={"origin": origin, "host": host})
        assert "access-control-allow-origin" not in answer.headers

    shop = {"origin": "https://shop.example.com"}
    allowed = visitor.get("/health", headers=shop)
    assert shop["origin"] == allowed.headers["access-control-allow-origin"]


def test_a_preflight_of_a_stranger_is_refused(visitor):
    """Then the browser does not even send the request."""
    asked = {"access-control-request-method": "POST"}
    refused = visitor.options(JOIN, headers=STRANGER | asked)
    allowed = visitor.options(JOIN, headers={"origin": "https://shop.example.com"} | asked)

    assert "access-control-allow-origin" not in refused.headers
    assert "https://shop.example.com" == allowed.headers["access-control-allow-origin"]


def test_metrics_are_for_nobody_unless_configured(visitor, web):
    """How many customers a company has is its own business."""
    assert 404 == visitor.get("/metrics").status_code
    with web.again(metrics_token="scrape me") as url:
        for given, expected in (("", 404), ("Bearer guess", 404), ("Bearer scrape me", 200)):
            answer = httpx.get(f"{url}/metrics", headers={"authorization": given}, timeout=20)
            assert expected == answer.status_code


def test_cookies_made_over_https_are_secure(web):
    """A trusted proxy says how the browser came; nobody else's word counts."""
    told = {"x-forwarded-proto": "https", "x-forwarded-for": "198.51.100.9"}

    assert "secure" not in httpx.get(f"{web.url}/", headers=told).headers["set-cookie"].lower()
    with web.again(trusted_proxies="127.0.0.1, 10.0.0.0/8") as url:
        assert "secure" in httpx.get(f"{url}/", headers=told).headers["set-cookie"].lower()
        assert "secure" not in httpx.get(f"{url}/").headers["set-cookie"].lower()
        with httpx.Client(base_url=url) as client:
            client.post("/desk/login", data={"password": "wrong"}, headers=told)
    with web.database.connect() as conn:
        sql = """
            SELECT subject FROM audit_log WHERE action = 'sign-in refused'
            ORDER BY id DESC LIMIT 1
        """
        [newest] = conn.execute(sql).fetchone()
    assert "198.51.100.9" == newest


def test_each_address_has_a_bounded_number_of_requests(web):
    """A page that is only read costs as well."""
    again = web.again(limit_requests_per_address="20/minute")
    with again as url, httpx.Client(base_url=url, timeout=20) as client:
        codes = [client.get("/health").status_code for _ in range(30)]
        refused = client.get("/health")

    assert 429 in codes
    assert int(refused.headers["retry-after"]) >= 1
    assert "try again in" in refused.json()["detail"]


def test_the_password_is_not_in_what_a_visitor_is_shown(visitor):
    """A last look at all that the page carries."""
    assert PASSWORD not in visitor.get("/").text
