"""Plots as SVG: small panels beside each other over the same axis, readable on white and on black."""

import math
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 268, 200  # of a panel: three fit a page of documentation
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 34, 44
# Greys and tones of middle lightness, at 3.5 : 1 and better on white as on GitHub's black.
TEXT, GRID = "#7a828c", "#7a828c"
TONES = ("#3b82d6", "#c9761b", "#2a9d6f")
# From this span on an axis is logarithmic: 1 to 8 is not, 1 to 64 is.
SPAN_OF_LOG = 20


@dataclass(frozen=True)
class Panel:
    title: str
    points: list  # of (x, y)


def plot(title, axis, panels):
    width = WIDTH * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="11" fill="{TEXT}">',
        f"<title>{escape(title)}</title>",
    ]
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate({number * WIDTH} 0)">')
        parts += draw(panel, axis, TONES[number % len(TONES)])
        parts.append("</g>")
    return "\n".join(parts + ["</svg>"]) + "\n"


def draw(panel, axis, tone):
    xs, ys = [x for x, _ in panel.points], [y for _, y in panel.points]
    x_of, y_ticks = x_scale(xs), ticks(max(ys))
    bottom, height = HEIGHT - BOTTOM, HEIGHT - TOP - BOTTOM

    def y_of(y):
        return bottom - y / y_ticks[-1] * height

    yield f'<text x="{LEFT}" y="16" font-size="13" font-weight="600">{escape(panel.title)}</text>'
    for y in y_ticks:
        at = y_of(y)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="{GRID}" stroke-opacity="0.3"/>'
        yield f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{short(y)}</text>'
    for x in labelled(xs, x_of):
        yield f'<text x="{x_of(x):.1f}" y="{bottom + 16}" text-anchor="middle">{short(x)}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{escape(axis)}</text>'
    line = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in panel.points)
    yield f'<polyline points="{line}" fill="none" stroke="{tone}" stroke-width="2" stroke-linejoin="round"/>'
    for x, y in panel.points:
        yield f'<circle cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="3.5" fill="{tone}"><title>{x:,}: {y:,.6g}</title></circle>'


def x_scale(xs):
    """Where an x stands, by its logarithm where the span is wide."""
    low, high = min(xs), max(xs)
    place = math.log if low > 0 and high / low >= SPAN_OF_LOG else float
    left, span = LEFT + 8, WIDTH - RIGHT - LEFT - 16
    if high == low:
        return lambda x: left + span / 2
    return lambda x: left + (place(x) - place(low)) / (place(high) - place(low)) * span


def labelled(xs, x_of):
    """Those with room for a label, from the left."""
    room, last = 26, -math.inf
    for x in xs:
        if x_of(x) - last >= room:
            last = x_of(x)
            yield x


def ticks(most):
    """From 0 to at least `most` in four to six round steps."""
    if most <= 0:
        return [0, 1]
    rough = most / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


def short(number):
    """1,000 as 1k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"
