"""The few SVG elements that the charts of a report are made of, as compact strings."""

import dataclasses
import html
import math
from collections.abc import Iterable

import numpy as np

__all__ = ["Frame", "curve", "label", "line", "nice_ticks", "steps", "svg"]


@dataclasses.dataclass(frozen=True)
class Frame:
    """A drawing area in pixels and the data window shown in it."""

    width: float
    height: float
    low_x: float
    high_x: float
    low_y: float
    high_y: float
    left: float = 8.0
    right: float = 8.0
    top: float = 8.0
    bottom: float = 30.0

    def x(self, value: np.ndarray | float) -> np.ndarray:
        """Map data to pixels; what lies outside the window is put on its edge."""
        share = (np.clip(value, self.low_x, self.high_x) - self.low_x) / (self.high_x - self.low_x)
        return np.asarray(self.left + share * (self.width - self.left - self.right))

    def y(self, value: np.ndarray | float) -> np.ndarray:
        """Map data to pixels, upwards."""
        share = (np.clip(value, self.low_y, self.high_y) - self.low_y) / (self.high_y - self.low_y)
        return np.asarray(self.floor - share * (self.floor - self.top))

    @property
    def floor(self) -> float:
        """The pixel row of the lower edge."""
        return self.height - self.bottom


def svg(width: float, height: float, body: Iterable[str], *, title: str, css: str = "") -> str:
    """Wrap elements into an image whose content is also told in words."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" class="{html.escape(css)}">'
        f"<title>{html.escape(title)}</title>{''.join(body)}</svg>"
    )


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """Draw a straight line."""
    return f'<path class="{css}" d="M{_px(x1)} {_px(y1)}L{_px(x2)} {_px(y2)}"/>'


def curve(x: np.ndarray, y: np.ndarray, css: str) -> str:
    """Draw a polyline through pixel coordinates."""
    if x.size == 0:
        return ""
    points = " ".join(f"{_px(a)} {_px(b)}" for a, b in zip(x.ravel(), y.ravel(), strict=True))
    return f'<path class="{css}" d="M{points}"/>'


def steps(x: np.ndarray, y: np.ndarray, floor: float, css: str) -> str:
    """Fill a histogram: heights `y` (pixels) between the edges `x` (pixels)."""
    if y.size == 0:
        return ""
    moves = "".join(f"V{_px(b)}H{_px(a)}" for a, b in zip(x[1:], y, strict=True))
    return f'<path class="{css}" d="M{_px(x[0])} {_px(floor)}{moves}V{_px(floor)}Z"/>'


def label(x: float, y: float, text: str, css: str = "tick", anchor: str = "middle") -> str:
    """Write text."""
    where = f'x="{_px(x)}" y="{_px(y)}"'
    return f'<text class="{css}" {where} text-anchor="{anchor}">{html.escape(text)}</text>'


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers within an interval, at most `most` of them."""
    span = high - low
    if not span > 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(m * power for m in (1, 2, 2.5, 5, 10, 20) if span / (m * power) <= most)
    first = math.ceil(low / step - 1e-9)
    return [k * step + 0.0 for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _px(value: float) -> str:
    """Write a pixel coordinate with one decimal."""
    return f"{value:.1f}".removesuffix(".0")
