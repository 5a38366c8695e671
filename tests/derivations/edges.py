"""Wrong local derivatives: signs, powers, activations, factors, logarithms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.derivations.places import factors_beside
from tests.derivations.tape import RULES, Edge, Graph, Mistake, Node, Pass

Local = Callable[[Pass, Node, int], Any]
"""The wrong local derivative at an edge."""


def changed_at(key: str, edges: list[Edge], local: Local, **options: Any) -> Mistake:
    """The wrong local derivative at some edges at once."""
    return Mistake(key, {edge: lambda p, right, edge=edge: local(p, *edge) for edge in edges}, **options)


def _each(key: str, edges: list[Edge], local: Local, **options: Any) -> Iterator[Mistake]:
    """The wrong local derivative at one edge, and at all of them."""
    for edge in edges:
        yield changed_at(key, [edge], local, shape="one", **options)
    if len(edges) > 1:
        yield changed_at(key, edges, local, shape="everywhere", **options)


def value_of(p: Pass, node: Node, i: int) -> Any:
    return p.values[node.args[i]]


def signs(edges: list[Edge]) -> Iterator[Mistake]:
    for node, i in edges:
        yield changed_at("sign_flipped", [(node, i)], lambda p, n, i: -p.partial(n, i))
    minus = [(node, i) for node, i in edges if node.op == "neg" or (node.op == "-" and i == 1)]
    if len(minus) > 1:
        yield changed_at("sign_flipped", minus, lambda p, n, i: 1, shape="everywhere")
    yield from _each("abs_sign_missing", [e for e in edges if e[0].op == "abs"], lambda p, n, i: 1)


def powers(edges: list[Edge], short: bool) -> Iterator[Mistake]:
    powers = [(node, i) for node, i in edges if node.op == "**" and i == 0 and node.args[1].op == "constant"]

    def exponent(p: Pass, node: Node) -> Any:
        return p.values[node.args[1]]

    yield from _each("factor_2_missing", powers, lambda p, n, i: p.partial(n, i) / exponent(p, n))
    yield from _each("power_exponent_kept", powers, lambda p, n, i: exponent(p, n) * p.values[n])
    yield from _each(
        "integrated_instead",
        powers,
        lambda p, n, i: value_of(p, n, i) ** (exponent(p, n) + 1) / (exponent(p, n) + 1),
        planted=short,
    )
    halves = [(node, i) for node, i in edges if _is_half(node, i)]
    yield from _each("factor_half_ignored", halves, lambda p, n, i: 2 * p.partial(n, i))
    squares = [(n, i) for n, i in powers if n.args[1].number == 2]
    if halves:  # the half was kept, and the 2 it is there for was not
        yield from _each("factor_half_ignored", squares, lambda p, n, i: p.partial(n, i) / 2, planted=False)
    exponentials = [(node, i) for node, i in edges if node.op == "**" and i == 1]
    yield from _each(
        "power_rule_on_exponential",
        exponentials,
        lambda p, n, i: value_of(p, n, 1) * value_of(p, n, 0) ** (value_of(p, n, 1) - 1),
    )
    exps = [(node, i) for node, i in edges if node.op == "exp"]
    yield from _each(
        "power_rule_on_exponential",
        exps,
        lambda p, n, i: value_of(p, n, 0) * p.m.exp(value_of(p, n, 0) - 1),
        planted=False,
    )


def _is_half(node: Node, i: int) -> bool:
    if node.op == "*":
        other = node.args[1 - i]
        return other.op == "constant" and other.number == 0.5
    return node.op == "/" and i == 0 and node.args[1].op == "constant" and node.args[1].number == 2


def activations(edges: list[Edge]) -> Iterator[Mistake]:
    called = [(n, i) for n, i in edges if n.op in ("exp", "log", "log10", "sqrt", "sin", "cos", "abs")]
    active = [(n, i) for n, i in edges if RULES[n.op].activation] if edges else []

    def slope(p: Pass, node: Node, x: Any) -> Any:
        """f′(x)."""
        return RULES[node.op].partials(p.m, RULES[node.op].forward(p.m, x), x)[0]

    for group, planted in ((active, True), (called, False)):
        yield from _each("activation_derivative_missing", group, lambda p, n, i: 1, planted=planted)
        yield from _each("activation_derivative_twice", group, lambda p, n, i: p.partial(n, i) ** 2, planted=planted)
        yield from _each("derivative_at_a_not_z", group, lambda p, n, i: slope(p, n, p.values[n]), planted=planted)
        yield from _each("wrong_activation_derivative", group, lambda p, n, i: p.values[n], planted=planted)
    for edge in active:
        yield from _layer(active, edge)
    curved = [(n, i) for n, i in active if n.op in ("sigmoid", "tanh")]
    yield from _each("derivative_at_z_not_a", curved, lambda p, n, i: _fed(n.op, value_of(p, n, 0)))
    for rule in ("tanh", "sigmoid", "half", "relu"):
        others = [(n, i) for n, i in active if n.op != rule]
        locals_: dict[str, Local] = {
            "tanh": lambda p, n, i: 1 - p.values[n] ** 2,
            "sigmoid": lambda p, n, i: p.values[n] * (1 - p.values[n]),
            "half": lambda p, n, i: 1 - p.values[n],
            "relu": lambda p, n, i: p.m.relu(value_of(p, n, i)),
        }
        natural = [(n, i) for n, i in others if n.op in ("sigmoid", "tanh") or rule in ("tanh", "sigmoid")]
        yield from _each("wrong_activation_derivative", natural, locals_[rule])
        yield from _each("wrong_activation_derivative", others, locals_[rule], planted=False)
    bent = [(n, i) for n, i in active if n.op in ("leaky_relu", "elu", "softplus")]
    yield from _each("wrong_activation_derivative", bent, lambda p, n, i: p.m.step(value_of(p, n, i)))


def _fed(op: str, x: Any) -> Any:
    return x * (1 - x) if op == "sigmoid" else 1 - x**2


def _layer(active: list[Edge], edge: Edge) -> Iterator[Mistake]:
    """σ′ left out in a whole layer: at the activations as far from the leaves as this one."""
    depth = _depth(edge[0])
    layer = [other for other in active if _depth(other[0]) == depth]
    if layer[0] == edge and 1 < len(layer) < len(active):
        yield changed_at("activation_derivative_missing", layer, lambda p, n, i: 1, shape="layer")
        yield changed_at("activation_derivative_twice", layer, lambda p, n, i: p.partial(n, i) ** 2, shape="layer")


def _depth(node: Node) -> int:
    """How many activations lie below a node."""
    return max((_depth(arg) + RULES[node.op].activation for arg in node.args), default=0)


def products(graph: Graph, edges: list[Edge]) -> Iterator[Mistake]:
    """The factors of w·x."""
    factors = [(n, i) for n, i in edges if n.op == "*" and n.args[1 - i].op != "constant"]
    to_weight = [(n, i) for n, i in factors if n.args[i] in graph.weights]
    to_signal = [(n, i) for n, i in factors if n.args[1 - i] in graph.weights and n.args[i] not in graph.weights]
    rest = [edge for edge in factors if edge not in to_weight and edge not in to_signal]
    one: Local = lambda p, n, i: 1  # noqa: E731
    own: Local = lambda p, n, i: value_of(p, n, i)  # noqa: E731
    yield from _each("input_factor_missing", to_weight, one)
    yield from _each("weight_for_input", to_weight, own)
    yield from _each("weight_factor_missing", to_signal, one)
    # A product of two leaves does not say which is the weight.
    yield from _each("weight_for_input", [edge for edge in factors if edge not in to_weight], own, planted=False)
    for key in ("input_factor_missing", "weight_factor_missing"):
        yield from _each(key, rest, one, planted=False)


def biases(graph: Graph, edges: list[Edge]) -> Iterator[Mistake]:
    """The gradient of a bias or a threshold."""
    for bias in graph.biases:
        uses = [edge for edge in edges if edge[0].args[edge[1]] is bias]
        if not uses:
            continue
        if bias.name.startswith("th"):
            yield from _each("threshold_sign", uses, lambda p, n, i: -p.partial(n, i))
        yield from _each("bias_chain", uses, lambda p, n, i: p.values[n.args[i]])
        yield from _each("bias_chain", uses, lambda p, n, i: -1, planted=False)
        yield from _each("bias_chain", uses, lambda p, n, i: p.m.constant(0), planted=False)
        beside = [factors_beside(graph, edge) for edge in uses]
        for copied in zip(*beside, strict=False):
            yield Mistake(
                "bias_chain",
                {
                    edge: lambda p, right, other=other: right * p.values[other]
                    for edge, other in zip(uses, copied, strict=True)
                },
                shape="copied from a weight",
            )


def logarithms(edges: list[Edge]) -> Iterator[Mistake]:
    for op in ("log", "log10"):
        logs = [(n, i) for n, i in edges if n.op == op]

        def other_base(p: Pass, n: Node, i: int, op: str = op) -> Any:
            return p.partial(n, i) / p.m.ln10 if op == "log" else p.partial(n, i) * p.m.ln10

        yield from _each("log10_for_ln", logs, other_base)
