"""Drawings of boxes, lines and words, as SVG for a page and as PNG for anywhere else."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from PIL import Image, ImageDraw, ImageFont

Anchor = Literal["start", "middle", "end"]
_PIL_ANCHORS: dict[Anchor, str] = {"start": "ls", "middle": "ms", "end": "rs"}
_SCALE = 2  # pixels of the PNG to one unit
_FONT = "system-ui, sans-serif"


@dataclass(frozen=True)
class Box:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    color: str


@dataclass(frozen=True)
class Path:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    color: str
    width: float = 1.5


@dataclass(frozen=True)
class Words:
    """One line of text; ``y`` is its baseline."""

    x: float
    y: float
    text: str
    color: str
    size: float = 13
    anchor: Anchor = "start"


@dataclass
class Picture:
    """Shapes on a background, drawn in the order they were added. Lengths are in pixels of CSS."""

    width: int
    height: int
    background: str
    title: str
    """Read out by screen readers."""
    shapes: list[Box | Path | Words] = field(default_factory=list)

    def svg(self) -> str:
        """Return the picture as an SVG element."""
        inside = "".join(map(_svg, self.shapes))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'role="img" aria-label={quoteattr(self.title)}>'
            f'<rect width="{self.width}" height="{self.height}" fill="{self.background}"/>'
            f"{inside}</svg>"
        )

    def png(self) -> bytes:
        """Return the picture as a PNG, at two pixels for each of CSS."""
        image = Image.new("RGB", (self.width * _SCALE, self.height * _SCALE), self.background)
        draw = ImageDraw.Draw(image)
        for shape in self.shapes:
            _paint(draw, shape)
        file = io.BytesIO()
        image.save(file, "PNG", optimize=True)
        return file.getvalue()


def _svg(shape: Box | Path | Words) -> str:
    if isinstance(shape, Box):
        return (
            f'<rect x="{shape.x:g}" y="{shape.y:g}" width="{shape.width:g}" '
            f'height="{shape.height:g}" fill="{shape.color}"/>'
        )
    if isinstance(shape, Path):
        points = " ".join(f"{x:g},{y:g}" for x, y in shape.points)
        return (
            f'<polyline points="{points}" fill="none" stroke="{shape.color}" '
            f'stroke-width="{shape.width:g}"/>'
        )
    return (
        f'<text x="{shape.x:g}" y="{shape.y:g}" fill="{shape.color}" font-size="{shape.size:g}" '
        f'font-family="{_FONT}" text-anchor="{shape.anchor}">{escape(shape.text)}</text>'
    )


def _paint(draw: ImageDraw.ImageDraw, shape: Box | Path | Words) -> None:
    if isinstance(shape, Box):
        corners = (shape.x, shape.y, shape.x + shape.width, shape.y + shape.height)
        draw.rectangle([round(c * _SCALE) for c in corners], fill=shape.color)
    elif isinstance(shape, Path):
        points = [(x * _SCALE, y * _SCALE) for x, y in shape.points]
        draw.line(points, fill=shape.color, width=round(shape.width * _SCALE), joint="curve")
    else:
        draw.text(
            (shape.x * _SCALE, shape.y * _SCALE),
            shape.text,
            fill=shape.color,
            font=ImageFont.load_default(shape.size * _SCALE),
            anchor=_PIL_ANCHORS[shape.anchor],
        )
