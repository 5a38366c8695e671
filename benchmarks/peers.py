"""Other engines for the same workloads: those that are installed, and one written here in a known design."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.workloads import moons_loss, moons_parameters


class TupleValue:
    """A scalar in the design of Karpathy's microgpt: a tuple of children, a tuple of local derivatives, recursion."""

    __slots__ = ("children", "data", "derivatives", "grad")

    def __init__(self, data: float, children: tuple[Any, ...] = (), derivatives: tuple[float, ...] = ()) -> None:
        self.data = data
        self.grad = 0.0
        self.children = children
        self.derivatives = derivatives

    def __add__(self, other: Any) -> TupleValue:
        other = other if isinstance(other, TupleValue) else TupleValue(other)
        return TupleValue(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other: Any) -> TupleValue:
        other = other if isinstance(other, TupleValue) else TupleValue(other)
        return TupleValue(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, power: float) -> TupleValue:
        return TupleValue(self.data**power, (self,), (power * self.data ** (power - 1),))

    def __neg__(self) -> TupleValue:
        return self * -1.0

    def __sub__(self, other: Any) -> TupleValue:
        return self + (-other)

    def __truediv__(self, other: Any) -> TupleValue:
        return self * other**-1

    __radd__ = __add__
    __rmul__ = __mul__

    def exp(self) -> TupleValue:
        return TupleValue(power := math.exp(self.data), (self,), (power,))

    def log(self) -> TupleValue:
        return TupleValue(math.log(self.data), (self,), (1.0 / self.data,))

    def relu(self) -> TupleValue:
        return TupleValue(max(0.0, self.data), (self,), (float(self.data > 0.0),))

    def backward(self) -> None:
        order, seen = [], set()

        def visit(node: TupleValue) -> None:
            if node not in seen:
                seen.add(node)
                for child in node.children:
                    visit(child)
                order.append(node)

        visit(self)
        self.grad = 1.0
        for node in reversed(order):
            for child, derivative in zip(node.children, node.derivatives, strict=False):
                child.grad += derivative * node.grad


def value_class_of(path: Path) -> Any:
    """The class `Value` of a Python file, such as microgpt's, without running the rest of it."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.ClassDef) and statement.name == "Value":
            space: dict[str, Any] = {"math": math}
            exec(compile(ast.Module([statement], []), str(path), "exec"), space)
            return space["Value"]
    raise ValueError(f"{path} defines no class Value")


def autograd_moons_step() -> Callable[[], float]:
    """The moons step for HIPS autograd, which differentiates a function of numbers."""
    from autograd import numpy as np
    from autograd import value_and_grad

    parameters = moons_parameters(float)
    loss_and_slopes = value_and_grad(
        lambda numbers: moons_loss(list(numbers), float, lambda z: np.where(z > 0.0, z, 0.0))
    )

    def step() -> float:
        loss, slopes = loss_and_slopes(parameters)
        parameters[:] = [p - 0.1 * slope for p, slope in zip(parameters, slopes, strict=True)]
        return float(loss)

    return step
