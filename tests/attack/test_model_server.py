"""The model server as another user of the machine finds it: nowhere to connect, no key to guess."""

import errno
import os
import pwd
import socket
from pathlib import Path

import httpx
import psutil
import pytest

from core import learning
from core.errors import InvalidInput
from core.vllm import VllmClient, open_http, split_url
from stack.leftovers import find_leftovers
from tests.builders import make_messages
from tests.deployed import promote
from training import deploy, registry
from training.adapter_weights import WEIGHTS_FILE


def listening_ports(home):
    """The TCP ports on which the stack's model server listens, by address."""
    pids = {process.pid for process in find_leftovers(home, "vllm")}
    return {
        (c.laddr.ip, c.laddr.port)
        for c in psutil.net_connections("tcp")
        if c.pid in pids and c.status == psutil.CONN_LISTEN
    }


def speaks_http(address):
    """Whether a port answers to HTTP."""
    try:
        httpx.get(f"http://{address[0]}:{address[1]}/health", timeout=2)
    except httpx.HTTPError:
        return False
    return True


def test_the_model_server_answers_on_no_port(stack, vllm):
    """Whoever was on the machine could unload the live adapter and load other weights."""
    assert vllm.healthy()
    assert [] == [port for port in listening_ports(stack.settings.home) if speaks_http(port)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as somebody else")
def test_another_user_can_not_connect_to_its_socket(stack):
    """The folder around the socket is its owner's only."""
    _, path = split_url(stack.settings.vllm_base_url)
    assert 0o700 == Path(path).parent.stat().st_mode & 0o777
    assert errno.EACCES == as_nobody(path)


def as_nobody(path):
    """Connect to a socket as another user, in a process of its own; return the error's number."""
    person = pwd.getpwnam("nobody")
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(person.pw_gid)
        os.setuid(person.pw_uid)
        os._exit(socket.socket(socket.AF_UNIX).connect_ex(path))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_even_over_the_socket_a_key_is_asked_for(stack):
    """The second lock, for the routes that it covers."""
    with open_http(stack.settings.vllm_base_url, "", timeout_s=10) as http:
        assert 401 == http.get("/v1/models").status_code
        body = {"lora_name": "x", "lora_path": "/"}
        assert 401 == http.post("/v1/load_lora_adapter", json=body).status_code
        assert 200 == http.get("/health").status_code


def test_the_key_stands_in_no_argument(stack):
    """Everybody on a machine can read the arguments of its processes."""
    key = stack.settings.vllm_key
    for process in find_leftovers(stack.settings.home):
        assert key not in " ".join(process.cmdline())


def test_weights_under_a_live_name_from_elsewhere_are_put_right(
    database, stack_settings, vllm, make_adapter
):
    """A name proves nothing; path and hash do."""
    with database.connect() as conn:
        name = registry.register(conn, stack_settings, make_adapter("ours", 1, size=0.3), None).name
    promote(database, stack_settings, name)
    right = answer(vllm, name)
    foreign = make_adapter("foreign", 2, size=0.3)
    vllm.unload_adapter(name)
    vllm.load_adapter(name, str(foreign))
    assert right != answer(vllm, name)

    changes = deploy.bring(database, stack_settings)

    assert [f"unloaded a foreign {name}, which came from {foreign}", f"loaded {name}"] == changes
    assert right == answer(vllm, name)
    assert [] == deploy.bring(database, stack_settings)


def test_files_changed_under_a_live_adapter_are_not_served(
    database, stack_settings, vllm, make_adapter
):
    """vLLM reads them again whenever its cache has forgotten them: what was live before answers."""
    names = []
    for seed in (1, 2):
        with database.connect() as conn:
            folder = make_adapter(f"a{seed}", seed)
            names.append(registry.register(conn, stack_settings, folder, None).name)
        promote(database, stack_settings, names[-1])
    weights = stack_settings.adapters / names[1] / WEIGHTS_FILE
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")

    changes = deploy.bring(database, stack_settings)

    assert names[1] not in vllm.adapters()
    assert any("changed since it was registered" in line for line in changes)
    with database.connect() as conn:
        assert names[0] == learning.live_adapter(conn)


def answer(vllm, model):
    """What a model says to one question, always the same."""
    return vllm.generate(model, make_messages("Hello"), max_tokens=16, temperature=0.0).text


def test_a_client_without_the_key_is_told_so(stack):
    """An operator with a wrong key reads why nothing works."""
    client = VllmClient(stack.settings.vllm_base_url, "wrong")
    with pytest.raises(InvalidInput, match="Unauthorized"):
        client.adapters()
    client.close()
