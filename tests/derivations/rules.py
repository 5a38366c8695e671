"""Wrong rules for a quotient, a product or a chain within one formula."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.derivations.edges import Local, changed_at, value_of
from tests.derivations.places import operands_of, stands_in
from tests.derivations.tape import RULES, Edge, Mistake, Node, Pass, added_up


def _by_pivots(key: str, node: Node, way: list[Node], rule: Callable[..., Any], **options: Any) -> Iterator[Mistake]:
    """The wrong rule for each name in the formula, and for all of them."""
    pivots = [operand for operand in operands_of(node) if operand in way]
    for pivot in pivots:
        yield _rule(key, node, [pivot], rule, shape="one", **options)
    if len(pivots) > 1:
        yield _rule(key, node, pivots, rule, shape="everywhere", **options)


def _rule(key: str, node: Node, pivots: list[Node], rule: Callable[..., Any], **options: Any) -> Mistake:
    """A wrong rule within one formula: of u′ and v′ it makes the derivative of the node by each of the pivots."""
    inside: dict[Node, None] = {}
    stack = [node]
    while stack:
        one = stack.pop()
        inside[one] = None
        stack += [arg for arg in one.args if not arg.name]

    def summed(pivot: Node) -> Callable[..., Any]:
        def total(p: Pass, arrived: list[tuple[Edge, Any]], found: dict[Node, Any]) -> Any:
            others = [amount for (consumer, _), amount in arrived if consumer not in inside]
            u, v = node.args[0], node.args[-1]
            wrong = rule(p, du=p.tangent(u, pivot), dv=p.tangent(v, pivot))
            return added_up([*others, found[node] * wrong])

        return total

    return Mistake(key, sums={pivot: summed(pivot) for pivot in pivots}, **options)


def quotients(way: list[Node], edges: list[Edge]) -> Iterator[Mistake]:
    for node in way:
        if node.op == "/" and node.args[1].op != "constant":
            both = [(node, i) for i in (0, 1) if (node, i) in edges]
            top = [edge for edge in both if edge[1] == 0]
            bottom = [edge for edge in both if edge[1] == 1]
            unsquared: Local = lambda p, n, i: p.partial(n, i) * value_of(p, n, 1)  # noqa: E731
            flipped: Local = lambda p, n, i: -p.partial(n, i)  # noqa: E731
            for some in ([both] if len(both) > 1 else []) + ([bottom] if bottom else []):
                yield changed_at("quotient_rule", some, unsquared, shape="not squared")
            yield changed_at("quotient_rule", both, flipped, shape="order")
            if top and bottom:  # a plus between the two
                yield changed_at("quotient_rule", bottom, flipped, planted=False)
                yield changed_at("quotient_rule", top, unsquared, planted=False)
        elif node.op == "*" and all(arg.op != "constant" for arg in node.args):
            u, v = ([arg] if arg.name else operands_of(arg) for arg in node.args)
            both_ways = [operand for operand in way if operand in u and operand in v]
            yield from _by_pivots("paths_multiplied_not_added", node, both_ways, lambda p, du, dv: du * dv)


def inner(way: list[Node]) -> Iterator[Mistake]:
    """The derivative of what a function is of, left out or put into the function's own."""
    for node in way:
        place = _place_of_inner(node)
        if place is None:
            continue
        u = node.args[place]
        if not u.name:

            def left_out(p: Pass, node: Node = node, place: int = place, **_: Any) -> Any:
                return p.partial(node, place)

            def at_derivative(p: Pass, node: Node = node, place: int = place, **tangents: Any) -> Any:
                return _slope_at(p, node, tangents["dv" if place else "du"])

            yield from _by_pivots("chain_inner_missing", node, way, left_out)
            yield from _by_pivots("chain_inner_at_derivative", node, way, at_derivative)
        elif not RULES[u.op].activation:
            operands = [operand for operand in operands_of(u) if operand in way]
            for some in [[one] for one in operands] + ([operands] if len(operands) > 1 else []):
                yield _handed_on(u, some)


def _place_of_inner(node: Node) -> int | None:
    """Which operand of a function, a power or an exponential is a formula of its own."""
    if node.op == "**":
        place = 0 if node.args[1].op == "constant" else 1
    elif len(node.args) == 1 and node.op != "neg":
        place = 0
    else:
        return None
    return place if node.args[place].args else None


def _handed_on(u: Node, pivots: list[Node]) -> Mistake:
    """A named inner function whose gradient is handed on as it is."""

    def total(p: Pass, arrived: list[tuple[Edge, Any]], found: dict[Node, Any]) -> Any:
        others = [amount for (consumer, _), amount in arrived if not stands_in(u, consumer)]
        return added_up([*others, found[u]])

    return Mistake("chain_inner_missing", sums=dict.fromkeys(pivots, total), planted=False)


def _slope_at(p: Pass, node: Node, x: Any) -> Any:
    """f′ at another place."""
    if node.op != "**":
        rule = RULES[node.op]
        return rule.partials(p.m, rule.forward(p.m, x), x)[0]
    base, exponent = p.values[node.args[0]], p.values[node.args[1]]
    if node.args[1].op == "constant":
        return exponent * x ** (exponent - 1)
    return base**x * p.m.log(base)
