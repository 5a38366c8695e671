"""The chain rule, once: a sweep over a backward order that yields each node as it is applied."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
        _explain_not_finite(loss, order, reached, before)


@dataclass(frozen=True)
class Contribution:
    """What the chain rule at one node adds to the gradient of one parent: ∂L/∂node · `local_derivative`."""

    parent: Any
    local_derivative: float
    amount: float
    before: float
    after: float


def contributions(node: N) -> tuple[Contribution, ...]:
    """Apply the chain rule at one node, and tell what each parent has received, in the order of the operands."""
    running = {parent: parent.grad for parent in node.parents}
    told = []
    for parent, derivative in derivatives_by_parent(node):
        before, amount = running[parent], node.grad * derivative
        running[parent] = before + amount
        told.append(Contribution(parent, derivative, amount, before, running[parent]))
    next(sweep([node]))
    return tuple(told)


def gradients(root: N, order: Sequence[N]) -> list[N]:
    """Set ∂root/∂node for every node that the order reaches, starting each from 0; returns those nodes."""
    reached = dict.fromkeys([root, *(parent for node in order for parent, _ in derivatives_by_parent(node))])
    for node in reached:
        node.grad = 0.0
    root.grad = 1.0
    for _ in sweep(order):
        pass
    return list(reached)


def _explain_not_finite(loss: N, order: Sequence[N], reached: Sequence[N], before: Sequence[float]) -> None:
    """Sweep once more, slowly, to name the first node at which a gradient is nan (which raises) or infinite."""
    for node in order:
        node.grad = 0.0
    loss.grad = 1.0
    for leaf, grad in zip(reached, before, strict=True):
        leaf.grad = grad
    infinite = ""
    for node in order:
        for one in contributions(node):
            if one.after != one.after:
                for leaf, grad in zip(reached, before, strict=True):
                    leaf.grad = grad
                raise FloatingPointError(f"{not_finite(loss, node, one)} No gradient of a leaf was changed.")
            if not infinite and math.isinf(one.amount):
                infinite = not_finite(loss, node, one)
    if infinite:
        warnings.warn(infinite, RuntimeWarning, stacklevel=4)


def not_finite(loss: N, node: N, contribution: Contribution) -> str:
    """Why the gradient of a parent of `node` is nan or infinite."""
    named = names(loss)
    shown = ", ".join(f"{parent.data:.6g}" for parent in node.parents[:4]) + (", …" if len(node.parents) > 4 else "")
    what, advice = "is infinite", "A step along it would lose every digit: move the operand away from there."
    if contribution.after != contribution.after:
        what, advice = "has no value (nan)", "Keep the operands where the derivative exists and is finite."
    return (
        f"The gradient of {shorten(named[contribution.parent])} {what}: at {shorten(named[node])} "
        f"({node._row.name} of {shown}) it receives {node.grad:.6g} · {contribution.local_derivative:.6g}"
        + (f" on top of {contribution.before:.6g}" if contribution.before else "")
        + f". {advice}"
    )
