"""Where the leaves of a graph are put, to tell two formulas over it apart: around 0, far out, and at every kink."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from engine import ops
from engine.arrays import gaps
from engine.backprop import gradients
from engine.batch import Batch
from engine.explain import unlabelled_below
from engine.graph import (
    backward_order,
    computed_nodes,
    derivatives_by_parent,
    forward_order,
    leaves,
    recorded_derivatives,
)
from engine.points import Gradient, Ground, Points
from engine.value import Value, clone

NARROW, WIDE, NEAR = 2.0, 4.0, 0.0  # how far from 0 the leaves are drawn, or else near the given values
FAR = (16.0, 128.0, 1024.0)
POINTS = 4096  # the given values among them, and a few to spare for those at which nobody has digits
AT_KINKS = 288  # besides, at most
DRAWN = {NARROW: 2656, NEAR: 768, WIDE: 544} | dict.fromkeys(FAR, 64)
MOST_MENDED = 24  # times that a point without a value is drawn again
MOST_ROUNDS = 4  # of points, where the right answer has digits at few
CLOSER = 0.02  # times as far, in each round

MOST_KINKS = 64  # that are looked at from close by
RARE = 16  # points on one side of a kink, of which there should be more
PUSHES = 0.5 * math.e ** np.arange(10.0)  # how far a leaf is moved to get beyond a kink: 0.5 to 4,000
PUSHED = 6  # points from which that is tried
CLOSE_TO = 2.0 ** -np.array([4.0, 9.0, 15.0])  # of the way between two points on both sides of a kink
NEGLIGIBLE = 1e-6  # of the distances to a kink on both sides
SECANTS = 6  # steps towards a kink, at most

LOGARITHMS = (ops.LOG, ops.LOG2, ops.LOG10, ops.LOG1P, ops.LOGSIGMOID)

NOTHING = Gradient(0.0, 0.0)

Gaps = Callable[[Points], np.ndarray]
"""The signed distances of points to kinks: a row for each kink."""


@dataclass
class Given:
    """The values and local derivatives of every node as recorded, and what was derived from them so far."""

    values: dict[Value, float]
    derivatives: dict[Value, list[float | None]]
    gradients: dict[tuple[str, Value], dict[Value, Gradient]] = field(default_factory=dict)

    def value(self, node: Value) -> float:
        """A node's value."""
        return self.values.get(node, node.data)

    def derivative(self, node: Value, operand: int) -> float:
        """The local derivative of a node by an operand."""
        return self.derivatives[node][operand] or 0.0


class Sampler:
    """The gradients of a recorded graph at its given values and at many points. The graph itself is not touched."""

    def __init__(self, loss: Value, seed: int) -> None:
        self.loss = loss
        self.copies = clone(loss)
        self._original = {copy: node for node, copy in self.copies.items()}
        self.forward = forward_order(loss)
        self._rank = {self.copies[node]: place for place, node in enumerate(computed_nodes(loss))}
        self.variables = [leaf for leaf in leaves(self.forward) if not leaf.is_constant] or [loss]
        self._seed = seed
        computed = {node: list(recorded_derivatives(node)) for node in self.forward}
        self.given = Given({node: node.data for node in (*self.variables, *self.forward)}, computed)

    # The given values

    def direct_operands(self, node: Value) -> set[Value]:
        """What `node` is computed from, directly or through nodes without a label."""
        if not node.op:
            return set()
        self.load(self.given.derivatives)
        inner = unlabelled_below(self.copies[node], self._rank)
        return {self._original[parent] for one in inner for parent, _ in derivatives_by_parent(one)}

    def gradient(self, at: Given | Points, kind: str, root: Value, node: Value) -> Gradient:
        """∂root/∂node, there. Of kind "local" the chain rule stops at labelled nodes, of "direct" at any.

        Whether it is steady is known at points alone.
        """
        if isinstance(at, Points):
            return at.gradient(kind, root, node)
        if (kind, root) not in at.gradients:
            exact = self._sweep(kind, root, at.derivatives)
            noise = self._noise(exact, at.derivatives)
            at.gradients[kind, root] = {reached: Gradient(grad, noise[reached]) for reached, grad in exact.items()}
        return at.gradients[kind, root].get(node, NOTHING)

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

    # Many points

    @cached_property
    def ground(self) -> Ground:
        """What all points share."""
        return Ground(self.loss, self.forward, self.variables)

    @cached_property
    def given_sides(self) -> np.ndarray:
        """On which side of each kink the given values lie."""
        found = [
            gap > 0.0
            for node in self.ground.kinked
            for gap in gaps(node._row, [self.given.value(parent) for parent in node.parents])
        ]
        return np.array(found, dtype=bool)

    @cached_property
    def points(self) -> Points:
        """`POINTS` and a few, without the given values; and those at the kinks."""
        drawn, kinks = self.drawn(DRAWN, ""), self.ground.kinks
        if not kinks:
            return drawn
        there = self.at_kinks(drawn, Points.gaps, lambda kink: self._deciding(kinks[kink][0]), "")
        return drawn if there is None else Points.joined([drawn, there])

    def further(self, number: int) -> Points:
        """Another round of points, with some leaves closer to 0."""
        return self.drawn({reach: DRAWN[reach] for reach in (NARROW, NEAR, WIDE)}, f"round {number}", CLOSER**number)

    # Labels

    @cached_property
    def labels(self) -> list[Value]:
        """The leaves given as 0 or 1 that do nothing but weigh logarithms: y in −y·log(a) − (1 − y)·log(1 − a)."""
        logarithms: set[Value] = set()
        uses: dict[Value, list[Value]] = {}
        for node in self.forward:
            products = [] if node._row is ops.DOT else _products(node)
            if node._row in LOGARITHMS or not logarithms.isdisjoint(itertools.chain(*products)):
                logarithms.add(node)
            for parent in dict.fromkeys(node.parents):
                uses.setdefault(parent, []).append(node)
        weights: set[Value] = set()

        def weighs(node: Value, use: Value) -> bool:
            own = [product for product in _products(use) if node in product]
            in_products = sum(product.count(node) for product in own) == use.parents.count(node)
            return in_products and (use in weights or all(not logarithms.isdisjoint(product) for product in own))

        for node in [*reversed(self.forward), *self.variables]:
            if node not in logarithms and node in uses and all(weighs(node, use) for use in uses[node]):
                weights.add(node)
        return [leaf for leaf in self.variables if leaf in weights and leaf.data in (0.0, 1.0)]

    def held(self, points: Points, some: Collection[Value]) -> Points:
        """The same points, with some leaves at their given values."""
        columns = {
            leaf: np.full(points.size, self.given.value(leaf)) if leaf in some else points.value(leaf)
            for leaf in self.variables
        }
        return Points(self.ground, columns, points.reach)

    def _rng(self, what: str) -> np.random.Generator:
        return np.random.default_rng([*f"{self._seed} {what}".encode()])

    def drawn(self, counts: Mapping[float, int], what: str, closer: float = 1.0) -> Points:
        """So many points of each reach, drawn by the seed and by `what` they are for; half of the leaves are `closer`.

        A point without a value is drawn again, but for leaves that have no part in that.
        """
        reach = np.concatenate([np.full(count, one) for one, count in counts.items()])
        rng = self._rng(what)
        columns = rng.random((len(self.variables), len(reach)))
        columns *= 2.0
        columns -= 1.0
        near = reach == NEAR
        columns[:, near] *= _spread(int(near.sum())) * self._around
        columns[:, near] += self._home
        columns *= np.where(near, 1.0, reach)
        if closer != 1.0:
            columns *= np.where(near | rng.choice([True, False], columns.shape), 1.0, closer)
        for place, leaf in enumerate(self.variables):
            if leaf in self._compared_for_equality:
                columns[place, np.flatnonzero(near)[::2]] = self._home[place]
        points = self._at(columns, reach)
        if points.valid.all():
            return points
        bad = np.flatnonzero(~points.valid)
        columns[:, bad] = self._mended(columns[:, bad], reach[bad], what)
        return self._at(columns, reach)

    def _at(self, columns: np.ndarray, reach: np.ndarray) -> Points:
        return Points(self.ground, dict(zip(self.variables, columns, strict=True)), reach)

    @cached_property
    def _home(self) -> np.ndarray:
        return np.array([[self.given.value(leaf)] for leaf in self.variables])

    @cached_property
    def _around(self) -> np.ndarray:
        """How far near is, for each leaf."""
        around: np.ndarray = np.maximum(np.abs(self._home), 0.1)
        return around

    @cached_property
    def home(self) -> Points:
        """The given values alone, as points."""
        return self._at(self._home, np.array([NEAR]))

    @cached_property
    def _compared_for_equality(self) -> set[Value]:
        """The leaves that decide whether two numbers are equal, which chance would never make them."""
        tests = [node for node in self.forward if node._row.name in ("if ==", "if !=")]
        return {leaf for node in tests for leaf in self._deciding(node)}

    def _mended(self, columns: np.ndarray, reach: np.ndarray, what: str) -> np.ndarray:
        """The points, with the leaves under an operation that has no value there drawn again."""
        rng = self._rng(f"again {what}")
        mended, left = columns.copy(), np.arange(len(reach))
        width = np.where(reach == NEAR, 0.1 * self._around, reach)
        centre = np.where(reach == NEAR, self._home, 0.0)
        for attempt in range(1, MOST_MENDED + 1):
            for leaf_places, at, outgrown in self._causes(mended[:, left]):
                columns_at = left[at]
                # What grew too large is drawn nearer; what lies outside a domain is looked for farther out, in time.
                factor = np.where(outgrown | (reach[columns_at] == NEAR), 0.5, 1.5 if attempt % 4 == 0 else 1.0)
                grid = np.ix_(leaf_places, columns_at)
                width[grid] *= factor
                mended[grid] = centre[grid] + width[grid] * rng.uniform(-1.0, 1.0, (len(leaf_places), len(columns_at)))
            left = left[~self._at(mended[:, left], reach[left]).valid]
            if not left.size:
                break
        return mended

    def _causes(self, columns: np.ndarray) -> list[tuple[list[int], np.ndarray, np.ndarray]]:
        """Where operations have no value though their operands have: the leaves, the points, and if it is infinite."""
        batch = Batch(self.loss, dict(zip(self.variables, columns, strict=True)), forward=self.forward)
        needed, finite = batch.needed(), {}
        place = {leaf: number for number, leaf in enumerate(self.variables)}
        causes = []
        for node in self.forward:
            finite[node] = np.isfinite(batch.values[node])
            if node in needed and not finite[node].all():
                cause = ~finite[node] & needed[node]
                for parent in node.parents:
                    cause = cause & finite.get(parent, True)
                at = np.flatnonzero(cause)
                if at.size:
                    below = [place[leaf] for leaf in leaves(forward_order(node)) if leaf in place]
                    causes.append((below, at, np.isinf(batch.values[node][at])))
        return causes

    # Kinks

    def leaves_under(self, some: Sequence[Value]) -> list[Value]:
        """The leaves that any of these nodes depends on."""
        below = [leaf for node in some for leaf in (leaves(forward_order(node)) if node.op else [node])]
        return [leaf for leaf in dict.fromkeys(below) if not leaf.is_constant]

    def _deciding(self, node: Value) -> list[Value]:
        """The leaves that decide on which side of its kink a node lies."""
        return self.leaves_under(node.parents[:2] if node._row.selects else node.parents)

    def at_kinks(
        self, points: Points, gaps_at: Gaps, deciding: Callable[[int], Sequence[Value]], what: str
    ) -> Points | None:
        """Further points, close to each kink on both of its sides, and beyond those that few points lie beyond.

        `gaps_at` gives the distances to the kinks, of whatever formula they are, and `deciding` the leaves on which
        one depends. None where no kink was crossed.
        """
        found = np.where(points.valid, gaps_at(points), np.nan)
        above, below = found > 0.0, found <= 0.0
        fewest = np.minimum(above.sum(axis=1), below.sum(axis=1))
        kinks = np.argsort(fewest, kind="stable")[:MOST_KINKS]
        rng = self._rng(f"kinks {what}")
        every = np.stack([points.value(leaf) for leaf in self.variables])
        pushed = self._pushed(every, found, [kink for kink in kinks if fewest[kink] < RARE], deciding, gaps_at, rng)
        each = max(1, MOST_KINKS // (2 * max(1, len(kinks))))
        crossings = [one for of_kink in pushed for one in of_kink[:each]]
        for kink in kinks:
            if fewest[kink]:
                sides = [rng.choice(np.flatnonzero(side[kink]), each) for side in (below, above)]
                crossings += [
                    _Crossing(kink, every[:, low], every[:, high], found[kink, low], found[kink, high])
                    for low, high in zip(*sides, strict=True)
                ]
        if not crossings:
            return None
        close = self._between(crossings[:MOST_KINKS], gaps_at)
        most = max(4, RARE * 4 // max(1, len(pushed)))
        beyond = [one.end for of_kink in pushed for one in of_kink[:most]]
        columns = np.column_stack([*beyond, close])[:, :AT_KINKS]
        return self._at(columns, np.where(np.abs(columns).max(axis=0) <= NARROW, NARROW, FAR[0]))

    def _pushed(
        self,
        every: np.ndarray,
        found: np.ndarray,
        lacking: Sequence[int],
        deciding: Callable[[int], Sequence[Value]],
        gaps_at: Gaps,
        rng: np.random.Generator,
    ) -> list[list[_Crossing]]:
        """For each kink that lacks points on one side: pushes across it along some leaf or all, the shortest first."""
        place = {leaf: number for number, leaf in enumerate(self.variables)}
        lengths = np.concatenate([PUSHES, -PUSHES])
        pushes: list[tuple[int, int, float, np.ndarray]] = []  # of which kink, from which point, how far, and where
        for kink in lacking[: POINTS // (PUSHED * 3 * len(lengths))]:
            valid, own = np.flatnonzero(np.isfinite(found[kink])), [place[leaf] for leaf in deciding(kink)]
            for start in rng.choice(valid, PUSHED) if valid.size and own else ():
                directions = np.zeros((3, len(every)))
                directions[0, own] = rng.uniform(-1.0, 1.0, len(own))
                directions[[1, 2], rng.choice(own, 2)] = 1.0
                ends = every[:, start, None, None] + directions.T[:, :, None] * lengths
                pushes += [
                    (kink, start, length, ends[:, way, step])
                    for way in range(3)
                    for step, length in enumerate(np.abs(lengths))
                ]
        if not pushes:
            return []
        there = self._at(np.column_stack([end for *_, end in pushes]), np.full(len(pushes), FAR[0]))
        after = np.where(there.valid, gaps_at(there), np.nan)
        crossings: dict[int, list[_Crossing]] = {}
        for column in sorted(range(len(pushes)), key=lambda column: pushes[column][2]):
            kink, start, _, end = pushes[column]
            gap_start, gap_end = found[kink, start], after[kink, column]
            if math.isfinite(gap_end) and (gap_start > 0.0) != (gap_end > 0.0):
                crossings.setdefault(kink, []).append(_Crossing(kink, every[:, start], end, gap_start, gap_end))
        return list(crossings.values())

    def _between(self, crossings: Sequence[_Crossing], gaps_at: Gaps) -> np.ndarray:
        """Points on the way from one side of a kink to the other, close to the kink and closer, on both its sides."""
        kinks = np.array([one.kink for one in crossings])
        start = np.column_stack([one.start for one in crossings])
        way = np.column_stack([one.end for one in crossings]) - start
        gap_low, gap_high = (
            np.array(gaps) for gaps in zip(*[(one.gap_start, one.gap_end) for one in crossings], strict=True)
        )
        low, high = np.zeros(len(kinks)), np.ones(len(kinks))
        where = low
        for _ in range(SECANTS):
            with np.errstate(all="ignore"):
                secant = low + (high - low) * gap_low / (gap_low - gap_high)
            margin = 1e-6 * (high - low)
            where = np.where(np.isfinite(secant), np.clip(secant, low + margin, high - margin), 0.5 * (low + high))
            there = self._at(start + where * way, np.full(len(kinks), NARROW))
            gap = np.where(there.valid, gaps_at(there), np.nan)[kinks, np.arange(len(kinks))]
            if not (np.abs(gap) > NEGLIGIBLE * np.maximum(np.abs(gap_low), np.abs(gap_high))).any():
                break
            same = (gap > 0.0) == (gap_low > 0.0)
            low, gap_low = np.where(same, where, low), np.where(same, gap, gap_low)
            high, gap_high = np.where(same, high, where), np.where(same, gap_high, gap)
        return np.column_stack([start + (where + sign * far) * way for far in CLOSE_TO for sign in (1.0, -1.0)])


class _Crossing(NamedTuple):
    """Two points on both sides of a kink, and their distances to it."""

    kink: int
    start: np.ndarray
    end: np.ndarray
    gap_start: float
    gap_end: float


def _products(node: Value) -> list[tuple[Value, ...]]:
    """The factors of a product, or of each product in a weighted sum; y alone of −y, y/n and 1 − y."""
    parents = node.parents
    if node._row in (ops.MULTIPLY, ops.NEGATE, ops.IDENTITY):
        return [parents]
    if node._row is ops.DIVIDE:
        return [parents[:1]]
    if node._row is ops.SUBTRACT and parents[0].is_constant:
        return [parents[1:]]
    if node._row is ops.DOT:
        half = len(parents) // 2
        return list(zip(parents[:half], parents[half:], strict=False))  # without the bias
    return []


def _spread(count: int) -> np.ndarray:
    """How far from the given values points near them lie, relative to these: ever closer, and a third of them far."""
    return np.where(np.arange(count) % 3 == 0, 1.0, 0.1 * 0.5 ** (np.arange(count) % 8))
