"""One measurement: a load on a server, and medians of several."""

import json
import os
import statistics
import subprocess
from dataclasses import dataclass

from .servers import Failed, Programs


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    warm_secs: float
    secs: float
    rounds: int  # of a comparison: odd, so that a median is one of them
    points: int  # repetitions of a point of a series
    keys: int
    rules: int
    redis_batches: int  # of calls in a row, see `redis`
    series_keys: tuple
    series_rules: tuple
    series_connections: tuple


FULL = Sizes(
    # Half a second fills the tables of every connection and the caches; three seconds are 300 ticks of the clock by which
    # the system accounts for processor time.
    warm_secs=0.5,
    secs=3,
    rounds=5,
    points=3,
    keys=100_000,
    rules=100_000,
    redis_batches=200,
    series_keys=(1_000, 10_000, 100_000, 1_000_000, 10_000_000),
    series_rules=(10, 100, 1_000, 10_000, 100_000),
    series_connections=(1, 4, 64, 1_000),
)

# Everything once and hardly any of it: shows that the benchmarks work, and nothing else.
QUICK = Sizes(
    warm_secs=0.1,
    secs=0.2,
    rounds=1,
    points=1,
    keys=1_000,
    rules=1_000,
    redis_batches=5,
    series_keys=(1_000, 10_000),
    series_rules=(10, 1_000),
    series_connections=(1, 64),
)


@dataclass(frozen=True)
class Bench:
    programs: Programs
    sizes: Sizes

    @property
    def cores(self):
        """Cores that this process may use."""
        return len(os.sched_getaffinity(0))

    def load(self, server, *descriptors, to=None, timeout_secs=None, **options):
        """Runs one load and returns what it printed. Options are those of the load, `rate=1000` for `--rate 1000`."""
        sizes = self.sizes
        options = {"warm": sizes.warm_secs, "secs": sizes.secs, "keys": sizes.keys, "connections": 4} | options
        # One thread of load keeps several cores of the service busy, but not all of a large machine.
        options.setdefault("threads", min(max(1, self.cores // 4), options["connections"]))
        command = [self.programs.load, "--to", f"127.0.0.1:{to or server.to}", "--pid", server.pid]
        command += [word for key in descriptors for word in ("--descriptor", key)]
        command += [word for name, value in options.items() for word in (f"--{name}", value)]
        # It ends by itself after its time and two seconds of patience.
        timeout_secs = timeout_secs or options["warm"] + options["secs"] + 20
        try:
            done = subprocess.run(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_secs,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"the load did not end within {timeout_secs:.0f} s") from error
        if done.returncode != 0:
            server.check()
            raise Failed(f"{done.stderr.strip()} (of {server.name})")
        return json.loads(done.stdout)

    def alternate(self, sides):
        """Runs each of `sides` (name to a function that measures) in every round; a round begins where the last one
        ended, so that none always comes first. Returns the list of each side's results."""
        results = {name: [] for name in sides}
        for number in range(self.sizes.rounds):
            order = list(sides) if number % 2 == 0 else list(reversed(sides))
            for name in order:
                results[name].append(sides[name]())
        return results

    def point(self, server, *descriptors, **options):
        """One point of a series: medians of several runs."""
        runs = [self.load(server, *descriptors, **options) for _ in range(self.sizes.points)]
        return {name: median(runs, name) for name in ("rate", "cpu_us", "p50_us", "p99_us", "resident_bytes")}


def median(runs, name):
    return statistics.median(run[name] for run in runs)


def ratio(runs, others, name):
    """The median of each round's ratio: what both sides of a round suffer from cancels out."""
    return statistics.median(ours[name] / theirs[name] for ours, theirs in zip(runs, others))
