"""The graph as DOT and as SVG, with a layout program that pip installs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from engine.explain import Words
from engine.forward import has_value, outdated, outdated_message
from engine.graph import derivatives_by_parent, nodes, recorded_derivatives
from engine.value import Value

if TYPE_CHECKING:
    from engine.text import Notation

PROGRAM_VARIABLE = "CHALKGRAD_DOT"
TIMEOUT = 300  # seconds for one layout
LONGEST_LABEL = 200  # characters
MANY_NODES = 300  # from here on the layout takes short cuts

# Okabe and Ito's palette, which people with any colour vision tell apart, lightened for text on it.
FILL = {"operation": "#D6ECFA", "leaf": "#FFF3D1", "constant": "#FFFFFF", "loss": "#F7DCC8"}
OUTLINE = {"operation": "#0072B2", "leaf": "#8A5A00", "constant": "#555555", "loss": "#A33F00"}
SHAPE = {"operation": "box", "leaf": "ellipse", "constant": "plaintext", "loss": "doubleoctagon"}
MARK_COLOUR = {"done": "#00634A", "now": "#A8005C", "next": "#0072B2"}
MARK_STYLE = {"done": ("solid", "2"), "now": ("bold", "4"), "next": ("dashed", "2")}

FONT = "Verdana"  # wide, and the layout knows its measures; DejaVu Sans has much the same
FONT_FAMILY = "Verdana, 'DejaVu Sans', sans-serif"

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INVISIBLE = re.compile("[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_SVG = "http://www.w3.org/2000/svg"


class LayoutError(RuntimeError):
    """No layout program is to be had, or it failed."""


def draw(loss: Value, *, notation: Notation = "plain") -> Drawing:
    """The picture of the graph under a loss; `walk.draw()` marks what a walk has done.

    The labels are as they were typed, or in a `notation` of print: `w2_1_3` is w²₁,₃ in `"unicode"` and w^{2}_{1,3}
    in `"latex"`. Raises TypeError for what is no Value and ValueError for an unknown notation.
    """
    if not isinstance(loss, Value):
        raise TypeError(f"draw needs a Value, not {type(loss).__name__} {loss!r:.60}. A walk has `walk.draw()`.")
    return Drawing(loss, notation=notation)


class Drawing:
    """A picture: `.svg()`, `.source` in DOT, `.save("L.svg")`; shows itself in a notebook.

    It holds the numbers of the moment it was made.
    """

    def __init__(
        self,
        loss: Value,
        *,
        order: list[Value] | None = None,
        position: int | None = None,
        notation: Notation = "plain",
    ) -> None:
        self._words, self._notation = Words(loss, notation=notation), notation
        self._order, self._position = order or [], position
        self._every = nodes(loss)
        self._outdated = outdated(loss)
        self.source: str = self._written()

    @property
    def _loss(self) -> Value:
        return self._words.loss

    def _kind(self, node: Value) -> str:
        if node is self._loss:
            return "loss"
        if node.op:
            return "operation"
        return "constant" if node.is_constant else "leaf"

    @cached_property
    def _marks(self) -> dict[Value, str]:
        """What the walk has done, does now (the last step) and does next."""
        if self._position is None:
            return {}
        marks = dict.fromkeys(self._order[: self._position], "done")
        if self._position:
            marks[self._order[self._position - 1]] = "now"
        if self._position < len(self._order):
            marks[self._order[self._position]] = "next"
        return marks

    @cached_property
    def _identifiers(self) -> dict[Value, str]:
        """Each node's name in the layout."""
        return {node: f"n{number}" for number, node in enumerate(self._every)}

    def _lines(self, node: Value) -> list[str]:
        words = self._words
        if node.is_constant:
            return [words.number(node.data)]
        mark = self._marks.get(node)
        formula = words.own_formula(node)[0] if node.op else ""
        room = 120 if self._notation == "latex" else 40
        formula = formula if len(formula) <= room else f"{node.op} of {len(node.parents)}"
        name = words.names[node]
        data = f"data {words.number(node.data)}" if self._has_value(node) else "no value, not taken"
        if node in self._outdated:  # edited since: not shown as if it were true
            out = self._outdated[node]
            data += f", now {words.number(out)}" if out != node.data else ", other derivatives now"
        return [
            *([mark.upper()] if mark else []),
            *(["OUTDATED"] if node in self._outdated else []),
            f"{name} = {formula}" if formula else name,
            data,
            f"grad {words.number(node.grad)}",
        ]

    def _has_value(self, node: Value) -> bool:
        return not node.op or has_value(node._row, node.data, tuple([parent.data for parent in node.parents]))

    def _written(self) -> str:
        import graphviz

        dot = graphviz.Digraph(
            graph_attr={"rankdir": "LR", "nodesep": "0.2", "ranksep": "0.45", "bgcolor": "white", **self._short_cuts()},
            node_attr={
                "fontname": FONT,
                "fontsize": "11",
                "fontcolor": "#111111",
                "margin": "0.16,0.07",
            },
            edge_attr={"color": "#444444", "arrowsize": "0.7"},
        )
        for node in self._every:
            kind, mark = self._kind(node), self._marks.get(node)
            style, width = MARK_STYLE[mark] if mark else ("solid", "1.5" if kind == "loss" else "1")
            if node in self._outdated:
                style, width = "dotted", "2"
            rounded = "rounded," if kind == "operation" else ""
            small = {"width": "0.3", "height": "0.25", "margin": "0.04"} if kind == "constant" else {}
            dot.node(
                self._identifiers[node],
                graphviz.nohtml("\\n".join(_escaped(line) for line in self._lines(node))),
                shape=SHAPE[kind],
                style=f"{rounded}filled,{style}",
                penwidth=width,
                fillcolor=FILL[kind],
                color=MARK_COLOUR[mark] if mark else OUTLINE[kind],
                **small,
            )
        for node in self._every:
            for parent in node.parents:
                dot.edge(self._identifiers[parent], self._identifiers[node])
        return str(dot.source)

    def _short_cuts(self) -> dict[str, str]:
        """Straight lines and fewer rounds for a big graph, whose layout would take minutes otherwise."""
        if len(self._every) < MANY_NODES:
            return {}
        return {"splines": "line", "nslimit": "0.5", "nslimit1": "0.5", "mclimit": "0.2", "concentrate": "false"}

    def svg(self) -> str:
        """The picture as SVG, with a title and a description for screen readers.

        Raises LayoutError where no layout program works.
        """
        return self._svg

    @cached_property
    def _svg(self) -> str:
        return self._described(_laid_out(self.source))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file whose name ends in .svg, or its source to one in .dot or .gv.

        Raises ValueError for another ending, LayoutError, and OSError where the file can't be written.
        """
        target = Path(path)
        if target.suffix in (".dot", ".gv"):
            text = self.source
        elif target.suffix == ".svg":
            text = self.svg()
        else:
            raise ValueError(f"A picture is saved as .svg, and its source as .dot or .gv; {target.name!r} is neither.")
        target.write_bytes(text.encode("utf-8"))
        return target

    def _described(self, svg: str) -> str:
        """The layout's SVG with roles, titles and descriptions that say what a picture shows."""
        ElementTree.register_namespace("", _SVG)
        ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
        root = ElementTree.fromstring(svg)
        words = self._words
        loss = words.names[self._loss]
        computed = len(words.order)
        leaves = sum(self._kind(node) == "leaf" for node in self._every)
        title = ElementTree.Element(f"{{{_SVG}}}title", {"id": "title"})
        title.text = _xml_text(f"Computation graph of {loss}")
        description = ElementTree.Element(f"{{{_SVG}}}desc", {"id": "description"})
        description.text = _xml_text(
            f"From {leaves} leaves on the left, {computed} operations lead to {loss} = {words.number(self._loss.data)} "
            "on the right. Each node shows its data and its gradient." + self._place_in_walk() + self._edited()
        )
        root.set("role", "img")
        root.set("aria-labelledby", "title description")
        root[:0] = [title, description]
        for element in root.iter(f"{{{_SVG}}}text"):
            element.set("font-family", FONT_FAMILY)
        described: dict[str, list[str]] = {}
        for identifier, text in self._descriptions():
            described.setdefault(identifier, []).append(text)
        for element in root.iter(f"{{{_SVG}}}title"):
            if element.text in described:  # two edges between the same nodes have one name, and come in their order
                element.text = described[element.text].pop(0)
            elif element is not title:
                element.text = title.text
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"

    def _edited(self) -> str:
        if not self._outdated:
            return ""
        return f" {outdated_message(self._loss, self._outdated, 'draw it')}"

    def _place_in_walk(self) -> str:
        if self._position is None:
            return ""
        return f" The backward pass has done {self._position} of {len(self._order)} steps."

    def _descriptions(self) -> Iterator[tuple[str, str]]:
        """For each node and edge of the layout, by its identifier, what it is."""
        words = self._words
        for node in self._every:
            kind = self._kind(node)
            formula = words.forward_line(node) if node.op else f"{words.names[node]} = {words.number(node.data)}"
            grad = "" if kind == "constant" else f", {words.gradient_of(node)} = {words.number(node.grad)}"
            mark = self._marks.get(node)
            yield self._identifiers[node], _xml_text(f"{kind} {formula}{grad}" + (f" ({mark})" if mark else ""))
            for parent, derivative in zip(node.parents, recorded_derivatives(node), strict=True):
                local = "" if derivative is None else f" = {words.number(derivative)}"
                text = f"∂{words.names[node]}/∂{words.names[parent]}{local}"
                yield (
                    f"{self._identifiers[parent]}->{self._identifiers[node]}",
                    _xml_text(text if local else "a constant"),
                )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        try:
            return {"image/svg+xml": self.svg(), "text/plain": repr(self)}
        except LayoutError as error:
            return {"text/plain": f"{self._as_text()}\n\n{error}"}

    def _as_text(self) -> str:
        """The graph in lines, for where no picture can be had."""
        words = self._words
        lines = [
            f"{words.forward_line(node)}    {words.gradient_of(node)} = {words.number(node.grad)}"
            for node in self._every
            if not node.is_constant
        ]
        return "\n".join(lines[:200] + (["…"] if len(lines) > 200 else []))

    def __repr__(self) -> str:
        edges = sum(len(derivatives_by_parent(node)) for node in self._every)
        return f"<Drawing of {self._words.names[self._loss]}: {len(self._every)} nodes, {edges} gradient edges>"


def _xml_text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _escaped(text: str) -> str:
    """A line of a label as DOT text: no escapes of its own, no entities, nothing that XML or the eye can't take."""
    text = _INVISIBLE.sub("\ufffd", _xml_text(text))
    if len(text) > LONGEST_LABEL:
        text = text[: LONGEST_LABEL - 1] + "…"
    return text.replace("\\", "\\\\").replace("&", "&amp;")


def _programs() -> Iterator[str]:
    """The layout programs to be had, in order: the one that pip installed, the variable's, the system's."""
    try:
        files = metadata.files("graphviz-pure") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.stem == "graphviz-pure" and file.suffix in ("", ".exe"):
            located = Path(str(file.locate()))
            if located.exists():
                yield str(located)
    beside = shutil.which("graphviz-pure", path=str(Path(sys.executable).parent))
    if beside:
        yield beside
    if named := os.environ.get(PROGRAM_VARIABLE):
        yield named
    if system := shutil.which("dot"):
        yield system


def _laid_out(source: str) -> str:
    """The SVG of the first layout program that manages. Raises LayoutError with what each one said."""
    said = []
    for program in dict.fromkeys(_programs()):
        try:
            ran = subprocess.run(
                [program, "-Kdot", "-Tsvg"],
                input=source.encode("utf-8"),
                capture_output=True,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            said.append(f"{program} took more than {TIMEOUT} s")
        except OSError as error:
            said.append(f"{program} did not start ({error.strerror or error})")
        else:
            if ran.returncode == 0 and b"<svg" in ran.stdout:
                return ran.stdout.decode("utf-8")
            said.append(f"{program} ended with status {ran.returncode}: {ran.stderr.decode('utf-8', 'replace')[-400:]}")
    if said:
        raise LayoutError(f"The picture could not be laid out: {'; '.join(said)}.")
    raise LayoutError(
        "There is no layout program: `pip install graphviz-pure` brings one, "
        f"or set {PROGRAM_VARIABLE} to the path of Graphviz's dot."
    )
