"""Updates: what a backward pass is for."""

from __future__ import annotations

import math
from collections.abc import Iterable

from engine import Value


def gradient_descent_step(parameters: Iterable[Value], lr: float) -> None:
    """Move each parameter against its gradient: w ← w − lr·∂L/∂w.

    Raises ValueError for a parameter that is computed from others, and FloatingPointError for one that would
    no longer be finite; no parameter is changed then.
    """
    parameters = list(parameters)
    for number, p in enumerate(parameters):
        name = p.label or f"number {number}"
        if p.op:
            raise ValueError(f"Parameter {name} is computed ({p.op}), and only a leaf can be updated.")
        if not math.isfinite(p.data - lr * p.grad):
            raise FloatingPointError(
                f"Parameter {name} would become {p.data - lr * p.grad}: {p.data:.6g} − {lr:.6g}·{p.grad:.6g}. "
                "No parameter was changed. Take a smaller lr, or find out why the gradient is so large."
            )
    for p in parameters:
        p.data -= lr * p.grad
