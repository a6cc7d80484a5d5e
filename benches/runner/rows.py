"""The rows of the table "Speed and memory": how each is measured, and what it says."""

import re
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import Callable

from . import rules, servers
from .measure import Bench, median, ratio
from .redis import redis_cpu, redis_cpu_lines
from .servers import ROOT, Failed

# Bytes that make the constant answer as large as a full one of ours, some 300 bytes.
PAD = 260

# Rate of requests through Envoy: what one core with Envoy, upstream, service and load on it carries without queues.
ENVOY_RATE = 1_000


@dataclass(frozen=True)
class Step:
    """Some rows that are measured together."""

    name: str
    title: str
    secs: Callable  # of a Bench: how long it takes, roughly
    run: Callable  # of a Bench: figures, as results.json keeps them
    lines: Callable  # of figures: (what, tallygate, compared with, ratio, aim) for each row
    in_quick: bool = True


def runs_secs(bench, sides):
    return bench.sizes.rounds * sides * (bench.sizes.warm_secs + bench.sizes.secs) + 2


# Against the ceiling


def against_constant(bench: Bench, outstanding):
    with (
        servers.tallygate(bench.programs, rules.standard()) as ours,
        servers.constant(bench.programs, bench.cores) as constant,
        servers.constant(bench.programs, bench.cores, PAD) as padded,
    ):
        runs = bench.alternate({
            side: lambda server=server: bench.load(server, "one", outstanding=outstanding)
            for side, server in (("tallygate", ours), ("constant", constant), ("padded", padded))
        })
    figures = {}
    for what in ("cpu_us", "rate"):
        figures[what] = {side: median(results, what) for side, results in runs.items()}
        for side in ("constant", "padded"):
            figures[what][f"to_{side}"] = ratio(runs["tallygate"], runs[side], what)
    return figures


def decision_lines(figures):
    cpu, rate = figures["cpu_us"], figures["rate"]
    yield from cpu_lines(figures, "4 × 32")
    yield (
        "decisions a second, 4 × 32",
        f"{rate['tallygate']:,.0f}",
        f"{rate['constant']:,.0f} constant",
        times(rate["to_constant"]),
        "≥ 1.0",
    )
    yield (
        "the same against an answer as large as ours",
        f"{cpu['tallygate']:.2f} µs",
        f"{cpu['padded']:.2f} µs constant, padded",
        times(cpu["to_padded"]),
        "",
    )


def cpu_lines(figures, shape):
    cpu = figures["cpu_us"]
    yield (
        f"CPU a decision, {shape}",
        f"{cpu['tallygate']:.2f} µs",
        f"{cpu['constant']:.2f} µs constant",
        times(cpu["to_constant"]),
        "≤ 1.0; 0.75",
    )


# Latency


def latency(bench: Bench):
    with (
        servers.tallygate(bench.programs, rules.standard()) as ours,
        servers.constant(bench.programs, bench.cores) as constant,
    ):
        # Open loop, each call comes alone: half of what calls that come alone can be at most.
        most = [bench.load(ours, "one", outstanding=1) for _ in range(bench.sizes.rounds)]
        rate = round(median(most, "rate") / 2)
        # What the constant answer takes at the same rate is the machine's share: its pauses are in every tail.
        runs = bench.alternate({
            side: lambda server=server: bench.load(server, "one", rate=rate)
            for side, server in (("tallygate", ours), ("constant", constant))
        })
    return {"rate": rate} | {
        side: {name: median(results, name) for name in ("p50_us", "p99_us", "p999_us", "max_us")}
        for side, results in runs.items()
    }


def latency_lines(figures):
    yield (
        f"latency at half of the rate of 4 × 1 ({figures['rate']:,} a second, open loop): p50, p99, p99.9",
        quantiles(figures["tallygate"]),
        f"{quantiles(figures['constant'])} constant",
        "",
        "p99 ≤ 1 ms, p99.9 ≤ 5 ms",
    )


def quantiles(figures):
    return ", ".join(milliseconds(figures[name]) for name in ("p50_us", "p99_us", "p999_us"))


# One server, two kinds of calls


def two_kinds(bench: Bench, kinds, **options):
    """CPU a decision of two kinds of calls on one server: the second to the first."""
    with servers.tallygate(bench.programs, rules.standard()) as server:
        runs = bench.alternate({
            name: lambda descriptors=descriptors, extra=extra: bench.load(
                server, *descriptors, outstanding=32, **options, **extra
            )
            for name, (descriptors, extra) in kinds.items()
        })
    first, second = kinds
    figures = {name: median(results, "cpu_us") for name, results in runs.items()}
    return figures | {"ratio": ratio(runs[second], runs[first], "cpu_us")}


def three(bench):
    return two_kinds(bench, {"one": (["one"], {}), "three": ([f"three_{number}" for number in range(1, 4)], {})})


def three_lines(figures):
    yield (
        "CPU of three descriptors of two windows each, headers and metadata",
        f"{figures['three']:.2f} µs",
        f"{figures['one']:.2f} µs, one of one",
        times(figures["ratio"]),
        "≤ 1.6",
    )


def flood(bench):
    # So few keys that the load before the measured one uses each of them up.
    return two_kinds(bench, {"accepted": (["one"], {}), "refused": (["flood"], {"expect": "over"})}, keys=100)


def flood_lines(figures):
    yield (
        "CPU of a refusal in a flood: 429 with headers and JSON body",
        f"{figures['refused']:.2f} µs",
        f"{figures['accepted']:.2f} µs, accepted",
        times(figures["ratio"]),
        "≤ 1.2",
    )


# Rules


def many_rules(bench: Bench):
    count = bench.sizes.rules
    with (
        servers.tallygate(bench.programs, rules.many(10)) as ten,
        servers.tallygate(bench.programs, rules.many(count)) as many,
    ):
        runs = bench.alternate({
            "ten": lambda: bench.load(ten, "one", outstanding=32),
            "many": lambda: bench.load(many, "one", outstanding=32),
        })
    figures = {name: median(results, "cpu_us") for name, results in runs.items()}
    return figures | {"rules": count, "ratio": ratio(runs["many"], runs["ten"], "cpu_us")}


def many_rules_lines(figures):
    yield (
        f"CPU a decision with {figures['rules']:,} rules",
        f"{figures['many']:.2f} µs",
        f"{figures['ten']:.2f} µs, 10 rules",
        times(figures["ratio"]),
        "≤ 1.1",
    )


# Start and size


def start(bench: Bench):
    few, many = [], []
    for _ in range(bench.sizes.rounds):
        with servers.tallygate(bench.programs, rules.many(10)) as server:
            few.append(server.ready_secs)
            time.sleep(1)  # what a start needs for a moment is given back
            resident = server.resident_bytes()
        with servers.tallygate(bench.programs, rules.many(bench.sizes.rules)) as server:
            many.append(server.ready_secs)
    return {
        "ready_secs": statistics.median(few),
        "rules": bench.sizes.rules,
        "load_secs": statistics.median(many) - statistics.median(few),
        "resident_bytes": resident,
        "binary_bytes": bench.programs.tallygate.stat().st_size,
    }


def start_lines(figures):
    yield "start to ready", f"{figures['ready_secs'] * 1e3:.0f} ms", "", "", "≤ 200 ms"
    yield f"loading {figures['rules']:,} rules", f"{figures['load_secs']:.2f} s", "", "", "≤ 1 s"
    yield "resident at rest", f"{figures['resident_bytes'] / 1e6:.1f} MB", "", "", "≤ 15 MB"
    yield "the program", f"{figures['binary_bytes'] / 1e6:.1f} MB", "", "", "≤ 20 MB"


# Memory


def memory(bench: Bench):
    try:
        done = subprocess.run(
            [bench.programs.counters], cwd=ROOT, capture_output=True, text=True, timeout=900, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise Failed("examples/counters did not end within 15 minutes") from error
    rows = re.findall(r"^ *(\d+) M \| [\d.]+ B held \| ([\d.]+) B resident", done.stdout, re.MULTILINE)
    resident = {int(millions): float(each) for millions, each in rows}
    restored = re.search(r"counters read back from \d+ segments in ([\d.]+)(m?s)$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or 1 not in resident or 10 not in resident or not restored:
        raise Failed(f"examples/counters does not say what it should:\n{done.stdout}{done.stderr}")
    return {
        "bytes_at_1m": resident[1],
        "bytes_at_10m": resident[10],
        "most_bytes": max(resident.values()),
        "restore_secs": float(restored[1]) * {"s": 1, "ms": 1e-3}[restored[2]],
    }


def memory_lines(figures):
    yield (
        "memory a live counter, resident: at 1 M, at 10 M, and the most between",
        ", ".join(f"{figures[name]:.1f}" for name in ("bytes_at_1m", "bytes_at_10m", "most_bytes")) + " B",
        "",
        "",
        "≤ 50 B; 36",
    )
    yield "restoring 10 M counters", f"{figures['restore_secs']:.2f} s", "", "", "≤ 3 s"


# Behind Envoy


def behind_envoy(bench: Bench):
    with (
        servers.tallygate(bench.programs, rules.standard()) as ours,
        servers.envoy(bench.programs, ours.to) as envoy,
    ):
        runs = bench.alternate({
            side: lambda side=side: bench.load(
                envoy, to=envoy.ports[f"{side}_filter"], get="/hello", rate=ENVOY_RATE, threads=1
            )
            for side in ("with", "without")
        })
    return {"rate": ENVOY_RATE} | {
        side: {name: median(results, name) for name in ("p50_us", "p99_us")} for side, results in runs.items()
    }


def behind_envoy_lines(figures):
    for name, quantile in (("p50_us", "p50"), ("p99_us", "p99")):
        with_filter, without = figures["with"][name], figures["without"][name]
        yield (
            f"latency through Envoy at {figures['rate']:,} requests a second: {quantile}",
            f"{with_filter:.0f} µs",
            f"{without:.0f} µs without the filter",
            f"{with_filter - without:+.0f} µs",
            "",
        )


def times(ratio_of_two):
    return f"{ratio_of_two:.2f} ×"


def milliseconds(us):
    return f"{us / 1e3:.2f} ms"


STEPS = [
    Step(
        "decision",
        "a decision against a constant answer, 4 × 32",
        lambda bench: runs_secs(bench, 3),
        lambda bench: against_constant(bench, 32),
        decision_lines,
    ),
    Step(
        "light",
        "the same with one call on each connection",
        lambda bench: runs_secs(bench, 3),
        lambda bench: against_constant(bench, 1),
        lambda figures: cpu_lines(figures, "4 × 1"),
    ),
    Step("latency", "latency at half of the rate", lambda bench: runs_secs(bench, 3), latency, latency_lines),
    Step("three", "three descriptors of two windows", lambda bench: runs_secs(bench, 2), three, three_lines),
    Step("flood", "refusals", lambda bench: runs_secs(bench, 2), flood, flood_lines),
    Step("many", "many rules against ten", lambda bench: runs_secs(bench, 2) + 3, many_rules, many_rules_lines),
    Step("start", "start, loading, size", lambda bench: bench.sizes.rounds * 4, start, start_lines),
    Step("memory", "one to ten million counters", lambda bench: 90, memory, memory_lines, in_quick=False),
    Step("redis", "what Redis does for a decision", lambda bench: bench.sizes.rounds * 8 + 4, redis_cpu, redis_cpu_lines),
    Step("envoy", "behind Envoy", lambda bench: runs_secs(bench, 2), behind_envoy, behind_envoy_lines),
]
