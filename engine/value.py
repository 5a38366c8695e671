"""`Value`: a number that records its parents and its local derivatives."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, TypeAlias

from engine import backprop, ops
from engine.graph import forward_order, nodes, recorded_derivatives, shorten
from engine.ops import Primitive

Number: TypeAlias = int | float | numbers.Real | Decimal
"""What stands for a number: int, float, Fraction, Decimal, a NumPy scalar or 0-d array."""


class DomainError(ValueError):
    """An operation was asked for a number that it does not have, such as log(−1) or 1/0.

    `node` is the node of the graph, where there is one already.
    """

    def __init__(self, message: str, node: Value | None = None) -> None:
        super().__init__(message)
        self.node = node


class Value:
    """A scalar of a computation graph.

    `Value(2.0, label="a")` makes a leaf; operators and functions make the other nodes. Raises TypeError for
    what is no real number and ValueError for nan.
    """

    __slots__ = (
        "_d_left",   # local derivative with respect to _left, or a tuple of them; None for a constant
        "_d_right",  # local derivative with respect to _right; None for a constant
        "_left",     # first operand, or a tuple of all operands where there are many; None in a leaf
        "_right",    # second operand, or None
        "_row",      # the row of the table that made the node
        "data",      # the value of the forward pass
        "grad",      # ∂L/∂self, set by the backward pass
        "label",     # name for people, "" where there is none
    )  # fmt: skip

    def __init__(self, data: Number, label: str = "") -> None:
        if not isinstance(label, str):
            raise TypeError(f"A label is a str, not {type(label).__name__} {label!r}.")
        self.data: float = as_float(data)
        self.grad: float = 0.0
        self.label: str = label
        self._row: Primitive = ops.LEAF
        self._left: Any = None
        self._right: Any = None
        self._d_left: Any = None
        self._d_right: Any = None

    @property
    def op(self) -> str:
        """The operation that made the node (`"*"`, `"tanh"`, …); empty for a leaf."""
        return "" if self._left is None else self._row.name

    @property
    def parents(self) -> tuple[Value, ...]:
        """The operands in order; `x*x` has two. Empty for a leaf."""
        if self._left is None:
            return ()
        if self._left.__class__ is tuple:
            return self._left
        return (self._left,) if self._right is None else (self._left, self._right)

    @property
    def local_derivatives(self) -> tuple[float, ...]:
        """∂self/∂parent for each of `parents`, as recorded by the forward pass; 0 for a constant."""
        return tuple([0.0 if derivative is None else derivative for derivative in recorded_derivatives(self)])

    @property
    def is_constant(self) -> bool:
        """Whether it is a leaf that an expression brought along: it gets no gradient."""
        return self._row is ops.CONSTANT

    def item(self) -> float:
        """The number, without its graph."""
        return self.data

    def backward(self) -> None:
        """Compute ∂self/∂node for every node underneath.

        The leaves add to what they have, computed nodes start from 0. Raises FloatingPointError where a
        gradient is nan; warns where one is infinite.
        """
        backprop.backward(self)

    def zero_grad(self) -> None:
        """Set the gradient of every node underneath to 0."""
        for node in nodes(self):
            node.grad = 0.0

    def refresh(self) -> None:
        """Recompute every value and local derivative underneath from the leaves, in place.

        Raises DomainError, with nothing changed, where the leaves leave the domain of an operation.
        """
        values, derivatives = evaluated(self, {})
        for node, recorded in derivatives.items():
            node.data = values[node]
            node.set_derivatives(recorded)

    def set_derivatives(self, derivatives: list[float | None]) -> None:
        """Record a local derivative for each parent; None for a constant."""
        if self._left.__class__ is tuple:
            self._d_left = tuple(derivatives)
        elif self._right is None:
            (self._d_left,) = derivatives
        else:
            self._d_left, self._d_right = derivatives

    def __add__(self, other: Any) -> Value:
        return _binary(ops.ADD, self, other)

    def __radd__(self, other: Any) -> Value:
        return _binary(ops.ADD, other, self)

    def __sub__(self, other: Any) -> Value:
        return _binary(ops.SUBTRACT, self, other)

    def __rsub__(self, other: Any) -> Value:
        return _binary(ops.SUBTRACT, other, self)

    def __mul__(self, other: Any) -> Value:
        return _binary(ops.MULTIPLY, self, other)

    def __rmul__(self, other: Any) -> Value:
        return _binary(ops.MULTIPLY, other, self)

    def __truediv__(self, other: Any) -> Value:
        return _binary(ops.DIVIDE, self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return _binary(ops.DIVIDE, other, self)

    def __pow__(self, other: Any) -> Value:
        return _binary(ops.POWER, self, other)

    def __rpow__(self, other: Any) -> Value:
        return _binary(ops.POWER, other, self)

    def __neg__(self) -> Value:
        return record(ops.NEGATE, (self,))

    def __pos__(self) -> Value:
        return self

    def __abs__(self) -> Value:
        return record(ops.ABS, (self,))

    __array_ufunc__ = None  # a NumPy scalar on the left leaves the operation to us

    @staticmethod
    def __primitive__(row: Primitive, operands: tuple[Any, ...]) -> Value:
        return record(row, operands)

    def exp(self) -> Value:
        """The exponential, e^self."""
        return record(ops.EXP, (self,))

    def log(self) -> Value:
        """The natural logarithm."""
        return record(ops.LOG, (self,))

    def log10(self) -> Value:
        """The logarithm to base 10."""
        return record(ops.LOG10, (self,))

    def sqrt(self) -> Value:
        """The square root."""
        return record(ops.SQRT, (self,))

    def sin(self) -> Value:
        """The sine; self is in radians."""
        return record(ops.SIN, (self,))

    def cos(self) -> Value:
        """The cosine; self is in radians."""
        return record(ops.COS, (self,))

    def tan(self) -> Value:
        """The tangent; self is in radians."""
        return record(ops.TAN, (self,))

    def tanh(self) -> Value:
        """The hyperbolic tangent."""
        return record(ops.TANH, (self,))

    def sigmoid(self) -> Value:
        """σ(self) = 1/(1 + e^−self)."""
        return record(ops.SIGMOID, (self,))

    def relu(self) -> Value:
        """max(0, self), with derivative 0 at 0."""
        return record(ops.RELU, (self,))

    def step(self) -> Value:
        """1 above 0, else 0, with derivative 0 everywhere."""
        return record(ops.STEP, (self,))

    def sign(self) -> Value:
        """−1, 0 or 1, with derivative 0 everywhere."""
        return record(ops.SIGN, (self,))

    def maximum(self, other: Value | Number) -> Value:
        """The larger of the two; a tie shares the derivative half and half."""
        return record(ops.MAXIMUM, (self, other))

    def minimum(self, other: Value | Number) -> Value:
        """The smaller of the two; a tie shares the derivative half and half."""
        return record(ops.MINIMUM, (self, other))

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self!r} is no truth value: a test would choose once and lose the graph. Compare numbers, "
            "`x.data > 0`, or write `a if x > 0 else b` in a formula."
        )

    def __float__(self) -> float:
        raise TypeError(f"{self!r} does not become a float by itself: its graph would be lost. Use `.item()`.")

    def __format__(self, specification: str) -> str:
        return format(self.data, specification) if specification else repr(self)

    def __repr__(self) -> str:
        label = f", label={shorten(self.label)!r}" if self.label else ""
        grad = f", grad={self.grad!r}" if self.grad else ""
        return f"Value({self.data!r}{grad}{label})"


def as_float(data: Any) -> float:
    """`data` as the float that a node holds. Raises TypeError and ValueError as `Value` does."""
    if data.__class__ is float:
        number = data
    elif isinstance(data, numbers.Real | Decimal) or getattr(data, "shape", None) == ():
        if getattr(getattr(data, "dtype", None), "kind", "f") not in "fiub":
            raise TypeError(f"A Value holds a real number, not {data!r} of dtype {data.dtype}.")
        try:
            number = float(data)
        except OverflowError:
            raise ValueError(f"{shorten(str(data))} is too large for a float (limit 1.8e308).") from None
    else:
        raise TypeError(
            f"A Value holds one real number, not {type(data).__name__} {shorten(repr(data))}."
            + (" Make one Value for each number." if isinstance(data, list | tuple) else "")
        )
    if number != number:
        raise ValueError("A Value must be a number, and nan is none. Find where it arose and mend it there.")
    return number


def constant(data: Any) -> Value:
    """A leaf that an expression brings along: visible, without label, and without a gradient."""
    return _constant(as_float(data))


def _constant(data: float) -> Value:
    node = Value(0.0)
    node.data = data  # in a branch that no condition takes it may be nan
    node._row = ops.CONSTANT
    return node


def evaluate(row: Primitive, operands: tuple[float, ...], parents: tuple[Value, ...] = (), label: str = "") -> float:
    """The value of `row` at `operands`. Raises DomainError where it has none, naming `label` and the parents."""
    out = row.forward(*operands)
    if not has_value(row, out, operands):
        raise DomainError(_domain_message(row, operands, parents, label))
    return out


def has_value(row: Primitive, out: float, operands: tuple[float, ...]) -> bool:
    """Whether `out` is the row's value at `operands`; it may be infinite by overflow."""
    return math.isfinite(out) or (out == out and (row.inside is None or row.inside(*operands)))


def evaluated(root: Value, leaves: Mapping[Value, float]) -> tuple[dict[Value, float], dict[Value, list[float | None]]]:
    """The values and local derivatives of the computed nodes under `root`, where its leaves have other values.

    Raises DomainError, with its node, where a node that `root` needs has no value; the branch that a condition
    does not take is not needed.
    """
    values = dict(leaves)
    derivatives: dict[Value, list[float | None]] = {}
    undefined: list[Value] = []
    for node in forward_order(root):
        operands = tuple([values[parent] if parent in values else as_float(parent.data) for parent in node.parents])
        values[node] = out = node._row.forward(*operands)
        derivatives[node] = partials(node._row, out, operands, node.parents)
        if not has_value(node._row, out, operands):
            undefined.append(node)
    if undefined:
        needed = _needed(root, derivatives)
        for node in undefined:
            if node in needed:
                operands = tuple([values.get(parent, parent.data) for parent in node.parents])
                raise DomainError(_domain_message(node._row, operands, node.parents, node.label), node)
    return values, derivatives


def _needed(root: Value, derivatives: Mapping[Value, list[float | None]]) -> set[Value]:
    """The nodes that the value of `root` rests on."""
    found = {root}
    stack = [root]
    while stack:
        node = stack.pop()
        parents: Iterable[Value] = node.parents
        if node._row.selects:
            taken = [p for p, d in zip(node.parents, derivatives[node], strict=True) if d is not None]
            parents = (*node.parents[:2], *taken)
        for parent in parents:
            if parent not in found:
                found.add(parent)
                stack.append(parent)
    return found


def _domain_message(row: Primitive, operands: tuple[float, ...], parents: tuple[Value, ...], label: str) -> str:
    shown = [f"{operand:.6g}" for operand in operands[:6]] + ["…"] * (len(operands) > 6)
    call = f" {row.name} ".join(shown) if row.name in {"+", "-", "*", "/", "**"} else f"{row.name}({', '.join(shown)})"
    where = " and ".join(
        f"{shorten(parent.label)} = {operand:.6g}"
        for parent, operand in zip(parents[:6], operands, strict=False)
        if parent.label
    )
    return (
        (f"{shorten(label)}: " if label else "")
        + f"{call} has no value"
        + (f" (with {where})" if where else "")
        + (f": {row.requirement}." if row.requirement else ".")
    )


def partials(
    row: Primitive, out: float, operands: tuple[float, ...], parents: tuple[Value, ...], *, textbook: bool = False
) -> list[float | None]:
    """The partials at `operands`; None for a constant, and for what a condition does not take.

    In the `textbook` form where that holds, which is away from a kink.
    """
    at_kink = textbook and row.kink is not None and row.kink(*operands) == 0.0
    every = row.derivatives(out, operands, textbook=textbook and not at_kink)
    return [
        None if parent._row is ops.CONSTANT else derivative for parent, derivative in zip(parents, every, strict=True)
    ]


def record(row: Primitive, operands: tuple[Any, ...], *, untaken: bool = False) -> Value:
    """The node that `row` makes of Values and numbers; of numbers alone, a constant.

    Raises TypeError for an operand that is no number and DomainError where the operation has no value; in an
    `untaken` branch of a condition it need not have one.
    """
    made = _constant if untaken else constant
    parents = tuple([operand if isinstance(operand, Value) else made(operand) for operand in operands])
    data = tuple([parent.data for parent in parents])
    out = row.forward(*data) if untaken else evaluate(row, data, parents)
    if all([parent._row is ops.CONSTANT for parent in parents]) and has_value(row, out, data):
        return _constant(out)
    node: Value = Value.__new__(Value)
    node.data = out
    node.grad = 0.0
    node.label = ""
    node._row = row
    node._right = node._d_right = None
    if row.all_partials is not None:
        node._left = parents
    elif len(parents) == 2:
        node._left, node._right = parents
    else:
        (node._left,) = parents
    node.set_derivatives(partials(row, out, data, parents))
    return node


def _binary(row: Primitive, left: Any, right: Any) -> Value:
    """As `record`, but NotImplemented for an operand that is no number, so that Python may ask it in turn."""
    for operand in (left, right):
        if not isinstance(operand, Value | numbers.Real | Decimal) and getattr(operand, "shape", None) != ():
            return NotImplemented  # type: ignore[no-any-return]
    return record(row, (left, right))


def clone(loss: Value) -> dict[Value, Value]:
    """A copy of the graph under `loss`, as a mapping from each node to its copy, with all gradients 0."""
    copies: dict[Value, Value] = {}
    for node in nodes(loss):
        copy: Value = Value.__new__(Value)
        copy.data, copy.grad, copy.label, copy._row = node.data, 0.0, node.label, node._row
        copy._d_left, copy._d_right = node._d_left, node._d_right
        if node._left.__class__ is tuple:
            copy._left = tuple([copies[parent] for parent in node._left])
        else:
            copy._left = None if node._left is None else copies[node._left]
        copy._right = None if node._right is None else copies[node._right]
        copies[node] = copy
    return copies


def label_all(variables: Mapping[str, object]) -> None:
    """Name every Value without a label after its variable, as in `label_all(locals())`.

    Where two variables hold one Value the first name wins; names that begin with `_` are passed over. Raises
    TypeError for what is no mapping.
    """
    if not isinstance(variables, Mapping):
        raise TypeError(f"label_all reads the names of variables: label_all(locals()), not {variables!r:.60}.")
    for name, value in list(variables.items()):
        if isinstance(value, Value) and not value.label and not name.startswith("_"):
            value.label = name
