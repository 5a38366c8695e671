"""Wrong rules for a quotient, a product or a chain within one formula."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.derivations.edges import Local, changed_at, value_of
from tests.derivations.places import operands_of, stands_in
from tests.derivations.tape import RULES, Edge, Graph, Mistake, Node, Pass, added_up


def _by_pivots(key: str, node: Node, way: list[Node], rule: Callable[..., Any], **options: Any) -> Iterator[Mistake]:
    """The wrong rule for each name in the formula, and for all of them."""
    pivots = [operand for operand in operands_of(node) if operand in way]
    for pivot in pivots:
        yield _rule(key, node, [pivot], rule, shape="one", **options)
    if len(pivots) > 1:
        yield _rule(key, node, pivots, rule, shape="everywhere", **options)


def _rule(
    key: str, node: Node, pivots: list[Node], rule: Callable[[Pass, Any, Any, Any, Any], Any], **options: Any
) -> Mistake:
    """A wrong rule within one formula: T(u, v, u′, v′) for the derivative of the node by each of the pivots."""
    inside: dict[Node, None] = {}
    stack = [node]
    while stack:
        one = stack.pop()
        inside[one] = None
        stack += [arg for arg in one.args if not arg.name]

    def summed(pivot: Node) -> Callable[..., Any]:
        def total(p: Pass, arrived: list[tuple[Edge, Any]], found: dict[Node, Any]) -> Any:
            others = [amount for (consumer, _), amount in arrived if consumer not in inside]
            u = node.args[0]
            v = node.args[-1]
            wrong = rule(p, p.values[u], p.values[v], p.tangent(u, pivot), p.tangent(v, pivot))
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
            yield from _by_pivots("paths_multiplied_not_added", node, both_ways, lambda p, u, v, du, dv: du * dv)


def inner(graph: Graph, way: list[Node], edges: list[Edge]) -> Iterator[Mistake]:
    """Chains within a formula."""
    for node in way:
        u = node.args[0] if node.args else node
        function = len(node.args) == 1 and node.op != "neg"
        power = node.op == "**" and node.args[1].op == "constant"
        exponential = node.op == "**" and not power
        if exponential:
            u = node.args[1]
        if not (function or power or exponential) or u.op in ("leaf", "constant"):
            continue
        outer = 1 if exponential else 0
        if not u.name:
            missing = lambda p, a, b, da, db, node=node, outer=outer: p.partial(node, outer)  # noqa: E731
            yield from _by_pivots("chain_inner_missing", node, way, missing)

            def at_slope(p: Pass, a: Any, b: Any, da: Any, db: Any, node: Node = node, outer: int = outer) -> Any:
                return _outer_slope(p, node, db if outer else da)

            yield from _by_pivots("chain_inner_at_derivative", node, way, at_slope)
        else:
            inner = [(u, i) for i, arg in enumerate(u.args) if (u, i) in edges]
            if not any(RULES[u.op].activation for _ in inner):
                operands = [operand for operand in operands_of(u) if operand in way]
                for some in [[one] for one in operands] + ([operands] if len(operands) > 1 else []):
                    yield _named_inner("chain_inner_missing", u, some, lambda p, found, u=u: found[u])


def _named_inner(key: str, u: Node, pivots: list[Node], rule: Callable[..., Any]) -> Mistake:
    def summed(pivot: Node) -> Callable[..., Any]:
        def total(p: Pass, arrived: list[tuple[Edge, Any]], found: dict[Node, Any]) -> Any:
            others = [amount for (consumer, _), amount in arrived if not stands_in(u, consumer)]
            return added_up([*others, rule(p, found)])

        return total

    return Mistake(key, sums={pivot: summed(pivot) for pivot in pivots}, planted=False)


def _outer_slope(p: Pass, node: Node, x: Any) -> Any:
    """f′ at another place."""
    if node.op != "**":
        rule = RULES[node.op]
        return rule.partials(p.m, rule.forward(p.m, x), x)[0]
    base, exponent = p.values[node.args[0]], p.values[node.args[1]]
    if node.args[1].op == "constant":
        return exponent * x ** (exponent - 1)
    return base**x * p.m.log(base)
