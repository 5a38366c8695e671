"""Mistakes at softmax and cross-entropy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.derivations.edges import changed_at, zero
from tests.derivations.tape import Edge, Graph, Mistake, Node, Pass, added_up


def softmax(graph: Graph, way: list[Node]) -> Iterator[Mistake]:
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

    reached = {q: y for _, q, y in graph.softmax if q in way}
    errors = {q: (lambda p, arrived, found, q=q, y=y: p.values[q] - of(p, y)) for q, y in reached.items()}
    yield Mistake("ce_treated_as_squared", sums=errors | {s: through(s) for s, _, _ in classes}, shape="whole Jacobian")
    for q, error in errors.items():
        yield Mistake("ce_treated_as_squared", sums={q: error}, shape="dL/dp")
    yield Mistake("ce_treated_as_squared", sums=errors, shape="dL/dp")


def cross_entropy(graph: Graph, way: list[Node]) -> Iterator[Mistake]:
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
                yield changed_at("ce_one_term_only", dropped, zero)


def _log_terms(graph: Graph, a: Node) -> tuple[Edge, Edge]:
    """The edges to the logarithms of a and of 1 − a."""
    logs = [n for n in graph.order if n.op == "log"]
    direct = next(n for n in logs if n.args[0] is a)
    other = next(n for n in logs if n.args[0].op == "-" and n.args[0].args[1] is a)
    return (direct, 0), (other, 0)
