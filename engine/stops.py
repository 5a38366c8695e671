"""Where a session stops: at a node, before a step, at an operation, or where a condition holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from engine import ops
from engine.expression import Condition, is_condition
from engine.formula import FUNCTIONS, FormulaError, Source
from engine.graph import named_nodes
from engine.text import nearest, shorten
from engine.value import Value
from engine.walk import Backprop

_SIGNS = {"·": "*", "×": "*", "−": "-", "÷": "/", "^": "**"}


class Stop(Protocol):
    """Something to stop at. Two that are equal stop at the same."""

    @property
    def title(self) -> str:
        """Where it stops, in words: `at out_h1`."""

    def when(self, walk: Backprop) -> str:
        """When the walk comes there, as far as that is known."""

    def passed(self, walk: Backprop) -> bool:
        """Whether the walk was there and won't come there again, unless it goes back."""

    def reached(self, walk: Backprop) -> str:
        """What is reached where the walk is now; empty for nothing."""


@dataclass(frozen=True)
class AtNode:
    """Where a node's gradient is complete."""

    node: Value
    name: str

    @property
    def title(self) -> str:  # noqa: D102
        return f"at {shorten(self.name)}"

    def when(self, walk: Backprop) -> str:  # noqa: D102
        return f"after step {walk.completed_at(self.node)}" if self._exists(walk) else "which no gradient reaches"

    def passed(self, walk: Backprop) -> bool:  # noqa: D102
        return self._exists(walk) and walk.completed_at(self.node) <= walk.position

    def reached(self, walk: Backprop) -> str:  # noqa: D102
        return self.title if self._exists(walk) and walk.completed_at(self.node) == walk.position else ""

    def _exists(self, walk: Backprop) -> bool:
        """Whether a gradient reaches the node at all, unlike one in the branch that a condition doesn't take."""
        return self.node is walk.loss or walk.completed_at(self.node) > 0


@dataclass(frozen=True)
class BeforeStep:
    """Before a step, by its number."""

    step: int

    @property
    def title(self) -> str:  # noqa: D102
        return f"before step {self.step}"

    def when(self, walk: Backprop) -> str:  # noqa: D102
        return "" if self.step <= len(walk) else "which this walk does not have"

    def passed(self, walk: Backprop) -> bool:  # noqa: D102
        return self.step - 1 <= walk.position

    def reached(self, walk: Backprop) -> str:  # noqa: D102
        return self.title if walk.position == self.step - 1 else ""


@dataclass(frozen=True)
class AtOperation:
    """Before each node of an operation."""

    name: str
    rows: tuple[str, ...]

    @property
    def title(self) -> str:  # noqa: D102
        return f"at each {self.name}"

    def _steps(self, walk: Backprop) -> list[int]:
        return [place + 1 for place, node in enumerate(walk.order) if node.op in self.rows]

    def when(self, walk: Backprop) -> str:  # noqa: D102
        steps = self._steps(walk)
        more = f" and {len(steps) - 8} more" if len(steps) > 8 else ""
        plural = "s" if len(steps) > 1 else ""
        listed = ", ".join(map(str, steps[:8]))
        return f"before step{plural} {listed}{more}" if steps else "which this walk does not have"

    def passed(self, walk: Backprop) -> bool:  # noqa: D102
        return all(step - 1 <= walk.position for step in self._steps(walk))

    def reached(self, walk: Backprop) -> str:  # noqa: D102
        if walk.position == len(walk) or (node := walk.order[walk.position]).op not in self.rows:
            return ""
        return f"at {self.name}: {walk.words.names[node]} = {walk.words.own_formula(node)[0]}"


@dataclass(frozen=True)
class Where:
    """Where a condition holds, which is told by its text without spaces."""

    text: str
    condition: Condition = field(compare=False)

    @property
    def title(self) -> str:  # noqa: D102
        return f"where {self.condition}"

    def when(self, walk: Backprop) -> str:  # noqa: D102
        return ""

    def passed(self, walk: Backprop) -> bool:  # noqa: D102
        return walk.position == len(walk)

    def reached(self, walk: Backprop) -> str:  # noqa: D102
        if walk.position == len(walk):  # no node comes next
            return ""
        try:
            if not self.condition.holds():
                return ""
        except FormulaError as error:
            return f"because {self.condition} can't be told here: {error.problem}"
        sides = [side for side in self.condition.sides if not side.is_literal]
        values = " and ".join(f"{side} = {walk.words.number(side.value())}" for side in sides)
        return f"{self.title}, with {values}" if values else self.title


def read_stop(text: str, walk: Backprop, source: Source) -> Stop:
    """What a person means by a place: the number of a step, a name, an operation, or a condition.

    Raises LookupError for a name that means no node, or two; FormulaError, pointing into `source`, for a condition
    that can't be read; ValueError for the others.
    """
    if text.isdecimal():
        step = int(text[:20])
        if not 1 <= step <= len(walk):
            raise ValueError(f"The walk has {len(walk)} steps; there is no step {shorten(text)}.")
        return BeforeStep(step)
    if text in walk.names.values():
        return AtNode(walk.find(text), text)
    if rows := _rows(text):
        present = list(dict.fromkeys(node.op for node in walk.order))
        if not any(name in rows for name in present):
            raise ValueError(f"No step is of {text}. The operations of this walk are {', '.join(present)}.")
        return AtOperation(text, rows)
    if is_condition(text):
        condition = Condition(text, walk, source)
        for side in condition.sides:
            if side.is_of_numbers:
                side.value()  # what has no value here has none anywhere
        return Where("".join(text.split()), condition)
    if text in ("grad", "data", "step"):
        raise ValueError(f"A condition compares {text} of the node that comes next with something: b {text} > 1.")
    known = [*named_nodes(walk.names), *dict.fromkeys(node.op for node in walk.order)]
    raise LookupError(f"No node is called {shorten(text)!r}, and no operation. {nearest(text, known)}")


def _rows(text: str) -> tuple[str, ...]:
    """The rows of the table that a person calls so."""
    if text == "if":
        return tuple(row.name for row in ops.CONDITIONALS.values())
    name = FUNCTIONS[text].name if text in FUNCTIONS else _SIGNS.get(text, text)
    return (name,) if name in ops.TABLE and name not in ("", "constant") else ()
