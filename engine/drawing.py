"""The graph as DOT and as SVG: whole, folded into groups, or with what a walk has done."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack, get_args

from engine.explain import Words
from engine.folding import MANY_NODES, Fold, folded, members
from engine.forward import has_value, outdated, outdated_message
from engine.graph import derivatives_by_parent, nodes, recorded_derivatives
from engine.layout import LayoutError, dot_text, laid_out, xml_text
from engine.picture import Picture
from engine.text import factor, nearest, shorten
from engine.themes import THEMES, Mark, ThemeName
from engine.value import Value

if TYPE_CHECKING:
    from engine.folding import Box, Groups
    from engine.text import Notation

RankDir: TypeAlias = Literal["LR", "RL", "TB", "BT"]
RANKDIRS: tuple[RankDir, ...] = get_args(RankDir)
MANY_RANKS = 2_000  # crossed by edges, all together, above which an edge is a straight line
FONT = "Verdana"  # wide, and the layout knows its measures; DejaVu Sans has much the same
SHAPE = {"operation": "box", "leaf": "ellipse", "constant": "plaintext", "loss": "doubleoctagon", "fold": "folder"}
ROOM_FOR_AMOUNTS = {"LR": "1.6", "RL": "1.6", "TB": "1.1", "BT": "1.1"}  # inches between ranks in a walk's picture
NOTEBOOK_WIDTH, LEAST_SCALE = 690.0, 0.75  # points: what a notebook has room for; text smaller than that is not read
MARK_STYLE: dict[Mark, tuple[str, str]] = {
    "done": ("solid", "2.5"),
    "now": ("bold", "3"),
    "next": ("dashed", "2"),
    "later": ("solid", "1"),
}


class Options(TypedDict, total=False):
    """How a graph is drawn: the options of `draw`."""

    notation: Notation
    theme: ThemeName
    rankdir: RankDir
    groups: Groups | None
    collapse: int | None
    expand: str | Iterable[str]


def draw(
    loss: Value,
    *,
    notation: Notation = "plain",
    theme: ThemeName = "light",
    rankdir: RankDir = "LR",
    groups: Groups | None = None,
    collapse: int | None = None,
    expand: str | Iterable[str] = (),
) -> Drawing:
    """The picture of the graph under a loss; `walk.draw()` marks what a walk has done.

    The labels are as they were typed, or in a `notation` of print: `w2_1_3` is w²₁,₃ in `"unicode"` and w^{2}_{1,3}
    in `"latex"`. `theme` is `"light"`, `"dark"` or `"print"`; `rankdir` is the direction in which data flows, as in
    DOT: `"LR"` from left to right, `"TB"` from top to bottom, `"RL"` and `"BT"` the other way.

    `groups` maps a node, or its name, to a dotted path such as `"layer2.unit1"`, or is a function that does;
    `model.groups(loss)` in nn gives such a mapping. `collapse=1` then draws a box for each first part of the paths,
    `collapse=2` for each first two, with the number of its nodes and the norm of its leaves' gradients; `expand` names
    boxes to open. Above 300 nodes a drawing with groups folds itself, and says so.

    Raises TypeError for what is no Value or no groups, and ValueError for an option that is not one of these.
    """
    if not isinstance(loss, Value):
        raise TypeError(f"draw needs a Value, not {type(loss).__name__} {loss!r:.60}. A walk has `walk.draw()`.")
    return Drawing(
        loss, notation=notation, theme=theme, rankdir=rankdir, groups=groups, collapse=collapse, expand=expand
    )


@dataclass(frozen=True, eq=False)
class Edge:
    """An arrow between two boxes, and the operands it stands for: parent, node, and the derivative between them."""

    tail: Box
    head: Box
    operands: tuple[tuple[Value, Value, float | None], ...]


class Drawing:
    """A picture: `.svg()`, `.source` in DOT, `.save("L.svg")`; shows itself in a notebook.

    It holds the numbers of the moment it was made. `order` and `position` are those of a walk; `room` is the widest
    line that the gradient of a box will ever have, by the box's identifier.
    """

    def __init__(
        self,
        loss: Value,
        *,
        order: Sequence[Value] = (),
        position: int | None = None,
        digits: int = 6,
        room: Mapping[str, str] | None = None,
        **options: Unpack[Options],
    ) -> None:
        if unknown := [option for option in options if option not in Options.__annotations__]:
            known = nearest(unknown[0], Options.__annotations__)
            raise TypeError(f"A picture has no option {shorten(unknown[0])!r}. {known}")
        self.theme = THEMES[_one_of("theme", options.get("theme", "light"), THEMES)]
        self.rankdir = _one_of("rankdir", options.get("rankdir", "LR"), RANKDIRS)
        self._notation = options.get("notation", "plain")
        self.words = Words(loss, digits=digits, notation=self._notation)
        self._order, self._position = order, position
        self._every = nodes(loss)
        self._folding = folded(
            loss, self._every, options.get("groups"), options.get("collapse"), options.get("expand", ())
        )
        self._outdated = outdated(loss)
        self._room = room or {}
        self.source: str = self._written()
        self._title, self._description = self._told()
        self._labels = {box: self._title_of(box) for box in self.boxes}
        self._edge_labels = [self._title_of_edge(edge) for edge in self.edges]
        self._amounts = [self._amount_lines(edge) for edge in self.edges]

    @property
    def loss(self) -> Value:
        """The node that the graph ends in."""
        return self.words.loss

    @property
    def note(self) -> str:
        """That the drawing has folded itself; else empty."""
        return self._folding.note

    @property
    def boxes(self) -> list[Box]:
        """What is drawn as a node: nodes, and folds of them."""
        return self._folding.boxes

    def box_of(self, node: Value) -> Box:
        """What a node is drawn as: itself, or the fold it is in."""
        return self._folding.box[node]

    @cached_property
    def edges(self) -> list[Edge]:
        """The arrows, those of a node in the order of its operands; one between two boxes where one is a fold."""
        found: dict[Any, list[tuple[Value, Value, float | None]]] = {}
        for node in self._every:
            for place, (parent, derivative) in enumerate(zip(node.parents, recorded_derivatives(node), strict=True)):
                tail, head = self.box_of(parent), self.box_of(node)
                if tail is not head:
                    own = place if isinstance(tail, Value) and isinstance(head, Value) else None
                    found.setdefault((tail, head, own), []).append((parent, node, derivative))
        return [Edge(tail, head, tuple(operands)) for (tail, head, _), operands in found.items()]

    @cached_property
    def identifiers(self) -> dict[Box, str]:
        """Each box's name in the layout."""
        return {box: f"n{number}" for number, box in enumerate(self.boxes)}

    def kind(self, box: Box) -> str:
        """What a box is drawn as: operation, leaf, constant, loss or fold."""
        if isinstance(box, Fold):
            return "fold"
        if box is self.loss:
            return "loss"
        if box.op:
            return "operation"
        return "constant" if box.is_constant else "leaf"

    # What a walk has done

    @cached_property
    def _ranks(self) -> dict[Value, int]:
        return {node: rank for rank, node in enumerate(self._order)}

    def ranks(self, box: Box) -> list[int]:
        """Where in the walk the nodes of a box are applied, counted from 0; none for leaves."""
        return sorted(self._ranks[node] for node in members(box) if node in self._ranks)

    def mark(self, box: Box) -> Mark | None:
        """What the walk has done with a box; None for leaves, and in a picture without a walk."""
        if self._position is None or not (ranks := self.ranks(box)):
            return None
        if self._position - 1 in ranks:
            return "now"
        if self._position in ranks:
            return "next"
        return "done" if ranks[-1] < self._position else "later"

    def _edge_mark(self, edge: Edge) -> Mark | None:
        if self._position is None:
            return None
        ranks = [self._ranks.get(node, -1) for _, node, derivative in edge.operands if derivative is not None]
        if self._position - 1 in ranks and self._position:
            return "now"
        return "done" if ranks and min(ranks) >= 0 and max(ranks) < self._position else None

    # DOT

    def lines(self, box: Box) -> list[str]:
        """The lines of a box's label."""
        if isinstance(box, Fold):
            return [*self._mark_lines(box), *self._warning(box), box.path, self.size(box), self.gradient_line(box)]
        words, node = self.words, box
        if node.is_constant:
            return [words.number(node.data)]
        formula = words.own_formula(node)[0] if node.op else ""
        longest = 120 if self._notation == "latex" else 40
        formula = formula if len(formula) <= longest else f"{node.op} of {len(node.parents)}"
        name = words.names[node]
        data = f"data {words.number(node.data)}" if self._has_value(node) else "no value, not taken"
        if node in self._outdated:  # edited since: not shown as if it were true
            out = self._outdated[node]
            data += f", now {words.number(out)}" if out != node.data else ", other derivatives now"
        return [
            *self._mark_lines(box),
            *self._warning(node),
            f"{name} = {formula}" if formula else name,
            data,
            self.gradient_line(box),
        ]

    def gradient_line(self, box: Box) -> str:
        """The gradient of a node as it is now, or the norm of those in a fold."""
        if isinstance(box, Fold):
            return f"‖grad‖ {self.words.number(box.gradient_norm)}"
        return f"grad {self.words.number(box.grad)}"

    def _warning(self, box: Box) -> list[str]:
        return ["OUTDATED"] if any(node in self._outdated for node in members(box)) else []

    def _mark_lines(self, box: Box) -> list[str]:
        mark = self.mark(box)
        if mark == "later" and isinstance(box, Fold) and self._position is not None:
            done = sum(rank < self._position for rank in self.ranks(box))
            return [f"{done} OF {len(self.ranks(box))} DONE" if done else "LATER"]
        return [mark.upper()] if mark else []

    def size(self, fold: Fold) -> str:
        """How many nodes, and how many leaves of them, a fold holds."""
        leaves = f", {len(fold.leaves):,} leaves" if fold.leaves else ""
        return f"{len(fold.members):,} nodes{leaves}"

    def _has_value(self, node: Value) -> bool:
        return not node.op or has_value(node._row, node.data, tuple([parent.data for parent in node.parents]))

    def _written(self) -> str:
        import graphviz

        theme = self.theme
        dot = graphviz.Digraph(
            graph_attr={
                "rankdir": self.rankdir,
                "nodesep": "0.2" if self._position is None else "0.3",
                "ranksep": "0.45" if self._position is None else ROOM_FOR_AMOUNTS[self.rankdir],
                "pad": "0.1" if self._position is None else "0.25",
                "outputorder": "edgesfirst",  # no line hides a number
                "nslimit": "1",  # else a leaf that feeds a long chain takes minutes
                "bgcolor": theme.background,
                "fontname": FONT,
                "fontsize": "11",
                "fontcolor": theme.text,
                **self._short_cuts(),
            },
            node_attr={"fontname": FONT, "fontsize": "11", "fontcolor": theme.text, "margin": "0.16,0.07"},
            edge_attr={"color": theme.edge, "arrowsize": "0.7"},
        )
        if self.note:
            dot.attr(label=graphviz.nohtml(dot_text(self.note)))
        for box in self.boxes:
            self._write_node(dot, box)
        for edge in self.edges:
            mark = self._edge_mark(edge)
            width = {"penwidth": MARK_STYLE[mark][1], "color": theme.mark[mark]} if mark else {}
            dot.edge(self.identifiers[edge.tail], self.identifiers[edge.head], **width)
        return str(dot.source)

    def _write_node(self, dot: Any, box: Box) -> None:
        import graphviz

        kind, mark = self.kind(box), self.mark(box)
        style, width = MARK_STYLE[mark] if mark else ("solid", "1.5" if kind == "loss" else "1")
        if self._warning(box):
            style, width = "dotted", "2"
        rounded = "rounded," if kind == "operation" else ""
        small = {"width": "0.3", "height": "0.25", "margin": "0.04"} if kind == "constant" else {}
        lines = self.lines(box)
        if self.identifiers[box] in self._room:
            lines[-1] = self._room[self.identifiers[box]]
        dot.node(
            self.identifiers[box],
            graphviz.nohtml("\\n".join(map(dot_text, lines))),
            shape=SHAPE[kind],
            style=f"{rounded}filled,{style}",
            penwidth=width,
            fillcolor=self.theme.fill[kind],
            color=self.theme.mark[mark] if mark and mark != "later" else self.theme.outline[kind],
            **small,
        )

    def _short_cuts(self) -> dict[str, str]:
        """Straight lines and fewer rounds for a big graph, whose layout would take minutes otherwise."""
        if len(self.boxes) < MANY_NODES and self._ranks_crossed() < MANY_RANKS:
            return {}
        return {"splines": "line", "nslimit": "0.5", "nslimit1": "0.5", "mclimit": "0.2"}

    def _ranks_crossed(self) -> int:
        """How many ranks the edges cross, all together, where nothing is folded: what a layout has to route."""
        if len(self.boxes) < len(self._every):
            return 0
        depth: dict[Value, int] = {}
        nearest_use: dict[Value, int] = {}
        for node in self._every:
            depth[node] = max((depth[parent] + 1 for parent in node.parents), default=0)
            for parent in node.parents:
                if not parent.op:  # it stands beside the first that uses it
                    nearest_use[parent] = min(depth[node], nearest_use.get(parent, depth[node]))
        starts = depth | {leaf: first - 1 for leaf, first in nearest_use.items()}
        return sum(depth[node] - starts[parent] for node in self._every for parent in node.parents)

    # SVG

    def svg(self) -> str:
        """The picture as SVG, with a title and a description for screen readers.

        Raises LayoutError where no layout program works.
        """
        return self._svg

    @cached_property
    def _laid_out(self) -> str:
        return laid_out(self.source)

    @cached_property
    def _svg(self) -> str:
        return _document(self._finished(""))

    def _for_notebook(self) -> str:
        picture = self._finished(f"chalkgrad-{secrets.token_hex(6)}-")
        picture.narrow(NOTEBOOK_WIDTH, LEAST_SCALE)
        return _document(picture)

    def _finished(self, prefix: str) -> Picture:
        """The picture with its marks and amounts in their colours."""
        picture = self.picture(prefix)
        picture.root.set("role", "img")
        now = [(edge, lines) for edge, lines in zip(self.edges, self._amounts, strict=True) if lines]
        elements = dict(zip(self.edges, self.edge_elements(picture), strict=True))
        theme = self.theme
        for box in self.boxes:
            if (mark := self.mark(box)) in ("now", "next"):
                picture.frame_node(self.identifiers[box], mark, theme.mark[mark])
        picture.write_amounts(
            [(elements[edge], lines) for edge, lines in now], background=theme.background, colour=theme.mark["now"]
        )
        return picture

    def picture(self, prefix: str = "") -> Picture:
        """The elements of the layout, each with its title and its class; ids begin with `prefix`."""
        picture = Picture(self._laid_out, rankdir=self.rankdir, prefix=prefix)
        for box, identifier in self.identifiers.items():
            group = picture.nodes[identifier]
            group.set("class", " ".join(filter(None, ["node", self.kind(box), self.mark(box)])))
            group[0].text = xml_text(self._labels[box])
        for element, label in zip(self.edge_elements(picture), self._edge_labels, strict=True):
            element[0].text = xml_text(label)
        picture.describe(self._title, self._description)
        return picture

    def edge_elements(self, picture: Picture) -> list[Any]:
        """The element of each edge."""
        waiting = {name: iter(elements) for name, elements in picture.edges.items()}
        return [next(waiting[f"{self.identifiers[edge.tail]}->{self.identifiers[edge.head]}"]) for edge in self.edges]

    def _told(self) -> tuple[str, str]:
        """The picture's title and description."""
        words = self.words
        loss, leaves = words.names[self.loss], sum(not node.op and not node.is_constant for node in self._every)
        start, end = {"LR": ("left", "right"), "RL": ("right", "left"), "TB": ("top", "bottom")}.get(
            self.rankdir, ("bottom", "top")
        )
        operations = len(words.order)
        told = (
            f"From {leaves} {'leaf' if leaves == 1 else 'leaves'} on the {start}, "
            f"{operations} {'operation leads' if operations == 1 else 'operations lead'} to "
            f"{loss} = {words.number(self.loss.data)} on the {end}. Each node shows its data and its gradient."
        )
        if self._position is not None:
            told += f" The backward pass has done {self._position} of {len(self._order)} steps."
        if self._outdated:
            told += f" {outdated_message(self.loss, self._outdated, 'draw it')}"
        return f"Computation graph of {loss}", " ".join(filter(None, [told, self.note]))

    def _title_of(self, box: Box) -> str:
        """What a box is, for who points at it."""
        words, mark = self.words, self.mark(box)
        marked = f" ({mark})" if mark else ""
        if isinstance(box, Fold):
            inner = [words.names[node] for node in box.members if node.label]
            inside = ", ".join(inner[:12]) + (f" and {len(inner) - 12} more" if len(inner) > 12 else "")
            told = f"fold {shorten(box.path, 200)}: {self.size(box)}; {self.gradient_line(box)}"
            return told + (f"; {inside}" if inside else "") + marked
        formula = words.forward_line(box) if box.op else f"{words.names[box]} = {words.number(box.data)}"
        grad = "" if box.is_constant else f", {words.gradient_of(box)} = {words.number(box.grad)}"
        return f"{self.kind(box)} {formula}{grad}{marked}"

    def _title_of_edge(self, edge: Edge) -> str:
        count = len(edge.operands)
        return f"{count:,} edges" if count > 1 else self._local(*edge.operands[0])

    def _local(self, parent: Value, node: Value, derivative: float | None) -> str:
        if derivative is None:
            return "a constant"
        return f"∂{self.words.names[node]}/∂{self.words.names[parent]} = {self.words.number(derivative)}"

    def _amount_lines(self, edge: Edge) -> list[str]:
        """Local derivative × incoming gradient = amount, on an edge along which the walk passes it now."""
        if self._position is None or self._edge_mark(edge) != "now":
            return []
        node = self._order[self._position - 1]
        return self.amount_lines(edge, node, node.grad)

    def amount_lines(self, edge: Edge, node: Value, grad: float) -> list[str]:
        """What the chain rule at `node`, whose gradient is `grad`, sends along an edge."""
        sent = [derivative for _, head, derivative in edge.operands if head is node and derivative is not None]
        if len(sent) > 1:
            return [f"{len(sent)} amounts"]
        number = self.words.number
        return [
            line for d in sent for line in (number(d), f"× {factor(grad, self.words.digits)}", f"= {number(grad * d)}")
        ]

    # Files and notebooks

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

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        try:
            return {"image/svg+xml": self._for_notebook(), "text/plain": repr(self)}
        except LayoutError as error:
            return {"text/plain": f"{self._as_text()}\n\n{error}"}

    def _as_text(self) -> str:
        """The graph in lines, for where no picture can be had."""
        words = self.words
        lines = [
            f"{words.forward_line(node)}    {words.gradient_of(node)} = {words.number(node.grad)}"
            for node in self._every
            if not node.is_constant
        ]
        return "\n".join(lines[:200] + (["…"] if len(lines) > 200 else []))

    def __repr__(self) -> str:
        edges = sum(len(derivatives_by_parent(node)) for node in self._every)
        note = f"; {self.note}" if self.note else ""
        return f"<Drawing of {self.words.names[self.loss]}: {len(self._every)} nodes, {edges} gradient edges{note}>"


def _document(picture: Picture) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{picture.written()}\n'


def _one_of(option: str, given: Any, known: Iterable[Any]) -> Any:
    known = list(known)
    if given not in known:
        raise ValueError(f"There is no {option} {shorten(str(given))!r}. {nearest(str(given), known)}")
    return given
