"""Wrong local derivatives: signs, powers, factors, logarithms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.derivations.places import factors_beside
from tests.derivations.tape import Edge, Graph, Mistake, Node, Pass, added_up

Local = Callable[[Pass, Node, int], Any]
"""The wrong local derivative at an edge."""


def changed_at(key: str, edges: list[Edge], local: Local, **options: Any) -> Mistake:
    """The wrong local derivative at some edges at once."""
    return Mistake(key, {edge: lambda p, right, edge=edge: local(p, *edge) for edge in edges}, **options)


def each(key: str, edges: list[Edge], local: Local, **options: Any) -> Iterator[Mistake]:
    """The wrong local derivative at one edge, and at all of them."""
    for edge in edges:
        yield changed_at(key, [edge], local, shape="one", **options)
    if len(edges) > 1:
        yield changed_at(key, edges, local, shape="everywhere", **options)


def one(p: Pass, node: Node, i: int) -> Any:
    """Nothing, where there should be a factor."""
    return 1


def zero(p: Pass, node: Node, i: int) -> Any:
    """No path."""
    return p.m.constant(0)


def value_of(p: Pass, node: Node, i: int) -> Any:
    """The operand, in place of what it is multiplied by."""
    return p.values[node.args[i]]


def signs(edges: list[Edge]) -> Iterator[Mistake]:
    """A sign lost at one place, at a node, or with every minus."""
    for node, i in edges:
        yield changed_at("sign_flipped", [(node, i)], lambda p, n, i: -p.partial(n, i))
    for node in dict.fromkeys(node.args[i] for node, i in edges):
        yield Mistake("sign_flipped", sums={node: _negative}, planted=False)
    minus = [(node, i) for node, i in edges if node.op == "neg" or (node.op == "-" and i == 1)]
    if len(minus) > 1:
        yield changed_at("sign_flipped", minus, one, shape="everywhere")
    yield from each("abs_sign_missing", [edge for edge in edges if edge[0].op == "abs"], one)


def _negative(p: Pass, arrived: list[tuple[Edge, Any]], found: dict[Node, Any]) -> Any:
    return -added_up([amount for _, amount in arrived])


def powers(graph: Graph, edges: list[Edge]) -> Iterator[Mistake]:
    powers = [(node, i) for node, i in edges if node.op == "**" and i == 0 and node.args[1].op == "constant"]

    def exponent(p: Pass, node: Node) -> Any:
        return p.values[node.args[1]]

    yield from each("factor_2_missing", powers, lambda p, n, i: p.partial(n, i) / exponent(p, n))
    yield from each("power_exponent_kept", powers, lambda p, n, i: exponent(p, n) * p.values[n])
    yield from each(
        "integrated_instead",
        powers,
        lambda p, n, i: value_of(p, n, i) ** (exponent(p, n) + 1) / (exponent(p, n) + 1),
        planted=len(graph.lines) < 3,
    )
    halves = [(node, i) for node, i in edges if _is_half(graph, node, i)]
    yield from each("factor_half_ignored", halves, lambda p, n, i: 2 * p.partial(n, i))
    squares = [(n, i) for n, i in powers if n.args[1].number == 2]
    if halves:  # the half was kept, and the 2 it is there for was not
        yield from each("factor_half_ignored", squares, lambda p, n, i: p.partial(n, i) / 2, planted=False)
    exponentials = [(node, i) for node, i in edges if node.op == "**" and i == 1]
    yield from each(
        "power_rule_on_exponential",
        exponentials,
        lambda p, n, i: value_of(p, n, 1) * value_of(p, n, 0) ** (value_of(p, n, 1) - 1),
    )
    exps = [(node, i) for node, i in edges if node.op == "exp"]
    yield from each(
        "power_rule_on_exponential",
        exps,
        lambda p, n, i: value_of(p, n, 0) * p.m.exp(value_of(p, n, 0) - 1),
        planted=False,
    )


def _is_half(graph: Graph, node: Node, i: int) -> bool:
    """Whether ½ is the local derivative here, or 1/(2N)."""
    if node.op == "*":
        other = node.args[1 - i]
        return other.op == "constant" and other.number == 0.5
    halves = (2, 2 * len(graph.examples))
    return node.op == "/" and i == 0 and node.args[1].op == "constant" and node.args[1].number in halves


def products(graph: Graph, edges: list[Edge]) -> Iterator[Mistake]:
    """The factors of w·x."""
    factors = [(n, i) for n, i in edges if n.op == "*" and n.args[1 - i].op != "constant"]
    to_weight = [(n, i) for n, i in factors if n.args[i] in graph.weights]
    to_signal = [(n, i) for n, i in factors if n.args[1 - i] in graph.weights and n.args[i] not in graph.weights]
    rest = [edge for edge in factors if edge not in to_weight and edge not in to_signal]
    yield from each("input_factor_missing", to_weight, one)
    yield from each("weight_for_input", to_weight, value_of)
    yield from each("weight_factor_missing", to_signal, one)
    # A product of two leaves does not say which is the weight.
    yield from each("weight_for_input", [edge for edge in factors if edge not in to_weight], value_of, planted=False)
    for key in ("input_factor_missing", "weight_factor_missing"):
        yield from each(key, rest, one, planted=False)


def biases(graph: Graph, edges: list[Edge]) -> Iterator[Mistake]:
    """The gradient of a bias or a threshold."""
    for bias in graph.biases:
        uses = [edge for edge in edges if edge[0].args[edge[1]] is bias]
        if not uses:
            continue
        if bias.name.startswith("th"):
            yield from each("threshold_sign", uses, lambda p, n, i: -p.partial(n, i))
        yield from each("bias_chain", uses, value_of)
        yield from each("bias_chain", uses, lambda p, n, i: -1, planted=False)
        yield from each("bias_chain", uses, zero, planted=False)
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

        yield from each("log10_for_ln", logs, other_base)
