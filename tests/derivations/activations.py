"""Wrong derivatives of activations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.derivations.edges import Local, changed_at, each, one, value_of
from tests.derivations.tape import RULES, Edge, Mistake, Node, Pass

CALLS = ("exp", "log", "log10", "sqrt", "sin", "cos", "abs")
"""Functions that are seldom called activations: a mistake there may have another name too."""


def activations(edges: list[Edge]) -> Iterator[Mistake]:
    """f′ left out, taken twice, at a wrong place, or of another function."""
    active = [(n, i) for n, i in edges if n.op in RULES and RULES[n.op].activation]
    called = [(n, i) for n, i in edges if n.op in CALLS]
    for group, planted in ((active, True), (called, False)):
        yield from each("activation_derivative_missing", group, one, planted=planted)
        yield from each("activation_derivative_twice", group, _twice, planted=planted)
        yield from each("derivative_at_a_not_z", group, _at_a, planted=planted)
        yield from each("wrong_activation_derivative", group, _itself, planted=planted)
    yield from _layers(active)
    curved = [(n, i) for n, i in active if n.op in ("sigmoid", "tanh")]
    yield from each("derivative_at_z_not_a", curved, _at_z)
    for owner, rule in OTHER_RULES.items():
        others = [(n, i) for n, i in active if n.op != owner]
        natural = others if owner in ("sigmoid", "tanh") else [edge for edge in others if edge in curved]
        yield from each("wrong_activation_derivative", natural, rule)
        yield from each("wrong_activation_derivative", others, rule, planted=False)
    bent = [(n, i) for n, i in active if n.op in ("leaky_relu", "elu", "softplus")]
    yield from each("wrong_activation_derivative", bent, lambda p, n, i: p.m.step(value_of(p, n, i)))


def _twice(p: Pass, node: Node, i: int) -> Any:
    return p.partial(node, i) ** 2


def _itself(p: Pass, node: Node, i: int) -> Any:
    return p.values[node]


def _at_a(p: Pass, node: Node, i: int) -> Any:
    """f′(f(z))."""
    rule, a = RULES[node.op], p.values[node]
    return rule.partials(p.m, rule.forward(p.m, a), a)[0]


def _at_z(p: Pass, node: Node, i: int) -> Any:
    """The rule for a, fed with z."""
    z = value_of(p, node, i)
    return z * (1 - z) if node.op == "sigmoid" else 1 - z**2


OTHER_RULES: dict[str, Local] = {
    "tanh": lambda p, n, i: 1 - p.values[n] ** 2,
    "sigmoid": lambda p, n, i: p.values[n] * (1 - p.values[n]),
    "half of the sigmoid": lambda p, n, i: 1 - p.values[n],
    "relu": lambda p, n, i: p.m.relu(value_of(p, n, i)),
}


def _layers(active: list[Edge]) -> Iterator[Mistake]:
    """f′ left out, or taken twice, in a whole layer."""
    layers: dict[int, list[Edge]] = {}
    for edge in active:
        layers.setdefault(depth(edge[0]), []).append(edge)
    for layer in layers.values():
        if 1 < len(layer) < len(active):
            yield changed_at("activation_derivative_missing", layer, one, shape="layer")
            yield changed_at("activation_derivative_twice", layer, _twice, shape="layer")


def depth(node: Node) -> int:
    """How many activations lie one under the other, from a node on."""
    return max((depth(arg) + RULES[node.op].activation for arg in node.args), default=0)
