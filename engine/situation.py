"""∂root/∂target at many points, and what a mistake on the way between the two may use.

One reverse sweep gives the adjoints A = ∂root/∂node and one forward sweep the tangents T = ∂node/∂target.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from engine import ops
from engine.arrays import quiet
from engine.batch import Batch
from engine.explain import Words, unlabelled_below
from engine.graph import backward_order
from engine.rules import Local, are_examples, factors, share, summands, written
from engine.text import shorten
from engine.value import Value

LARGE_FAMILY = 64  # in which nobody looks at all for the nearest
MOST_SIBLINGS = 12  # nodes of a family that are tried in a node's place


class Guess(NamedTuple):
    """A mistake somewhere, and what it makes of the gradient.

    `wrong` is the first node whose gradient is wrong by it. Of guesses that fit, the lowest `cost` is likeliest.
    """

    gradient: Any
    key: str
    cost: float
    wrong: Value
    text: Callable[[], str]


class Edge(NamedTuple):
    """One operand of a node on the way to the target: what it sends to the operand, and what reaches the target."""

    node: Value
    operand: int
    sent: Any

    @property
    def parent(self) -> Value:
        """The operand's node."""
        return self.node.parents[self.operand]


class Situation:
    """∂root/∂target at some points, and all that a mistake on the way may use.

    With `direct` the chain rule stops at labelled nodes. `own` are the gradients that a student gave for other nodes,
    None for right ones: what comes after them is computed from them, and mistakes before them are none of this answer.
    `lr` is the learning rate, where there is one.
    """

    def __init__(
        self,
        words: Words,
        batch: Batch,
        root: Value,
        target: Value,
        *,
        direct: bool = False,
        lr: float | None = None,
        own: Mapping[Value, Any] | None = None,
    ) -> None:
        self.words, self.batch, self.root, self.target, self.lr = words, batch, root, target, lr
        order = unlabelled_below(root, words.rank) if direct else backward_order(root)
        self.own = {node: grad for node, grad in (own or {}).items() if node is not target and node is not root}
        self.tangents = batch.tangents(target, order[::-1], self.own)
        self.order = [node for node in order if node in self.tangents and node is not target]  # on the way to it
        self._given = {node: grad for node, grad in self.own.items() if grad is not None}
        self.adjoints = batch.adjoints(root, order=order, own=self._given) | self._given
        self.gradient = self.adjoints.get(target, 0.0) + np.zeros(batch.size)
        self.place = {node: place for place, node in enumerate([*self.order, target])}
        self._nearest: dict[Value, list[Value]] = {}

    @cached_property
    def edges(self) -> list[Edge]:
        """All edges on the way to the target, in backward order."""
        found = []
        for node in self.order:
            adjoint = self.adjoints[node]
            for operand, (parent, derivative) in enumerate(zip(node.parents, self.batch.local[node], strict=True)):
                if derivative is not None and parent in self.tangents and parent not in self.own:
                    found.append(Edge(node, operand, self.batch.times(adjoint, derivative)))
        return found

    @cached_property
    def into(self) -> dict[Value, list[Edge]]:
        """The edges by the operand that they lead to."""
        found: dict[Value, list[Edge]] = {}
        for edge in self.edges:
            found.setdefault(edge.parent, []).append(edge)
        return found

    def adjoint(self, node: Value) -> Any:
        """∂root/∂node."""
        return self.adjoints.get(node, 0.0)

    def tangent(self, node: Value) -> Any:
        """∂node/∂target."""
        return self.tangents.get(node, 0.0)

    def value(self, node: Value) -> Any:
        """The node's values."""
        return self.batch.value(node)

    def local(self, node: Value, operand: int) -> Local:
        """The operand of a node, over arrays."""
        return Local(node, operand, self.value(node), self.batch.operands(node), self.batch.local[node])

    def with_change(self, node: Value, change: Any) -> Any:
        """The gradient if that of a node were another by `change`."""
        return self.gradient + self.batch.times(change, self.tangent(node))

    def swept(self, changed: dict[tuple[Value, int], Any]) -> Any:
        """The gradient with other local derivatives; a row for each way to change them."""
        return self.batch.adjoints(self.root, changed, self.order, self._given).get(self.target, 0.0)

    def first(self, node: Value) -> Value:
        """The first labelled node on the way from `node` to the target, itself included."""
        return self._firsts.get(node, self.target)

    @cached_property
    def _firsts(self) -> dict[Value, Value]:
        found = {self.target: self.target}
        for node in reversed(self.order):
            if node.label and node is not self.root:
                found[node] = node
            else:
                found[node] = self.earliest([found[p] for p in node.parents if p in found])
        return found

    def earliest(self, nodes: Iterable[Value]) -> Value:
        """Of nodes whose gradients are wrong, the first on the way back; as the formulas read, of several."""
        return min(nodes, key=lambda node: (self._depths.get(node, 0), self.reading[node]))

    @cached_property
    def _depths(self) -> dict[Value, int]:
        """How many labelled nodes are passed on the longest way to each node: it lies behind those that it feeds."""
        depths = {self.root: 0}
        for node in self.order:
            depth = depths.get(node, 0) + bool(node.label)
            for parent in node.parents:
                if parent in self.tangents:
                    depths[parent] = max(depths.get(parent, 0), depth)
        return depths

    @cached_property
    def examples(self) -> dict[Value, frozenset[int]]:
        """For each node the examples of a mean that it takes part in; empty where there is no mean."""
        found: dict[Value, frozenset[int]] = {}
        for node in self.order:
            if not found and is_mean(self, node):
                found = {term: frozenset([place]) for place, (term, _) in enumerate(flattened(self, node))}
            if node in found:
                for parent in node.parents:
                    found[parent] = found.get(parent, frozenset()) | found[node]
        return found

    @cached_property
    def reading(self) -> dict[Value, int]:
        """Each node's place as the formulas read."""
        return {node: place for place, node in enumerate(self.words.names)}

    @cached_property
    def families(self) -> dict[str, list[Value]]:
        """Nodes whose labels differ in their indices alone."""
        found: dict[str, list[Value]] = {}
        for node in self.words.names:
            if node.label and not node.is_constant and _NUMBER.search(node.label) and node in self.batch:
                found.setdefault(_family_key(node), []).append(node)
        return found

    @cached_property
    def _by_indices(self) -> dict[str, dict[tuple[int, ...], Value]]:
        return {key: {indices_of(node.label): node for node in found} for key, found in self.families.items()}

    @cached_property
    def _member(self) -> dict[Value, int]:
        """Each node's place in its family."""
        return {node: place for found in self._by_indices.values() for place, node in enumerate(found.values())}

    def transposed(self, node: Value) -> Value | None:
        """The other node of the family with the same indices the other way round."""
        other = self._by_indices.get(_family_key(node), {}).get(indices_of(node.label)[::-1])
        return None if other is node else other

    def family(self, node: Value) -> list[Value]:
        """The nearest other nodes of the family: the transposed first, and then those that share an index."""
        if node not in self._nearest:
            mine, turned = indices_of(node.label), self.transposed(node)

            def distance(one: tuple[tuple[int, ...], Value]) -> tuple[int, int]:
                steps = [abs(a - b) for a, b in zip(mine, one[0], strict=False)]
                return 0 if one[1] is turned else 1 + sum(map(bool, steps)), sum(steps)

            others = list(self._by_indices.get(_family_key(node), {}).items())
            if len(others) > LARGE_FAMILY:  # those that are written near it
                here = self._member[node]
                others = others[max(0, here - MOST_SIBLINGS) : here + MOST_SIBLINGS + 1]
                others += [(mine[::-1], turned)] if turned is not None else []
            nearest = heapq.nsmallest(MOST_SIBLINGS + 1, others, key=distance)
            self._nearest[node] = list(dict.fromkeys(other for _, other in nearest if other is not node))[
                :MOST_SIBLINGS
            ]
        return self._nearest[node]

    # Words

    def owner(self, node: Value) -> Value:
        """The labelled node whose formula a node stands in; itself, where it has a label."""
        return self._owners.get(node, node)

    @cached_property
    def _owners(self) -> dict[Value, Value]:
        owners: dict[Value, Value] = {}
        for node in self.order:  # consumers first
            named = node.label or node is self.root or node not in self.words.feeds
            consumer = node if named else self.words.feeds[node][0][0]
            owners[node] = node if named else owners.get(consumer, consumer)
        return owners

    def at(self, node: Value) -> str:
        """`At a = σ(z)`: the formula in which the node stands."""
        owner = self.owner(node)
        return f"At {shorten(f'{self.words.names[owner]} = {self.words.formula(owner)}', 90)}"

    def name(self, node: Value) -> str:
        """The node as its consumers write it."""
        return written(self.words, node)

    def sender(self, edge: Edge) -> str:
        """What a path comes by: a labelled node, or the place in the root's own formula."""
        owner = self.owner(edge.node)
        return self.words.names[owner] if owner is not self.root else f"{self.name(edge.parent)} in {self.term(edge)}"

    def term(self, edge: Edge) -> str:
        """What an edge stands in: the product of a weighted sum, or the node's formula."""
        beside = [other for factor, other, place in factors(edge.node) if factor is edge.parent]
        if edge.node._row is ops.DOT and beside:
            return f"{self.name(edge.parent)}·{self.name(beside[0])}"
        return self.name(edge.node) if edge.node is not self.root else self.words.formula(edge.node)


def is_like(gradient: Any, other: Any) -> bool:
    """Whether two gradients are one function, but for rounding."""
    with quiet():
        return bool(np.all(np.abs(gradient - other) <= 1e-9 * (np.abs(gradient) + np.abs(other))))


def text_of(template: str, at: Situation, node: Value, **nodes: Value) -> Callable[[], str]:
    """A sentence over the names of nodes, made when it is read; `{at}` is the formula of `node`."""

    def say() -> str:
        named = {role: at.name(one) for role, one in nodes.items()}
        return template.format(at=at.at(node), root=at.words.names[at.root], **named) + "."

    return say


def saying(text: str) -> Callable[[], str]:
    """The sentence."""
    return lambda: text if text.endswith("?") else f"{text}."


def at_and_said(at: Situation, node: Value, said: str) -> Callable[[], str]:
    """`At a = σ(z): …`, made when it is read."""
    return lambda: f"{at.at(node)}: {said}."


def into_logarithm(at: Situation, path: Edge) -> bool:
    """Whether the path leads into the logarithm of a loss, perhaps of 1 − a."""
    above = path.node
    if above._row is ops.SUBTRACT and not above.label:
        consumers = at.into.get(above, [])
        return bool(consumers) and all(one.node._row is ops.LOG for one in consumers)
    return above._row is ops.LOG


def flattened(at: Situation, node: Value) -> list[tuple[Value, Any]]:
    """The terms of a sum on the way, and what each receives; empty where the node is no sum, or stands in another."""
    if node._row not in (ops.ADD, ops.SUBTRACT, ops.TOTAL, ops.MEAN):
        return []
    if not node.label and any(edge.node._row in (ops.ADD, ops.SUBTRACT) for edge in at.into.get(node, [])):
        return []
    found: list[tuple[Value, Any]] = []
    stack: list[tuple[Value, Any]] = [(node, at.adjoint(node))]
    while stack:
        one, sent = stack.pop()
        if one is node or (one._row in (ops.ADD, ops.SUBTRACT, ops.TOTAL) and not one.label):
            for parent, derivative in zip(one.parents, at.batch.local[one], strict=True):
                if derivative is not None and parent in at.tangents:
                    stack.append((parent, at.batch.times(sent, derivative)))
        else:
            found.append((one, sent))
    return found[::-1]


def is_mean(at: Situation, node: Value) -> bool:
    """Whether a sum is a mean over examples: divided by their number or a multiple of it."""
    divided = node._row is ops.MEAN or any(share(at.local(*edge[:2])) for edge in at.into.get(node, []))
    return divided and are_examples(summands(node) if node._row is not ops.MEAN else node.parents)


_NUMBER = re.compile(r"\d+")


def _family_key(node: Value) -> str:
    return f"{'computed' if node.op else 'leaf'} {family_of(node.label)}"


def family_of(label: str) -> str:
    """A label without its indices: `out_h#` of out_h1; of three numbers or more, the first is a layer and stays."""
    count = len(_NUMBER.findall(label))
    if count < 3:
        return _NUMBER.sub("#", label)
    layer, rest = re.split(r"(?<=\d)(?=\D)", label, maxsplit=1)
    return layer + _NUMBER.sub("#", rest)


def indices_of(label: str) -> tuple[int, ...]:
    """The last numbers of a label, its row and column; of one number of two digits, the digits."""
    found = _NUMBER.findall(label)
    if len(found) == 1 and len(found[0]) == 2:
        found = list(found[0])
    return tuple(map(int, found[-2:]))
