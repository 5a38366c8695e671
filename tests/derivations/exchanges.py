"""One name taken for another of its kind, or for itself after the update, in the backward pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from tests.derivations.edges import changed_at
from tests.derivations.places import between, stands_in
from tests.derivations.tape import Edge, Graph, Mistake, Node, Pass


def exchanges(graph: Graph, edges: list[Edge]) -> Iterator[Mistake]:
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
                        yield changed_at(
                            "transposed_index", [(n, i)], lambda p, n, i, other=other: p.values[other], shape="one"
                        )
    for family in graph.alike:
        deltas = [node for node in family if node.args and node in graph.below]
        for n in deltas:
            inner = [edge for edge in edges if stands_in(n, edge[0]) and edge[0].args[edge[1]].name]
            for other in deltas:
                if other is not n:
                    for edge in inner:
                        yield _other_delta(graph, n, other, [edge], True)
                    if len(inner) > 1:
                        yield _other_delta(graph, n, other, inner, False)
    yield from _transposed(graph, products)


def _other_delta(graph: Graph, node: Node, other: Node, edges: list[Edge], planted: bool) -> Mistake:
    """The gradient of another unit passed on."""

    within = {edge: between(node, edge[0]) for edge in edges}

    def changed(p: Pass, local: Any, edge: Edge) -> Any:
        amount = p.right[other] * local
        for step, i in within[edge]:
            amount = amount * p.partial(step, i)
        return amount

    amounts = {edge: lambda p, local, edge=edge: changed(p, local, edge) for edge in edges}
    return Mistake("transposed_index", amounts=amounts, planted=planted, shape="delta")


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


def updated(graph: Graph, edges: list[Edge]) -> Iterator[Mistake]:
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
