"""Points at which two formulas over a graph are told apart."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.backprop import gradients
from engine.explain import unlabelled_below
from engine.forward import DomainError, evaluated, partials
from engine.graph import (
    backward_order,
    computed_nodes,
    derivatives_by_parent,
    forward_order,
    leaves,
    recorded_derivatives,
)
from engine.value import Value, clone

STEADY = 1e-10  # the relative change of a gradient, by one unit in the last place, beyond which nobody has digits
NARROW, WIDE, NEAR = 2.0, 4.0, 0.0  # how far from 0 the leaves are drawn, or else near the given values
FAR = (16.0, 128.0, 1024.0)
MOST_CANDIDATES = 120


Sides = frozenset[tuple[object, int, bool]]
"""For each kink, by its place and number there, whether a point lies above it."""


class Gradient(NamedTuple):
    """A derivative at a point, whether it is steady there, and what rounding alone may leave of one that is 0."""

    value: float
    steady: bool
    noise: float


NOTHING = Gradient(0.0, True, 0.0)


@dataclass
class Candidate:
    """The values of every node at one point, and what was derived from them so far."""

    values: dict[Value, float]
    sides: Sides  # on which side of each kink the point lies
    derivatives: dict[Value, list[float | None]]
    gradients: dict[tuple[str, Value], dict[Value, Gradient]] = field(default_factory=dict)


class Sampler:
    """Seeded points for the leaves under a loss, and the gradients there. The loss itself is never touched."""

    def __init__(self, loss: Value, seed: int) -> None:
        self.loss = loss
        self.copies = clone(loss)
        self._original = {copy: node for node, copy in self.copies.items()}
        self.forward = forward_order(loss)
        self._rank = {self.copies[node]: place for place, node in enumerate(computed_nodes(loss))}
        self.variables = [leaf for leaf in leaves(self.forward) if not leaf.is_constant] or [loss]
        self._streams = {
            reach: _Stream(self._draws(reach, random.Random(f"{seed} {reach}"))) for reach in (NARROW, WIDE, NEAR, *FAR)
        }
        self._seed = seed
        computed = {node: list(recorded_derivatives(node)) for node in self.forward}
        values = {node: node.data for node in (*self.variables, *self.forward)}
        self.given = Candidate(values, self._sides(values), computed)

    def stream(self, reach: float) -> Iterator[Candidate]:
        """Points with leaves in [−reach, reach]; NEAR ones ever closer around the given values."""
        return iter(self._streams[reach])

    def _draws(self, reach: float, rng: random.Random) -> Iterator[Candidate]:
        for attempt in range(MOST_CANDIDATES):
            if reach:
                point = {leaf: rng.uniform(-reach, reach) for leaf in self.variables}
            else:
                spread = 0.1 * 0.5 ** (attempt // 4)
                point = {
                    leaf: leaf.data + spread * rng.uniform(-1.0, 1.0) * max(abs(leaf.data), 0.1)
                    for leaf in self.variables
                }
            candidate = self._repaired(point, reach, rng)
            if candidate is not None:
                yield candidate

    def _repaired(self, point: dict[Value, float], reach: float, rng: random.Random) -> Candidate | None:
        """The point, with the leaves under an operation that is undefined there drawn anew."""
        for _ in range(10 + 5 * len(point)):
            try:
                return self._candidate(point)
            except DomainError as error:
                if not reach or error.node is None:
                    return None
                for leaf in leaves(forward_order(error.node)):
                    if leaf in point:
                        point[leaf] = rng.uniform(-reach, reach)
        return None

    def _candidate(self, point: dict[Value, float]) -> Candidate:
        """Everything at a point. Raises DomainError, with its node, where the graph has no finite value."""
        values, derivatives = evaluated(self.loss, point)
        for node in self.forward:
            if math.isinf(values[node]) and derivatives[node]:
                raise DomainError("overflow", node)
        return Candidate(values, self._sides(values), derivatives)

    def _sides(self, values: Mapping[Value, float]) -> Sides:
        """On which side of each kink of the graph a point lies."""
        return frozenset(
            (node, kink, above)
            for node in self.forward
            for kink, above in node._row.sides([values.get(parent, parent.data) for parent in node.parents])
        )

    def direct_operands(self, node: Value) -> set[Value]:
        """What `node` is computed from, directly or through nodes without a label."""
        if not node.op:
            return set()
        self.load(self.given.derivatives)
        inner = unlabelled_below(self.copies[node], self._rank)
        return {self._original[parent] for one in inner for parent, _ in derivatives_by_parent(one)}

    def gradient(self, candidate: Candidate, kind: str, root: Value, node: Value) -> Gradient:
        """∂root/∂node at the candidate. Of kind "local" the chain rule stops at labelled nodes, of "direct" at any."""
        known = candidate.gradients.get((kind, root))
        if known is None:
            known = self._swept(candidate, kind, root)
            candidate.gradients[kind, root] = known
        return known.get(node, NOTHING)

    def _swept(self, candidate: Candidate, kind: str, root: Value) -> dict[Value, Gradient]:
        exact = self._sweep(kind, root, candidate.derivatives)
        noise = self._noise(exact, candidate.derivatives)
        steady = {node: math.isfinite(grad) for node, grad in exact.items()}
        for pattern in ("up", "down", "mixed", "mixed otherwise"):
            moved = self._sweep(kind, root, self._nudged(candidate, pattern))
            for node, grad in exact.items():
                change = abs(moved.get(node, 0.0) - grad)
                nothing = abs(grad) <= noise[node] and change <= 4.0 * noise[node]
                steady[node] = steady[node] and (change <= STEADY * abs(grad) or nothing)
        return {node: Gradient(grad, steady[node], noise[node]) for node, grad in exact.items()}

    def _noise(
        self, exact: Mapping[Value, float], derivatives: Mapping[Value, list[float | None]]
    ) -> dict[Value, float]:
        """A few units in the last place of the largest term that each gradient was summed from."""
        largest = dict.fromkeys(exact, 0.0)
        for node, recorded in derivatives.items():
            for parent, derivative in zip(node.parents, recorded, strict=True):
                if derivative is not None and node in exact and parent in exact:
                    term = abs(exact[node] * derivative)
                    if largest[parent] < term < math.inf:
                        largest[parent] = term
        return {node: 8.0 * math.ulp(term) if term else 0.0 for node, term in largest.items()}

    def _sweep(self, kind: str, root: Value, derivatives: Mapping[Value, list[float | None]]) -> dict[Value, float]:
        """∂root/∂node for every node that is reached, by the one chain rule, on the copies."""
        self.load(derivatives)
        copy = self.copies[root]
        if kind == "direct":
            order = [copy]
        else:
            order = unlabelled_below(copy, self._rank) if kind == "local" else backward_order(copy)
        return {self._original[reached]: reached.grad for reached in gradients(copy, order)}

    def load(self, derivatives: Mapping[Value, list[float | None]]) -> None:
        """Record these local derivatives in the copies."""
        for node, recorded in derivatives.items():
            self.copies[node].set_derivatives(recorded)

    def _nudged(self, candidate: Candidate, pattern: str) -> dict[Value, list[float | None]]:
        """The local derivatives in textbook form, with every recorded value moved by a unit in its last place."""
        rng = random.Random(f"{self._seed} {pattern}")

        def moved(node: Value) -> float:
            value = candidate.values.get(node, node.data)
            if node not in candidate.values:  # a constant stays
                return value
            up = pattern == "up" or (pattern != "down" and rng.random() < 0.5)
            return math.nextafter(value, math.inf if up else -math.inf) if value else value

        values = {node: moved(node) for node in self.copies}
        return {
            node: partials(
                node._row, values[node], tuple([values[p] for p in node.parents]), node.parents, textbook=True
            )
            for node in self.forward
        }


class _Stream:
    """An iterator that can be read again from its start."""

    def __init__(self, draws: Iterator[Candidate]) -> None:
        self._draws = draws
        self._seen: list[Candidate] = []

    def __iter__(self) -> Iterator[Candidate]:
        position = 0
        while True:
            if position == len(self._seen):
                drawn = next(self._draws, None)
                if drawn is None:
                    return
                self._seen.append(drawn)
            yield self._seen[position]
            position += 1
