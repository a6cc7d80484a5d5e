"""Starts the servers that are measured, on free ports of the loopback, and ends them again."""

import contextlib
import http.client
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from string import Template

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
OUTPUT = TARGET / "bench"

READY_SECS = 60  # starts take a fraction of a second; 100,000 rules on a busy machine in a build with assertions get patience
STOP_SECS = 60  # ten million counters are written to disk first
# Between two looks whether a server is ready: its start is measured by this, and is ten times as long at the least.
LOOK_SECS = 0.001


class Failed(Exception):
    """Something that the person at the terminal can understand and mend."""


class Server:
    """A process of ours and where it listens."""

    def __init__(self, name, command, ports, log):
        self.name, self.ports, self.log = name, ports, log
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TALLYGATE_")}
        self.started = time.monotonic()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for us; we stop them, in order
            )

    @property
    def pid(self):
        return self.process.pid

    def wait_until(self, ready):
        """Seconds from its start until `ready`."""
        while not ready():
            self.check()
            if time.monotonic() - self.started > READY_SECS:
                raise Failed(f"{self.name} is not ready after {READY_SECS} s; the end of its log:\n{self.tail()}")
            time.sleep(LOOK_SECS)
        return time.monotonic() - self.started

    def check(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with status {self.process.returncode}; its log ends:\n{self.tail()}")

    def resident_bytes(self):
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=STOP_SECS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def tail(self):
        lines = self.log.read_text(errors="replace").splitlines()[-20:]
        return "\n".join("  " + line for line in lines) or "  (empty)"


class Programs:
    """What is measured, built."""

    def __init__(self, tallygate, load, constant, counters=None, envoy=None):
        self.tallygate, self.load, self.constant, self.counters = tallygate, load, constant, counters
        self.envoy = envoy


@contextlib.contextmanager
def scratch():
    """A directory that is gone afterwards; on disk, as a state directory is."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=OUTPUT) as directory:
        yield Path(directory)


@contextlib.contextmanager
def tallygate(programs, rules, *, cores=0, max_counters="auto", store="memory"):
    """The service with these rules and an empty state directory, ready. `server.ready_secs` says how long that took."""
    with scratch() as directory:
        ports = free_ports("grpc", "http", "admin")
        (directory / "rules.yaml").write_text(rules)
        (directory / "state").mkdir()
        command = [programs.tallygate, "serve", "--rules", directory / "rules.yaml", "--state", directory / "state"]
        command += ["--drain-delay", "0s", "--cores", cores, "--max-counters", max_counters, "--store", store]
        # As in production: a log that nobody reads on a terminal.
        command += ["--log-format", "json"]
        for name, port in ports.items():
            command += [f"--{name}", f"127.0.0.1:{port}"]
        server = Server("tallygate", command, ports, directory / "log")
        with stopped_at_last(server):
            server.ready_secs = server.wait_until(lambda: is_ready(ports["http"]))
            server.to = ports["grpc"]
            yield server


@contextlib.contextmanager
def constant(programs, cores, pad=0):
    """The ceiling: always the same answer."""
    with scratch() as directory:
        ports = free_ports("grpc")
        command = [programs.constant, f"127.0.0.1:{ports['grpc']}", cores, pad]
        server = Server("constant", command, ports, directory / "log")
        with stopped_at_last(server):
            server.wait_until(lambda: accepts(ports["grpc"]))
            server.to = ports["grpc"]
            yield server


@contextlib.contextmanager
def redis():
    """A Redis server that keeps nothing on disk."""
    with scratch() as directory:
        ports = free_ports("redis")
        command = ["redis-server", "--port", ports["redis"], "--bind", "127.0.0.1", "--dir", directory]
        command += ["--save", "", "--appendonly", "no"]
        try:
            server = Server("redis-server", command, ports, directory / "log")
        except FileNotFoundError as error:
            raise Failed("redis-server is needed (make redis installs it)") from error
        with stopped_at_last(server):
            server.wait_until(lambda: accepts(ports["redis"]))
            server.to = ports["redis"]
            yield server


@contextlib.contextmanager
def envoy(programs, grpc):
    """Envoy in front of the service: `ports["with_filter"]` asks it, `ports["without_filter"]` does not."""
    with scratch() as directory:
        ports = free_ports("with_filter", "without_filter", "upstream")
        config = directory / "envoy.yaml"
        template = Template((Path(__file__).parent / "envoy.yaml").read_text())
        config.write_text(template.substitute(ports, grpc=grpc))
        command = [programs.envoy, "-c", config, "--disable-hot-restart", "--concurrency", 2, "--log-level", "warn"]
        server = Server("envoy", command, ports, directory / "log")
        with stopped_at_last(server):
            server.wait_until(lambda: all(accepts(port) for port in ports.values()))
            yield server


@contextlib.contextmanager
def stopped_at_last(server):
    try:
        yield
        server.check()
    finally:
        server.stop()


def free_ports(*names):
    """A free port for each name: all are held at once, so that no two are the same."""
    sockets = {name: socket.socket() for name in names}
    for one in sockets.values():
        one.bind(("127.0.0.1", 0))
    ports = {name: one.getsockname()[1] for name, one in sockets.items()}
    for one in sockets.values():
        one.close()
    return ports


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def is_ready(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
