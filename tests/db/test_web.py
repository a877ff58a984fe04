"""The web app's plain routes: who is let in, what may be read, what machines are told."""

from contextlib import ExitStack
from uuid import uuid4

import httpx
import pytest

from core.settings import Settings
from retrieval.embed import get_embedder
from retrieval.ingest import ingest
from tests.builders import make_passage, make_turn
from tests.web import PASSWORD, visitor_in

HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def web(start_web, short_tmp):
    """The web app alone; Prometheus reads its figures by a token."""
    with start_web(short_tmp / "web", metrics_token="scrape") as running:
        yield running


@pytest.fixture
def web_database(web):
    """The web app's database."""
    return web.database


@pytest.fixture
def new_visitor(web):
    """A function that gives a new visitor, who does not follow redirects."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            httpx.Client(base_url=web.url, headers=HTML, timeout=10, **options)
        )


@pytest.fixture
def visitor(new_visitor):
    """A new visitor."""
    return new_visitor()


@pytest.fixture
def admin(new_visitor):
    """A browser signed in to the desk."""
    signed_in = new_visitor()
    assert 303 == signed_in.post("/desk/login", data={"password": PASSWORD}).status_code
    return signed_in


def visitor_of(visitor):
    """The id in the browser's cookie, read as only the server may."""
    visitor.get("/desk/login")
    return visitor_in(visitor.cookies["ratchet"])


def test_a_visitor_gets_a_cookie_that_scripts_and_other_sites_can_not_use(visitor):
    """It is all that tells one customer from another."""
    cookie = visitor.get("/").headers["set-cookie"].lower()

    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_a_forged_cookie_makes_a_new_visitor(visitor):
    """Nobody may choose whose conversations they see."""
    mine = visitor_of(visitor)
    visitor.cookies = {"ratchet": visitor.cookies["ratchet"][:-4] + "AAAA"}

    given = visitor.get("/").headers["set-cookie"].split("=", 1)[1]

    assert mine != visitor_in(given)


def test_health_names_what_is_away(visitor):
    """A supervisor and a person read the same line."""
    answer = visitor.get("/health")

    assert 503 == answer.status_code
    assert {"status": "degraded", "database": True, "model": False} == answer.json()


def test_metrics_count_turns_and_thumbs(visitor, web_database):
    """Prometheus needs each series from the start, zeros included."""
    text = visitor.get("/metrics", headers={"authorization": "Bearer scrape"}).text

    assert 'ratchet_turns{status="failed"}' in text
    assert 'ratchet_thumbs{rating="up"}' in text
    assert 'ratchet_live_adapter{name="base"} 1' in text


@pytest.mark.parametrize("path", ["/desk", "/desk/", "/desk/theme.css"])
def test_the_desk_is_shut_to_visitors(visitor, path):
    """Page, configuration and calls alike; a person is led to the sign-in."""
    answer = visitor.get(path)

    assert (303, "/desk/login") == (answer.status_code, answer.headers["location"])
    assert 401 == visitor.post("/desk/gradio_api/queue/join", json={}).status_code


def test_the_password_opens_the_desk_until_signed_out(admin):
    """And signing out closes it in this browser at once."""
    assert 200 == admin.get("/desk/").status_code

    admin.post("/desk/logout")

    assert 303 == admin.get("/desk/").status_code


def test_a_wrong_password_is_said_on_the_page(visitor):
    """In words, with the form still there."""
    answer = visitor.post("/desk/login", data={"password": "guess"})

    assert 403 == answer.status_code
    assert "that is not the password" in answer.text
    assert 'type="password"' in answer.text


def test_another_site_can_not_sign_anybody_in(visitor):
    """The form's origin must be ours."""
    answer = visitor.post(
        "/desk/login", data={"password": PASSWORD}, headers={"origin": "https://evil.test"}
    )

    assert 403 == answer.status_code


def test_a_source_opens_for_the_asker_and_for_admins_only(
    new_visitor, visitor, admin, web_database
):
    """Passages can tell what somebody asked."""
    owner = visitor_of(visitor)
    with web_database.connect() as conn:
        turn = make_turn(conn, owner_id=owner, passages=[make_passage(body="Free <b>returns</b>.")])
    path = f"/turns/{turn.id}/passages/1"

    assert "Free &lt;b&gt;returns&lt;/b&gt;." in visitor.get(path).text
    assert 200 == admin.get(path).status_code
    stranger = new_visitor().get(path)
    assert 404 == stranger.status_code
    assert f"No turn {turn.id}" in stranger.text


@pytest.mark.parametrize("path", ["/turns/{}/passages/7", "/turns/{}/passages/x"])
def test_a_source_that_is_not_there_is_said_in_one_line(visitor, web_database, path):
    """An old or mistyped link must not show a traceback."""
    with web_database.connect() as conn:
        turn = make_turn(conn, owner_id=visitor_of(visitor))

    answer = visitor.get(path.format(turn.id))

    assert 404 == answer.status_code
    assert "Traceback" not in answer.text


def test_a_document_is_shown_with_the_chunk_marked(visitor, web_database, tmp_path):
    """The link from a search leads to the very sentence."""
    article = tmp_path / "returns.md"
    article.write_text("# Returns\n\nIntro.\n\n## Fees\n\nA label costs $4.95. <script>x</script>")
    ingest(web_database, get_embedder(Settings(_env_file=None)), [article])
    with web_database.connect() as conn:
        document_id, chunk_id = conn.execute(
            "SELECT document_id, id FROM chunks WHERE body LIKE 'A label%'"
        ).fetchone()

    page = visitor.get(f"/documents/{document_id}", params={"chunk": chunk_id}).text

    assert '<p class="passage" id="passage">A label costs $4.95.' in page
    assert "<script" not in page
    assert 404 == visitor.get(f"/documents/{uuid4()}").status_code


def test_an_article_for_staff_opens_for_no_customer(visitor, admin, web_database, tmp_path):
    """An address is easily passed on."""
    (tmp_path / "secret.md").write_text("# Prices we pay\n\nTwo dollars each.\n")
    ingest(web_database, get_embedder(Settings(_env_file=None)), [tmp_path], audience="staff")
    with web_database.connect() as conn:
        [row] = conn.execute("SELECT id FROM documents WHERE audience = 'staff'").fetchall()

    refused = visitor.get(f"/documents/{row[0]}")

    assert (404, False) == (refused.status_code, "Two dollars" in refused.text)
    assert "Two dollars" in admin.get(f"/documents/{row[0]}").text


def test_every_page_forbids_to_fetch_from_elsewhere(visitor):
    """A picture's address in an answer could carry away what was said."""
    for path in ("/", "/desk/login", "/health"):
        policy = visitor.get(path).headers["content-security-policy"]
        assert "img-src 'self' data: blob:" in policy
        assert "frame-ancestors 'self'" in policy


def test_nobody_fills_the_disk_or_the_memory(visitor):
    """Gradio takes files and bodies of any size from anybody."""
    file = {"files": ("x.bin", b"x" * 1000)}

    assert 404 == visitor.post("/gradio_api/upload", files=file).status_code
    visitor.get("/")
    assert 413 == visitor.post("/gradio_api/queue/join", content=b"x" * 256_001).status_code
