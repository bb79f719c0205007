"""The report's figures as inline SVG: small, readable at phone width, with a title and a description.

Every figure is drawn on 440 units of width, so that its 13-unit letters stay readable when a phone
shrinks it. Series differ by dash and marker and are named in a legend: colour is never alone. All
colours are classes, which the page's style sheet fills for light, dark and print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 440
MOST_MARKERS = 24  # a line with more points than this is drawn without markers
LETTER_HEIGHT, LETTER_WIDTH = 14, 7.4  # of the names beside points, so that they do not lie on each other
MARKER = 4.5  # half the side of a point's marker
MOST_STEPS = 5  # between the ticks of an axis
MOST_POINTS = 400  # more would only make the file larger: a line is 440 units wide


@dataclass(frozen=True)
class Bar:
    """A pair of bars: a share before and after, each None where it was not measured."""

    label: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Series:
    """A line: its name and its (x, y) points, in the order of x."""

    name: str
    points: tuple[tuple[float, float], ...]


def meter(slug: str, title: str, value: float, interval: tuple[float, float] | None, threshold: float | None) -> Markup:
    """Return a track from 0 to 1 with the value, its interval as a band, and the threshold as a notch."""
    said = f"Score {value:.3f} on a track from 0 to 1"
    parts = [Markup('<line class="track" x1="8" y1="14" x2="232" y2="14"/>')]
    if interval is not None:
        low, high = (_clip(bound) for bound in interval)
        said += f"; 95 % interval {low:.3f} to {high:.3f}"
        parts.append(
            Markup('<rect class="band" x="{}" y="9" width="{}" height="10" rx="2"/>').format(
                _round(8 + 224 * low), _round(max(224 * (high - low), 1))
            )
        )
    if threshold is not None:
        said += f"; threshold {threshold:g}"
        x = _round(8 + 224 * _clip(threshold))
        parts.append(Markup('<line class="threshold" x1="{0}" y1="2" x2="{0}" y2="26"/>').format(x))
    parts.append(Markup('<circle class="value" cx="{}" cy="14" r="6"/>').format(_round(8 + 224 * _clip(value))))
    return _svg(slug, title, f"{said}.", (240, 28), parts, css_class="meter")


def paired_bars(slug: str, title: str, rows: Sequence[Bar], threshold: float | None) -> Markup:
    """Return horizontal bars of shares before (outlined) and after (filled), one pair a row."""
    left, right, top, step = 1, 388, 38, 52
    bottom = top + step * len(rows)
    parts = [
        Markup('<rect class="bar-before" x="1" y="3" width="22" height="10"/>'),
        _text(30, 13, "before"),
        Markup('<rect class="bar-after" x="101" y="3" width="22" height="10"/>'),
        _text(130, 13, "after"),
    ]
    if threshold is not None:
        x = _round(left + (right - left) * _clip(threshold))
        parts.append(Markup('<line class="threshold" x1="{0}" y1="{1}" x2="{0}" y2="{2}"/>').format(x, top - 8, bottom))
        parts.append(Markup('<line class="threshold" x1="212" y1="1" x2="212" y2="15"/>'))
        parts.append(_text(220, 13, f"threshold {threshold:g}"))
    for index, row in enumerate(rows):
        y = top + step * index
        parts.append(_text(left, y + 9, row.label, "strong"))
        for offset, share, name in ((16, row.before, "bar-before"), (29, row.after, "bar-after")):
            width = 0.0 if share is None else (right - left) * _clip(share)
            parts.append(
                Markup('<rect class="{}" x="{}" y="{}" width="{}" height="10"/>').format(
                    name, left, y + offset, _round(max(width, 1))
                )
            )
            shown = "–" if share is None else f"{share:.2f}"
            parts.append(_text(left + width + 6, y + offset + 10, shown))
    said = "; ".join(f"{row.label}: before {_said(row.before)}, after {_said(row.after)}" for row in rows)
    return _svg(slug, title, f"{said}.", (WIDTH, bottom), parts)


def line_chart(
    slug: str,
    title: str,
    series: Sequence[Series],
    *,
    x_name: str = "step",
    y_top: float | None = None,
    mark: tuple[float, str] | None = None,
) -> Markup:
    """Return a line chart with a legend above, ticks at round numbers and an optional marked x.

    Args:
        slug: Makes the element ids of this figure unique in the page.
        title: What the figure shows.
        series: At most three lines, with at least one point each.
        x_name: What x counts.
        y_top: End of the y axis; a round number above the data when not given.
        mark: An x and its name, drawn as a vertical line.
    """
    left, right, top, bottom = 48, WIDTH - 14, 56, 240
    drawn = [Series(line.name, _thin(line.points)) for line in series]
    xs = [x for line in drawn for x, _ in line.points] + ([mark[0]] if mark else [])
    ys = [y for line in drawn for _, y in line.points]
    y_low = min(0.0, *ys)
    y_ticks = _ticks(y_low, max(*ys, y_low) if y_top is None else max(y_top, *ys))
    y_low, y_high = y_ticks[0], y_ticks[-1]
    x_low, x_high = min(xs), max(xs)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        return left + (right - left) * across, bottom - (bottom - top) * (y - y_low) / (y_high - y_low)

    parts: list[Markup] = []
    for tick in y_ticks:
        y = place(x_low, tick)[1]
        parts.append(Markup('<line class="grid" x1="{0}" y1="{2}" x2="{1}" y2="{2}"/>').format(left, right, _round(y)))
        parts.append(_text(left - 8, y + 4.5, f"{tick:g}", "tick end"))
    for tick in (tick for tick in _ticks(x_low, x_high) if x_low <= tick <= x_high):
        parts.append(_text(place(tick, 0)[0], bottom + 19, f"{tick:g}", "tick middle"))
    parts.append(_text((left + right) / 2, bottom + 38, x_name, "tick middle"))
    if mark is not None:
        x = place(mark[0], 0)[0]
        parts.append(Markup('<line class="threshold" x1="{0}" y1="38" x2="{0}" y2="{1}"/>').format(_round(x), bottom))
        end = x > (left + right) / 2
        parts.append(_text(x - 5 if end else x + 5, 46, mark[1], "tick end" if end else "tick"))
    for index, line in enumerate(drawn):
        parts.extend(_line(index, [place(x, y) for x, y in line.points]))
        parts.extend(_legend(index, line.name))
    said = "; ".join(
        f"{line.name} from {line.points[0][1]:.3g} to {line.points[-1][1]:.3g}, "
        f"lowest {min(y for _, y in line.points):.3g}"
        for line in drawn
    )
    return _svg(slug, title, f"Against {x_name} {x_low:g} to {x_high:g}: {said}.", (WIDTH, bottom + 44), parts)


@dataclass(frozen=True)
class Point:
    """A point of a scatter plot, with half the length of its error bars (0 for none) and whether it is on the front."""

    name: str
    x: float
    y: float
    x_error: float = 0.0
    y_error: float = 0.0
    front: bool = False


@dataclass(frozen=True)
class Panel:
    """One scatter plot of shares from 0 to 1."""

    title: str
    x_name: str
    y_name: str
    points: tuple[Point, ...]


PANEL_HEIGHT = 316


def scatter(slug: str, title: str, panels: Sequence[Panel]) -> Markup:
    """Return scatter plots, one under the other, with error bars; a line joins the points on the front."""
    parts: list[Markup] = []
    for number, panel in enumerate(panels):
        parts.extend(_panel(panel, top=PANEL_HEIGHT * number))
    said = "; ".join(
        f"{panel.title}: "
        + ", ".join(
            f"{point.name} {panel.x_name} {point.x:.3f}, {panel.y_name} {point.y:.3f}{' on the front' * point.front}"
            for point in panel.points
        )
        for panel in panels
    )
    return _svg(slug, title, f"{said}.", (WIDTH, PANEL_HEIGHT * len(panels)), parts)


def _panel(panel: Panel, top: float) -> list[Markup]:
    left, right, high, low = 48.0, WIDTH - 92.0, top + 48, top + 260

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * _clip(x), low - (low - high) * _clip(y)

    parts = [_text(0, top + 16, panel.title, "strong")]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = place(tick, tick)
        parts.append(Markup('<line class="grid" x1="{0}" y1="{2}" x2="{1}" y2="{2}"/>').format(left, right, _round(y)))
        parts.append(_text(left - 8, y + 4.5, f"{tick:g}", "tick end"))
        parts.append(_text(x, low + 19, f"{tick:g}", "tick middle"))
    parts.append(_text((left + right) / 2, low + 38, panel.x_name, "tick middle"))
    parts.append(_text(left - 8, high - 10, panel.y_name, "tick end"))
    front = sorted((place(point.x, point.y) for point in panel.points if point.front), key=lambda pair: pair[0])
    if len(front) > 1:
        path = " ".join(f"{_round(x)},{_round(y)}" for x, y in front)
        parts.append(Markup('<polyline class="line line-0" points="{}"/>').format(path))
    ordered = sorted(panel.points, key=lambda point: -point.y)
    names = _place_names([(*place(point.x, point.y), point.name) for point in ordered], high - 8, low - 2)
    written: list[Markup] = []
    for point, (beside, middle) in zip(ordered, names, strict=True):
        x, y = place(point.x, point.y)
        ends = (place(point.x - point.x_error, 0)[0], place(point.x + point.x_error, 0)[0])
        rises = (place(0, point.y - point.y_error)[1], place(0, point.y + point.y_error)[1])
        bar = Markup('<line class="error" x1="{}" y1="{}" x2="{}" y2="{}"/>')
        parts.append(bar.format(_round(ends[0]), _round(y), _round(ends[1]), _round(y)))
        parts.append(bar.format(_round(x), _round(rises[0]), _round(x), _round(rises[1])))
        parts.append(_marker(0 if point.front else 1, x, y))
        if abs(middle - y) > LETTER_HEIGHT:  # far from its marker a name needs a line to it
            leader = Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>')
            parts.append(leader.format(_round(x), _round(y), _round(max(beside - 2, x)), _round(middle)))
        written.append(_text(beside, middle + 4.5, point.name))
    return [*parts, *written]  # names lie on all lines


Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


def _place_names(points: Sequence[tuple[float, float, str]], high: float, low: float) -> list[tuple[float, float]]:
    """Return where each name begins and the height of its middle, so that no name lies on a marker or a name.

    A name goes right of its marker where there is room, else left of it, else as little above or below as it takes.

    Args:
        points: Each marker's place and its name.
        high: Where the middle of a name may be at the top.
        low: Where it may be at the bottom.
    """
    taken: list[Box] = [(x - MARKER, y - MARKER, x + MARKER, y + MARKER) for x, y, _ in points]
    places = []
    for x, y, name in points:
        width = LETTER_WIDTH * len(name)
        rows = sorted((y + step for step in range(-140, 141, 2)), key=lambda row: abs(row - y))
        half = LETTER_HEIGHT / 2
        boxes = [
            (begin, row - half, begin + width, row + half)
            for row in rows
            if high <= row <= low
            for begin in (x + 9, x - 9 - width)
            if 0 <= begin <= WIDTH - width
        ]
        free = (box for box in boxes if not any(_overlap(box, other) for other in taken))
        box = next(free, (x + 9, y - half, x + 9 + width, y + half))
        taken.append(box)
        places.append((box[0], box[1] + half))
    return places


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _line(index: int, points: Sequence[tuple[float, float]]) -> list[Markup]:
    """Return a line, with markers where there are few enough points to tell them apart."""
    path = " ".join(f"{_round(x)},{_round(y)}" for x, y in points)
    parts = [Markup('<polyline class="line line-{}" points="{}"/>').format(index, path)]
    if len(points) <= MOST_MARKERS:
        parts.extend(_marker(index, x, y) for x, y in points)
    return parts


def _marker(index: int, x: float, y: float) -> Markup:
    if index == 0:
        return Markup('<circle class="mark mark-0" cx="{}" cy="{}" r="3.5"/>').format(_round(x), _round(y))
    if index == 1:
        return Markup('<rect class="mark mark-1" x="{}" y="{}" width="7" height="7"/>').format(
            _round(x - 3.5), _round(y - 3.5)
        )
    corners = f"{_round(x)},{_round(y - 4.5)} {_round(x + 4.5)},{_round(y + 3.5)} {_round(x - 4.5)},{_round(y + 3.5)}"
    return Markup('<polygon class="mark mark-2" points="{}"/>').format(corners)


def _legend(index: int, name: str) -> list[Markup]:
    x = 2 + 146 * index
    return [
        Markup('<line class="line line-{}" x1="{}" y1="12" x2="{}" y2="12"/>').format(index, x, x + 30),
        _marker(index, x + 15, 12),
        _text(x + 37, 16.5, name),
    ]


def _svg(
    slug: str,
    title: str,
    description: str,
    size: tuple[int, int],
    parts: Sequence[Markup],
    *,
    css_class: str = "figure",
) -> Markup:
    """Return the SVG element, labelled for screen readers by its title and description."""
    opening = Markup(
        '<svg class="{c}" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{s}-title {s}-description">'
        '<title id="{s}-title">{t}</title><desc id="{s}-description">{d}</desc>'
    ).format(c=css_class, w=size[0], h=size[1], s=slug, t=title, d=description)
    return opening + Markup("").join(parts) + Markup("</svg>")


def _text(x: float, y: float, content: str, css_class: str = "") -> Markup:
    return Markup('<text x="{}" y="{}" class="{}">{}</text>').format(_round(x), _round(y), css_class, escape(content))


def _ticks(low: float, high: float) -> list[float]:
    """Return about four ticks at 1, 2 or 5 times a power of ten that enclose ``low`` and ``high``."""
    span = high - low if high > low else 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if span / (factor * power) <= MOST_STEPS)
    first, last = math.floor(low / step + 1e-9), math.ceil((low + span) / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _thin(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """Return at most about MOST_POINTS of ``points``, evenly, with the last one among them."""
    stride = math.ceil(len(points) / MOST_POINTS)
    return points if stride <= 1 else (*points[:-1:stride], points[-1])


def _clip(share: float) -> float:
    return min(max(share, 0.0), 1.0)


def _round(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _said(share: float | None) -> str:
    return "not measured" if share is None else f"{share:.2f}"
