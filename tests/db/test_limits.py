"""How often a visitor and an address may do a thing, counted in a real Redis."""

import subprocess
from uuid import uuid4

import pytest
import redis

from bot.web.limits import Meter
from core.errors import Busy, ConfigurationError
from core.settings import Settings
from stack.programs import redis_bin_dir
from tests.builders import ANNA, BEN

HERE, THERE = "203.0.113.7", "203.0.113.8"


@pytest.fixture(scope="module")
def redis_socket(short_tmp):
    """The socket of a Redis of this module's own."""
    path = short_tmp / "limits.sock"
    command = [str(redis_bin_dir() / "redis-server"), "--port", "0", "--unixsocket", str(path)]
    server = subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL)
    client = redis.Redis(unix_socket_path=str(path))
    while True:
        try:
            client.ping()
            break
        except redis.ConnectionError:
            assert server.poll() is None
    client.close()
    yield path
    server.terminate()
    server.wait(timeout=10)


@pytest.fixture
def meter(redis_socket):
    """A function that makes one web process's meter."""
    client = redis.Redis(unix_socket_path=str(redis_socket))
    client.flushall()
    client.close()

    def make(broker=f"redis+socket://{redis_socket}", **limits):
        return Meter(Settings(broker_url=broker, _env_file=None, **limits))

    return make


def test_web_processes_count_together(meter):
    """Else each process more would lift the limit."""
    one, other = meter(limit_questions="3/minute"), meter(limit_questions="3/minute")
    one.count("questions", ANNA, HERE)
    other.count("questions", ANNA, HERE)
    one.count("questions", ANNA, HERE)

    with pytest.raises(Busy, match=r"too many questions in a short time; try again in \d+ s"):
        other.count("questions", ANNA, HERE)
    other.count("questions", BEN, HERE)


def test_an_address_is_counted_whatever_cookie_it_shows(meter):
    """Cookies are made at will."""
    counts = meter(limit_corrections_per_address="5/hour")
    for _ in range(5):
        counts.count("corrections", uuid4(), HERE)

    with pytest.raises(Busy, match="too many corrections"):
        counts.count("corrections", uuid4(), HERE)
    counts.count("corrections", uuid4(), THERE)


@pytest.mark.parametrize("kind", ["questions", "thumbs", "corrections"])
def test_each_kind_has_a_limit_by_default(meter, kind):
    """A product that is not configured must not be open."""
    counts = meter()

    def go_on():
        while True:
            counts.count(kind, ANNA, HERE)

    with pytest.raises(Busy):
        go_on()


def test_sign_ins_are_counted_by_address(meter):
    """There is no visitor to count before the password."""
    counts = meter(limit_sign_ins_per_address="2/minute")
    counts.count_sign_in(HERE)
    counts.count_sign_in(HERE)

    with pytest.raises(Busy):
        counts.count_sign_in(HERE)


def test_while_redis_is_away_the_process_counts_alone(meter, tmp_path):
    """A broker that is down must open no gate, and stop no customer."""
    counts = meter(broker=f"redis+socket://{tmp_path}/none.sock", limit_thumbs="2/minute")
    counts.count("thumbs", ANNA, HERE)
    counts.count("thumbs", ANNA, HERE)

    with pytest.raises(Busy):
        counts.count("thumbs", ANNA, HERE)


def test_another_kind_of_broker_is_no_obstacle(meter):
    """RabbitMQ counts nothing; the process does."""
    counts = meter(broker="amqp://rabbit", limit_thumbs="1/minute")
    counts.count("thumbs", ANNA, HERE)

    with pytest.raises(Busy):
        counts.count("thumbs", ANNA, HERE)


def test_a_limit_that_is_none_is_named(meter):
    """An operator reads this at the first start."""
    with pytest.raises(ConfigurationError, match=r"RATCHET_LIMIT_THUMBS is 'many'"):
        meter(limit_thumbs="many")
