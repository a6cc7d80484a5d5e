"""What Redis' processor does for a decision, against a bare script that makes the same increments.

The calls are those that the service sends, listened to with MONITOR; they are then sent again, to keys at random, by turns
with the bare script, over one connection on which many are under way, as the service does under load.
"""

import random
import re
import socket
from pathlib import Path

from . import rules, servers
from .measure import Bench, median, ratio
from .servers import Failed

# As little as counts at all: no limit is looked at, nothing is given back, and the server's time is not asked for.
BARE = """
local counted = {}
for i, key in ipairs(KEYS) do
  counted[i] = redis.call('INCRBY', key, ARGV[1])
  if counted[i] == tonumber(ARGV[1]) then
    redis.call('PEXPIRE', key, ARGV[1 + i])
  end
end
return counted
"""
# So many at once: the server reads and answers them together.
BATCH = 100
# Clients: so few that their counters are there after the first calls, which are not measured.
CLIENTS = 2_000

SHAPES = {
    "one": ("one counter", ["one"], ["day"]),
    "six": ("three descriptors of two windows", [f"three_{number}" for number in (1, 2, 3)], ["day", "minute"] * 3),
}
LENGTHS_MS = {"minute": 60_000, "day": 86_400_000}


def redis_cpu(bench: Bench):
    with (
        servers.redis() as server,
        servers.tallygate(bench.programs, rules.standard(), store=f"redis://127.0.0.1:{server.to}") as ours,
    ):
        redis = Redis(server.to)
        bare = redis.ask("SCRIPT", "LOAD", BARE).decode()
        figures = {"version": version(redis)}
        for name, (_, descriptors, windows) in SHAPES.items():
            call = usual_call(bench, server, ours, descriptors)
            lengths = [str(LENGTHS_MS[window]) for window in windows]
            bare_call = [b"EVALSHA", bare, str(len(windows)), *["bare"] * len(windows), "1", *lengths]
            sides = {"tallygate": call, "bare": bare_call}
            for side, call in sides.items():
                cpu_us(server, redis, call, side, bench.sizes.redis_batches)
            runs = bench.alternate({
                side: lambda side=side, call=call: {
                    "cpu_us": cpu_us(server, redis, call, side, bench.sizes.redis_batches)
                }
                for side, call in sides.items()
            })
            figures[name] = {side: median(results, "cpu_us") for side, results in runs.items()}
            figures[name]["ratio"] = ratio(runs["tallygate"], runs["bare"], "cpu_us")
        return figures


def redis_cpu_lines(figures):
    for name, (what, _, _) in SHAPES.items():
        shape = figures[name]
        yield (
            f"CPU of Redis {figures['version']} a decision, {what}",
            f"{shape['tallygate']:.2f} µs",
            f"{shape['bare']:.2f} µs, a bare script",
            f"{shape['ratio']:.2f} ×",
            "≤ 1.15",
        )


def usual_call(bench, server, ours, descriptors):
    """The last call of the script that the service sends while a load runs."""
    listening = Redis(server.to)
    listening.ask("MONITOR")
    bench.load(ours, *descriptors, outstanding=1, connections=1, keys=10, warm=0.1, secs=0.2)
    listening.connection.settimeout(0.5)
    call = None
    try:
        while True:
            words = re.findall(rb'"((?:[^"\\]|\\.)*)"', listening.answers.readline())
            # Not what the house asks besides, such as how many share the server.
            if words and words[0].upper() == b"EVALSHA" and words[3].startswith(b"tallygate:{bench}:"):
                call = [word.decode("latin1").encode().decode("unicode_escape").encode("latin1") for word in words]
    except TimeoutError:
        if not call:
            raise Failed("the service has sent no script to Redis") from None
        return call


def cpu_us(server, redis, call, side, batches):
    """Microseconds of the server's processor for one call of many."""
    keys = int(call[2])
    written = [batch(call, keys, side) for _ in range(batches)]
    before = cpu_secs(server.pid)
    for commands in written:
        redis.connection.sendall(commands)
        for _ in range(BATCH):
            redis.answer()
    return (cpu_secs(server.pid) - before) / (batches * BATCH) * 1e6


def batch(call, keys, side):
    commands = []
    for _ in range(BATCH):
        client = random.randrange(CLIENTS)
        names = [f"tallygate:{{{side}-{keys}}}:{client * 8 + number:032x}" for number in range(keys)]
        commands.append(encoded(*call[:3], *names, *call[3 + keys :]))
    return b"".join(commands)


def cpu_secs(pid):
    """Of all threads of a process, in nanoseconds' steps; `stat` would count in hundredths of a second."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def version(redis):
    return re.search(rb"redis_version:([\d.]+)", redis.ask("INFO", "server"))[1].decode()


class Redis:
    """A connection to a server."""

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.answers = self.connection.makefile("rb")

    def ask(self, *words):
        self.connection.sendall(encoded(*words))
        return self.answer()

    def answer(self):
        line = self.answers.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        if kind == b"$":
            return self.answers.read(int(rest) + 2)[:-2] if rest != b"-1" else None
        if kind not in (b"+", b":"):
            raise Failed(f"Redis answers {line.decode(errors='replace').strip()}")
        return rest


def encoded(*words):
    words = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
