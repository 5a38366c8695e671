"""The chain rule, once: a sweep over nodes in backward order, of the whole graph or of one node alone."""

from __future__ import annotations

import math
import warnings

from engine.graph import derivatives_by_parent, names, reached, search
from engine.text import shorten

TYPE_CHECKING = False  # as `typing` has it, without the milliseconds of importing that
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from engine.graph import N


def sweep(order: Iterable[N]) -> None:
    """Apply ∂L/∂parent += ∂L/∂node · ∂node/∂parent at each node in turn."""
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


def backward(loss: N) -> None:
    """Set every computed node's gradient under `loss`, and add to those of the leaves.

    Raises FloatingPointError where a gradient is nan, with the leaves as they were before, and warns once of
    an infinite one; both name the node. Interrupted, it leaves the leaves as they were, too.
    """
    computed, leaves, selects = search(loss)
    if not computed:
        loss.grad += 0.0 if loss.is_constant else 1.0
        return
    order = reached(computed) if selects else computed
    before = [leaf.grad for leaf in leaves]
    try:
        for node in computed:
            node.grad = 0.0
        loss.grad = 1.0
        sweep(order)
        if not all([math.isfinite(leaf.grad) for leaf in leaves]):
            _explain_not_finite(loss, order, leaves, before)
        for leaf in leaves:
            leaf._d_left = True  # reached
    except BaseException:
        _restore(leaves, before)
        raise


def _restore(leaves: Sequence[N], gradients: Sequence[float]) -> None:
    for leaf, grad in zip(leaves, gradients, strict=True):
        leaf.grad = grad


class Contribution:
    """What the chain rule at one node adds to the gradient of one parent: ∂L/∂node · `local_derivative`.

    `before` and `after` are the parent's gradient before and after this `amount` was added.
    """

    __slots__ = ("after", "amount", "before", "local_derivative", "parent")

    def __init__(self, parent: Any, local_derivative: float, amount: float, before: float, after: float) -> None:
        self.parent = parent
        self.local_derivative = local_derivative
        self.amount = amount
        self.before = before
        self.after = after

    def __repr__(self) -> str:
        return f"Contribution({', '.join(f'{name}={getattr(self, name)!r}' for name in reversed(self.__slots__))})"


def contributions(node: N) -> tuple[Contribution, ...]:
    """Apply the chain rule at one node, and tell what each parent has received, in the order of the operands."""
    running = {parent: parent.grad for parent in node.parents}
    told = []
    for parent, derivative in derivatives_by_parent(node):
        before, amount = running[parent], node.grad * derivative
        running[parent] = before + amount
        told.append(Contribution(parent, derivative, amount, before, running[parent]))
    sweep([node])
    return tuple(told)


def gradients(root: N, order: Sequence[N]) -> list[N]:
    """Set ∂root/∂node for every node that the order reaches, starting each from 0; returns those nodes."""
    met = dict.fromkeys([root, *(parent for node in order for parent, _ in derivatives_by_parent(node))])
    for node in met:
        node.grad = 0.0
    root.grad = 1.0
    sweep(order)
    return list(met)


def _explain_not_finite(loss: N, order: Sequence[N], leaves: Sequence[N], before: Sequence[float]) -> None:
    """Sweep once more, slowly, to name the first node at which a gradient is nan (which raises) or infinite."""
    for node in order:
        node.grad = 0.0
    loss.grad = 1.0
    _restore(leaves, before)
    infinite = ""
    for node in order:
        for one in contributions(node):
            if one.after != one.after:
                raise FloatingPointError(f"{not_finite(loss, node, node.grad, one)} No gradient of a leaf was changed.")
            if not infinite and math.isinf(one.amount):
                infinite = not_finite(loss, node, node.grad, one)
    if infinite:
        warnings.warn(infinite, RuntimeWarning, stacklevel=4)


def not_finite(loss: N, node: N, grad: float, contribution: Contribution) -> str:
    """Why the gradient of a parent of `node` is nan or infinite, where that of `node` is `grad`."""
    named = names(loss)
    shown = ", ".join(f"{parent.data:.6g}" for parent in node.parents[:4]) + (", …" if len(node.parents) > 4 else "")
    what, advice = "is infinite", "A step along it would lose every digit: move the operand away from there."
    if contribution.after != contribution.after:
        what, advice = "has no value (nan)", "Keep the operands where the derivative exists and is finite."
    return (
        f"The gradient of {shorten(named[contribution.parent])} {what}: at {shorten(named[node])} "
        f"({node._row.name} of {shown}) it receives {grad:.6g} · {contribution.local_derivative:.6g}"
        + (f" on top of {contribution.before:.6g}" if contribution.before else "")
        + f". {advice}"
    )
