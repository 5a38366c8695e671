"""A graph, one of its nodes, and every single mistake in the gradient there."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tests.derivations import writing
from tests.derivations.graphs import KINDS
from tests.derivations.mistakes import mistakes
from tests.derivations.printing import half_unit, printed
from tests.derivations.tape import LR, Graph, Mistake, Node, Pass, numbers, symbols

POINTS = 24  # the last one is the graph's own
SAME = 1e-9  # the relative difference of two answers that are one function


@dataclass
class Case:
    """A hand derivation. `accepted`: the mistakes, with their first wrong nodes, that give the same function."""

    kind: str  # of graph
    text: str
    ranges: dict[str, tuple[float, float]]
    values: dict[str, float]
    loss: str
    wrt: str
    correct: str
    answer: str
    style: str
    key: str = ""
    first_wrong_node: str = ""
    accepted: list[tuple[str, str]] | None = None
    shape: str = ""
    number: str = ""  # the answer at the graph's own values, where it is a wrong number there
    accepted_number: list[tuple[str, str]] | None = None
    lr: float = LR

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Found:
    """A mistake with the function that it gives and the nodes where it shows first."""

    mistake: Mistake
    answer: Any
    nodes: list[str]


class Problem:
    """A graph, one of its nodes, and every single mistake in the gradient of the loss by that node."""

    def __init__(self, kind: str, graph: Graph, wrt: Node, rng: random.Random, points: int = POINTS) -> None:
        self.kind, self.graph, self.wrt, self.points = kind, graph, wrt, points
        self.in_print = rng.random() < 0.1
        given = {name: round(rng.uniform(*bounds), 2) for name, bounds in graph.ranges.items()}
        self.values = {name: number for name, number in given.items() if name in graph.used_ranges}
        self.numbers = numbers(graph, np.random.default_rng(rng.randrange(2**32)), points - 1, given)

    @cached_property
    def symbols(self) -> Pass:
        return symbols(self.graph)

    @cached_property
    def right(self) -> Any:
        return self._filled(self.numbers.right[self.wrt])

    def _filled(self, numbers: Any) -> Any:
        """One number for each point."""
        return np.broadcast_to(numbers, self.points)

    @cached_property
    def sound(self) -> bool:
        """Whether the gradient has digits, and is not 0 throughout."""
        return bool(np.isfinite(self.right).all() and np.count_nonzero(np.abs(self.right) > 1e-9) >= self.points // 4)

    @cached_property
    def found(self) -> list[Found]:
        """The mistakes that change the gradient."""
        result = []
        with np.errstate(all="ignore"):
            for mistake in mistakes(self.graph, self.wrt):
                adjoints = None if mistake.answer else self.numbers.backward(mistake)
                answer = adjoints[self.wrt] if adjoints is not None else self.numbers.answer(mistake, self.wrt)
                answer = self._filled(answer)
                if not same(answer, self.right):
                    nodes = [self.wrt.name] if adjoints is None else self._first_wrong(adjoints)
                    result.append(Found(mistake, answer, nodes))
        return result

    def _first_wrong(self, adjoints: dict[Node, Any]) -> list[str]:
        """The named nodes between loss and variable that are wrong, and have none such between them and the loss."""
        wrong = [
            node
            for node in self.graph.known.values()
            if self.wrt in self.graph.below[node]
            and not same(self._filled(adjoints[node]), self._filled(self.numbers.right[node]))
        ]
        first = [
            node.name
            for node in wrong
            if not any(other is not node and node in self.graph.below[other] for other in wrong)
        ]
        return first

    def differs(self, answer: Any) -> bool:
        """Whether an answer is not the right one."""
        return not same(answer, self.right)

    def alike(self, answer: Any) -> list[tuple[str, str]]:
        """Every single mistake that gives this function, with each node where it shows first."""
        return self._pairs(found for found in self.found if same(found.answer, answer))

    def _pairs(self, some: Iterable[Found]) -> list[tuple[str, str]]:
        return list(dict.fromkeys((found.mistake.key, node) for found in some for node in found.nodes))

    def at_the_given_values(self, answer: Any, digits: int) -> tuple[str, list[tuple[str, str]]]:
        """The answer's number there, and the mistakes that give it; empty where it is undefined, tiny or right."""
        number, right = float(answer[-1]), float(self.right[-1])
        if not np.isfinite(number) or not 1e-6 < abs(number) < 1e6:
            return "", []
        text = printed(number, digits)
        reach = half_unit(text) * 1.0001
        if abs(right - float(text)) <= 2.0 * reach:
            return "", []
        return text, self._pairs(found for found in self.found if abs(found.answer[-1] - float(text)) <= reach)

    def case(self, answer: str, style: str, **more: Any) -> Case:
        """The case of an answer, which may be written with the signs of print."""
        if self.in_print:
            answer, style = writing.in_print(answer), f"{style}, in print"
        return Case(
            self.kind,
            self.graph.text,
            self.graph.used_ranges,
            self.values,
            self.graph.loss.name,
            self.wrt.name,
            writing.written(self.symbols.right[self.wrt]),
            answer,
            style,
            **more,
        )

    def names_at(self, point: int) -> dict[str, float]:
        """What the names of an answer stand for at one of the points."""
        values = {name: self.numbers.values[node][point] for name, node in self.graph.known.items()}
        return {name: float(number) for name, number in values.items()} | {"lr": LR}

    def check(self, text: str, answer: Any) -> None:
        """Raise AssertionError unless the text gives the answer at every point."""
        given = np.array([writing.value(text, self.names_at(point)) for point in range(self.points)])
        defined = np.isfinite(given) & np.isfinite(answer)
        assert defined.sum() >= self.points // 2, f"{text}\nof\n{self.graph.text}\nhas no value"
        assert np.allclose(given[defined], answer[defined], rtol=1e-7, atol=1e-9), (
            f"{text}\nis not what was meant for ∂/∂{self.wrt.name} of\n{self.graph.text}\n{given}\n{answer}"
        )

    def planted(self, found: Found, rng: random.Random) -> Case:
        """The case of a mistake."""
        expression = self.symbols.answer(found.mistake, self.wrt)
        text, style = writing.any_style(self.graph, expression, rng)
        self.check(text, found.answer)
        number, ties = self.at_the_given_values(found.answer, rng.randint(4, 9))
        return self.case(
            text,
            style,
            key=found.mistake.key,
            first_wrong_node=found.nodes[0],
            accepted=self.alike(found.answer),
            shape=found.mistake.shape,
            number=number,
            accepted_number=ties,
        )


def same(one: Any, other: Any) -> bool:
    """Whether two answers are one function, by their values at the points."""
    defined = np.isfinite(one) & np.isfinite(other)
    if defined.mean() < 0.5 or (np.isfinite(one) != np.isfinite(other)).mean() > 0.34:
        return False
    one, other = one[defined], other[defined]
    scale = np.abs(other).max(initial=0.0)
    return bool((np.abs(one - other) <= SAME * np.abs(other) + 1e-13 * scale + 1e-300).all())


def usable(answer: Any) -> bool:
    """Whether an answer is a function, and not a number: that would be compared at the given values alone."""
    finite = answer[np.isfinite(answer)]
    return bool(len(finite) > 0.5 * len(answer) and np.ptp(finite) > SAME * np.abs(finite).max())


def problem(rng: random.Random, kinds: list[str] | None = None) -> Problem:
    """A random graph and a node of it."""
    while True:
        kind = rng.choice(kinds or list(KINDS))
        graph = KINDS[kind](rng)
        nodes = [node for node in graph.known.values() if node is not graph.loss and node not in graph.given]
        leaves = [node for node in nodes if node.op == "leaf"]
        chosen = leaves if rng.random() < 0.8 else nodes
        if chosen:
            made = Problem(kind, graph, rng.choice(chosen), rng)
            if made.sound:
                return made
