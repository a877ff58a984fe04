"""A rehearsal stage for compose.yaml: its services as processes on this machine, no Docker."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import compose_spec
import psutil

from core.settings import ROOT
from stack import postgres
from stack.postgres import bin_dir
from stack.programs import redis_bin_dir
from tests.conftest import _wait_for_postgres
from tests.web import free_port

VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")


def interpolate(text, env):
    """Put variables in as Compose does: `${A}`, `${A:-default}`, `${A:?message}`, `$$`."""

    def value(match):
        name, how, word = match[1], match[2], match[3] or ""
        if env.get(name):
            return env[name]
        if how == ":?":
            raise LookupError(f"{name}: {word}")
        return word

    return VARIABLE.sub(value, text).replace("$$", "$")


def read_compose(env):
    """Parse and check compose.yaml with these variables; return it as a plain dict."""
    options = compose_spec.PyOptions(apply_merge=True)
    text = interpolate((ROOT / "compose.yaml").read_text(), env)
    parsed = options.from_yaml(text)
    parsed.validate()
    return parsed.to_dict()


@contextmanager
def running_postgres(spec):
    """Run a Postgres as the image does at its first start; yield its port on loopback."""
    service = spec["services"]["postgres"]
    env = service["environment"]
    folder = Path(tempfile.mkdtemp(prefix="rt-", dir="/tmp"))
    folder.chmod(0o711)  # Postgres's own user passes through
    data, port = folder / "pg", free_port()
    postgres.prepare_data_folder(data)
    hba = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    (data / "pg_hba.conf").write_text(hba)
    where = ("listen_addresses=127.0.0.1", f"port={port}", "fsync=off")
    command = [word for word in postgres.server_command(data, *where) if word not in ("-h", "")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, **postgres.identity())
    try:
        admin = f"host={data} port={port} user={env['POSTGRES_USER']}"
        _wait_for_postgres(f"{admin} dbname=postgres", server)
        postgres.ensure_database(f"{admin} dbname=postgres", env["POSTGRES_DB"])
        where = {"PGHOST": str(data), "PGPORT": str(port), "PGUSER": env["POSTGRES_USER"]}
        for volume in service["volumes"]:
            if ":/docker-entrypoint-initdb.d/" in volume:
                script = ROOT / volume.split(":")[0]
                psql = [bin_dir() / "psql", "-X", "-v", "ON_ERROR_STOP=1", "-f", script]
                subprocess.run(
                    [*psql, "-d", env["POSTGRES_DB"]], env=env | where, check=True, cwd="/"
                )
        yield port
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


class Stage:
    """Runs services with the hosts, ports and folders of their network replaced by local ones."""

    def __init__(self, spec, folder, replaced, extra_env):
        self.services = spec["services"]
        self.folder, self.replaced, self.extra_env = folder, replaced, extra_env
        self.running = {}

    def words(self, words):
        """A command or value with its network's names replaced by this machine's."""
        if isinstance(words, list):
            return [self.words(word) for word in words]
        for old, new in self.replaced.items():
            words = words.replace(old, new)
        return words

    def env(self, name):
        """The service's own environment on a bare one, as in a container."""
        path = [Path(sys.executable).parent, redis_bin_dir(), bin_dir(), "/usr/bin", "/bin"]
        own = self.services[name].get("environment", {})
        given = {key: self.words(str(value)) for key, value in own.items()}
        bare = {"PATH": ":".join(map(str, path)), "HOME": str(self.folder), "LANG": "C.UTF-8"}
        return bare | given | self.extra_env

    def start(self, name):
        """Start a service's command in the background."""
        command = self.words(self.services[name]["command"])
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                command,
                env=self.env(name),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self, name):
        """Run a one-shot service to its end."""
        self.start(name)
        assert self.running.pop(name).wait(timeout=120) == 0, self.log(name).read_text()

    def wait_until_healthy(self, name, within_s):
        """Run the service's own health check until it passes."""
        deadline = time.monotonic() + within_s
        while (check := self.check(name)).returncode:
            ended = name in self.running and self.running[name].poll() is not None
            assert not ended, self.log(name).read_text()[-3000:]
            assert time.monotonic() < deadline, f"{check.stderr}\n{self.log(name).read_text()}"
            time.sleep(0.5)

    def check(self, name):
        """Run the service's health check once."""
        test = self.services[name]["healthcheck"]["test"]
        # The parser gives [CMD-SHELL, line] back as the line.
        command = ["sh", "-c", test] if isinstance(test, str) else test[1:]
        return subprocess.run(
            self.words(command),
            env=self.env(name),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def arguments(self):
        """The arguments of all running processes of the services, one process a line."""
        for process in self.running.values():
            own = psutil.Process(process.pid)
            for each in (own, *own.children(recursive=True)):
                with suppress(psutil.Error):  # ended meanwhile
                    yield " ".join(each.cmdline())

    def log(self, name):
        """Where a service's output goes."""
        return self.folder / f"{name}.log"

    def stop(self):
        """Stop all services, each with its own signal, with all their children."""
        for name, process in reversed(self.running.items()):
            number = getattr(signal, self.services[name].get("stop_signal", "SIGTERM"))
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            with suppress(ProcessLookupError):  # whatever is left of its session
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)
