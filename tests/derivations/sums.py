"""Contributions left out, multiplied or averaged wrongly, where a node is used more than once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from tests.derivations.edges import changed_at, zero
from tests.derivations.places import by_line
from tests.derivations.tape import Edge, Graph, Mistake, Node, Pass, added_up


def sums(graph: Graph, way: list[Node], edges: list[Edge]) -> Iterator[Mistake]:
    """Contributions left out or multiplied, at every node that is used more than once."""
    for node in way:
        if node is graph.loss:
            continue
        uses = graph.uses(node)
        if len(uses) < 2:
            continue
        named = by_line(graph, uses)
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
    for edge in edges:
        operation = edge[0]
        if operation.op in ("*", "/") and all(arg.op != "constant" for arg in operation.args):
            yield changed_at("path_missing", [edge], zero, shape="one term of a product")
        elif operation.op in ("+", "-"):
            yield changed_at("path_missing", [edge], zero, planted=False)


def _only(kept: list[Edge]) -> Callable[..., Any]:
    return lambda p, arrived, found: added_up([amount for edge, amount in arrived if edge in kept])


def _multiplied(groups: list[list[Edge]]) -> Callable[..., Any]:
    def product(p: Pass, arrived: list[tuple[Edge, Any]], found: dict[Node, Any]) -> Any:
        result: Any = p.m.constant(1)
        for group in groups:
            result = result * added_up([amount for edge, amount in arrived if edge in group])
        return result

    return product


def means(graph: Graph, edges: list[Edge], wrt: Node) -> Iterator[Mistake]:
    """Examples forgotten, and 1/N."""
    count = len(graph.examples)
    if not count:
        return
    averages = [(n, i) for n, i in edges if _averages(graph, n, i)]
    if averages:
        yield changed_at("sum_for_mean", averages, lambda p, n, i: p.partial(n, i) * count)
        yield changed_at("mean_twice", averages, lambda p, n, i: p.partial(n, i) / count)
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
            yield changed_at("one_example_only", dropped, zero, planted=len(some) == 1)


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
