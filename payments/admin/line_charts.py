"""Lines over time as inline SVG: geometry in whole numbers here, drawn by a template.

Mental model: as payments.admin.charts, for figures that are no parts of a whole. Several lines
share one axis; a gap in the figures is a gap in the line. Each stretch of time has a strip with
words for mouse and screen reader, and the same figures stand in a table behind the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from payments.admin.charts import HEIGHT, WIDTH

# Half a label has room beside the first and the last stretch.
_LEFT = 14
_RIGHT = 18
_TOP = 24
_BASE = HEIGHT - 26
_LABELS_MAX = 7


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line: its name, its css class, a figure per stretch (None: not known)."""

    name: str
    css_class: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a line without gaps; a single point is drawn as a dot."""

    css_class: str
    points: str
    dot: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One stretch of time: where it is, its words, its label ("" where labels would collide)."""

    x: int
    width: int
    middle: int
    words: str
    label: str


@dataclass(frozen=True, kw_only=True)
class LineChart:
    """What the template draws."""

    pieces: tuple[Piece, ...]
    strips: tuple[Strip, ...]
    legend: tuple[tuple[str, str], ...]
    highest: float
    is_empty: bool
    width: int = WIDTH
    height: int = HEIGHT
    base: int = _BASE
    top: int = _TOP
    middle: int = (_TOP + _BASE) // 2


def line_chart(
    labels: Sequence[str], words: Sequence[str], series: Sequence[Series], *, at_least: float = 1.0
) -> LineChart:
    """Lay the lines out; the axis begins at 0 and ends at the highest figure, or at `at_least`."""
    known = [value for line in series for value in line.values if value is not None]
    highest = max([at_least, *known])
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(labels))
    every = max(1, -(-len(labels) // _LABELS_MAX))
    strips = tuple(
        Strip(
            x=round(_LEFT + index * step),
            width=max(1, round(step)),
            middle=round(_LEFT + (index + 0.5) * step),
            words=words[index],
            label=label if (len(labels) - 1 - index) % every == 0 else "",
        )
        for index, label in enumerate(labels)
    )
    pieces = tuple(
        piece
        for line in series
        for piece in _pieces(line, [strip.middle for strip in strips], highest)
    )
    return LineChart(
        pieces=pieces,
        strips=strips,
        legend=tuple((line.name, line.css_class) for line in series),
        highest=highest,
        is_empty=not known,
    )


def _pieces(line: Series, middles: Sequence[int], highest: float) -> list[Piece]:
    found: list[list[tuple[int, int]]] = [[]]
    for x, value in zip(middles, line.values, strict=True):
        if value is None:
            found.append([])
        else:
            found[-1].append((x, round(_BASE - (_BASE - _TOP) * value / highest)))
    return [
        Piece(
            css_class=line.css_class,
            points=" ".join(f"{x},{y}" for x, y in points),
            dot=points[0] if len(points) == 1 else None,
        )
        for points in found
        if points
    ]
