"""One pair of axes in SVG, and what is drawn between them; knows nothing of models."""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

TICKS = 5  # about so many on an axis
PLAIN = 1e-4, 1e6  # the least step and the largest number written without an exponent
LEAST, LARGEST = 1e-300, sys.float_info.max
Numbers = Sequence[float | None]  # None is a gap


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers from ``low`` to ``high`` on the way from one pixel to another."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of a number."""
        # Halved, for the distance of two floats may be more than a float can hold.
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = TICKS) -> list[tuple[float, str]]:
        """Return round numbers within the scale, and how they are written."""
        rough = (self.high / 2 - self.low / 2) / count * 2
        power = 10.0 ** math.floor(math.log10(rough))
        step = min((p * power for p in (1, 2, 5, 10)), key=lambda s: abs(math.log(s / rough)))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        numbers = [number * step for number in range(first, last + 1)]
        plain = step >= PLAIN[0] and max(map(abs, numbers), default=0) < PLAIN[1]
        digits = max(0, -math.floor(math.log10(step)))
        return [(tick, f"{tick:,.{digits}f}" if plain else f"{tick:.4g}") for tick in numbers]


_ROUNDING = 1e-12  # of a number: nearer ones have no ticks between them


def span(columns: Sequence[Numbers], *, zero: bool = False) -> tuple[float, float]:
    """Return the range of all numbers with some air around; from zero if asked."""
    numbers = [value for column in columns for value in column if value is not None]
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    if zero:
        low = min(low, 0.0)
    width = (high / 2 - low / 2) * 2
    if width <= abs(high) * _ROUNDING:  # what differs by no more stands on one line
        width = abs(high)
    air = 0.06 * width or 1.0
    air = max(air, LEAST)
    return (low if zero and low == 0 else max(low - air, -LARGEST)), min(high + air, LARGEST)


class Panel:
    """A rectangle with a title, two axes and a grid; draw into it, then take ``svg``."""

    def __init__(  # noqa: PLR0913  a rectangle, a title, two ranges
        self,
        box: tuple[float, float, float, float],  # left, top, width, height of the axes
        title: str,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        percent: bool = False,
        x_label: str = "",
    ) -> None:
        left, top, width, height = box
        self._x = Scale(*x, left, left + width)
        self._y = Scale(*y, top + height, top)
        self._parts: list[str] = []
        self._text(left, top - 10, title, "title")
        for tick, label in self._y.ticks():
            at = self._y.at(tick)
            self._stroke(left, at, left + width, at, "grid")
            self._text(left - 6, at + 4, f"{tick:.0%}" if percent else label, "tick end")
        for tick, label in self._x.ticks(max(2, int(width / 60))):
            if tick == round(tick):  # steps are whole
                at = self._x.at(tick)
                self._stroke(at, top + height, at, top + height + 4, "axis")
                self._text(at, top + height + 17, label.partition(".")[0], "tick middle")
        self._stroke(left, top + height, left + width, top + height, "axis")
        if x_label:
            self._text(left + width, top + height + 32, x_label, "tick end")

    @property
    def svg(self) -> str:
        """Everything drawn so far."""
        return "".join(self._parts)

    def line(self, start: float, values: Numbers, kind: str) -> None:
        """Draw numbers one step apart from ``start`` on, broken where one is missing."""
        path = "".join(
            "M" + "L".join(f"{self._x.at(x):.1f},{self._y.at(y):.1f}" for x, y in run)
            for run in _runs(start, values)
        )
        if path:
            self._parts.append(f'<path class="{kind}" d="{path}"/>')

    def dots(self, start: float, values: Numbers, kind: str) -> None:
        """Draw a dot for each number that stands between two gaps, where no line would show."""
        for run in _runs(start, values):
            if len(run) == 1:
                ((x, y),) = run
                at = f'cx="{self._x.at(x):.1f}" cy="{self._y.at(y):.1f}"'
                self._parts.append(f'<circle class="{kind}" {at} r="2"/>')

    def band(self, start: float, low: Numbers, high: Numbers, kind: str) -> None:
        """Fill what lies between two columns without gaps."""
        there = [(start + i, y) for i, y in enumerate(low) if y is not None]
        back = [(start + i, y) for i, y in enumerate(high) if y is not None][::-1]
        points = " ".join(f"{self._x.at(x):.1f},{self._y.at(y):.1f}" for x, y in there + back)
        self._parts.append(f'<polygon class="{kind}" points="{points}"/>')

    def level(self, value: float, kind: str) -> None:
        """Draw a horizontal line all the way."""
        at = self._y.at(value)
        self._stroke(self._x.start, at, self._x.end, at, kind)

    def mark(self, place: float, kind: str) -> None:
        """Draw a vertical line all the way."""
        at = self._x.at(place)
        self._stroke(at, self._y.start, at, self._y.end, kind)

    def _stroke(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self._parts.append(f'<path class="{kind}" d="M{x1:.1f},{y1:.1f}L{x2:.1f},{y2:.1f}"/>')

    def _text(self, x: float, y: float, words: str, kind: str) -> None:
        self._parts.append(text(x, y, words, kind))


def text(x: float, y: float, words: str, kind: str) -> str:
    """Return words at a place, whatever is in them."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escaped(words)}</text>'


def escaped(words: str) -> str:
    """Return words as they may stand in a document, whatever is in them."""
    return escape("".join(letter if letter.isprintable() else "�" for letter in words))


def _runs(start: float, values: Numbers) -> Iterator[list[tuple[float, float]]]:
    run: list[tuple[float, float]] = []
    for step, value in enumerate([*values, None]):
        if value is not None:
            run.append((start + step, value))
        elif run:
            yield run
            run = []
