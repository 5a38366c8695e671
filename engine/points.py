"""A recorded graph at many points: its values, its gradients, and on which side of each kink a point lies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property, reduce
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from engine import ops
from engine.arrays import array, derivatives, gaps, quiet
from engine.batch import Batch
from engine.graph import computed_nodes, leading_to
from engine.ops import Primitive
from engine.value import Value

STEADY = 1e-10  # the relative change of a gradient, by one unit in the last place, beyond which nobody has digits
MOST_NUMBERS = 2**22  # computed at a time: 32 megabytes
MOST_KEPT = 2**23  # numbers of a graph that are kept for the next question

UP, DOWN = 1.0 + 2.0**-52, 1.0 - 2.0**-53  # times a number: a unit in its last place, or two
SMALLEST = 2.0**-1022  # with all its digits
LARGE = 2.0**500
SUMS = (ops.ADD, ops.SUBTRACT, ops.TOTAL)  # in which terms may cancel
NEVER_FLAT = (ops.DIVIDE, ops.EXP, ops.SIGMOID, ops.TANH, ops.SOFTPLUS, ops.LOGSIGMOID)  # a derivative of 0 is lost
PATTERNS = 4  # all up, all down, and two mixtures

# What may become 0 for want of smaller floats.
VANISHING = (ops.MULTIPLY, ops.DIVIDE, ops.POWER, ops.EXP, ops.SIGMOID, ops.SOFTPLUS, ops.ERFC, ops.SOFTMAX)

Leaves = Mapping[Value, np.ndarray]


class Gradient(NamedTuple):
    """A derivative, how far rounding may have moved it, and whether it has digits all the same: numbers or arrays."""

    value: Any
    noise: Any
    steady: Any = True


class Ground:
    """What all points of a graph share: its structure."""

    def __init__(self, loss: Value, forward: Sequence[Value], variables: Sequence[Value]) -> None:
        self.loss, self.forward, self.variables = loss, forward, variables
        self._orders: dict[tuple[str, Value], list[Value]] = {}

    @cached_property
    def kinks(self) -> list[tuple[Value, int]]:
        """The kinks of the graph: each its node, and its number there."""
        return [
            (node, number)
            for node in self.forward
            for number, _ in enumerate(gaps(node._row, [parent.data for parent in node.parents]))
        ]

    @cached_property
    def kinked(self) -> list[Value]:
        """The nodes that have kinks."""
        return list(dict.fromkeys(node for node, _ in self.kinks))

    @cached_property
    def nudges(self) -> dict[Value, np.ndarray]:
        """For each node a column of factors that move its value by a unit in the last place."""
        moving = [*self.variables, *self.forward]
        mixed = np.random.default_rng(0).integers(0, 2, (len(moving), PATTERNS - 2, 1))
        plain = np.array([[UP], [DOWN]])
        return {node: np.concatenate([plain, np.where(up, UP, DOWN)]) for node, up in zip(moving, mixed, strict=True)}

    def order(self, kind: str, root: Value) -> list[Value]:
        """The nodes at which the chain rule is applied, whatever branches are taken.

        Of kind "local" it stops at labelled nodes, of "direct" at any.
        """
        if (kind, root) not in self._orders:
            order = [root] if kind == "direct" else computed_nodes(root)
            if kind == "local":
                met = {root}
                for node in order:
                    if node in met:
                        met.update(parent for _, parent in receivers(node) if parent.op and not parent.label)
                order = [node for node in order if node in met]
            self._orders[kind, root] = order
        return self._orders[kind, root]


def receivers(node: Value) -> list[tuple[int, Value]]:
    """The operands to which the chain rule may pass something on, each with its place."""
    first = 2 if node._row.selects else 0
    return [(place, p) for place, p in enumerate(node.parents) if place >= first and not p.is_constant]


class _Chunk:
    """Some of the points: as many as memory holds at a time."""

    def __init__(self, ground: Ground, columns: Leaves, *, keep: bool) -> None:
        self.ground, self.leaves, self._keep = ground, columns, keep
        batch = self._batch = Batch(ground.loss, columns, forward=ground.forward)
        self.valid = batch.valid()
        self.vanished = _vanished(batch)
        self.sides = self.gaps() > 0.0
        self._gradients: dict[tuple[str, Value, Value], Gradient] = {}
        self._values: dict[Value, Any] = {}
        if not keep:
            self._values = {node: batch.values[node] for node in ground.forward if node.label}
            self._batch = None  # type: ignore[assignment]

    @property
    def batch(self) -> Batch:
        """All values, computed anew where they were too many to keep."""
        return self._batch or Batch(self.ground.loss, self.leaves, forward=self.ground.forward)

    @property
    def size(self) -> int:
        return next(iter(self.leaves.values())).size

    def value(self, node: Value) -> Any:
        if node in self.leaves and not node.op:
            return self.leaves[node]
        if not self._keep and node.op and node not in self._values:
            self._values[node] = self.batch.value(node)
        return self.batch.value(node) if self._keep else self._values.get(node, node.data)

    def gaps(self) -> np.ndarray:
        """The signed distance to each kink of the graph."""
        batch = self.batch
        with quiet():
            found = [gap for node in self.ground.kinked for gap in gaps(node._row, batch.operands(node))]
        return np.array([np.broadcast_to(gap, batch.size) for gap in found]).reshape(len(found), batch.size)

    def gradient(self, kind: str, root: Value, node: Value) -> Gradient:
        key = kind, root, node
        if key not in self._gradients:
            with quiet():
                self._gradients[key] = _swept(self.batch, self.ground, *key)
        return self._gradients[key]


def _vanished(batch: Batch) -> np.ndarray:
    """Where some node is 0 for want of smaller floats."""
    vanished = np.zeros(batch.size, dtype=bool)
    for node in batch.forward:
        if node._row in VANISHING:
            zero = np.asarray(batch.values[node]) == 0.0
            if zero.any():
                vanished |= zero & is_vanishing(node._row, batch.operands(node))
    return vanished


def is_vanishing(row: Primitive, operands: Sequence[Any]) -> Any:
    """Where a result of 0, of a row that is `VANISHING`, is 0 for want of smaller floats alone."""
    if row not in (ops.MULTIPLY, ops.DIVIDE, ops.POWER):
        return True
    return reduce(np.logical_and, [np.asarray(x) != 0.0 for x in operands])


def _swept(batch: Batch, ground: Ground, kind: str, root: Value, target: Value) -> Gradient:
    """∂root/∂target; steady where it stays, but for its last digits, when every value on the way is nudged.

    Where numbers on the way are so large or small that products of them need not be floats nothing is known.
    """
    order = ground.order(kind, root)
    leading = leading_to(target, order, receivers)
    nothing = np.zeros(batch.size)
    if root not in leading:
        return Gradient(nothing, nothing, nothing == 0.0)
    order = [node for node in order if node in leading and node is not target]
    exact = batch.adjoints(root, order=order, towards=leading)
    largest, moderate = nothing, nothing == 0.0
    for node in [node for node in order if node in exact]:  # the others are compared alone
        idle = np.asarray(exact[node]) == 0.0  # in a branch that is not taken, which need not have a value
        moderate = moderate & (idle | (_is_moderate(exact[node]) & _is_moderate(batch.value(node))))
        for place, parent in receivers(node):
            if parent in leading:
                local = batch.local[node][place]
                vanished = node._row in NEVER_FLAT and (local == 0.0) & (batch.value(node) != 0.0)
                moderate = moderate & (idle | (_is_moderate(local) & ~np.asarray(vanished)))
            if parent is target:
                term = np.abs(batch.times(exact[node], batch.local[node][place]))
                largest = np.fmax(largest, np.where(np.isfinite(term), term, 0.0))
    noise = np.where(largest > 0.0, 8.0 * np.spacing(largest), 0.0)
    grad = np.broadcast_to(np.asarray(exact.get(target, 0.0), dtype=float), batch.size)
    nudged = _nudged(batch, ground, order, leading)
    moved = batch.adjoints(root, nudged, order, towards=leading).get(target, 0.0)
    change = np.max(np.abs(np.atleast_2d(np.asarray(moved)) - grad), axis=0)
    is_nothing = (np.abs(grad) <= noise) & (change <= 4.0 * noise)
    steady = (change <= STEADY * np.abs(grad)) | is_nothing
    known = moderate & np.isfinite(grad) & np.isfinite(change)
    return Gradient(grad, np.where(known, np.fmax(noise, change), math.inf), known & steady)


def _is_moderate(x: Any) -> Any:
    """Whether a product with another such number can neither vanish nor become infinite."""
    size = np.abs(x)
    return (size < LARGE) & ((size > 1.0 / LARGE) | (size == 0.0))


def moved_by(x: Any, factors: np.ndarray) -> Any:
    """`x` times factors of about 1, a column of them; of numbers that a factor can't move the next ones. 0 stays."""
    moved = array(x) * factors
    small = (np.abs(x) < SMALLEST) & (np.asarray(x) != 0.0)
    if small.any():
        moved = array(np.where(small, np.nextafter(x, np.where(factors > 1.0, math.inf, -math.inf)), moved))
    return moved


def _nudged(batch: Batch, ground: Ground, order: Sequence[Value], leading: set[Value]) -> dict[tuple[Value, int], Any]:
    """The local derivatives in textbook form, with every value moved by a unit in its last place, by each pattern."""
    moved: dict[Value, Any] = {}

    def nudged(node: Value) -> Any:
        if node not in ground.nudges:  # a constant stays
            return node.data
        if node not in moved:
            moved[node] = moved_by(batch.value(node), ground.nudges[node])
            if node._row in SUMS:  # where terms cancel, as in 1 − a, their roundings are left
                ways = np.where(ground.nudges[node] > 1.0, 1.0, -1.0)
                largest = reduce(np.maximum, [np.abs(batch.value(parent)) for parent in node.parents])
                moved[node] = moved[node] + ways * np.spacing(largest)
        return moved[node]

    found = {}
    for node in order:
        if all(d is None or d.__class__ is float for d in batch.local[node]) or node._row.selects:
            continue  # a sum's derivatives are the same everywhere
        wanted = [parent in leading for parent in node.parents]
        every = derivatives(
            node._row, nudged(node), tuple([nudged(p) for p in node.parents]), textbook=True, wanted=wanted
        )
        found.update({(node, place): every[place] for place, one in enumerate(wanted) if one})
    return found


class Points:
    """Points of the leaves under a loss. The graph itself is not touched.

    `reach` says of each point how far the leaves were drawn, `valid` whether the graph has a value there, and
    `vanished` whether something in it is 0 for want of smaller floats. `sides` tells for each kink of the graph whether
    a point lies above it.
    """

    def __init__(self, ground: Ground, columns: Leaves, reach: np.ndarray) -> None:
        self.ground, self.reach = ground, reach
        width = max(1, MOST_NUMBERS // max(1, len(ground.forward)))
        keep = len(reach) * len(ground.forward) <= MOST_KEPT
        ends = pairwise([*range(0, len(reach), width), len(reach)])
        self._gather(
            [
                _Chunk(ground, {leaf: array(data[start:end]) for leaf, data in columns.items()}, keep=keep)
                for start, end in ends
            ]
        )

    def _gather(self, chunks: list[_Chunk]) -> None:
        self.chunks = chunks
        self._values: dict[Value, Any] = {}
        self.valid = np.concatenate([chunk.valid for chunk in chunks])
        self.vanished = np.concatenate([chunk.vanished for chunk in chunks])
        self.sides = np.concatenate([chunk.sides for chunk in chunks], axis=1)

    @classmethod
    def joined(cls, parts: Sequence[Points]) -> Points:
        """All the points of several, one after the other."""
        if len(parts) == 1:
            return parts[0]
        found = cls.__new__(cls)
        found.ground, found.reach = parts[0].ground, np.concatenate([part.reach for part in parts])
        found._gather([chunk for part in parts for chunk in part.chunks])
        return found

    @property
    def size(self) -> int:
        """How many points there are."""
        return len(self.reach)

    def value(self, node: Value) -> Any:
        """A node's values; a constant's is one number."""
        if node not in self._values:
            parts = [np.broadcast_to(chunk.value(node), chunk.size) for chunk in self.chunks]
            self._values[node] = array(parts[0] if len(parts) == 1 else np.concatenate(parts))
        return self._values[node]

    def derivative(self, node: Value, operand: int) -> Any:
        """The local derivative of a node by an operand."""
        parts = [(chunk.batch.local[node][operand], chunk.size) for chunk in self.chunks]
        return np.concatenate([np.broadcast_to(0.0 if d is None else d, size) for d, size in parts])

    def gradient(self, kind: str, root: Value, node: Value) -> Gradient:
        """∂root/∂node at each point. Of kind "local" the chain rule stops at labelled nodes, of "direct" at any."""
        parts = [chunk.gradient(kind, root, node) for chunk in self.chunks]
        return parts[0] if len(parts) == 1 else Gradient(*map(np.concatenate, zip(*parts, strict=True)))

    def gaps(self) -> np.ndarray:
        """The signed distance to each kink of the graph, a row for each."""
        return np.concatenate([chunk.gaps() for chunk in self.chunks], axis=1)

    def leaves(self, columns: np.ndarray) -> dict[Value, np.ndarray]:
        """The values of the leaves at some of the points."""
        return {leaf: np.asarray(self.value(leaf)[columns]) for leaf in self.ground.variables}
