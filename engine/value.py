"""`Value`: a number that records its parents and its local derivatives."""

from __future__ import annotations

from _thread import get_ident  # as `threading` has it, without the milliseconds of importing that

from engine import backprop, ops
from engine.forward import as_float, data_of, evaluate, evaluated, has_value, partials, shown
from engine.graph import nodes, recorded_derivatives
from engine.methods import Methods
from engine.ops import ADD, DIVIDE, MULTIPLY, NEGATE, SUBTRACT
from engine.text import shorten

TYPE_CHECKING = False  # as `typing` has it, without the milliseconds of importing that
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal
    from numbers import Real
    from typing import Any, NoReturn, TypeAlias

    from engine.ops import Primitive

    Number: TypeAlias = int | float | Real | Decimal
    """What stands for a number: int, float, Fraction, Decimal, a NumPy scalar or 0-d array."""


def _no_operator(symbol: str, instead: str) -> Callable[..., NoReturn]:
    """An operator that Values do not have, which says what to do instead."""

    def refuse(self: Value, other: Any = None) -> NoReturn:
        operands = shown(self) if other is None else f"{shown(self)} and {shown(other)}"
        raise TypeError(f"There is no `{symbol}` for {operands}: {instead}")

    return refuse


class Value(Methods):
    """A scalar of a computation graph.

    `Value(2.0, label="a")` makes a leaf; operators and functions make the other nodes. Values compare by their data
    (`<`) and are equal to themselves alone (`==`). Raises TypeError for what is no real number and ValueError for nan.
    """

    __slots__ = (
        "_d_left",   # local derivative with respect to _left, or a tuple of them; None for a constant. In a leaf:
                     # whether a backward pass has reached it
        "_d_right",  # local derivative with respect to _right; None for a constant
        "_left",     # first operand, or a tuple of all operands where there are more than two; None in a leaf
        "_mark",     # the last search that visited the node
        "_right",    # second operand, or None
        "_row",      # the row of the table that made the node
        "data",      # the value of the forward pass
        "grad",      # ∂L/∂self, set by the backward pass
        "label",     # name for people, "" where there is none
    )  # fmt: skip

    is_constant = False
    """Whether it is a leaf that an expression brought along: it gets no gradient."""

    _plain: float

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
        self._mark: object = None

    # The forward pass. Between two Values an operator computes its number and its two local derivatives on the spot,
    # as the row of the table has them; numbers and constants go by way of the row.

    def __add__(self, other: Any) -> Value:
        """The sum, and the sum rule."""
        if type(other) is Value and (out := self.data + other.data) - out == 0.0:  # finite
            node = _new(Value)
            node.data, node._row = out, ADD
            node._left, node._d_left = self, 1.0  # ∂(x + y)/∂x = 1
            node._right, node._d_right = other, 1.0  # ∂(x + y)/∂y = 1
            node.grad, node.label, node._mark = 0.0, "", None
            return node
        return _operate(ADD, self, other)

    def __sub__(self, other: Any) -> Value:
        """The difference, and the sum rule."""
        if type(other) is Value and (out := self.data - other.data) - out == 0.0:
            node = _new(Value)
            node.data, node._row = out, SUBTRACT
            node._left, node._d_left = self, 1.0  # ∂(x − y)/∂x = 1
            node._right, node._d_right = other, -1.0  # ∂(x − y)/∂y = −1
            node.grad, node.label, node._mark = 0.0, "", None
            return node
        return _operate(SUBTRACT, self, other)

    def __mul__(self, other: Any) -> Value:
        """The product, and the product rule."""
        if type(other) is Value and (out := self.data * other.data) - out == 0.0:
            node = _new(Value)
            node.data, node._row = out, MULTIPLY
            node._left, node._d_left = self, other.data  # ∂(x·y)/∂x = y
            node._right, node._d_right = other, self.data  # ∂(x·y)/∂y = x
            node.grad, node.label, node._mark = 0.0, "", None
            return node
        return _operate(MULTIPLY, self, other)

    def __truediv__(self, other: Any) -> Value:
        """The quotient, and the quotient rule."""
        if type(other) is Value and (y := other.data) != 0.0 and (out := self.data / y) - out == 0.0:
            node = _new(Value)
            node.data, node._row = out, DIVIDE
            node._left, node._d_left = self, 1.0 / y  # ∂(x/y)/∂x = 1/y
            node._right, node._d_right = other, -(out / y)  # ∂(x/y)/∂y = −(x/y)/y
            node.grad, node.label, node._mark = 0.0, "", None
            return node
        return _operate(DIVIDE, self, other)

    def __pow__(self, other: Any) -> Value:
        return _operate(ops.POWER, self, other)

    def __radd__(self, other: Any) -> Value:
        return _operate(ADD, other, self)

    def __rsub__(self, other: Any) -> Value:
        return _operate(SUBTRACT, other, self)

    def __rmul__(self, other: Any) -> Value:
        return _operate(MULTIPLY, other, self)

    def __rtruediv__(self, other: Any) -> Value:
        return _operate(DIVIDE, other, self)

    def __rpow__(self, other: Any) -> Value:
        return _operate(ops.POWER, other, self)

    def __neg__(self) -> Value:
        if type(self) is Value and (out := -self.data) - out == 0.0:
            return make_node(NEGATE, out, self, None, -1.0, None)
        return record(NEGATE, (self,))

    def __pos__(self) -> Value:
        return self

    def __abs__(self) -> Value:
        return record(ops.ABS, (self,))

    def exp(self) -> Value:
        """The exponential, e^self."""
        return apply(ops.EXP, self)

    def log(self) -> Value:
        """The natural logarithm of self, which must be above 0."""
        return apply(ops.LOG, self)

    def tanh(self) -> Value:
        """The hyperbolic tangent; tanh' = 1 − tanh²."""
        return apply(ops.TANH, self)

    def sigmoid(self) -> Value:
        """σ(self) = 1/(1 + e^−self); σ' = σ(1 − σ)."""
        return apply(ops.SIGMOID, self)

    def relu(self) -> Value:
        """max(0, self), with derivative 0 at 0."""
        return apply(ops.RELU, self)

    # The record.

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

    def set_derivatives(self, derivatives: Sequence[float | None]) -> None:
        """Record a local derivative for each parent; None for a constant. Raises ValueError for another number."""
        if len(derivatives) != len(self.parents):
            raise ValueError(
                f"{self!r} has {len(self.parents)} operands, and not {len(derivatives)} local derivatives."
            )
        if self._left.__class__ is tuple:
            self._d_left = tuple(derivatives)
        elif self._right is None:
            (self._d_left,) = derivatives
        else:
            self._d_left, self._d_right = derivatives

    # The backward pass, and what follows it.

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

        The gradients stay those of the last backward pass.

        Raises DomainError, with nothing changed, where the leaves leave the domain of an operation.
        """
        values, derivatives = evaluated(self, {})
        for node, recorded in derivatives.items():
            node.data = values[node]
            node.set_derivatives(recorded)

    # Numbers out of the graph, and what would lose it.

    def item(self) -> float:
        """The number, without its graph."""
        return self.data

    def __lt__(self, other: Any) -> bool:
        return data_of(self) < _comparable("<", self, other)

    def __le__(self, other: Any) -> bool:
        return data_of(self) <= _comparable("<=", self, other)

    def __gt__(self, other: Any) -> bool:
        return data_of(self) > _comparable(">", self, other)

    def __ge__(self, other: Any) -> bool:
        return data_of(self) >= _comparable(">=", self, other)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} is no truth value: a test would choose once and lose the graph. Compare numbers, "
            "`x > 0` or `x.data != 0`, or write `a if x > 0 else b` in a formula."
        )

    def _lose_the_graph(self, *_: object) -> NoReturn:
        raise TypeError(
            f"{self!r} does not become a plain number by itself: its graph would be lost. Write `x.exp()` or "
            "`engine.exp(x)`, not `math.exp(x)`; where you mean the number, write `x.item()`."
        )

    __float__ = __int__ = __complex__ = __round__ = __trunc__ = __floor__ = __ceil__ = _lose_the_graph

    def __iadd__(self, other: Any) -> Value:
        _refuse_update("+=", self, other)
        return self.__add__(other)

    def __isub__(self, other: Any) -> Value:
        _refuse_update("-=", self, other)
        return self.__sub__(other)

    __floordiv__ = __rfloordiv__ = _no_operator("//", "it jumps, and its derivative says nothing. Divide with `/`.")
    __mod__ = __rmod__ = _no_operator("%", "it jumps. Subtract a multiple instead, as a number.")
    __divmod__ = __rdivmod__ = _no_operator("divmod", "it jumps. Divide with `/`.")
    __matmul__ = __rmatmul__ = _no_operator(
        "@", "a Value is a scalar. Multiply with `*`, or sum products: dot(ws, xs)."
    )
    __and__ = __rand__ = _no_operator("&", "a Value has no bits. Compare numbers: `x > 0 and y > 0`.")
    __or__ = __ror__ = _no_operator("|", "a Value has no bits. Compare numbers: `x > 0 or y > 0`.")
    __xor__ = __rxor__ = _no_operator("^", "a Value has no bits. A power is `**`.")
    __lshift__ = __rlshift__ = _no_operator("<<", "a Value has no bits. Multiply with `*`.")
    __rshift__ = __rrshift__ = _no_operator(">>", "a Value has no bits. Divide with `/`.")
    __invert__ = _no_operator("~", "a Value has no bits. A minus is `-`.")

    @staticmethod
    def __primitive__(row: Primitive, operands: tuple[Any, ...]) -> Value:
        return record(row, operands)

    def __deepcopy__(self, memo: dict[int, Any]) -> Value:
        """A copy of the whole graph underneath, of any depth; what has been copied already is shared."""
        known = {node: memo[id(node)] for node in nodes(self) if id(node) in memo}
        for node, copy in clone(self, known).items():
            copy.grad = node.grad
            memo[id(node)] = copy
        return memo[id(self)]  # type: ignore[no-any-return]

    def __getstate__(self) -> tuple[Any, ...]:
        _refuse_too_deep()
        return tuple([getattr(self, name) for name in _STATE])

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        for name, part in zip(_STATE, state, strict=True):
            setattr(self, name, part)
        self._mark = None

    def __format__(self, specification: str) -> str:
        return format(self.data, specification) if specification else repr(self)

    def __repr__(self) -> str:
        label = f", label={shorten(self.label)!r}" if self.label else ""
        grad = f", grad={self.grad!r}" if self.grad else ""
        return f"Value({self.data!r}{grad}{label})"


class Comparisons:
    """Within `with Comparisons() as asked`, a list of what this thread asks of Values, such as `x1 < 2.0`.

    A graph records what was computed, not what Python decided by a comparison of data.
    """

    def __enter__(self) -> list[str]:
        asked: list[str] = []
        self._before = _ASKED.get(get_ident())
        _ASKED[get_ident()] = asked
        return asked

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            del _ASKED[get_ident()]
        else:
            _ASKED[get_ident()] = self._before


_ASKED: dict[int, list[str]] = {}
"""By thread, what was asked of Values, where that is noted."""


class Constant(Value):
    """A leaf that an expression brings along: visible, without label, and without a gradient.

    Its operators go by way of the row, which records no derivative for it and makes a constant of constants. In a
    branch that no condition takes it may be nan.
    """

    __slots__ = ()
    is_constant = True
    _plain = None  # type: ignore[assignment]

    def __add__(self, other: Any) -> Value:
        return _operate(ADD, self, other)

    def __sub__(self, other: Any) -> Value:
        return _operate(SUBTRACT, self, other)

    def __mul__(self, other: Any) -> Value:
        return _operate(MULTIPLY, self, other)

    def __truediv__(self, other: Any) -> Value:
        return _operate(DIVIDE, self, other)


# The same slot by another name, which neither constants nor other types have: one look at it tells.
Value._plain = Value.data  # type: ignore[misc]
_new = object.__new__  # past `__init__`, which checks what people give
_STATE = tuple([name for name in Value.__slots__ if name != "_mark"])


def make_node(
    row: Primitive, data: float, left: Any, right: Any, d_left: Any, d_right: Any, kind: type[Value] = Value
) -> Value:
    """A node, by the slots of `Value`."""
    node = _new(kind)
    node.data = data
    node.grad = 0.0
    node.label = ""
    node._row = row
    node._left = left
    node._right = right
    node._d_left = d_left
    node._d_right = d_right
    node._mark = None
    return node


def constant(number: float) -> Value:
    """A constant of an expression."""
    return make_node(ops.CONSTANT, number, None, None, None, None, Constant)


def record(row: Primitive, operands: Sequence[Any], *, untaken: bool = False) -> Value:
    """The node that `row` makes of Values and numbers; of numbers alone, a constant.

    Raises TypeError for an operand that is no number and DomainError where the operation has no value; in an
    `untaken` branch of a condition it need not have one.
    """
    parents = tuple([x if isinstance(x, Value) else _constant(row, x, untaken=untaken) for x in operands])
    if untaken:
        data = [parent.data for parent in parents]
        out = row.forward(*data)
    else:
        data = [data_of(parent) for parent in parents]
        out = evaluate(row, data, parents)
    if all([parent.is_constant for parent in parents]) and has_value(row, out, data):
        return constant(out)
    derivatives = partials(row, out, data, parents)
    if row.many or len(parents) > 2:
        return make_node(row, out, parents, None, tuple(derivatives), None)
    if len(parents) == 1:
        return make_node(row, out, parents[0], None, derivatives[0], None)
    return make_node(row, out, parents[0], parents[1], derivatives[0], derivatives[1])


def _constant(row: Primitive, number: Any, *, untaken: bool) -> Value:
    """A number that an operation brings along. Raises TypeError and ValueError as `Value` does."""
    if untaken and isinstance(number, float):
        return constant(number)
    try:
        return constant(as_float(number))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{row.name}: {error}") from None


def record_many(row: Primitive, operands: tuple[Any, ...]) -> Value:
    """As `record`, for a row of many operands, faster where all are Values and none a constant."""
    try:
        data = [operand._plain for operand in operands]
        out = row.forward(*data)
    except (AttributeError, TypeError):
        return record(row, operands)
    if not (operands and out - out == 0.0):  # not finite
        return record(row, operands)
    return make_node(row, out, operands, None, row.derivatives(out, tuple(data)), None)


def apply(row: Primitive, x: Any) -> Value:
    """As `record`, for a row that gives value and derivative at once."""
    try:
        out, derivative = row.at(x._plain)  # type: ignore[misc]
    except (AttributeError, TypeError):  # of a constant, or of what is no Value
        return record(row, (x,))
    if out - out == 0.0:  # finite
        return make_node(row, out, x, None, derivative, None)
    return record(row, (x,))


_REFLECTED = {"+": "__radd__", "-": "__rsub__", "*": "__rmul__", "/": "__rtruediv__", "**": "__rpow__"}


def _operate(row: Primitive, left: Any, right: Any) -> Value:
    """An operator with a Value on one side at least, and whatever a person wrote on the other.

    An object on the right that knows what to do with a Value, such as an array, does it. Raises TypeError and
    ValueError, with the operation and both operands, for what is no real number.
    """
    if isinstance(left, Value) and isinstance(right, Value):
        return record(row, (left, right))
    on_right = isinstance(left, Value)
    foreign = right if on_right else left
    try:
        number = as_float(foreign)
    except (TypeError, ValueError) as error:
        if on_right and type(foreign).__module__ != "builtins":
            result = _ask(foreign, _REFLECTED[row.name], left)
            if result is not NotImplemented:
                return result  # type: ignore[no-any-return]
        raise type(error)(f"{shown(left)} {row.name} {shown(right)}: {error}") from None
    return _with_number_right(row, left, number) if on_right else _with_number_left(row, number, right)


def _with_number_right(row: Primitive, value: Value, number: float) -> Value:
    x = data_of(value)
    out = row.forward(x, number)
    if type(value) is not Value or out - out != 0.0:  # a constant, or not finite: the long way tells
        return record(row, (value, number))
    return make_node(row, out, value, constant(number), row.partials[0](out, x, number), None)  # type: ignore[index]


def _with_number_left(row: Primitive, number: float, value: Value) -> Value:
    x = data_of(value)
    out = row.forward(number, x)
    if type(value) is not Value or out - out != 0.0:
        return record(row, (number, value))
    return make_node(row, out, constant(number), value, None, row.partials[1](out, number, x))  # type: ignore[index]


def _ask(foreign: Any, method: str, value: Value) -> Any:
    try:
        return getattr(foreign, method, lambda _: NotImplemented)(value)
    except TypeError:
        return NotImplemented


def _comparable(symbol: str, value: Value, other: Any) -> float:
    """What the data of `value` is compared with: a number, or the elements of an array."""
    if _ASKED and (asked := _ASKED.get(get_ident())) is not None:
        asked.append(
            f"{shorten(value.label) or 'a node'} {symbol} {shorten(getattr(other, 'label', '') or repr(other))}"
        )
    if isinstance(other, Value):
        return data_of(other)
    if getattr(other, "shape", ()) and hasattr(other, "__array__"):
        return other  # type: ignore[no-any-return]
    try:
        return as_float(other)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{shown(value)} {symbol} {shown(other)}: {error}") from None


def _refuse_update(operator: str, leaf: Value, other: Any) -> None:
    """A leaf that backward has reached is a parameter: `p -= lr * p.grad` would only give its name to a new node."""
    if (
        leaf._left is None
        and (leaf._d_left or leaf.grad)
        and not isinstance(other, Value)
        and not getattr(other, "shape", ())
    ):
        raise TypeError(
            f"`{operator} {other!r}` would leave the leaf {leaf!r} as it is and give its name to a new node. To "
            f"change the leaf write `.data {operator} …`, or gradient_descent_step(parameters, lr) from nn."
        )


def _refuse_too_deep() -> None:
    """Say it where pickle, which recurses from node to node, is about to fail."""
    import pickle

    try:
        pickle.dumps(_DEEP)
    except RecursionError:
        raise RecursionError(
            "The graph is too deep for pickle, which recurses from node to node. Save its leaves' data and build it "
            "again, raise sys.setrecursionlimit, or copy it with copy.deepcopy, which has no limit."
        ) from None


def _nested(levels: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(levels):
        inner = [inner]
    return inner


_DEEP = _nested(25)


def clone(loss: Value, known: Mapping[Value, Value] | None = None) -> dict[Value, Value]:
    """A copy of the graph under `loss`, as a mapping from each node to its copy, with all gradients 0.

    The nodes that are `known` keep the copy that they have.
    """
    copies = dict(known or {})
    for node in nodes(loss):
        if node not in copies:
            copy: Value = _new(type(node))
            for name in _STATE:
                setattr(copy, name, getattr(node, name))
            if node._left.__class__ is tuple:
                copy._left = tuple([copies[parent] for parent in node._left])
            elif node._left is not None:
                copy._left = copies[node._left]
                copy._right = None if node._right is None else copies[node._right]
            copy.grad = 0.0
            copy._mark = None
            copies[node] = copy
    return copies


def label_all(variables: Mapping[str, object]) -> None:
    """Name every Value without a label after its variable, as in `label_all(locals())`.

    Where two variables hold one Value the first name wins; names that begin with `_` are passed over. Raises
    TypeError for what is no mapping.
    """
    if not hasattr(variables, "items"):
        raise TypeError(f"label_all reads the names of variables: label_all(locals()), not {variables!r:.60}.")
    for name, value in list(variables.items()):
        if isinstance(value, Value) and not value.label and not name.startswith("_"):
            value.label = name
