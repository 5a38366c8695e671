"""Whole tables of rounded gradients with planted slips, and weights after a step."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tests.derivations.activations import depth
from tests.derivations.graphs import KINDS
from tests.derivations.printing import half_unit, printed
from tests.derivations.tape import LR, Graph, Mistake, Node, Pass, numbers

TABLES_OF = ["neuron", "chain", "net", "net", "softmax", "batch", "recurrent", "skip", "gated", "tangle"]
CLEARLY = 4.0  # times what rounding may leave: a slip beyond it is one
MOST_DOUBT = 0.1  # of a number
LEAST, MOST = 1e-5, 1e5  # the gradients that a course prints


@dataclass
class Table:
    """Answers by name, and the names of those that do not follow from the others."""

    kind: str
    text: str
    values: dict[str, float]
    rows: dict[str, str]
    wrong: list[str]
    key: str = ""
    lr: float = LR

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def tables(seed: int | str, count: int, slips: int) -> Iterator[Table]:
    """Tables of ∂L/∂node with so many slips; all that comes after a slip is computed from the slipped numbers."""
    rng = random.Random(f"tables {seed} {slips}")
    made = 0
    while made < count:
        table = _Sheet(rng).table(slips)
        if table is not None:
            yield table
            made += 1


def no_slip(seed: int | str, count: int) -> Iterator[Table]:
    """Right tables, half of them with every row from rounded ones."""
    return tables(seed, count, 0)


def one_slip(seed: int | str, count: int) -> Iterator[Table]:
    """Tables with one slip."""
    return tables(seed, count, 1)


def two_slips(seed: int | str, count: int) -> Iterator[Table]:
    """Tables with two slips."""
    return tables(seed, count, 2)


class _Sheet:
    """One student's table in the making."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.graph = KINDS[rng.choice(TABLES_OF)](rng)
        self.pass_, self.values = at_a_point(self.graph, rng)
        right = self.pass_.right
        self.asked = [
            node
            for node in reversed(self.graph.order)
            if node.name and node is not self.graph.loss and node not in self.graph.given
        ]
        self.right = {node: _number(right[node]) for node in self.asked}
        self.digits = 4
        self.from_printed = rng.random() < 0.3  # each row from the rounded rows before it

    def table(self, slips: int) -> Table | None:
        """The table, or None where its numbers are none that a course would print."""
        sizes = [abs(grad) for grad in self.right.values() if grad]
        if not sizes or not all(LEAST < size < MOST for size in sizes):
            return None
        candidates = [node for node in self.asked if self.right[node]]
        if len(candidates) < slips + 1:
            return None
        slipped = self.rng.sample(candidates, slips)
        rows = self._rows(slipped)
        if rows is None or all(float(rows[node.name]) * self.right[node] <= 0.0 for node in self.asked):
            return None  # all signs flipped are another convention
        return Table(
            f"{slips} slips" + (", from rounded rows" if self.from_printed else ""),
            self.graph.text,
            self.values,
            rows,
            [node.name for node in self.asked if node in slipped],
        )

    def _rows(self, slipped: list[Node]) -> dict[str, str] | None:
        """The printed rows, with slips that are clearly larger than all rounding that reaches them."""
        carried: dict[Node, float] = {}  # the number that goes on from a node
        doubt: dict[Node, float] = {}
        spoiled: dict[Node, bool] = {}
        arrived: dict[Node, list[tuple[float, float, bool]]] = {node: [] for node in self.graph.order}
        rows = {}
        for node in reversed(self.graph.order):
            if node.op == "constant":
                continue
            if node is self.graph.loss:
                carried[node], doubt[node], spoiled[node] = 1.0, 0.0, False
            else:
                carried[node] = sum(amount for amount, _, _ in arrived[node])
                doubt[node] = sum(reach for _, reach, _ in arrived[node])
                spoiled[node] = any(bad for _, _, bad in arrived[node])
            if node in self.right:
                follows = carried[node]
                if doubt[node] > MOST_DOUBT * abs(follows):
                    return None  # what is left after a cancellation is rounding
                text = printed(follows, self.digits)
                if node in slipped:
                    text = self._slip(follows, self.right[node], doubt[node] + 2.0 * half_unit(text))
                    if not text:
                        return None
                    spoiled[node] = True
                rows[node.name] = text
                if spoiled[node] or self.from_printed:
                    carried[node] = float(text)
                # Looked at from the table alone, any number in the printed interval may have gone on.
                doubt[node] = half_unit(text)
            for place, arg in enumerate(node.args):
                if arg.op != "constant":
                    local = _number(self.pass_.partial(node, place))
                    arrived[arg].append((carried[node] * local, doubt[node] * abs(local), spoiled[node]))
        return rows

    def _slip(self, follows: float, right: float, rounding: float) -> str:
        """A number in place of the one that follows, nor the right one; empty where none is clearly wrong."""
        digits = list(f"{abs(follows):.3e}")
        swapped = "".join([digits[2], ".", digits[0], *digits[3:]])
        small = rounding * CLEARLY * self.rng.uniform(1.5, 10.0)
        candidates = [
            -follows, 2.0 * follows, follows / 2.0, follows * self.rng.uniform(0.5, 1.5), 10.0 * follows,
            follows + small, follows - small, float(swapped) * (1.0 if follows > 0.0 else -1.0),
            follows * follows, follows + 1.0,
        ]  # fmt: skip
        self.rng.shuffle(candidates)
        for candidate in candidates:
            text = printed(candidate, self.digits)
            slip = min(abs(float(text) - follows), abs(float(text) - right))
            if slip > CLEARLY * (rounding + half_unit(text)) and LEAST < abs(float(text)) < MOST:
                return text
        return ""


def at_a_point(graph: Graph, rng: random.Random) -> tuple[Pass, dict[str, float]]:
    """The chain rule at values such as a course gives, and those that the graph needs."""
    given = {name: round(rng.uniform(*bounds), 2) or 0.5 for name, bounds in graph.ranges.items()}
    values = {name: number for name, number in given.items() if name in graph.used_ranges}
    return numbers(graph, np.random.default_rng(0), 0, given), values


def steps(seed: int | str, count: int) -> Iterator[Table]:
    """Weights after one gradient descent step: right, or done with weights that were updated already."""
    rng = random.Random(f"steps {seed}")
    made = 0
    while made < count:
        graph = KINDS[rng.choice(["chain", "net", "net"])](rng)
        if depth(graph.loss) > 2:  # of three layers: which update comes first is a matter of taste
            continue
        p, values = at_a_point(graph, rng)
        grads = p.backward(Mistake("updated_weights", values=_after_update(graph)))
        key = rng.choice(["", "updated_weights", "updated_weights", "sign_flipped"])
        rows, wrong = {}, []
        for w in [*graph.weights, *graph.biases]:
            right, changed = _number(p.right[w]), _number(grads[w])
            grad = {"": right, "updated_weights": changed, "sign_flipped": -right}[key]
            rows[f"new({w.name})"] = printed(values[w.name] - LR * grad, 9)
            if abs(grad - right) * LR > 1e-6 * max(1.0, abs(values[w.name])):
                wrong.append(f"new({w.name})")
            elif abs(grad - right) * LR > 1e-13:
                break  # neither right nor clearly wrong
        else:
            if bool(wrong) == bool(key):
                named = key if key == "updated_weights" else ""  # an update with the wrong sign needs no name
                yield Table(f"step, {key or 'right'}", graph.text, values, rows, wrong, named)
                made += 1


def _after_update(graph: Graph) -> dict[Any, Any]:
    """The weights after their own step, wherever a signal is multiplied by one."""
    return {
        (user, place): lambda p, w=w: p.values[w] - p.lr * p.right[w]
        for w in graph.weights
        for user, place in graph.uses(w)
    }


def _number(values: Any) -> float:
    return float(np.ravel(values)[-1])
