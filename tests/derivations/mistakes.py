"""Every change of the taxonomy at every place of a graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy

from tests.derivations.activations import activations
from tests.derivations.edges import biases, logarithms, powers, products, signs
from tests.derivations.exchanges import exchanges, updated
from tests.derivations.outputs import cross_entropy, softmax
from tests.derivations.places import operands_of
from tests.derivations.rules import inner, quotients
from tests.derivations.sums import means, sums
from tests.derivations.tape import Graph, Mistake, Node, Numbers, Pass, symbols


def mistakes(graph: Graph, wrt: Node) -> Iterator[Mistake]:
    """All single mistakes on the way from the loss to `wrt`; some leave the gradient as it is."""
    way = [node for node in reversed(graph.order) if wrt in graph.below[node]]
    edges = [
        (node, i) for node in way for i, arg in enumerate(node.args) if arg.op != "constant" and wrt in graph.below[arg]
    ]
    yield from signs(edges)
    yield from powers(graph, edges)
    yield from activations(edges)
    yield from sums(graph, way, edges)
    yield from products(graph, edges)
    yield from biases(graph, edges)
    yield from quotients(way, edges)
    yield from inner(way)
    yield from exchanges(graph, edges)
    yield from updated(graph, edges)
    yield from means(graph, edges, wrt)
    yield from logarithms(edges)
    yield from softmax(graph, way)
    yield from cross_entropy(graph, way)
    yield from _whole(graph, way, wrt)


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
            if wrt in operands_of(node):
                yield Mistake("chain_inner_missing", answer=lambda p, node=node: p.right[node], planted=False)
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
            for key in ("stopped_early", "chain_inner_missing"):
                yield Mistake(key, answer=lambda p, node=node: p.right[node], planted=False)
    if len(graph.lines) == 1:
        yield from _antiderivative(graph, wrt)


def _antiderivative(graph: Graph, wrt: Node) -> Iterator[Mistake]:
    """∫ f d(wrt), where the formula is one that a course integrates."""
    easy = ("leaf", "constant", "+", "-", "*", "**", "sin", "cos", "exp", "neg")
    simple = all(node.op in easy or (node.op == "/" and wrt not in graph.below[node.args[1]]) for node in graph.order)
    calls = [n for n in graph.order if n.op in ("sin", "cos", "exp")]
    nested = any(arg.op in ("**", "sin", "cos", "exp") for n in calls for arg in n.args)
    crowded = calls and any(n.op == "**" for n in graph.order)
    if not simple or nested or crowded or len(calls) > 1 or len(graph.order) > 12:
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
