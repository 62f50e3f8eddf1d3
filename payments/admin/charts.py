"""Charts as inline SVG: geometry in whole numbers here, drawn by a template, no script needed.

Mental model: a chart is a row of bars over equal stretches of time, with an optional line of
percentages on the same axis of time. Every bar carries its own words, which a mouse shows and a
screen reader reads; the same figures stand in a table behind the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 480
HEIGHT = 200
_LEFT = 8
_RIGHT = 18
_TOP = 24
_BASE = HEIGHT - 26
_LABELS_MAX = 7


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """One stretch of time: its label, the bar's parts from below, and its words.

    `parts` are (css class, amount); `percentage` is None where there is nothing to speak of.
    """

    label: str
    words: str
    parts: tuple[tuple[str, int], ...]
    percentage: float | None = None
    url: str = ""

    @property
    def total(self) -> int:
        return sum(amount for _, amount in self.parts)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One rectangle of a bar."""

    css_class: str
    y: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar with its place on the axis; `label` is empty where labels would collide."""

    x: int
    width: int
    middle: int
    segments: tuple[Segment, ...]
    words: str
    label: str
    url: str
    dot_y: int | None


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What the template draws. `line` holds the pieces of the percentage line."""

    bars: tuple[Bar, ...]
    lines: tuple[str, ...]
    is_empty: bool
    highest: int
    width: int = WIDTH
    height: int = HEIGHT
    base: int = _BASE
    top: int = _TOP
    middle: int = (_TOP + _BASE) // 2


def chart(buckets: Sequence[Bucket]) -> Chart:
    """Lay out bars (and the line through their percentages) over the width of the picture."""
    highest = max((bucket.total for bucket in buckets), default=0)
    step = (WIDTH - _LEFT - _RIGHT) // max(1, len(buckets))
    every = max(1, -(-len(buckets) // _LABELS_MAX))
    bars = []
    pieces: list[list[str]] = [[]]
    for index, bucket in enumerate(buckets):
        x = _LEFT + index * step
        middle = x + step // 2
        dot_y = None
        if bucket.percentage is None:
            pieces.append([])
        else:
            dot_y = round(_BASE - (_BASE - _TOP) * bucket.percentage / 100)
            pieces[-1].append(f"{middle},{dot_y}")
        bars.append(
            Bar(
                x=x + max(1, step // 8),
                width=max(2, step - 2 * max(1, step // 8)),
                middle=middle,
                segments=_segments(bucket, highest),
                words=bucket.words,
                label=bucket.label if (len(buckets) - 1 - index) % every == 0 else "",
                url=bucket.url,
                dot_y=dot_y,
            )
        )
    lines = tuple(" ".join(piece) for piece in pieces if len(piece) > 1)
    nothing = highest == 0 and not any(bar.dot_y is not None for bar in bars)
    return Chart(bars=tuple(bars), lines=lines, is_empty=nothing, highest=highest)


def _segments(bucket: Bucket, highest: int) -> tuple[Segment, ...]:
    """The bar's parts stacked from the base; what is there at all is at least visible."""
    segments = []
    y = _BASE
    for css_class, amount in bucket.parts:
        if amount <= 0:
            continue
        height = max(2, (_BASE - _TOP) * amount // max(1, highest))
        y -= height
        segments.append(Segment(css_class=css_class, y=y, height=height))
    return tuple(segments)
