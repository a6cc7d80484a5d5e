"""The series: how throughput, cost and memory grow with one thing, all else being equal."""

from dataclasses import dataclass
from typing import Callable

from . import rules, servers
from .measure import Bench

# Calls under way in all series but those about them: 4 connections × 32, as in the table.
UNDER_WAY = 128

# Place for ten million counters and what they need to be placed well.
MAX_COUNTERS = 30_000_000

# Filling ten million takes a minute at 170,000 calls a second; a busy machine gets ten.
FILL_SECS = 600


@dataclass(frozen=True)
class Series:
    name: str
    title: str
    axis: str
    secs: Callable  # of a Bench: how long it takes, roughly
    run: Callable  # of a Bench: {x: figures of that point}


def points_secs(bench, points):
    return points * (bench.sizes.points * (bench.sizes.warm_secs + bench.sizes.secs) + 0.5)


def cores(bench: Bench):
    points = {}
    for count in cores_of(bench):
        with servers.tallygate(bench.programs, rules.standard(), cores=count) as server:
            points[count] = bench.point(server, "one", outstanding=32)
    return points


def cores_of(bench):
    """1, 2, 4, ... and all."""
    return sorted({1 << power for power in range(bench.cores.bit_length())} | {bench.cores})


def connections(bench: Bench):
    with servers.tallygate(bench.programs, rules.standard()) as server:
        return {
            count: bench.point(server, "one", connections=count, outstanding=max(1, UNDER_WAY // count))
            for count in bench.sizes.series_connections
        }


OUTSTANDING = (1, 4, 16, 64, 256)


def outstanding(bench: Bench):
    with servers.tallygate(bench.programs, rules.standard()) as server:
        return {4 * count: bench.point(server, "one", outstanding=count) for count in OUTSTANDING}


def keys(bench: Bench):
    points = {}
    for count in bench.sizes.series_keys:
        with servers.tallygate(bench.programs, rules.standard(), max_counters=MAX_COUNTERS) as server:
            # Every key once, so that all its counters are there before anything is measured.
            bench.load(server, "one", keys=count, calls=count, timeout_secs=FILL_SECS)
            points[count] = bench.point(server, "one", keys=count)
    return points


def many(bench: Bench):
    points = {}
    for count in bench.sizes.series_rules:
        with servers.tallygate(bench.programs, rules.many(count)) as server:
            points[count] = bench.point(server, "one")
    return points


def windows(bench: Bench):
    with servers.tallygate(bench.programs, rules.standard()) as server:
        return {count: bench.point(server, f"windows_{count}") for count in range(1, len(rules.WINDOWS) + 1)}


DESCRIPTORS = 8


def descriptors(bench: Bench):
    with servers.tallygate(bench.programs, rules.standard()) as server:
        several = [f"several_{number}" for number in range(1, DESCRIPTORS + 1)]
        return {count: bench.point(server, *several[:count]) for count in range(1, DESCRIPTORS + 1)}


SERIES = [
    Series("cores", "Cores", "cores that serve", lambda bench: points_secs(bench, len(cores_of(bench))), cores),
    Series(
        "connections",
        "Connections",
        "connections",
        lambda bench: points_secs(bench, len(bench.sizes.series_connections)),
        connections,
    ),
    Series(
        "outstanding",
        "Calls under way",
        "calls under way on four connections",
        lambda bench: points_secs(bench, len(OUTSTANDING)),
        outstanding,
    ),
    Series(
        "keys",
        "Keys",
        "keys, each with a counter",
        lambda bench: points_secs(bench, len(bench.sizes.series_keys)) + sum(bench.sizes.series_keys) / 100_000,
        keys,
    ),
    Series("rules", "Rules", "rules", lambda bench: points_secs(bench, len(bench.sizes.series_rules)) + 5, many),
    Series(
        "windows",
        "Windows of a rule",
        "windows of the rule",
        lambda bench: points_secs(bench, len(rules.WINDOWS)),
        windows,
    ),
    Series(
        "descriptors",
        "Descriptors of a request",
        "descriptors of the request",
        lambda bench: points_secs(bench, DESCRIPTORS),
        descriptors,
    ),
]
