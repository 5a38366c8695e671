"""What a gradient would be by each known mistake, anywhere in a graph and at many points at once.

One reverse sweep gives the adjoints A = ∂root/∂node and one forward sweep the tangents T = ∂node/∂target. With them
most mistakes are one line: a derivative m in place of d on the edge from a node to its parent changes the gradient
by (m − d)·A_node·T_parent, and another sum Ã at a node by (Ã − A)·T.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from engine import ops
from engine.arrays import Array, quiet
from engine.batch import Batch
from engine.explain import Words, through_unlabelled, unlabelled_below, upstream_of
from engine.graph import backward_order
from engine.rules import FUNCTIONS, PRODUCTS, STEEP, Local, Rule, partner, subsets, terms, tried_rules, written
from engine.text import counted, shorten
from engine.value import Value

MOST_SIBLINGS = 12  # nodes of a family that are tried in a node's place
MOST_PAIRS = 200  # exchanges of two nodes of a family
RATES = (0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0)  # where none is given


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
        return self.node.parents[self.operand]


class Situation:
    """∂root/∂target at some points, and all that a mistake on the way may use.

    With `direct` the chain rule stops at labelled nodes. `own` are the gradients that a student gave for other nodes:
    what comes after them is computed from them, and mistakes before them are none of this answer. `lr` is the learning
    rate, where there is one.
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
        self.order = [node for node in order if node in self.tangents]  # on the way to the target
        self.adjoints = batch.adjoints(root, order=order, own=self.own) | self.own
        self.gradient = self.adjoints.get(target, 0.0) + np.zeros(batch.size)
        self.place = {node: place for place, node in enumerate([*self.order, target])}
        self._first: dict[Value, Value] = {}

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
        return self.batch.adjoints(self.root, changed, self.order, self.own).get(self.target, 0.0)

    def first(self, node: Value) -> Value:
        """The first labelled node on the way from `node` to the target, itself included."""
        if node not in self._first:
            met = [one for one in self._below(node) if one in self.tangents]
            self._first[node] = min(met, key=self.reading.__getitem__, default=self.target)
        return self._first[node]

    def _below(self, node: Value) -> list[Value]:
        found: list[Value] = []
        stack, seen = [node], {node}
        while stack:
            one = stack.pop()
            if one is self.target or (one.label and one is not self.root) or not one.op:
                found.append(one)
                continue
            for parent in one.parents:
                if parent in self.tangents and parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
        return found

    @cached_property
    def reading(self) -> dict[Value, int]:
        """Each node's place as the formulas read."""
        return {node: place for place, node in enumerate(self.words.names)}

    def earliest(self, nodes: Iterable[Value]) -> Value:
        """Of nodes whose gradients are wrong, the first on the way back; as the formulas read, of several."""
        wrong = set(nodes)
        above: set[Value] = set()
        for node in self.order:
            if node in wrong or node in above:
                above.update(parent for parent in node.parents if parent in self.tangents)
        return min(wrong - above or wrong, key=self.reading.__getitem__)

    # Words

    def owner(self, node: Value) -> Value:
        """The labelled node whose formula a node stands in; itself, where it has a label."""
        while not node.label and node is not self.root and node in self.words.feeds:
            node = self.words.feeds[node][0][0]
        return node

    def at(self, node: Value) -> str:
        """`At a = σ(z)`: the formula in which the node stands."""
        owner = self.owner(node)
        return f"At {shorten(f'{self.words.names[owner]} = {self.words.formula(owner)}', 90)}"

    def name(self, node: Value) -> str:
        """The node as its consumers write it."""
        return written(self.words, node)

    def sender(self, edge: Edge) -> str:
        """The name of the labelled node by which a path comes."""
        return self.words.names[self.owner(edge.node)]


def _is_like(gradient: Any, other: Any) -> bool:
    with quiet():
        return bool(np.all(np.abs(gradient - other) <= 1e-9 * (np.abs(gradient) + np.abs(other))))


# One edge


def edges(at: Situation) -> Iterator[Guess]:
    """A mistaken rule at one operand of one node."""
    for edge in at.edges:
        node, parent = edge.node, edge.parent
        reach = at.batch.times(at.adjoint(node), at.tangent(parent))
        local = at.local(node, edge.operand)
        wrong = at.first(parent)
        for rule, tried in tried_rules(local):
            change = rule.gives(tried) - local.derivative
            yield Guess(
                at.gradient + at.batch.times(change, reach),
                rule.key,
                _cost(rule, tried, at),
                wrong,
                _EdgeText(at, rule, tried),
            )


def _cost(rule: Rule, local: Local, at: Situation) -> float:
    """A sign is lost where there is one: at a derivative of −1, or of another sign than a plain factor."""
    if rule.key != "sign_flipped":
        return rule.cost
    if local.row is ops.NEGATE or (local.row is ops.SUBTRACT and local.operand == 1):
        return 1.0
    return 1.8 if local.row in (ops.COS, ops.DIVIDE) else rule.cost


class _EdgeText(NamedTuple):
    """The sentence about a mistaken rule, made when it is read."""

    at: Situation
    rule: Rule
    local: Local

    def __call__(self) -> str:
        at, local = self.at, self.local
        said = local.said(self.rule.text, at.words)
        return f"{at.at(local.node)} {said}{self._answer()}."

    def _answer(self) -> str:
        """`: your answer is ∂L/∂a·x`, where all of the gradient passes here and it is not too long to read."""
        at, node, parent = self.at, self.local.node, self.local.parent
        if not (node.label or node is at.root) or not (parent.label or parent is at.target):
            return ""
        if not _is_like(
            at.batch.times(at.adjoint(node), at.batch.times(self.local.derivative, at.tangent(parent))), at.gradient
        ):
            return ""
        words = at.words
        symbols = Local(
            node,
            self.local.operand,
            words.symbol(node),
            tuple(map(words.symbol, node.parents)),
            tuple(words.local_derivatives(node, words.in_names)),
            self.local.other,
        )
        given = words.kind.of(self.rule.gives(symbols))
        product = upstream_of(words, at.root, node) * given * _onward(words, parent, at.target)
        return f": your answer is {product}" if len(str(product)) <= 80 else ""


def _onward(words: Words, node: Value, target: Value) -> Any:
    """∂node/∂target: written out where that takes one line."""
    if node is target:
        return words.kind.of(1.0)
    below = through_unlabelled(words, node)
    return below[target] if target in below else words.kind(words.derivative(node, target))


def siblings(at: Situation) -> Iterator[Guess]:
    """At one edge the value, the derivative or the gradient of another node of the family is taken."""
    for edge in at.edges:
        local = at.local(edge.node, edge.operand)
        wrong = at.first(edge.parent)
        adjoint, tangent = at.adjoint(edge.node), at.tangent(edge.parent)
        reach = at.batch.times(adjoint, tangent)
        if local.row in PRODUCTS:
            for place in partner(local):
                factor = edge.node.parents[place]
                for other in at_most(_family(at, factor)):
                    change = at.value(other) - local.derivative
                    text = _text("{at} you took {other} for {this}", at, edge.node, other=other, this=factor)
                    yield Guess(at.gradient + at.batch.times(change, reach), "transposed_index", 1.7, wrong, text)
        elif local.row in FUNCTIONS and edge.operand == 0:
            for other in at_most(_family(at, edge.node)):
                if other._row is local.row:
                    change = at.batch.local[other][0] - local.derivative
                    text = _text("{at} you took the derivative at {other}", at, edge.node, other=other)
                    yield Guess(at.gradient + at.batch.times(change, reach), "transposed_index", 1.9, wrong, text)
        for other in at_most(_family(at, edge.node)):
            if other in at.adjoints:
                change = at.batch.times(at.adjoint(other) - adjoint, at.batch.times(local.derivative, tangent))
                text = _text(
                    "{at} you took ∂{root}/∂{other} for ∂{root}/∂{this}", at, edge.node, other=other, this=edge.node
                )
                yield Guess(at.gradient + change, "transposed_index", 2.0, wrong, text)


def at_most(found: Sequence[Value]) -> Sequence[Value]:
    """The nearest of a family."""
    return found[:MOST_SIBLINGS]


def _text(template: str, at: Situation, node: Value, **nodes: Value) -> Callable[[], str]:
    def say() -> str:
        named = {role: at.name(one) for role, one in nodes.items()}
        return template.format(at=at.at(node), root=at.words.names[at.root], **named) + "."

    return say


_NUMBER = re.compile(r"\d+")


def family_of(label: str) -> str:
    """A label without its indices: `out_h#` of out_h1; of three numbers or more, the first is a layer and stays."""
    count = len(_NUMBER.findall(label))
    if count < 3:
        return _NUMBER.sub("#", label)
    head = _NUMBER.search(label)
    assert head is not None
    return label[: head.end()] + _NUMBER.sub("#", label[head.end() :])


def indices_of(label: str) -> tuple[int, ...]:
    """The last numbers of a label, its row and column; of one number of two digits, the digits."""
    found = _NUMBER.findall(label)
    if len(found) == 1 and len(found[0]) == 2:
        found = list(found[0])
    return tuple(map(int, found[-2:]))


def _families(at: Situation) -> dict[str, list[Value]]:
    cached: dict[str, list[Value]] | None = at.__dict__.get("_families")
    if cached is None:
        cached = {}
        for node in at.words.names:
            if node.label and not node.is_constant and _NUMBER.search(node.label) and node in at.batch:
                cached.setdefault(("leaf " if not node.op else "") + family_of(node.label), []).append(node)
        at.__dict__["_families"] = cached
    return cached


def _family(at: Situation, node: Value) -> list[Value]:
    """The other nodes of the family, the transposed first and then those that share an index."""
    if not node.label or not _NUMBER.search(node.label):
        return []
    key = ("leaf " if not node.op else "") + family_of(node.label)
    mine = indices_of(node.label)

    def distance(other: Value) -> tuple[int, int]:
        theirs = indices_of(other.label)
        if theirs == mine[::-1]:
            return 0, 0
        shared = sum(a == b for a, b in zip(mine, theirs, strict=False))
        return 2 - shared, sum(abs(a - b) for a, b in zip(mine, theirs, strict=False))

    return sorted([one for one in _families(at).get(key, []) if one is not node], key=distance)


# Sums


def fan_out(at: Situation) -> Iterator[Guess]:
    """A node that is used more than once, whose paths are not added as they should be."""
    for node, paths in at.into.items():
        if len(paths) < 2:
            continue
        total = sum(path.sent for path in paths)
        wrong = at.first(node)
        for kept in subsets(len(paths)):
            change = sum(paths[place].sent for place in kept) - total
            key, cost = _missing_key(at, node, paths, kept)
            yield Guess(at.with_change(node, change), key, cost, wrong, _MissingText(at, node, paths, kept))
        product = paths[0].sent
        for path in paths[1:]:
            product = at.batch.times(product, path.sent)
        text = _text("At {this} you multiplied the paths, and they are added", at, node, this=node)
        yield Guess(at.with_change(node, product - total), "paths_multiplied_not_added", 1.2, wrong, text)
        for path in paths:
            text = _text(f"At {{this}} you lost the sign of the path by {at.sender(path)}", at, node, this=node)
            yield Guess(at.with_change(node, -2.0 * path.sent), "sign_flipped", 2.4, wrong, text)
        yield from _products_of_means(at, node, paths, wrong)


def _missing_key(at: Situation, node: Value, paths: Sequence[Edge], kept: Sequence[int]) -> tuple[str, float]:
    if len({path.node for path in paths}) == 1 and len(paths) == 2 and paths[0].node._row is ops.MULTIPLY:
        return "factor_2_missing", 1.1  # x·x is x²
    if all(_into_logarithm(at, path) for path in paths):
        return "ce_one_term_only", 0.9
    if not node.op and len(kept) == 1 and len(paths) > 1 and _over_examples(at, len(paths)):
        return "one_example_only", 0.9
    return "path_missing", 1.0


def _into_logarithm(at: Situation, path: Edge) -> bool:
    """Whether the path leads into the logarithm of a loss, perhaps of 1 − a."""
    above = path.node
    if above._row is ops.SUBTRACT and not above.label:
        consumers = at.into.get(above, [])
        return bool(consumers) and all(one.node._row is ops.LOG for one in consumers)
    return above._row is ops.LOG


def _over_examples(at: Situation, count: int) -> bool:
    """Whether the loss is a sum or mean of so many examples."""
    return any(count == size for size in at_sizes(at))


def at_sizes(at: Situation) -> set[int]:
    """How many terms the means and sums on the way have."""
    sizes = {len(node.parents) for node in at.order if node._row in (ops.MEAN, ops.TOTAL)}
    sizes |= {terms(node) for node in at.order if node._row in (ops.ADD, ops.SUBTRACT)}
    return {size for size in sizes if size > 1}


class _MissingText(NamedTuple):
    """The sentence about paths that are missing, made when it is read."""

    at: Situation
    node: Value
    paths: Sequence[Edge]
    kept: Sequence[int]

    def __call__(self) -> str:
        at = self.at
        senders = [at.sender(path) for path in self.paths]
        if len(set(senders)) < len(senders):
            senders = [at.name(path.node) for path in self.paths]
        count = counted(len(self.paths), "path")
        if len(self.kept) == 1 and len(self.paths) > 2:
            told = f"you took the path by {senders[self.kept[0]]} alone"
        else:
            left_out = [sender for place, sender in enumerate(senders) if place not in self.kept]
            told = f"you left out the path{'s' if len(left_out) > 1 else ''} by {' and '.join(left_out)}"
        return f"{at.name(self.node)} reaches {at.words.names[at.root]} by {count}, which are added: {told}."


def _products_of_means(at: Situation, node: Value, paths: Sequence[Edge], wrong: Value) -> Iterator[Guess]:
    """Σ δ·x as Σδ·Σx/n: the mean of products as the product of means."""
    if not all(path.node._row in PRODUCTS and partner(at.local(path.node, path.operand)) for path in paths):
        return
    deltas = sum(at.adjoint(path.node) for path in paths)
    inputs = sum(at.batch.local[path.node][path.operand] for path in paths)
    product = at.batch.times(deltas, inputs) / len(paths)
    text = _text("At {this} you multiplied two means, and the mean is of the products", at, node, this=node)
    yield Guess(at.with_change(node, product - at.adjoint(node)), "product_of_means", 1.0, wrong, text)


def sums(at: Situation) -> Iterator[Guess]:
    """Terms of a sum that were left out, through nodes without a label."""
    for node in at.order:
        flat = _flattened(at, node)
        if len(flat) < 2:
            continue
        for kept in subsets(len(flat)):
            dropped = [flat[place] for place in range(len(flat)) if place not in kept]
            change = sum(at.batch.times(sent, at.tangent(term)) for term, sent in dropped)
            key = "path_missing"
            if all(_has_logarithm(term) for term, _ in flat):
                key = "ce_one_term_only"
            elif len(kept) == 1 and node._row is not ops.DOT:
                key = "one_example_only"
            wrong = at.earliest([at.first(term) for term, _ in dropped])
            names = " and ".join(at.name(term) for term, _ in dropped)
            text = _text(f"{{at}} you left out {shorten(names, 80)}", at, node)
            yield Guess(at.gradient - change, key, 1.5, wrong, text)


def _flattened(at: Situation, node: Value) -> list[tuple[Value, Any]]:
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


def _has_logarithm(node: Value) -> bool:
    return node._row is ops.LOG or any(parent._row is ops.LOG for parent in node.parents)


# The whole answer


def adjoints_of_others(at: Situation) -> Iterator[Guess]:
    """The gradient of another node is given, or the derivative of a node on the way."""
    target = at.target
    above = {edge.node for edge in at.into.get(target, [])}
    into_sum = any(edge.node._row in (ops.ADD, ops.SUBTRACT, ops.TOTAL, ops.DOT) for edge in at.into.get(target, []))
    is_term = any(
        edge.node._row in (ops.ADD, ops.SUBTRACT, ops.TOTAL)
        or (edge.node._row is ops.DOT and not partner(at.local(edge.node, edge.operand)))
        for edge in at.into.get(target, [])
    )
    root = at.words.names[at.root]
    for node, adjoint in at.adjoints.items():
        if node is target or node.is_constant or node is at.root:
            continue
        name, wrong = at.name(node), target
        if node in at.tangents:
            if not node.label:
                key, cost, wrong = "chain_inner_missing", 1.6, at.first(node)
                said = f"{at.at(node)} you left out the derivative of {name} by {at.name(wrong)}"
            else:
                key, cost = "stopped_early", (1.7 if node in above else 1.9)
                said = f"You stopped early: this is ∂{root}/∂{name}, not yet carried on to {at.name(target)}"
        elif not node.op and not target.op and is_term and into_sum:
            key, cost = "bias_chain", 1.8
            said = f"You copied ∂{root}/∂{name}: {at.name(target)} stands alone in its sum and has no factor"
        elif node.label:
            key, cost = "wrong_variable", (1.8 if not node.op else 2.4)
            said = f"This is ∂{root}/∂{name}, and ∂{root}/∂{at.name(target)} was asked"
        else:
            continue
        yield Guess(adjoint, key, cost, wrong, _said(said))
    for node, tangent in at.tangents.items():
        if node not in (at.root, target) and node.label:
            said = f"You left out ∂{root}/∂{at.name(node)}: this is ∂{at.name(node)}/∂{at.name(target)} alone"
            yield Guess(tangent, "stopped_early", 2.6, at.first(at.root), _said(said))


def _said(text: str) -> Callable[[], str]:
    return lambda: f"{text}."


def factors(at: Situation) -> Iterator[Guess]:
    """The whole answer by a factor that people lose, wherever they lost it."""
    top = at.first(at.root)
    sizes = sorted(at_sizes(at) | _divisors(at))
    known = [
        (-1.0, "sign_flipped", 2.6, "The sign is lost: your answer is the right one times −1"),
        (2.0, "factor_half_ignored", 2.8, "A factor ½ is missing: your answer is twice the right one"),
        (0.5, "factor_2_missing", 2.8, "A factor 2 is missing: your answer is half the right one"),
        (math.log(10.0), "log10_for_ln", 2.9, "Your answer is the right one times ln 10: which logarithm is meant?"),
        (1 / math.log(10.0), "log10_for_ln", 2.9, "Your answer is the right one over ln 10: which logarithm is meant?"),
    ]
    for size in sizes:
        known.append((float(size), "sum_for_mean", 2.7, f"Your answer is {size} times the right one: a sum for a mean"))
        known.append((1.0 / size, "mean_twice", 2.9, f"Your answer is the right one over {size}: a mean taken twice"))
    for factor, key, cost, said in known:
        yield Guess(factor * at.gradient, key, cost, top, _said(said))


def _divisors(at: Situation) -> set[int]:
    found = set()
    for node in at.order:
        if node._row is ops.DIVIDE and node.parents[1].is_constant:
            divisor = node.parents[1].data
            if divisor == int(divisor) and 2 < divisor < 1000:
                found.add(int(divisor))
    return found


# Rules of whole operations


def operations(at: Situation) -> Iterator[Guess]:
    """The product rule, the quotient rule and the chain rule taken wrongly, with the derivatives by the target."""
    for node in at.order:
        row = node._row
        if row in (ops.MULTIPLY, ops.DIVIDE):
            yield from _two_operands(at, node)
        elif row in STEEP or (row is ops.POWER and node.parents[1].is_constant):
            yield from _inner(at, node)


def _two_operands(at: Situation, node: Value) -> Iterator[Guess]:
    u, v = at.batch.operands(node)
    du, dv = at.tangent(node.parents[0]), at.tangent(node.parents[1])
    times = at.batch.times
    both = node.parents[0] in at.tangents and node.parents[1] in at.tangents
    wrong = (
        at.first(node)
        if not (node.label and node is not at.root)
        else at.earliest([at.first(parent) for parent in node.parents if parent in at.tangents])
    )
    right = at.tangent(node)
    name_u, name_v = (at.name(parent) for parent in node.parents)
    tried: list[tuple[Any, str, float, str]] = []
    if node._row is ops.MULTIPLY and both:
        tried = [
            (
                times(du, dv),
                "paths_multiplied_not_added",
                1.1,
                f"({name_u}·{name_v})′ is no product of two derivatives",
            ),
            (times(du, v) - times(u, dv), "sign_flipped", 2.3, f"the two terms of ({name_u}·{name_v})′ are added"),
        ]
    elif node._row is ops.DIVIDE:
        above = times(du, v) - times(u, dv)
        said = f"the quotient rule for {name_u}/{name_v} is (u′v − uv′)/v²"
        forgot, turned = f"{said}: you did not square the divisor", f"{said}: you turned the difference around"
        tried = [
            (above / v, "quotient_rule", 1.1, forgot),
            (-above / v**2, "quotient_rule", 1.5, turned),
            (above, "quotient_rule", 1.7, f"{said}: you left out the divisor"),
        ]
        if both:
            tried += [
                ((times(du, v) + times(u, dv)) / v**2, "quotient_rule", 1.4, f"{said}: you added the two terms"),
                (du / dv, "quotient_rule", 1.5, f"{said}, and not u′/v′"),
                (-above / v, "quotient_rule", 2.2, forgot),
            ]
    for tangent, key, cost, said in tried:
        change = times(at.adjoint(node), tangent - right)
        yield Guess(at.gradient + change, key, cost, wrong, _at_and_said(at, node, said))


def _at_and_said(at: Situation, node: Value, said: str) -> Callable[[], str]:
    return lambda: f"{at.at(node)}: {said}."


def _inner(at: Situation, node: Value) -> Iterator[Guess]:
    """f′(g′) for f′(g)·g′, and g′ left out, by the target or by what is next on the way."""
    inner = node.parents[0]
    if inner not in at.tangents or inner is at.target:
        return
    row, slope = node._row, at.batch.local[node][0]
    nearest = {node: tangent for node, tangent in _directly_under(at, inner).items()}
    for source, tangent in [(at.target, at.tangent(inner)), *nearest.items()]:
        if source is inner:
            continue
        rest = at.batch.times(at.adjoint(node), at.tangent(source))
        if np.ndim(tangent) == 0:
            tangent = np.full(at.batch.size, tangent).view(Array)
        operands = (tangent, *at.batch.operands(node)[1:])
        at_derivative = row.derivatives(row(*operands), operands, textbook=True)[0]
        f = at.name(node)
        said = f"you took the derivative of {f} at the inner derivative, and it is taken at {at.name(inner)}"
        change = at.batch.times(at_derivative - at.batch.times(slope, tangent), rest)
        wrong = at.first(inner) if inner.label else source
        yield Guess(
            at.gradient + change,
            "chain_inner_at_derivative",
            1.6,
            source if not inner.label else wrong,
            _at_and_said(at, node, said),
        )
        change = at.batch.times(at.batch.times(at_derivative - slope, tangent), rest)
        yield Guess(
            at.gradient + change,
            "chain_inner_at_derivative",
            1.7,
            source if not inner.label else wrong,
            _at_and_said(at, node, said),
        )
        left_out = f"you left out the inner derivative of {f}, that of {at.name(inner)} by {at.name(source)}"
        change = at.batch.times(at.batch.times(slope, 1.0 - tangent), rest)
        yield Guess(at.gradient + change, "chain_inner_missing", 1.5, source, _at_and_said(at, node, left_out))


def _directly_under(at: Situation, node: Value) -> dict[Value, Any]:
    """The labelled nodes and leaves next under a node, with its derivative by each."""
    found: dict[Value, Any] = {}
    pending: dict[Value, Any] = {node: 1.0}
    for one in at.order[at.place[node] :] if node in at.place else []:
        if one not in pending or (one.label and one is not node):
            continue
        outer = pending.pop(one)
        for parent, derivative in zip(one.parents, at.batch.local[one], strict=True):
            if derivative is None or parent not in at.tangents:
                continue
            into = found if parent.label or not parent.op else pending
            amount = at.batch.times(outer, derivative)
            into[parent] = into[parent] + amount if parent in into else amount
    return found


# Softmax and cross-entropy


class Classes(NamedTuple):
    """A softmax: its scores, shares p, the gradient of each p and each score, and the weight c of its loss."""

    scores: list[Value]
    shares: list[Any]
    by_share: list[Any]
    by_score: list[Any]
    weight: Any
    nodes: list[Value | None]
    where: Value


def softmaxes(at: Situation) -> list[Classes]:
    """The softmaxes on the way, as rows of the table or written with exp, whose loss is a cross-entropy or another."""
    found: dict[Any, dict[Value, Value | None]] = {}
    where: dict[Any, Value] = {}
    for node in at.batch.forward:
        row = node._row
        if row is ops.SOFTMAX:
            key: Any = frozenset(node.parents)
            found.setdefault(key, dict.fromkeys(sorted(node.parents, key=at.reading.__getitem__)))[node.parents[0]] = (
                node
            )
        elif row is ops.DIVIDE and node.parents[0]._row is ops.EXP and (scores := _exponentials(node.parents[1])):
            key = node.parents[1]
            found.setdefault(key, dict.fromkeys(scores))[node.parents[0].parents[0]] = node
        elif row is ops.LOGSUMEXP:
            key = node
            found[key] = dict.fromkeys(node.parents)
        elif row is ops.LOG and (scores := _exponentials(node.parents[0])) and node.parents[0] not in found:
            key = node
            found[key] = dict.fromkeys(scores)
        else:
            continue
        where.setdefault(key, node)
    made = [_classes(at, nodes, where[key]) for key, nodes in found.items()]
    return [one for one in made if one is not None and len(one.scores) > 1]


def _exponentials(node: Value) -> list[Value]:
    """The exponents, where the node is a sum of exponentials."""
    found, stack = [], [node]
    while stack:
        one = stack.pop()
        if one._row in (ops.ADD, ops.TOTAL):
            stack += one.parents
        elif one._row is ops.EXP:
            found.append(one.parents[0])
        else:
            return []
    return found[::-1] if len(found) > 1 else []


def _classes(at: Situation, nodes: dict[Value, Value | None], where: Value) -> Classes | None:
    scores = list(nodes)
    largest = at.value(scores[0])
    for score in scores[1:]:
        largest = np.maximum(largest, at.value(score))
    powers = [np.exp(at.value(score) - largest) for score in scores]
    whole = sum(powers)
    shares = [power / whole for power in powers]
    by_score = [at.adjoint(score) for score in scores]
    if where._row in (ops.LOGSUMEXP, ops.LOG):
        weight = at.adjoint(where)
        by_share = [(score - weight * p) / p for p, score in zip(shares, by_score, strict=True)]
    else:
        by_share = [at.adjoint(node) if node is not None else 0.0 for node in nodes.values()]
        weight = -sum(by * p for by, p in zip(by_share, shares, strict=True))
    return Classes(scores, shares, by_share, by_score, weight, list(nodes.values()), where)


def softmax_rules(at: Situation) -> Iterator[Guess]:
    """The derivative of a softmax, or of its cross-entropy, taken wrongly for all classes or for one."""
    groups = softmaxes(at)
    totals: dict[tuple[str, float, str], Any] = {}
    for group in groups:
        reached = [k for k, score in enumerate(group.scores) if score in at.tangents]
        if not reached:
            yield from _given_for_share(at, group)
            continue
        for key, cost, said, mistaken in _softmax_patterns(group):
            changes = {k: at.batch.times(mistaken[k] - group.by_score[k], at.tangent(group.scores[k])) for k in reached}
            change = sum(changes.values())
            wrong = at.earliest([at.first(group.scores[k]) for k in reached])
            text = _at_and_said(at, group.where, said)
            yield Guess(at.gradient + change, key, cost, wrong, text)
            if len(groups) > 1:
                totals[key, cost, said] = totals.get((key, cost, said), 0.0) + change
            if len(reached) > 1:
                for k, alone in changes.items():
                    yield Guess(at.gradient + alone, key, cost + 0.3, at.first(group.scores[k]), text)
    if totals:
        wrong = at.earliest([at.first(s) for group in groups for s in group.scores if s in at.tangents])
        for (key, cost, said), change in totals.items():
            yield Guess(at.gradient + change, key, cost, wrong, _at_and_said(at, groups[0].where, said))


def _softmax_patterns(group: Classes) -> Iterator[tuple[str, float, str, list[Any]]]:
    """For each mistake its key, cost and words, and the gradients by the scores that it gives."""
    shares, by_share, by_score, weight = group.shares, group.by_share, group.by_score, group.weight
    slopes = [p * (1.0 - p) for p in shares]
    yield (
        "softmax_diagonal_only",
        0.9,
        "each score moves every p, since the shares add to 1: you took p_k·(1 − p_k) alone",
        [by * slope for by, slope in zip(by_share, slopes, strict=True)],
    )
    yield (
        "softmax_diagonal_only",
        1.0,
        "you left out the softmax's derivative: this is by p and not by its score",
        by_share,
    )
    yield "softmax_sign", 0.95, "by the score it is p − y, and you gave y − p", [-by for by in by_score]
    yield (
        "softmax_label_everywhere",
        0.9,
        "1 is subtracted for the class of the label alone, and you subtracted it for every class",
        [weight * (p - 1.0) for p in shares],
    )
    yield (
        "ce_double_derivative",
        1.1,
        "p − y holds the softmax's derivative already, and you multiplied by p·(1 − p) once more",
        [by * slope for by, slope in zip(by_score, slopes, strict=True)],
    )
    for scale in (1.0, 2.0):
        squared = [scale * by for by in by_score]  # p − y, taken for the gradient by p
        inner = sum(by * p for by, p in zip(squared, shares, strict=True))
        yield (
            "ce_treated_as_squared",
            1.3,
            "the loss is a cross-entropy, and you took p − y for its derivative by p, as for a squared error",
            [p * (by - inner) for by, p in zip(squared, shares, strict=True)],
        )


def _given_for_share(at: Situation, group: Classes) -> Iterator[Guess]:
    for node, by_score in zip(group.nodes, group.by_score, strict=True):
        if node is at.target:
            said = "p − y is the gradient by the score, and that by p was asked"
            yield Guess(by_score, "ce_treated_as_squared", 1.0, node, _at_and_said(at, group.where, said))


def cross_entropy_rules(at: Situation) -> Iterator[Guess]:
    """−(y·log a + (1 − y)·log(1 − a)) differentiated as if it were another loss, or with a·(1 − a) once more."""
    outputs = []
    for node in at.order + ([at.target] if at.target.op else []):
        paths = at.into.get(node, [])
        if not paths or not all(_into_logarithm(at, path) for path in paths):
            continue
        direct = sum((path.sent for path in paths if path.node._row is ops.LOG), start=0.0)
        below = sum((path.sent for path in paths if path.node._row is not ops.LOG), start=0.0)
        a = at.value(node)
        weight = below * (1.0 - a) - direct * a
        outputs.append((node, weight * a + direct * a))  # c·(a − y)
    for scale, cost in ((1.0, 1.0), (2.0, 1.4)):
        whole: Any = 0.0
        for node, error in outputs:
            said = f"the loss is a cross-entropy, and you took {at.name(node)} − y for ∂L/∂{at.name(node)}, as for a squared error"
            change = at.batch.times(scale * error - at.adjoint(node), at.tangent(node))
            whole = whole + change
            yield Guess(
                at.gradient + change, "ce_treated_as_squared", cost, at.first(node), _said(said[0].upper() + said[1:])
            )
        if len(outputs) > 1:
            said = "The loss is a cross-entropy, and you differentiated it as a squared error"
            wrong = at.earliest([at.first(node) for node, _ in outputs])
            yield Guess(at.gradient + whole, "ce_treated_as_squared", cost, wrong, _said(said))
    twice: Any = 0.0
    met = []
    for node, _ in outputs:
        if node._row in FUNCTIONS and node.parents[0] in at.tangents:
            z = node.parents[0]
            slope = at.batch.local[node][0]
            change = at.batch.times(at.batch.times(at.adjoint(node), slope) * (slope - 1.0), at.tangent(z))
            said = f"{at.name(node)} − y holds the derivative of {node._row.symbol} already, and you multiplied by it once more"
            twice = twice + change
            met.append(at.first(z))
            yield Guess(at.gradient + change, "ce_double_derivative", 0.9, at.first(z), _said(said))
    if len(met) > 1:
        said = (
            "a − y holds the derivative of the activation already, and you multiplied by it once more at every output"
        )
        yield Guess(at.gradient + twice, "ce_double_derivative", 0.9, at.earliest(met), _said(said))


# One mistake throughout a family, which takes a sweep of its own


def throughout(at: Situation) -> Iterator[Guess]:
    """One mistaken rule at every edge of a family: in a layer, or everywhere."""
    groups: dict[tuple[Any, ...], dict[tuple[Value, int], tuple[Rule, Local, Any]]] = {}
    for edge in at.edges:
        local = at.local(edge.node, edge.operand)
        for rule, tried in tried_rules(local):
            if rule.key in ("wrong_variable", "bias_chain"):
                continue
            given = rule.gives(tried)
            owner = at.owner(edge.node)
            kinds: list[tuple[Any, ...]] = [
                ("everywhere", id(rule), local.row),
                ("layer", id(rule), local.row, family_of(owner.label)),
                ("operand", id(rule), local.row, family_of(edge.parent.label), family_of(owner.label)),
                ("node", id(rule), local.row, edge.node),
            ]
            for kind in kinds:
                groups.setdefault(kind, {}).setdefault((edge.node, edge.operand), (rule, tried, given))
    several = {kind: changes for kind, changes in groups.items() if len(changes) > 1}
    # the same edges by two descriptions are one hypothesis
    distinct: dict[tuple[Any, ...], dict[tuple[Value, int], tuple[Rule, Local, Any]]] = {}
    for kind, changes in several.items():
        distinct.setdefault((kind[1], *changes), changes)
    batches = list(distinct.values())
    for rows, gradients in _sweeps(at, [{place: given for place, (_, _, given) in one.items()} for one in batches]):
        for changes, gradient in zip(batches[rows], gradients, strict=True):
            rule, local, _ = next(iter(changes.values()))
            wrong = at.earliest([at.first(node.parents[operand]) for node, operand in changes])
            yield Guess(gradient, rule.key, rule.cost + 0.4, wrong, _ThroughoutText(at, rule, local, len(changes)))


class _ThroughoutText(NamedTuple):
    """The sentence about one mistake in several places."""

    at: Situation
    rule: Rule
    local: Local
    count: int

    def __call__(self) -> str:
        said = self.local.said(self.rule.text, self.at.words)
        return f"{self.at.at(self.local.node)} {said}, and so in {self.count} places."


def _sweeps(at: Situation, changes: Sequence[dict[tuple[Value, int], Any]]) -> Iterator[tuple[slice, Any]]:
    """The gradients by each set of changed derivatives, several sets in one sweep."""
    many = max(1, 60_000 // max(1, at.batch.size * (1 + len(at.order) // 200)))
    for start in range(0, len(changes), many):
        rows = slice(start, start + many)
        part = changes[rows]
        changed: dict[tuple[Value, int], Any] = {}
        for row, one in enumerate(part):
            for (node, operand), given in one.items():
                if (node, operand) not in changed:
                    base = np.broadcast_to(at.batch.local[node][operand], (len(part), at.batch.size))
                    changed[node, operand] = base.copy().view(Array)
                changed[node, operand][row] = given
        gradients = np.broadcast_to(at.swept(changed), (len(part), at.batch.size))
        yield rows, gradients


def exchanges(at: Situation) -> Iterator[Guess]:
    """Two nodes of a family exchanged wherever the backward pass uses their values, or a matrix transposed."""
    uses: dict[Value, list[tuple[Value, int]]] = {}
    for edge in at.edges:
        if edge.node._row in PRODUCTS:
            for place in partner(at.local(edge.node, edge.operand)):
                uses.setdefault(edge.node.parents[place], []).append((edge.node, edge.operand))
    tried: list[tuple[dict[tuple[Value, int], Any], Callable[[], str]]] = []
    for members in _families(at).values():
        used = [one for one in members if one in uses]
        pairs = [
            (one, other)
            for one in used
            for other in _family(at, one)[:MOST_SIBLINGS]
            if other not in uses or at.reading[one] < at.reading[other]
        ]
        for one, other in pairs[: MOST_PAIRS - len(tried)]:
            change = {place: at.value(other) for place in uses[one]} | {
                place: at.value(one) for place in uses.get(other, [])
            }
            text = _text("You exchanged {one} and {other} in the backward pass", at, one, one=one, other=other)
            tried.append((change, text))
        transposed = {
            one: other
            for one in used
            for other in _family(at, one)[:1]
            if indices_of(other.label) == indices_of(one.label)[::-1]
        }
        transposed = {one: other for one, other in transposed.items() if one.label != other.label}
        if len(transposed) > 1:
            change = {place: at.value(other) for one, other in transposed.items() for place in uses[one]}
            text = _said(f"You took the matrix of {next(iter(transposed)).label} where its transpose belongs")
            tried.append((change, text))
    for rows, gradients in _sweeps(at, [change for change, _ in tried]):
        for (change, text), gradient in zip(tried[rows], gradients, strict=True):
            wrong = at.earliest([at.first(node.parents[operand]) for node, operand in change])
            yield Guess(gradient, "transposed_index", 1.8, wrong, text)
    for members in _families(at).values():
        through = [one for one in members if one in at.tangents and one in at.adjoints and one.op][:MOST_SIBLINGS]
        for one, other in combinations(through, 2):
            difference = at.adjoint(other) - at.adjoint(one)
            change = at.batch.times(difference, at.tangent(one)) - at.batch.times(difference, at.tangent(other))
            text = _text("You exchanged ∂{root}/∂{one} and ∂{root}/∂{other}", at, one, one=one, other=other)
            yield Guess(at.gradient + change, "transposed_index", 2.0, at.earliest([one, other]), text)


def updated_weights(at: Situation) -> Iterator[Guess]:
    """The backward pass goes on with leaves that were updated already: all, those of a family, or one."""
    leaves = [leaf for leaf in at.batch.values if not leaf.op and leaf in at.adjoints and not leaf.is_constant]
    used: dict[Value, list[tuple[Value, int]]] = {}
    for edge in at.edges:
        for place, other in enumerate(edge.node.parents):
            if not other.op and not other.is_constant and other in at.adjoints and place != edge.operand:
                used.setdefault(other, []).append((edge.node, edge.operand))
    weights = [leaf for leaf in leaves if leaf in used]
    sets: dict[frozenset[Value], None] = {frozenset(weights): None}
    for leaf in weights:
        sets.setdefault(frozenset([leaf]))
        sets.setdefault(frozenset([leaf, *[one for one in _family(at, leaf) if one in used]]))
    layers: dict[str, list[Value]] = {}
    for leaf in weights:
        layers.setdefault(family_of(at.owner(used[leaf][0][0]).label), []).append(leaf)
    for members in layers.values():
        sets.setdefault(frozenset(members))
    chosen = [sorted(one, key=at.reading.__getitem__) for one in sets if one][:40]
    rates = (at.lr,) if at.lr is not None else RATES
    tried = [(members, lr, _updated(at, members, used, lr)) for members in chosen for lr in rates]
    for rows, gradients in _sweeps(at, [change for _, _, change in tried]):
        for (members, lr, change), gradient in zip(tried[rows], gradients, strict=True):
            wrong = at.earliest([at.first(node.parents[operand]) for node, operand in change])
            names = ", ".join(map(at.name, members[:4])) + (" …" if len(members) > 4 else "")
            said = (
                f"You updated {names} with lr = {lr:g} before the backward pass was done: "
                f"all gradients are taken at the old weights"
            )
            yield Guess(gradient, "updated_weights", 1.6 + (0.1 if len(members) == 1 else 0.0), wrong, _said(said))


def _updated(
    at: Situation, members: Sequence[Value], used: dict[Value, list[tuple[Value, int]]], lr: float
) -> dict[tuple[Value, int], Any]:
    """The local derivatives that use these leaves, with their updated values."""
    anew = {leaf: at.value(leaf) - lr * at.adjoint(leaf) for leaf in members}
    changed = {}
    for node, operand in dict.fromkeys(place for leaf in members for place in used[leaf]):
        operands = tuple([anew.get(parent, at.value(parent)) for parent in node.parents])
        changed[node, operand] = node._row.derivatives(at.value(node), operands)[operand]
    return changed


FIRST = (edges, fan_out, sums, softmax_rules, cross_entropy_rules, adjoints_of_others, operations, siblings, factors)
"""Mistakes that need no sweep of their own."""

FURTHER = (throughout, exchanges, updated_weights)
"""Mistakes that need one: tried where none of the first fits."""
