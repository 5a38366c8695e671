"""One mistake in many places, which takes a backward sweep of its own: several in one sweep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from engine.arrays import Array, derivatives
from engine.rules import ACTIVATIONS, FUNCTIONS, PRODUCTS, Local, Rule, cost_of, factors, is_parameter, tried_rules
from engine.situation import MOST_SIBLINGS, Edge, Guess, Situation, family_of, is_like, saying, text_of
from engine.value import Value

MOST_SETS = 60  # of leaves that are updated together
MOST_PAIRS = 200  # exchanges of two nodes of a family
RATES = (0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0)  # where none is given


Place = tuple[Value, int]
"""A node and one of its operands."""


class _Mistaken(NamedTuple):
    """A rule at one operand, and the derivative that it gives."""

    rule: Rule
    local: Local
    given: Any


def throughout(at: Situation) -> Iterator[Guess]:
    """One mistaken rule at every edge of a family: in a layer, or everywhere."""
    groups = _groups(at)
    for rows, gradients in _sweeps(at, [{place: one.given for place, one in group.items()} for group in groups]):
        for group, gradient in zip(groups[rows], gradients, strict=True):
            rule, local, _ = next(iter(group.values()))
            cost = max(cost_of(one.rule, one.local) for one in group.values())
            wrong = _first_wrong(at, group)
            yield Guess(gradient, rule.key, cost + 0.4, wrong, _ThroughoutText(at, rule, local, len(group)))


def _first_wrong(at: Situation, places: Iterable[Place]) -> Value:
    """The first labelled node with a wrong gradient, where the derivatives at these places are mistaken."""
    return at.earliest([at.first(node.parents[operand]) for node, operand in places])


def _groups(at: Situation) -> list[dict[Place, _Mistaken]]:
    """The places at which one rule may have been mistaken alike: of each group two or more, no group twice."""
    groups: dict[tuple[Any, ...], dict[Place, _Mistaken]] = {}
    for edge in at.edges:
        for rule, local in tried_rules(at.local(edge.node, edge.operand)):
            if rule.key != "wrong_variable":
                mistaken = _Mistaken(rule, local, rule.gives(local))
                for alike in _alike(at, edge):
                    groups.setdefault((rule, *alike), {}).setdefault((edge.node, edge.operand), mistaken)
    several = {(rule, *group): group for (rule, *_), group in groups.items() if len(group) > 1}
    return list(several.values())


def _alike(at: Situation, edge: Edge) -> list[tuple[Any, ...]]:
    """What an edge has in common with others at which the same mistake is likely to be made."""
    row, layer = edge.node._row, family_of(at.owner(edge.node).label)
    found: list[tuple[Any, ...]] = [
        ("everywhere",),
        ("operation", row),
        ("layer", row, layer),
        ("operand", row, layer, family_of(edge.parent.label)),
        ("node", edge.node),
    ]
    if row in FUNCTIONS and edge.node.label:
        found.append(("functions with a line of their own",))
    if row in ACTIVATIONS:
        found.append(("activations",))
    return found


@dataclass(frozen=True, slots=True)
class _ThroughoutText:
    """The sentence about one mistake in several places."""

    at: Situation
    rule: Rule
    local: Local
    count: int

    def __call__(self) -> str:
        said = self.local.said(self.rule.text, self.at.words)
        return f"{self.at.at(self.local.node)} {said}, and so in {self.count} places."


def _sweeps(at: Situation, changes: Sequence[dict[Place, Any]]) -> Iterator[tuple[slice, Any]]:
    """The gradients by each set of changed derivatives, several sets in one sweep."""
    many = max(1, 60_000 // max(1, at.batch.size * (1 + len(at.order) // 200)))
    for start in range(0, len(changes), many):
        rows = slice(start, start + many)
        part = changes[rows]
        changed: dict[Place, Any] = {}
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
    tried: list[tuple[dict[Place, Any], Callable[[], str]]] = []
    used = {parent for node in at.order for parent in node.parents if parent.label} | set(at.order)
    for members in at.families.values():
        for one, other in _pairs(at, [one for one in members if one in used], used)[: MOST_PAIRS - len(tried)]:
            text = text_of("You exchanged {one} and {other} in the backward pass", at, one, one=one, other=other)
            anew = {one: at.value(other), other: at.value(one)}
            for deep, out in ((False, False), (True, False), (True, True)):
                if change := _with_values(at, anew, deep=deep, out=out):
                    tried.append((change, text))
        transposed = {one: at.value(turned) for one in members if (turned := at.transposed(one)) is not None}
        if len(transposed) > 2 and (change := _with_values(at, transposed)):
            text = saying(f"You took the matrix of {members[0].label} where its transpose belongs")
            tried.append((change, text))
    for rows, gradients in _sweeps(at, [change for change, _ in tried]):
        for (change, text), gradient in zip(tried[rows], gradients, strict=True):
            wrong = _first_wrong(at, change)
            yield Guess(gradient, "transposed_index", 1.8, wrong, text)
    for members in at.families.values():
        through = [one for one in members if one in at.tangents and one in at.adjoints and one.op][:MOST_SIBLINGS]
        for one, other in combinations(through, 2):
            difference = at.adjoint(other) - at.adjoint(one)
            change = at.batch.times(difference, at.tangent(one)) - at.batch.times(difference, at.tangent(other))
            text = text_of("You exchanged ∂{root}/∂{one} and ∂{root}/∂{other}", at, one, one=one, other=other)
            below = [p for node in (one, other) for p in ([node] if node not in at.own else node.parents)]
            wrong = at.earliest([at.first(node) for node in below])
            yield Guess(at.gradient + change, "transposed_index", 2.0, wrong, text)


def _pairs(at: Situation, members: Sequence[Value], used: Collection[Value]) -> list[tuple[Value, Value]]:
    """Each member with the nearest of its family, no pair twice."""
    return [
        (one, other)
        for one in members
        for other in at.family(one)
        if other not in used or at.reading[one] < at.reading[other]
    ]


def _with_values(
    at: Situation, anew: Mapping[Value, Any], *, deep: bool = False, out: bool = False
) -> dict[Place, Any]:
    """The local derivatives on the way that are others with these values.

    If `deep`, what has no label is computed anew, too; with `out`, derivatives that are written with a node's own
    value, as a·(1 − a), take its new one.
    """
    values = dict(anew)
    for node in _unlabelled_above(at, anew) if deep else ():
        values[node] = node._row(*[values.get(parent, at.value(parent)) for parent in node.parents])
    touched = {consumer for node in values for consumer, _ in at.words.feeds.get(node, [])}
    touched |= {node for node in values if node.op and (out or node not in anew)}
    changed: dict[Place, Any] = {}
    for node in sorted((node for node in touched if node in at.place), key=at.place.__getitem__):
        if node is not at.target:
            own = None if node in anew and not out else values.get(node)
            for operand, given in _derivatives_with(at, node, values, own):
                parent = node.parents[operand]
                if parent in at.tangents and parent not in at.own and not is_like(given, at.batch.local[node][operand]):
                    changed[node, operand] = given
    return changed


def _derivatives_with(at: Situation, node: Value, values: Mapping[Value, Any], own: Any) -> Iterator[tuple[int, Any]]:
    """The local derivatives that may be others with these values of its operands, and its own if that is another."""
    if node._row in PRODUCTS:  # of which a factor matters for that beside it alone
        for place, (_, beside, _) in enumerate(factors(node)):
            if beside in values:
                yield place, values[beside]
        return
    operands = tuple([values.get(parent, at.value(parent)) for parent in node.parents])
    value = at.value(node) if own is None else own
    yield from enumerate(derivatives(node._row, value, operands, textbook=True))


def _unlabelled_above(at: Situation, some: Collection[Value]) -> list[Value]:
    """The nodes without a label that use these, directly or through others without one, each after its parents."""
    found: set[Value] = set()
    stack = list(some)
    while stack:
        for consumer, _ in at.words.feeds.get(stack.pop(), []):
            if not consumer.label and consumer is not at.root and consumer not in found:
                found.add(consumer)
                stack.append(consumer)
    return sorted(found, key=at.words.rank.__getitem__, reverse=True)


def updated_weights(at: Situation) -> Iterator[Guess]:
    """The backward pass goes on with leaves that were updated already: all, those of a layer or family, or one."""
    used = {
        parent: node
        for node in at.order
        for parent in node.parents
        if not parent.op and not parent.is_constant and parent in at.adjoints
    }
    weights = [leaf for leaf, node in used.items() if is_parameter(leaf, node)]
    sets: dict[frozenset[Value], None] = {frozenset(weights): None}
    layers: dict[str, list[Value]] = {}
    for leaf in weights:
        node = used[leaf]
        sets.setdefault(frozenset([leaf]))
        sets.setdefault(frozenset([leaf, *[one for one in at.family(leaf) if one in weights]]))
        layers.setdefault(family_of(at.owner(node).label), []).append(leaf)
    sets |= {frozenset(members): None for members in layers.values()}
    sets |= {frozenset([leaf for leaf in one if leaf is not at.target]): None for one in list(sets)}
    rates = (at.lr,) if at.lr is not None else RATES
    most = MOST_SETS // len(rates)
    chosen = [sorted(one, key=at.reading.__getitem__) for one in sets if one][:most]
    tried = [(members, lr, _updated(at, members, lr)) for members in chosen for lr in rates]
    tried = [one for one in tried if one[2]]
    for rows, gradients in _sweeps(at, [change for _, _, change in tried]):
        for (members, lr, change), gradient in zip(tried[rows], gradients, strict=True):
            wrong = _first_wrong(at, change)
            cost = 1.6 + 0.01 * len(members)  # of sets that give the same, the smallest
            yield Guess(gradient, "updated_weights", cost, wrong, _UpdatedText(at, members, lr, change))


@dataclass(frozen=True)
class _UpdatedText:
    """The sentence about weights that were updated too early, made when it is read."""

    at: Situation
    members: Sequence[Value]
    lr: float
    change: Mapping[Place, Any]

    def __call__(self) -> str:
        telling = [leaf for leaf in self.members if any(_is_used(leaf, node) for node, _ in self.change)]
        names = ", ".join(map(self.at.name, telling[:4])) + (" …" if len(telling) > 4 else "")
        return f"You used {names} updated with lr = {self.lr:g}, and all gradients are taken at the old weights."


def _is_used(leaf: Value, node: Value) -> bool:
    """Whether a derivative of the node has the leaf in it; a bias is in none."""
    if node._row in PRODUCTS:
        return any(factor is leaf for factor, _, _ in factors(node))
    return leaf in node.parents


def _updated(at: Situation, members: Sequence[Value], lr: float) -> dict[Place, Any]:
    """The local derivatives that use these leaves, with their updated values."""
    return _with_values(at, {leaf: at.value(leaf) - lr * at.adjoint(leaf) for leaf in members})
