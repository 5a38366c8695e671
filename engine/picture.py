"""An SVG of the layout program, with its nodes and edges found again, and what a walk draws on them."""

from __future__ import annotations

import itertools
import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from engine.layout import xml_text

Point: TypeAlias = tuple[float, float]

SVG = "http://www.w3.org/2000/svg"
FONT_FAMILY = "Verdana, 'DejaVu Sans', sans-serif"
LINE_HEIGHT, CHARACTER = 11.5, 5.9  # of an amount's font size, 9: a line, and the mean width of its characters
MARGIN = 6.0  # between a node and the mark around it
ALONG = (0.5, 0.44, 0.56, 0.38, 0.62, 0.33, 0.67, 0.28, 0.72, 0.24, 0.76, 0.2, 0.8)  # on an edge, the best place first
CELL = 150.0  # the grid in which what is hidden is looked up
TOWARD_PARENTS = {"LR": (-1, 0), "RL": (1, 0), "TB": (0, -1), "BT": (0, 1)}

_LOOK = (
    *("fill", "stroke", "stroke-width", "stroke-dasharray", "font-family", "font-size", "text-anchor"),
    "{http://www.w3.org/XML/1998/namespace}space",
)
_HUNDREDTHS = re.compile(r"(\.\d)\d+")
_SHAPES = {f"{{{SVG}}}{tag}" for tag in ("ellipse", "path", "polygon", "polyline")}

ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")


@dataclass(frozen=True)
class Frame:
    """A rectangle, in the units of the picture; y grows downward."""

    left: float
    top: float
    right: float
    bottom: float

    def grown(self, by: float) -> Frame:
        """The frame with a margin."""
        return Frame(self.left - by, self.top - by, self.right + by, self.bottom + by)

    def overlap(self, other: Frame) -> float:
        """The area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return wide * high if wide > 0.0 and high > 0.0 else 0.0

    def cells(self) -> Iterator[tuple[int, int]]:
        """The cells of a grid that it lies in."""
        across = range(int(self.left // CELL), int(self.right // CELL) + 1)
        return itertools.product(across, range(int(self.top // CELL), int(self.bottom // CELL) + 1))


class _Grid:
    """Frames, looked up by where they are."""

    def __init__(self, frames: Iterable[Frame] = ()) -> None:
        self._by_cell: dict[tuple[int, int], list[Frame]] = {}
        for frame in frames:
            self.add(frame)

    def add(self, frame: Frame) -> None:
        for cell in frame.cells():
            self._by_cell.setdefault(cell, []).append(frame)

    def hidden_by(self, frame: Frame) -> float:
        """How much of them a frame would hide."""
        near = dict.fromkeys(other for cell in frame.cells() for other in self._by_cell.get(cell, ()))
        return sum(map(frame.overlap, near))


class Picture:
    """The elements of a laid out SVG, by the identifiers that its nodes had in DOT.

    Two edges between the same nodes have one identifier, and come in their order. `prefix` begins every id, so that
    several pictures can share a page.
    """

    def __init__(self, svg: str, *, rankdir: str = "LR", prefix: str = "") -> None:
        self.root = ElementTree.fromstring(svg)
        self.rankdir = rankdir
        self.prefix = prefix
        self.nodes: dict[str, Element] = {}
        self.edges: dict[str, list[Element]] = {}
        self.titles: list[Element] = []
        for group in self.root.iter(f"{{{SVG}}}g"):
            title = group.find(f"{{{SVG}}}title")
            name = (title.text or "") if title is not None else ""
            if group.get("class") == "node":
                self.nodes[name] = group
            elif group.get("class") == "edge":
                self.edges.setdefault(name, []).append(group)
            elif title is not None:
                self.titles.append(title)
            group.attrib.pop("id", None)
            for child in group:
                if child.tag in _SHAPES and group.get("class") == "node":
                    child.set("class", "body")
        for text in self.root.iter(f"{{{SVG}}}text"):
            text.set("font-family", FONT_FAMILY)

    @cached_property
    def frames(self) -> dict[str, Frame]:
        """Where each node stands."""
        return {name: _frame(group) for name, group in self.nodes.items()}

    @cached_property
    def _nodes_in_grid(self) -> _Grid:
        return _Grid(frame.grown(MARGIN) for frame in self.frames.values())

    @property
    def _graph(self) -> Element:
        return next(self.root.iter(f"{{{SVG}}}g"))

    def describe(self, title: str, description: str) -> None:
        """Give the picture a title and a description for screen readers."""
        for old in self.titles:
            old.text = xml_text(title)
        self.root[:0] = [
            _element("title", xml_text(title), id=f"{self.prefix}title"),
            _element("desc", xml_text(description), id=f"{self.prefix}description"),
        ]
        self.root.set("aria-labelledby", f"{self.prefix}title {self.prefix}description")

    def narrow(self, width: float, least: float) -> None:
        """Show a wide picture as if it had this width in points, but no smaller than `least` of its size."""
        sides = {side: float(self.root.get(side, "0").removesuffix("pt")) for side in ("width", "height")}
        if sides["width"] > width:
            scale = max(least, width / sides["width"])
            self.root.attrib |= {side: f"{length * scale:.2f}pt" for side, length in sides.items()}

    def leave_look_to_the_page(self) -> None:
        """Take away what a page's style says, and tell it, by a class, what is drawn behind all nodes."""
        for polygon in self._graph.findall(f"{{{SVG}}}polygon"):
            polygon.set("class", "background")
        for element in self._graph.iter():
            for look in _LOOK:
                element.attrib.pop(look, None)
            for place in ("d", "points"):
                if place in element.attrib:  # a tenth of a point is finer than any screen
                    element.set(place, _HUNDREDTHS.sub(r"\1", element.attrib[place]))

    def frame_node(self, name: str, mark: str, colour: str = "") -> None:
        """Draw a walk's mark around a node: an arrowhead toward its parents for `now`, dashes for `next`.

        Without a colour, the page's style gives it.
        """
        frame = self.frames[name].grown(MARGIN)
        corners = [(frame.left, frame.top), (frame.right, frame.top), (frame.right, frame.bottom)]
        corners.append((frame.left, frame.bottom))
        if mark == "now":
            corners = _pointed(frame, *TOWARD_PARENTS[self.rankdir])
        points = " ".join(f"{x:.2f},{y:.2f}" for x, y in corners)
        look = {"stroke-width": "4" if mark == "now" else "2", "class": f"frame {mark}"}
        look |= {"stroke-dasharray": "6,4"} if mark == "next" else {}
        look |= {"stroke": colour} if colour else {}
        self.nodes[name].append(_element("polygon", points=points, fill="none", **look))

    def places(self, written: Iterable[tuple[Element, Sequence[str]]]) -> list[Frame]:
        """Where lines on edges that lead to one node hide neither nodes nor each other, as far as can be."""
        nodes, taken, best = self._nodes_in_grid, _Grid(), []
        for edge, lines in written:
            width, height = max(map(len, lines)) * CHARACTER + 6.0, len(lines) * LINE_HEIGHT + 4.0
            hidden = {
                frame: nodes.hidden_by(frame) + taken.hidden_by(frame) for frame in _candidates(edge, width, height)
            }
            best.append(min(hidden, key=lambda frame: round(hidden[frame])))
            taken.add(best[-1])
        return best

    def write_amounts(self, written: Sequence[tuple[Element, Sequence[str]]], *, background: str, colour: str) -> None:
        """Write lines on edges that lead to one node, over all else."""
        for frame, (_, lines) in zip(self.places(written), written, strict=True):
            self._graph.append(_amount(frame, lines, background, colour))

    def written(self) -> str:
        """The picture as text."""
        return ElementTree.tostring(self.root, encoding="unicode")


def texts(group: Element) -> list[Element]:
    """The lines of a node's label."""
    return group.findall(f"{{{SVG}}}text")


def _element(tag: str, text: str = "", **attributes: str) -> Element:
    made = Element(f"{{{SVG}}}{tag}", attributes)
    made.text = text or None
    return made


def _frame(group: Element) -> Frame:
    """The frame of what a node is drawn with: an ellipse, polygons or a path."""
    points: list[Point] = []
    for child in group:
        if child.tag == f"{{{SVG}}}ellipse":
            cx, cy, rx, ry = (float(child.get(key, "0")) for key in ("cx", "cy", "rx", "ry"))
            points += [(cx - rx, cy - ry), (cx + rx, cy + ry)]
        elif child.tag == f"{{{SVG}}}polygon":
            points += _points(child.get("points", ""))
        elif child.tag == f"{{{SVG}}}path":
            points += _points(child.get("d", ""))
    across, down = [x for x, _ in points], [y for _, y in points]
    return Frame(min(across), min(down), max(across), max(down))


def _points(text: str) -> list[Point]:
    """The points of a path or polygon of the layout program, which writes absolute coordinates."""
    for letter in "MCL,":
        text = text.replace(letter, " ")
    numbers = [float(number) for number in text.split()]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _pointed(frame: Frame, across: int, down: int) -> list[Point]:
    """A rectangle whose side toward (across, down) is an arrowhead."""
    f, reach = frame, 12.0
    middle_x, middle_y = (f.left + f.right) / 2, (f.top + f.bottom) / 2
    if across:
        side, other = (f.left, f.right) if across < 0 else (f.right, f.left)
        return [(side, f.top), (other, f.top), (other, f.bottom), (side, f.bottom), (side + across * reach, middle_y)]
    side, other = (f.top, f.bottom) if down < 0 else (f.bottom, f.top)
    return [(f.left, side), (f.left, other), (f.right, other), (f.right, side), (middle_x, side + down * reach)]


def _candidates(edge: Element, width: float, height: float) -> list[Frame]:
    """Rectangles of that size along an edge, the best first."""
    path = edge.find(f"{{{SVG}}}path")
    line = _flattened(_points("" if path is None else path.get("d", "")))
    lengths = list(itertools.accumulate(itertools.starmap(math.dist, itertools.pairwise(line)), initial=0.0))
    points = [line[bisect_left(lengths, share * lengths[-1])] for share in ALONG]
    beside = width / 2 + 3.0  # where another edge is too close for an amount on each
    return [
        Frame(x + aside - width / 2, y - height / 2, x + aside + width / 2, y + height / 2)
        for aside in (0.0, beside, -beside)
        for x, y in points
    ]


def _flattened(controls: Sequence[Point]) -> list[Point]:
    """Points along cubic Bézier curves, given as a start and three control points a piece."""
    line = [controls[0]]
    for begin in range(0, len(controls) - 3, 3):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = controls[begin : begin + 4]
        for number in range(1, 49):
            t = number / 48
            a, b, c, d = (1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3
            line.append((a * ax + b * bx + c * cx + d * dx, a * ay + b * by + c * cy + d * dy))
    return line


def _amount(frame: Frame, lines: Sequence[str], background: str, colour: str) -> Element:
    look = {"fill": colour, "font-family": FONT_FAMILY, "font-size": "9", "text-anchor": "middle"}
    group = _element("g", **{"class": "amount"}, **look)
    corner = {"x": f"{frame.left:.1f}", "y": f"{frame.top:.1f}", "rx": "3"}
    size = {"width": f"{frame.right - frame.left:.1f}", "height": f"{frame.bottom - frame.top:.1f}"}
    group.append(_element("rect", **corner, **size, fill=background, stroke=colour, **{"stroke-width": "0.8"}))
    middle = f"{(frame.left + frame.right) / 2:.1f}"
    for number, line in enumerate(lines):
        baseline = frame.top + 2.0 + (number + 0.78) * LINE_HEIGHT
        group.append(_element("text", line, x=middle, y=f"{baseline:.1f}"))
    return group
