"""Every change of the taxonomy at every place of a graph."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import sympy

from tests.derivations.tape import RULES, Edge, Graph, Mistake, Node, Numbers, Pass, added_up, symbols

Local = Callable[[Pass, Node, int], Any]
"""The wrong local derivative at an edge."""


def mistakes(graph: Graph, wrt: Node) -> Iterator[Mistake]:
    """All single mistakes on the way from the loss to `wrt`; some leave the gradient as it is."""
    way = [node for node in reversed(graph.order) if wrt in graph.below[node]]
    edges = [
        (node, i) for node in way for i, arg in enumerate(node.args) if arg.op != "constant" and wrt in graph.below[arg]
    ]
    yield from _signs(edges)
    yield from _powers(edges, len(graph.lines) < 3)
    yield from _activations(edges)
    yield from _sums(graph, way, wrt)
    yield from _products(graph, edges)
    yield from _quotients(way, edges)
    yield from _inner(graph, way, edges)
    yield from _exchanges(graph, edges)
    yield from _updated(graph, edges)
    yield from _means(graph, way, edges, wrt)
    yield from _logarithms(edges)
    yield from _softmax(graph, way)
    yield from _cross_entropy(graph, way, wrt)
    yield from _whole(graph, way, wrt)


def _at(key: str, edges: list[Edge], local: Local, **options: Any) -> Mistake:
    """The wrong local derivative at some edges at once."""
    return Mistake(key, {edge: lambda p, right, edge=edge: local(p, *edge) for edge in edges}, **options)


def _each(key: str, edges: list[Edge], local: Local, **options: Any) -> Iterator[Mistake]:
    """The wrong local derivative at one edge, and at all of them."""
    for edge in edges:
        yield _at(key, [edge], local, shape="one", **options)
    if len(edges) > 1:
        yield _at(key, edges, local, shape="everywhere", **options)


def _value(p: Pass, node: Node, i: int) -> Any:
    return p.values[node.args[i]]


def _signs(edges: list[Edge]) -> Iterator[Mistake]:
    for node, i in edges:
        yield _at("sign_flipped", [(node, i)], lambda p, n, i: -p.partial(n, i))
    minus = [(node, i) for node, i in edges if node.op == "neg" or (node.op == "-" and i == 1)]
    if len(minus) > 1:
        yield _at("sign_flipped", minus, lambda p, n, i: 1, shape="everywhere")
    yield from _each("abs_sign_missing", [e for e in edges if e[0].op == "abs"], lambda p, n, i: 1)


def _powers(edges: list[Edge], short: bool) -> Iterator[Mistake]:
    powers = [(node, i) for node, i in edges if node.op == "**" and i == 0 and node.args[1].op == "constant"]

    def exponent(p: Pass, node: Node) -> Any:
        return p.values[node.args[1]]

    yield from _each("factor_2_missing", powers, lambda p, n, i: p.partial(n, i) / exponent(p, n))
    yield from _each("power_exponent_kept", powers, lambda p, n, i: exponent(p, n) * p.values[n])
    yield from _each(
        "integrated_instead",
        powers,
        lambda p, n, i: _value(p, n, i) ** (exponent(p, n) + 1) / (exponent(p, n) + 1),
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
        lambda p, n, i: _value(p, n, 1) * _value(p, n, 0) ** (_value(p, n, 1) - 1),
    )
    exps = [(node, i) for node, i in edges if node.op == "exp"]
    yield from _each(
        "power_rule_on_exponential",
        exps,
        lambda p, n, i: _value(p, n, 0) * p.m.exp(_value(p, n, 0) - 1),
        planted=False,
    )


def _is_half(node: Node, i: int) -> bool:
    if node.op == "*":
        other = node.args[1 - i]
        return other.op == "constant" and other.number == 0.5
    return node.op == "/" and i == 0 and node.args[1].op == "constant" and node.args[1].number == 2


def _activations(edges: list[Edge]) -> Iterator[Mistake]:
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
    yield from _each("derivative_at_z_not_a", curved, lambda p, n, i: _fed(n.op, _value(p, n, 0)))
    for rule in ("tanh", "sigmoid", "half", "relu"):
        others = [(n, i) for n, i in active if n.op != rule]
        locals_: dict[str, Local] = {
            "tanh": lambda p, n, i: 1 - p.values[n] ** 2,
            "sigmoid": lambda p, n, i: p.values[n] * (1 - p.values[n]),
            "half": lambda p, n, i: 1 - p.values[n],
            "relu": lambda p, n, i: p.m.relu(_value(p, n, i)),
        }
        natural = [(n, i) for n, i in others if n.op in ("sigmoid", "tanh") or rule in ("tanh", "sigmoid")]
        yield from _each("wrong_activation_derivative", natural, locals_[rule])
        yield from _each("wrong_activation_derivative", others, locals_[rule], planted=False)
    bent = [(n, i) for n, i in active if n.op in ("leaky_relu", "elu", "softplus")]
    yield from _each("wrong_activation_derivative", bent, lambda p, n, i: p.m.step(_value(p, n, i)))


def _fed(op: str, x: Any) -> Any:
    return x * (1 - x) if op == "sigmoid" else 1 - x**2


def _layer(active: list[Edge], edge: Edge) -> Iterator[Mistake]:
    """σ′ left out in a whole layer: at the activations as far from the leaves as this one."""
    depth = _depth(edge[0])
    layer = [other for other in active if _depth(other[0]) == depth]
    if layer[0] == edge and 1 < len(layer) < len(active):
        yield _at("activation_derivative_missing", layer, lambda p, n, i: 1, shape="layer")
        yield _at("activation_derivative_twice", layer, lambda p, n, i: p.partial(n, i) ** 2, shape="layer")


def _depth(node: Node) -> int:
    """How many activations lie below a node."""
    return max((_depth(arg) + RULES[node.op].activation for arg in node.args), default=0)


def _sums(graph: Graph, way: list[Node], wrt: Node) -> Iterator[Mistake]:
    """Contributions left out or multiplied, at every node that is used more than once."""
    for node in way:
        if node is graph.loss:
            continue
        uses = graph.uses(node)
        if len(uses) < 2:
            continue
        named = _by_consumer(graph, uses)
        groups = [[edge] for edge in uses]
        if 1 < len(named) < len(uses):
            groups += named
        count = len(uses)
        sizes = range(1, count) if count <= 4 else (1, count - 1)
        kept = [list(some) for size in sizes for some in itertools.combinations(uses, size)]
        kept += [[e for g in named if g is not missing for e in g] for missing in named if len(named) > 1]
        kept += [group for group in named if len(named) > 1]
        for some in kept:
            yield Mistake(
                "path_missing", sums={node: _only(some)}, planted=bool(node.name), shape=f"{len(some)}/{count}"
            )
        yield Mistake("paths_multiplied_not_added", sums={node: _multiplied([[e] for e in uses])})
        if 1 < len(named) < len(uses):
            yield Mistake("paths_multiplied_not_added", sums={node: _multiplied(named)}, planted=False)
    edges = [(n, i) for n in way for i, arg in enumerate(n.args) if arg.op != "constant"]
    for n, i in edges:
        if n.op in ("*", "/") and all(arg.op != "constant" for arg in n.args):
            yield _at("path_missing", [(n, i)], lambda p, n, i: p.m.constant(0), shape="one term of a product")
        elif n.op in ("+", "-"):
            key_node = n.args[i]
            yield _at(
                "path_missing", [(n, i)], lambda p, n, i: p.m.constant(0), planted=False, shape=f"{key_node!r} dropped"
            )


def _by_consumer(graph: Graph, uses: list[Edge]) -> list[list[Edge]]:
    """The uses of a node by the line that they stand in."""
    lines: dict[Node, list[Edge]] = {}
    for edge in uses:
        line = next((line for line in graph.lines if _stands_in(line, edge[0])), edge[0])
        lines.setdefault(line, []).append(edge)
    return list(lines.values())


def _stands_in(line: Node, node: Node) -> bool:
    stack = [line]
    while stack:
        one = stack.pop()
        if one is node:
            return True
        stack += [arg for arg in one.args if not arg.name]
    return False


def _only(kept: list[Edge]) -> Callable[..., Any]:
    return lambda p, arrived, found: added_up([amount for edge, amount in arrived if edge in kept])


def _multiplied(groups: list[list[Edge]]) -> Callable[..., Any]:
    def product(p: Pass, arrived: list[tuple[Edge, Any]], found: dict[Node, Any]) -> Any:
        result: Any = p.m.constant(1)
        for group in groups:
            result = result * added_up([amount for edge, amount in arrived if edge in group])
        return result

    return product


def _products(graph: Graph, edges: list[Edge]) -> Iterator[Mistake]:
    """The factors of w·x."""
    products = [(n, i) for n, i in edges if n.op == "*"]
    to_weight = [(n, i) for n, i in products if n.args[i] in graph.weights and n.args[1 - i].op != "constant"]
    to_signal = [(n, i) for n, i in products if n.args[1 - i] in graph.weights and n.args[i] not in graph.weights]
    rest = [
        (n, i)
        for n, i in products
        if (n, i) not in to_weight and (n, i) not in to_signal and n.args[1 - i].op != "constant"
    ]
    one: Local = lambda p, n, i: 1  # noqa: E731
    own: Local = lambda p, n, i: _value(p, n, i)  # noqa: E731
    yield from _each("input_factor_missing", to_weight, one)
    yield from _each("weight_for_input", to_weight, own)
    yield from _each("weight_factor_missing", to_signal, one)
    yield from _each("weight_for_input", [e for e in products if e not in to_weight], own, planted=False)
    for key in ("input_factor_missing", "weight_factor_missing"):
        yield from _each(key, rest, one, planted=False)
    for bias in graph.biases:
        uses = [edge for edge in edges if edge[0].args[edge[1]] is bias]
        if not uses:
            continue
        if bias.name.startswith("th"):
            yield from _each("threshold_sign", uses, lambda p, n, i: -p.partial(n, i))
        yield from _each("bias_chain", uses, lambda p, n, i: p.values[n.args[i]])
        yield from _each("bias_chain", uses, lambda p, n, i: -1, planted=False)
        yield from _each("bias_chain", uses, lambda p, n, i: p.m.constant(0), planted=False)
        beside = [_beside(graph, edge) for edge in uses]
        for copied in zip(*beside, strict=False):
            yield Mistake(
                "bias_chain",
                {
                    edge: lambda p, right, other=other: right * p.values[other]
                    for edge, other in zip(uses, copied, strict=True)
                },
                shape="copied from a weight",
            )


def _beside(graph: Graph, edge: Edge) -> list[Node]:
    """What the weights of the sum are multiplied by, to which an edge belongs."""
    line = next((line for line in graph.lines if _stands_in(line, edge[0])), edge[0])
    found, stack = [], [line]
    while stack:
        node = stack.pop()
        if node.op == "*":
            found += [node.args[1 - i] for i in (0, 1) if node.args[i] in graph.weights]
        stack += [arg for arg in node.args if not arg.name]
    return list(dict.fromkeys(reversed(found)))


def _line_operands(node: Node) -> list[Node]:
    """The names directly in a formula."""
    found: dict[Node, None] = {}
    stack = list(reversed(node.args))
    while stack:
        one = stack.pop()
        if one.name:
            found.setdefault(one)
        else:
            stack += reversed(one.args)
    return list(found)


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


def _by_pivots(key: str, node: Node, way: list[Node], rule: Callable[..., Any], **options: Any) -> Iterator[Mistake]:
    """The wrong rule for each name in the formula, and for all of them."""
    pivots = [operand for operand in _line_operands(node) if operand in way]
    for pivot in pivots:
        yield _rule(key, node, [pivot], rule, shape="one", **options)
    if len(pivots) > 1:
        yield _rule(key, node, pivots, rule, shape="everywhere", **options)


def _quotients(way: list[Node], edges: list[Edge]) -> Iterator[Mistake]:
    for node in way:
        if node.op == "/" and node.args[1].op != "constant":
            both = [(node, i) for i in (0, 1) if (node, i) in edges]
            top = [edge for edge in both if edge[1] == 0]
            bottom = [edge for edge in both if edge[1] == 1]
            unsquared: Local = lambda p, n, i: p.partial(n, i) * _value(p, n, 1)  # noqa: E731
            flipped: Local = lambda p, n, i: -p.partial(n, i)  # noqa: E731
            for some in ([both] if len(both) > 1 else []) + ([bottom] if bottom else []):
                yield _at("quotient_rule", some, unsquared, shape="not squared")
            yield _at("quotient_rule", both, flipped, shape="order")
            if top and bottom:  # a plus between the two
                yield _at("quotient_rule", bottom, flipped, planted=False)
                yield _at("quotient_rule", top, unsquared, planted=False)
        elif node.op == "*" and all(arg.op != "constant" for arg in node.args):
            u, v = ([arg] if arg.name else _line_operands(arg) for arg in node.args)
            both_ways = [operand for operand in way if operand in u and operand in v]
            yield from _by_pivots("paths_multiplied_not_added", node, both_ways, lambda p, u, v, du, dv: du * dv)


def _inner(graph: Graph, way: list[Node], edges: list[Edge]) -> Iterator[Mistake]:
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
                operands = [operand for operand in _line_operands(u) if operand in way]
                for some in [[one] for one in operands] + ([operands] if len(operands) > 1 else []):
                    yield _named_inner("chain_inner_missing", u, some, lambda p, found, u=u: found[u])


def _named_inner(key: str, u: Node, pivots: list[Node], rule: Callable[..., Any]) -> Mistake:
    def summed(pivot: Node) -> Callable[..., Any]:
        def total(p: Pass, arrived: list[tuple[Edge, Any]], found: dict[Node, Any]) -> Any:
            others = [amount for (consumer, _), amount in arrived if not _stands_in(u, consumer)]
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


def _exchanges(graph: Graph, edges: list[Edge]) -> Iterator[Mistake]:
    """Names of one kind taken for each other in the backward pass."""
    products = [(n, i) for n, i in edges if n.op == "*"]
    for family in graph.alike:
        for one, other in itertools.combinations(family, 2):
            swap = {one: other, other: one}
            values = {
                (n, 1 - i): lambda p, to=swap[n.args[1 - i]]: p.values[to] for n, i in products if n.args[1 - i] in swap
            }
            if values:
                yield Mistake("transposed_index", values=values, shape="swapped")
        for n, i in products:
            used = n.args[1 - i]
            if used in family:
                for other in family:
                    if other is not used:
                        yield _at(
                            "transposed_index", [(n, i)], lambda p, n, i, other=other: p.values[other], shape="one"
                        )
    for family in graph.alike:
        deltas = [node for node in family if node.args and node in graph.below]
        for n in deltas:
            inner = [edge for edge in edges if _stands_in(n, edge[0]) and edge[0].args[edge[1]].name]
            for other in deltas:
                if other is not n:
                    for edge in inner:
                        yield _other_delta(graph, n, other, [edge], True)
                    if len(inner) > 1:
                        yield _other_delta(graph, n, other, inner, False)
    yield from _transposed(graph, products)


def _other_delta(graph: Graph, node: Node, other: Node, edges: list[Edge], planted: bool) -> Mistake:
    """The gradient of another unit passed on."""

    within = {edge: _between(node, edge[0]) for edge in edges}

    def changed(p: Pass, local: Any, edge: Edge) -> Any:
        amount = p.right[other] * local
        for step, i in within[edge]:
            amount = amount * p.partial(step, i)
        return amount

    amounts = {edge: lambda p, local, edge=edge: changed(p, local, edge) for edge in edges}
    return Mistake("transposed_index", amounts=amounts, planted=planted, shape="delta")


def _between(line: Node, node: Node) -> list[Edge]:
    """The edges from a line down to a node within its formula."""
    if line is node:
        return []
    for i, arg in enumerate(line.args):
        if not arg.name and _stands_in(arg, node):
            return [(line, i), *_between(arg, node)]
    raise LookupError(f"{node} is not in {line}")


def _transposed(graph: Graph, products: list[Edge]) -> Iterator[Mistake]:
    """W in place of its transpose, for square layers."""
    for family in graph.alike:
        size = round(len(family) ** 0.5)
        if not all(node in graph.weights for node in family) or size < 2 or size * size != len(family):
            continue
        swap = {family[i * size + j]: family[j * size + i] for i in range(size) for j in range(size)}
        values = {
            (n, 1 - i): lambda p, to=swap[n.args[1 - i]]: p.values[to] for n, i in products if n.args[1 - i] in swap
        }
        if values:
            yield Mistake("transposed_index", values=values, shape="matrix")


def _updated(graph: Graph, edges: list[Edge]) -> Iterator[Mistake]:
    """Weights after their own step, in the backward pass."""
    products = [(n, i) for n, i in edges if n.op == "*" and n.args[1 - i] in graph.weights]
    families = [[w] for w in graph.weights]
    families += [family for family in graph.alike if all(node in graph.weights for node in family)]
    families.append(graph.weights)
    for family in families:
        values = {
            (n, 1 - i): lambda p, w=n.args[1 - i]: p.values[w] - p.lr * p.right[w]
            for n, i in products
            if n.args[1 - i] in family
        }
        if values:
            yield Mistake("updated_weights", values=values, shape="one" if len(family) == 1 else "layer")


def _means(graph: Graph, way: list[Node], edges: list[Edge], wrt: Node) -> Iterator[Mistake]:
    count = len(graph.examples)
    if not count:
        return
    means = [(n, i) for n, i in edges if _averages(graph, n, i)]
    if means and means[0][0].op == "mean":
        yield _at("sum_for_mean", means, lambda p, n, i: 1)
        yield _at("mean_twice", means, lambda p, n, i: p.partial(n, i) / count)
    elif means:
        yield _at("sum_for_mean", means, lambda p, n, i: p.partial(n, i) * count)
        yield _at("mean_twice", means, lambda p, n, i: p.partial(n, i) / count)
    uses = graph.uses(wrt)
    per_example = [[edge for edge in uses if _example_of(graph, edge[0]) == k] for k in range(count)]
    shared = [edge for edge in uses if _example_of(graph, edge[0]) is None]
    if sum(map(bool, per_example)) == count:
        for some in _subsets(count):
            kept = [edge for k in some for edge in per_example[k]]
            yield Mistake(
                "one_example_only",
                sums={wrt: _only([*kept, *shared])},
                planted=len(some) == 1,
                shape=f"{len(some)}/{count}",
            )
        if all(len(group) == 1 and group[0][0].op == "*" for group in per_example):
            factors = [(group[0][0], 1 - group[0][1]) for group in per_example]

            def means_multiplied(p: Pass, arrived: list[tuple[Edge, Any]], found: dict[Node, Any]) -> Any:
                rest = [amount for edge, amount in arrived if edge in shared]
                deltas = added_up([found[n] for n, _ in factors])
                inputs = added_up([p.values[n.args[i]] for n, i in factors])
                return added_up([deltas * inputs / count, *rest])

            yield Mistake("product_of_means", sums={wrt: means_multiplied})
    for some in _subsets(count):
        out = [e for e in graph.examples if graph.examples.index(e) not in some]
        dropped = [edge for e in out for edge in graph.uses(e) if edge in edges]
        if dropped:
            yield _at("one_example_only", dropped, lambda p, n, i: p.m.constant(0), planted=len(some) == 1)


def _subsets(count: int) -> list[tuple[int, ...]]:
    sizes = range(1, count) if count <= 4 else (1, count - 1)
    return [some for size in sizes for some in itertools.combinations(range(count), size)]


def _averages(graph: Graph, node: Node, i: int) -> bool:
    """Whether 1/N is the local derivative here, at least."""
    if node.op == "mean":
        return True
    if not all(example in graph.below[node] for example in graph.examples):
        return False
    if node.op == "/" and i == 0:
        return node.args[1].op == "constant"
    return node.op == "*" and node.args[1 - i].op == "constant"


def _example_of(graph: Graph, node: Node) -> int | None:
    """The number of the one example that a node belongs to."""
    found = [k for k, example in enumerate(graph.examples) if node in graph.below[example]]
    return found[0] if len(found) == 1 else None


def _logarithms(edges: list[Edge]) -> Iterator[Mistake]:
    for op in ("log", "log10"):
        logs = [(n, i) for n, i in edges if n.op == op]

        def other_base(p: Pass, n: Node, i: int, op: str = op) -> Any:
            return p.partial(n, i) / p.m.ln10 if op == "log" else p.partial(n, i) * p.m.ln10

        yield from _each("log10_for_ln", logs, other_base)


def _softmax(graph: Graph, way: list[Node]) -> Iterator[Mistake]:
    """The scores' gradients, of one class or of all."""
    classes = [(s, q, y) for s, q, y in graph.softmax if s in way]
    if not classes:
        return

    def of(p: Pass, label: Any) -> Any:
        return p.values[label] if isinstance(label, Node) else p.m.constant(label)

    def grad(found: dict[Node, Any], node: Node) -> Any:
        return found.get(node, 0)

    def diagonal(p: Pass, found: dict[Node, Any], total: Any, s: Node, q: Node, y: Any) -> Any:
        return grad(found, q) * p.values[q] * (1 - p.values[q])

    def left_out(p: Pass, found: dict[Node, Any], total: Any, s: Node, q: Node, y: Any) -> Any:
        return grad(found, q)

    def sign(p: Pass, found: dict[Node, Any], total: Any, s: Node, q: Node, y: Any) -> Any:
        return -total

    def label_everywhere(p: Pass, found: dict[Node, Any], total: Any, s: Node, q: Node, y: Any) -> Any:
        return p.values[q] - 1

    def double(p: Pass, found: dict[Node, Any], total: Any, s: Node, q: Node, y: Any) -> Any:
        return total * p.values[q] * (1 - p.values[q])

    def squared(p: Pass, found: dict[Node, Any], total: Any, s: Node, q: Node, y: Any) -> Any:
        return (p.values[q] - of(p, y)) * p.values[q] * (1 - p.values[q])

    for key, rule in (
        ("softmax_diagonal_only", diagonal),
        ("softmax_diagonal_only", left_out),
        ("softmax_sign", sign),
        ("softmax_label_everywhere", label_everywhere),
        ("ce_double_derivative", double),
        ("ce_treated_as_squared", squared),
    ):
        for some in [[one] for one in classes] + ([classes] if len(classes) > 1 else []):

            def summed(s: Node, q: Node, y: Any, rule: Callable[..., Any] = rule) -> Callable[..., Any]:
                return lambda p, arrived, found: rule(p, found, added_up([a for _, a in arrived]), s, q, y)

            yield Mistake(key, sums={s: summed(s, q, y) for s, q, y in some}, shape=f"{len(some)} classes")

    # Half the squared error in place of the cross-entropy, then the whole Jacobian.
    def through(s: Node) -> Callable[..., Any]:
        def total(p: Pass, arrived: list[tuple[Edge, Any]], found: dict[Node, Any]) -> Any:
            probability = next(q for score, q, _ in graph.softmax if score is s)
            return added_up([
                (p.values[q] - of(p, y)) * p.values[q] * ((1 if q is probability else 0) - p.values[probability])
                for _, q, y in graph.softmax
            ])  # fmt: skip

        return total

    yield Mistake("ce_treated_as_squared", sums={s: through(s) for s, _, _ in classes}, shape="whole Jacobian")
    reached = [(q, y) for _, q, y in graph.softmax if q in way]
    for some_of in [[one] for one in reached] + ([reached] if len(reached) > 1 else []):
        yield Mistake(
            "ce_treated_as_squared",
            sums={q: (lambda p, arrived, found, q=q, y=y: p.values[q] - of(p, y)) for q, y in some_of},
            shape="dL/dp",
        )


def _cross_entropy(graph: Graph, way: list[Node], wrt: Node) -> Iterator[Mistake]:
    """Mistakes at the binary cross-entropy of a sigmoid."""
    outputs = [(z, a, y) for z, a, y in graph.crossed if a in way]
    if not outputs:
        return
    scale = len(graph.examples) or 1

    for some in [[one] for one in outputs] + ([outputs] if len(outputs) > 1 else []):
        with_z = [(z, a, y) for z, a, y in some if z in way]
        if with_z:
            yield Mistake(
                "ce_double_derivative",
                sums={
                    z: lambda p, arrived, found, a=a: (
                        added_up([x for _, x in arrived]) * p.values[a] * (1 - p.values[a])
                    )
                    for z, a, _ in with_z
                },
            )
        yield Mistake(
            "ce_treated_as_squared",
            sums={a: lambda p, arrived, found, a=a, y=y: (p.values[a] - p.values[y]) / scale for _, a, y in some},
        )
        if len(some) == 1 or scale > 1:
            terms = [_log_terms(graph, a) for _, a, _ in some]
            for which in (0, 1):
                dropped = [pair[which] for pair in terms]
                yield _at("ce_one_term_only", dropped, lambda p, n, i: p.m.constant(0))


def _log_terms(graph: Graph, a: Node) -> tuple[Edge, Edge]:
    """The edges to the logarithms of a and of 1 − a."""
    logs = [n for n in graph.order if n.op == "log"]
    direct = next(n for n in logs if n.args[0] is a)
    other = next(n for n in logs if n.args[0].op == "-" and n.args[0].args[1] is a)
    return (direct, 0), (other, 0)


def _whole(graph: Graph, way: list[Node], wrt: Node) -> Iterator[Mistake]:
    """Answers to another question."""
    yield Mistake("sign_flipped", answer=lambda p: -p.right[wrt], planted=False)
    named = [node for node in graph.known.values() if node is not wrt and node is not graph.loss]
    for node in named:
        if node.op == "leaf":
            yield Mistake("wrong_variable", answer=lambda p, node=node: p.right[node], shape="other leaf")
        else:
            on_the_way = node in way
            yield Mistake("stopped_early", answer=lambda p, node=node: p.right[node], planted=on_the_way)
            if not on_the_way:
                yield Mistake("wrong_variable", answer=lambda p, node=node: p.right[node], planted=False)
        if wrt in graph.biases:
            yield Mistake(
                "bias_chain",
                answer=lambda p, node=node: p.right[node],
                planted=node.op != "leaf" or node in graph.weights,
                shape="another node's gradient",
            )
    for node in way:
        if not node.name and node is not graph.loss:
            yield Mistake("stopped_early", answer=lambda p, node=node: p.right[node], planted=False)
    if len(graph.lines) == 1:
        yield from _antiderivative(graph, wrt)


def _antiderivative(graph: Graph, wrt: Node) -> Iterator[Mistake]:
    """∫ f d(wrt), where the formula is one that a course integrates."""
    simple = all(
        node.op in ("leaf", "constant", "+", "-", "*", "**", "sin", "cos", "exp", "neg") for node in graph.order
    )
    calls = [n for n in graph.order if n.op in ("sin", "cos", "exp")]
    nested = any(arg.op in ("**", "sin", "cos", "exp") for n in calls for arg in n.args)
    crowded = calls and any(n.op == "**" for n in graph.order)
    if not simple or nested or crowded or len(calls) > 1 or len(graph.order) > 9:
        return
    by_symbols = symbols(graph)
    names = [name for name, node in graph.leaves.items() if node in graph.below]
    integral = sympy.integrate(by_symbols.formula(graph.loss), by_symbols.values[wrt])
    if integral.has(sympy.Integral) or integral.has(sympy.Piecewise):
        return
    numeric = sympy.lambdify([by_symbols.values[graph.leaves[name]] for name in names], integral, "numpy")

    def answer(p: Pass) -> Any:
        return integral if p.m is not Numbers else numeric(*[p.values[graph.leaves[name]] for name in names])

    yield Mistake("integrated_instead", answer=answer)
