"""The chain rule, once: a sweep over a backward order that yields each node as it is applied."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator

from engine.graph import N, backward_order, computed_nodes, derivatives_by_parent, leaves, names, shorten


def sweep(order: Iterable[N]) -> Iterator[N]:
    """Apply ∂L/∂parent += ∂L/∂node · ∂node/∂parent at each node in turn, and yield the node."""
    for node in order:
        grad = node.grad
        left, right = node._left, node._right
        if right is not None:
            if node._d_left is not None:
                left.grad += grad * node._d_left
            if node._d_right is not None:
                right.grad += grad * node._d_right
        elif left.__class__ is tuple:
            for parent, derivative in zip(left, node._d_left, strict=True):
                if derivative is not None:
                    parent.grad += grad * derivative
        elif node._d_left is not None:
            left.grad += grad * node._d_left
        yield node


def backward(loss: N) -> None:
    """Set every computed node's gradient under `loss`, and add to those of the leaves.

    Raises FloatingPointError where a gradient is nan, with the leaves as they were before, and warns once of
    an infinite one; both name the node.
    """
    order = backward_order(loss)
    if not order:
        loss.grad += 1.0
        return
    reached = leaves(reversed(order))
    before = [leaf.grad for leaf in reached]
    for node in computed_nodes(loss) if any(node._row.selects for node in order) else order:
        node.grad = 0.0
    loss.grad = 1.0
    for _ in sweep(order):
        pass
    if not all([math.isfinite(leaf.grad) for leaf in reached]):
        try:
            report_not_finite(loss, order)
        except FloatingPointError:
            for leaf, grad in zip(reached, before, strict=True):
                leaf.grad = grad
            raise


def report_not_finite(loss: N, order: Iterable[N]) -> None:
    """Name the first node at which a gradient is nan (FloatingPointError) or infinite (RuntimeWarning)."""
    named = names(loss)
    infinite = ""
    for node in order:
        for parent, derivative in derivatives_by_parent(node):
            product = node.grad * derivative
            if product != product or parent.grad != parent.grad:
                raise FloatingPointError(nan_message(named[parent], named[node], node, derivative))
            if not infinite and math.isinf(product):
                infinite = infinite_message(named[parent], named[node], node, derivative)
    if infinite:
        warnings.warn(infinite, RuntimeWarning, stacklevel=4)


def infinite_message(parent_name: str, node_name: str, node: N, derivative: float) -> str:
    """Why the gradient of `parent_name` is infinite."""
    return (
        f"The gradient of {shorten(parent_name)} is infinite: it received {node.grad:.6g} · {derivative:.6g} at "
        f"{shorten(node_name)} ({node._row.name} of {_operands(node)}). A step along it would lose every digit: "
        "move the operand away from there."
    )


def nan_message(parent_name: str, node_name: str, node: N, derivative: float) -> str:
    """Why the gradient of `parent_name` has no value."""
    return (
        f"The gradient of {shorten(parent_name)} has no value (nan): at {shorten(node_name)} ({node._row.name} of "
        f"{_operands(node)}) the chain rule multiplies {node.grad:.6g} by {derivative:.6g}. No gradient of a leaf "
        "was changed. Keep the operands where the derivative exists, or where it stays finite."
    )


def _operands(node: N) -> str:
    shown = ", ".join(f"{parent.data:.6g}" for parent in node.parents[:4])
    return f"{shown}, …" if len(node.parents) > 4 else shown
