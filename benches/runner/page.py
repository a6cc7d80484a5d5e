"""Writes figures into `docs/performance.md`, between its markers, with a plot for each series."""

import json
import re

from .plot import Panel, plot
from .rows import STEPS
from .series import SERIES
from .servers import ROOT, Failed

PAGE = ROOT / "docs" / "performance.md"
PLOTS = "performance"  # beside the page


def write(results, page, directory):
    """The page's text with these results, and the plots beside it, under `directory`."""
    plots = directory / PLOTS
    plots.mkdir(parents=True, exist_ok=True)
    for series in SERIES:
        if series.name in results["series"]:
            (plots / f"{series.name}.svg").write_text(picture(series, results["series"][series.name]))
    (plots / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (directory / PAGE.name).write_text(filled(page, results))


def filled(page, results):
    page = between(page, "machine", machine(results["machine"]))
    page = between(page, "speed", table(results["rows"]))
    for series in SERIES:
        points = results["series"].get(series.name)
        page = between(page, series.name, series_block(series, points) if points else "Not measured in this run.")
    return page


def between(page, name, text):
    marked = rf"(<!-- figures: {name} -->\n).*?(<!-- end -->)"
    page, found = re.subn(marked, lambda match: f"{match[1]}{text}\n{match[2]}", page, flags=re.DOTALL)
    if found != 1:
        raise Failed(f"{PAGE.name} has {found} places for the figures `{name}`, and should have one")
    return page


def machine(about):
    text = (
        f"Measured on {about['date']}, commit `{about['commit']}`: {about['cpu']}, {about['cores']} cores, "
        f"{about['memory_bytes'] / 2**30:.0f} GiB, {about['kernel']}, {about['compiler']}. "
        f"The machine's load in the minute before was {about['load_before']}"
    )
    # Two tenths of a core: what an idle system does.
    return text + (": **it was busy, so read ratios only.**" if about["load_before"] > 0.2 else ".")


def table(rows):
    lines = ["| what | tallygate | compared with | ratio | aim |", "|---|---|---|---|---|"]
    for step in STEPS:
        if step.name in rows:
            lines += [f"| {' | '.join(cells)} |" for cells in step.lines(rows[step.name])]
    return "\n".join(lines)


def series_block(series, points):
    lines = [f"![{series.title}: the plot of the table below]({PLOTS}/{series.name}.svg)", ""]
    lines += [
        f"| {series.axis} | decisions a second | CPU a decision | p50 | p99 | resident |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for x, point in sorted((int(x), point) for x, point in points.items()):
        lines.append(
            f"| {x:,} | {point['rate']:,.0f} | {point['cpu_us']:.2f} µs | {point['p50_us']:,.0f} µs "
            f"| {point['p99_us']:,.0f} µs | {point['resident_bytes'] / 1e6:,.1f} MB |"
        )
    return "\n".join(lines)


def picture(series, points):
    points = sorted((int(x), point) for x, point in points.items())

    def of(name, scale=1):
        return [(x, point[name] * scale) for x, point in points]

    panels = [
        Panel("decisions a second", of("rate")),
        Panel("CPU a decision, µs", of("cpu_us")),
        Panel("resident, MB", of("resident_bytes", 1e-6)),
    ]
    return plot(f"{series.title}: decisions a second, CPU and memory", series.axis, panels)
