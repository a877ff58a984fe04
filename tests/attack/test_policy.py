"""Every route and every function of the app against the written policy, as everybody."""

import itertools

import httpx
import pytest

from bot.web import policy
from bot.web.policy import CHAT, CLOSED, DESK, OPEN, Who
from core.people import PERMISSIONS, Permission, Role
from tests.builders import make_turn

PLACEHOLDERS = {
    "{session_hash}": "abc",
    "{path:path}": "x",
    "{document_id}": "00000000-0000-0000-0000-000000000000",
    "{turn_id}": "00000000-0000-0000-0000-000000000000",
    "{rank}": "1",
}
REFUSED = (401, 403)


def filled(path):
    """An address that a route's path stands for."""
    for name, value in PLACEHOLDERS.items():
        path = path.replace(name, value)
    return path.replace("{", "").replace("}", "").replace(":path", "")


def status_of(client, method, path):
    """What a request is answered with; a stream is left at its head."""
    headers = {"accept": "application/json"}
    with client.stream(method, path, headers=headers, timeout=20) as answer:
        return answer.status_code


def test_every_route_of_the_app_has_a_line_in_the_policy(inventory):
    """A new version of Gradio brings new routes, and they must not open by themselves."""
    named = {(method, route.path) for route in OPEN for method in route.methods.split()}
    closed = {prefix + path for path in CLOSED for prefix in ("", "/desk")}
    real = {
        (method, path)
        for methods, path in inventory["routes"]
        for method in methods.split()
        if method != "HEAD" or path in ("/", "/desk/")
    }

    assert set() == {(m, p) for m, p in real if (m, p) not in named and p not in closed}
    assert set() == named - real - {("HEAD", "/"), ("HEAD", "/desk/")}


def test_every_function_of_the_pages_names_a_permission(inventory):
    """A function is a route as well: any client can call it by its number."""
    chat, desk = (inventory["functions"][mount].values() for mount in (CHAT, DESK))

    assert {each["permission"] for each in chat} == PERMISSIONS[Role.VISITOR]
    assert {each["permission"] for each in desk} == (
        PERMISSIONS[Role.ADMIN] - PERMISSIONS[Role.VISITOR] - {Permission.READ_ALL}
    )
    assert 0 == inventory["functions"][CHAT]["ChatPage.send"]["number"]  # test_flood.py calls it


@pytest.fixture
def everybody(nobody, visitor, admin):
    """The four who may come, by what the policy calls them."""
    other = nobody()
    other.get("/")
    return {"nobody": nobody(), "visitor": visitor, "other": other, "admin": admin}


def may(who, person):
    """Whether the policy lets somebody in."""
    return {
        Who.ANYONE: True,
        Who.VISITOR: person != "nobody",
        Who.ADMIN: person == "admin",
        Who.NOBODY: False,
    }[who]


def test_a_route_is_open_to_whom_its_line_names(everybody, inventory):
    """The policy is what the server does, not what somebody wrote once."""
    routes = [route for route in OPEN if route.path != "/desk/logout"]
    for route, (person, client) in itertools.product(routes, everybody.items()):
        client.cookies = httpx.Cookies() if person == "nobody" else client.cookies
        for method in route.methods.split():
            status = status_of(client, method, filled(route.path))
            if (method, route.path) == ("POST", "/desk/login"):
                assert 403 == status  # an empty password is no password
            elif route.who is Who.NOBODY:
                assert 404 == status, (person, method)
            else:
                assert may(route.who, person) == (status not in REFUSED), (person, status)


def test_gradios_other_routes_are_closed_to_all(everybody):
    """They leave files behind, reload code, stream what others see, run functions unqueued."""
    ours = {route.path for route in OPEN}  # the desk has a sign-in of its own
    paths = [prefix + path for path in CLOSED for prefix in ("", "/desk")]
    for client in everybody.values():
        for path in sorted(set(paths) - ours):
            for method in ("GET", "POST"):
                assert 404 == status_of(client, method, filled(path)), (method, path)


def null_call(inputs, events):
    """The emptiest call that has the right shape."""
    event = {"index": 0, "value": "x", "liked": True} if set(events) & EVENTS else None
    return [None] * len(inputs), event


EVENTS = {"like", "select", "example_select"}


@pytest.mark.parametrize(("mount", "who"), [(CHAT, Who.VISITOR), (DESK, Who.ADMIN)])
def test_each_function_takes_calls_of_whom_the_policy_names(everybody, inventory, mount, who):
    """Nobody, visitor, another visitor and the admin, at every function there is."""
    for name, function in inventory["functions"][mount].items():
        data, event = null_call(function["inputs"], function["events"])
        for person, client in everybody.items():
            client.cookies = httpx.Cookies() if person == "nobody" else client.cookies
            status = client.call(function["number"], *data, page=mount, event=event).status_code
            assert may(who, person) == (status == 200), (name, person, status)
            client.results(mount)  # a window that fetches nothing is refused after a while


def test_what_runs_in_the_browser_only_can_not_be_called(visitor, admin, inventory):
    """It has no function on the server; its number names nothing."""
    for page, client in (("", visitor), ("/desk", admin)):
        for number in [*inventory["scripts"][page], 9_999]:
            answer = client.call(number, page=page)
            assert (422, "there is no such function") == (
                answer.status_code,
                answer.json()["detail"],
            )


def test_a_visitor_does_not_read_another_visitors_stream(visitor, nobody, web, pages):
    """A window's name travels in addresses; it is bound to the cookie."""
    with web.database.connect() as conn:
        turn = make_turn(conn, owner_id=visitor.id, answer="Only for its asker [1].")
    other = nobody()
    other.get("/")
    visitor.call(pages[""]["ChatPage.arrive"], str(turn.conversation_id), session="shared")

    overheard = other.results(session="shared")
    own = visitor.results(session="shared")

    assert "Only for its asker" not in str(overheard)
    assert "Only for its asker" in str(own)


def test_another_visitors_conversation_stays_shut(nobody, visitor, web, pages):
    """Its id may be known from a shared screen; whoever asks for it sees an empty page."""
    with web.database.connect() as conn:
        turn = make_turn(conn, owner_id=visitor.id, answer="Only for its asker [1].")
    other = nobody()
    other.get("/")

    other.call(pages[""]["ChatPage.arrive"], str(turn.conversation_id))

    assert "Only for its asker" not in str(other.results())
    assert 404 == other.get(f"/turns/{turn.id}/passages/1").status_code


def test_find_route_knows_no_other_method():
    """A route is a method and a path."""
    assert policy.find_route("DELETE", "/") is None
    assert policy.find_route("POST", "/health") is None
