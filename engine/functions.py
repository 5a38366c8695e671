"""The primitives as functions, `tanh(x)`, `dot(ws, xs, bias)`, and `grad`, the derivative as a graph of its own.

Each takes Values or numbers and returns a Value. Each raises DomainError where it has no value, and TypeError
for an operand that is no real number.
"""

from __future__ import annotations

import math
import warnings

from engine import ops
from engine.backprop import Contribution, not_finite
from engine.forward import refuse_outdated, shown
from engine.graph import computed_nodes
from engine.ops import weighted_sum
from engine.value import Value, apply, constant, make_node, record, record_many

TYPE_CHECKING = False  # as `typing` has it, without the milliseconds of importing that
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any, TypeAlias

    from engine.value import Number

    Operand: TypeAlias = Value | Number


def exp(x: Operand) -> Value:
    """The exponential, e^x."""
    return apply(ops.EXP, x)


def log(x: Operand) -> Value:
    """The natural logarithm of x, which must be above 0."""
    return apply(ops.LOG, x)


def expm1(x: Operand) -> Value:
    """The exponential less one, e^x − 1, exact also near 0."""
    return record(ops.EXPM1, (x,))


def log1p(x: Operand) -> Value:
    """log(1 + x), exact also near 0; x must be above −1."""
    return record(ops.LOG1P, (x,))


def log10(x: Operand) -> Value:
    """The logarithm to base 10 of x, which must be above 0."""
    return record(ops.LOG10, (x,))


def log2(x: Operand) -> Value:
    """The logarithm to base 2 of x, which must be above 0."""
    return record(ops.LOG2, (x,))


def sqrt(x: Operand) -> Value:
    """The square root of x, which must not be negative; its derivative at 0 is infinite."""
    return record(ops.SQRT, (x,))


def cbrt(x: Operand) -> Value:
    """The cube root, of negative numbers too; its derivative at 0 is infinite."""
    return record(ops.CBRT, (x,))


def sin(x: Operand) -> Value:
    """The sine of `x` radians."""
    return record(ops.SIN, (x,))


def cos(x: Operand) -> Value:
    """The cosine of `x` radians."""
    return record(ops.COS, (x,))


def tan(x: Operand) -> Value:
    """The tangent of `x` radians."""
    return record(ops.TAN, (x,))


def asin(x: Operand) -> Value:
    """The arcsine in radians; x must lie from −1 to 1, where its derivative is infinite."""
    return record(ops.ASIN, (x,))


def acos(x: Operand) -> Value:
    """The arccosine in radians; x must lie from −1 to 1, where its derivative is infinite."""
    return record(ops.ACOS, (x,))


def atan(x: Operand) -> Value:
    """The arctangent in radians."""
    return record(ops.ATAN, (x,))


def sinh(x: Operand) -> Value:
    """The hyperbolic sine."""
    return record(ops.SINH, (x,))


def cosh(x: Operand) -> Value:
    """The hyperbolic cosine."""
    return record(ops.COSH, (x,))


def tanh(x: Operand) -> Value:
    """The hyperbolic tangent; tanh' = 1 − tanh²."""
    return apply(ops.TANH, x)


def asinh(x: Operand) -> Value:
    """The inverse hyperbolic sine."""
    return record(ops.ASINH, (x,))


def acosh(x: Operand) -> Value:
    """The inverse hyperbolic cosine of x, which must be at least 1; its derivative there is infinite."""
    return record(ops.ACOSH, (x,))


def atanh(x: Operand) -> Value:
    """The inverse hyperbolic tangent of x, which must lie between −1 and 1."""
    return record(ops.ATANH, (x,))


def sigmoid(x: Operand) -> Value:
    """σ(x) = 1/(1 + e^−x); σ' = σ(1 − σ)."""
    return apply(ops.SIGMOID, x)


def logsigmoid(x: Operand) -> Value:
    """The logarithm of σ(x), exact also where σ(x) is tiny."""
    return record(ops.LOGSIGMOID, (x,))


def softplus(x: Operand) -> Value:
    """log(1 + e^x), a smooth relu; its derivative is σ(x)."""
    return record(ops.SOFTPLUS, (x,))


def softsign(x: Operand) -> Value:
    """x/(1 + |x|)."""
    return record(ops.SOFTSIGN, (x,))


def relu(x: Operand) -> Value:
    """max(0, x), with derivative 0 at 0."""
    return apply(ops.RELU, x)


def step(x: Operand) -> Value:
    """1 above 0, else 0, with derivative 0 everywhere."""
    return record(ops.STEP, (x,))


def leaky_relu(x: Operand, slope: Operand = 0.01) -> Value:
    """A relu that leaks: x above 0, else slope·x; at 0 the derivative is the slope."""
    return record(ops.LEAKY_RELU, (x, slope))


def elu(x: Operand, alpha: Operand = 1.0) -> Value:
    """The exponential linear unit: x above 0, else alpha·(e^x − 1). Clevert and others 2015."""
    return record(ops.ELU, (x, alpha))


def gelu(x: Operand) -> Value:
    """x·Φ(x), with the normal distribution Φ and not its tanh approximation. Hendrycks and Gimpel 2016."""
    return record(ops.GELU, (x,))


def silu(x: Operand) -> Value:
    """x·σ(x), also called swish."""
    return record(ops.SILU, (x,))


def sign(x: Operand) -> Value:
    """−1, 0 or 1, with derivative 0 everywhere."""
    return record(ops.SIGN, (x,))


def maximum(x: Operand, y: Operand) -> Value:
    """The larger of `x` and `y`; a tie shares the derivative half and half."""
    return record(ops.MAXIMUM, (x, y))


def minimum(x: Operand, y: Operand) -> Value:
    """The smaller of `x` and `y`; a tie shares the derivative half and half."""
    return record(ops.MINIMUM, (x, y))


def abs(x: Operand) -> Value:
    """The absolute value of x, with derivative 0 at 0."""
    return record(ops.ABS, (x,))


def clamp(x: Operand, low: Operand, high: Operand) -> Value:
    """x, kept from low to high. At a bound the derivative is still 1, as in PyTorch."""
    return record(ops.CLAMP, (x, low, high))


def hypot(x: Operand, y: Operand) -> Value:
    """√(x² + y²) without overflow; at (0, 0) its derivatives are 0."""
    return record(ops.HYPOT, (x, y))


def atan2(y: Operand, x: Operand) -> Value:
    """The angle in radians of the point (x, y); at (0, 0) its derivatives are 0."""
    return record(ops.ATAN2, (y, x))


def logaddexp(x: Operand, y: Operand) -> Value:
    """log(e^x + e^y) without overflow."""
    return record(ops.LOGADDEXP, (x, y))


def erf(x: Operand) -> Value:
    """The error function."""
    return record(ops.ERF, (x,))


def erfc(x: Operand) -> Value:
    """1 − erf(x), exact also where that is tiny."""
    return record(ops.ERFC, (x,))


def total(xs: Iterable[Operand]) -> Value:
    """Σ xs as one node of many parents, rounded once; 0 for no xs."""
    return record_many(ops.TOTAL, _listed(xs, "total"))


def mean(xs: Iterable[Operand]) -> Value:
    """Σ xs/n as one node of many parents. Raises DomainError for no xs."""
    return record_many(ops.MEAN, _listed(xs, "mean"))


def dot(ws: Iterable[Operand], xs: Iterable[Operand], bias: Operand | None = None) -> Value:
    """Σ w·x + bias as one node: its parents are ws…, xs… and the bias. Raises ValueError for unequal lengths."""
    try:
        ws, xs = tuple(ws), tuple(xs)
    except TypeError:
        ws, xs = (_listed(side, "dot", "([w1, w2], [x1, x2])") for side in (ws, xs))
    if len(ws) != len(xs):
        raise ValueError(f"dot pairs each weight with an input, but there are {len(ws)} weights and {len(xs)} inputs.")
    operands = (*ws, *xs) if bias is None else (*ws, *xs, bias)
    try:  # among Values alone: the sum and its derivatives as the row ops.DOT has them
        w_data, x_data = [w._plain for w in ws], [x._plain for x in xs]  # type: ignore[union-attr]
        out = weighted_sum(w_data, x_data, 0.0 if bias is None else bias._plain)  # type: ignore[union-attr]
    except (AttributeError, TypeError):
        return record(ops.DOT, operands)
    if not (operands and out == out):
        return record(ops.DOT, operands)
    x_data += w_data
    if bias is not None:
        x_data.append(1.0)
    return make_node(ops.DOT, out, operands, None, tuple(x_data), None)


def logsumexp(xs: Iterable[Operand]) -> Value:
    """The logarithm of Σ e^x as one node of many parents, without overflow; its derivatives are the softmax of xs.

    Raises DomainError for no xs.
    """
    return record_many(ops.LOGSUMEXP, _listed(xs, "logsumexp"))


def softmax(xs: Iterable[Operand]) -> list[Value]:
    """The shares e^xᵢ/Σⱼ e^xⱼ, a node for each: its parents are xᵢ and then the others in order."""
    xs = _listed(xs, "softmax")
    return [record_many(ops.SOFTMAX, (x, *xs[:place], *xs[place + 1 :])) for place, x in enumerate(xs)]


def log_softmax(xs: Iterable[Operand]) -> list[Value]:
    """The logarithms of the softmax of xs, −log Σⱼ e^(xⱼ − xᵢ), which keeps its digits where a share is near 1."""
    xs = _listed(xs, "log_softmax")
    return [
        -logsumexp([0.0 if j == i else record(ops.SUBTRACT, (other, x)) for j, other in enumerate(xs)])
        for i, x in enumerate(xs)
    ]


def _listed(xs: Iterable[Operand], name: str, usage: str = "([x, y])") -> tuple[Operand, ...]:
    try:
        return tuple(xs)
    except TypeError:
        raise TypeError(f"{name} takes a list of Values and numbers, not {shown(xs)}. Write {name}{usage}.") from None


def grad(output: Value, wrt: Iterable[Value]) -> tuple[Value, ...]:
    """∂output/∂v for each v of `wrt`, as Values: their own graphs can be differentiated again, to any order.

    The derivatives of the rows are evaluated on Values, so that the result is a formula over the same leaves, which
    `refresh()` computes anew, through conditions too; the gradients that nodes hold are not touched. It is 0 where
    `output` does not depend on v. Raises ValueError where data was edited after the forward pass (`output.refresh()`
    mends it), and for a constant; FloatingPointError where a derivative has no value. Warns where one is infinite.
    """
    wrt = _variables(output, wrt)
    refuse_outdated(output, "differentiate it")
    order = computed_nodes(output)
    leading = _leading_to(wrt, order)
    adjoints: dict[Value, Value] = {output: constant(1.0)}
    reached: dict[Value, Value] = {output: constant(1.0)}
    infinite = ""
    for node in order:
        if node not in leading or node not in adjoints:
            continue
        upstream = adjoints[node]
        for parent, partial, amount, reach in _contributions(node, upstream, reached[node], leading):
            before = adjoints.get(parent, constant(0.0))
            adjoints[parent] = after = _plus(before, amount)
            reached[parent] = _either(reached.get(parent), reach)
            one = Contribution(parent, partial.data, amount.data, before.data, after.data)
            if after.data != after.data:
                raise FloatingPointError(not_finite(output, node, upstream.data, one))
            if not infinite and math.isinf(amount.data):
                infinite = not_finite(output, node, upstream.data, one)
    if infinite:
        warnings.warn(infinite, RuntimeWarning, stacklevel=2)
    known = {output, *order, *(parent for node in order for parent in node.parents)}
    found = [adjoints.get(variable, constant(0.0)) for variable in wrt]
    return tuple([record(ops.IDENTITY, (one,)) if one in known else one for one in found])


def _variables(output: Value, wrt: Iterable[Value]) -> tuple[Value, ...]:
    if not isinstance(output, Value):
        raise TypeError(f"grad differentiates a Value, not {shown(output)}.")
    if isinstance(wrt, Value):
        raise TypeError(f"grad takes a list of Values to differentiate by: grad(…, [{wrt.label or 'x'}]).")
    wrt = tuple(wrt)
    for variable in wrt:
        if not isinstance(variable, Value):
            raise TypeError(f"grad differentiates by Values, not by {shown(variable)}.")
        if variable.is_constant:
            raise ValueError(
                f"{variable!r} is a constant of an expression. To differentiate by it make it a leaf: Value(…)."
            )
    return wrt


def _differentiable(node: Value) -> tuple[Value, ...]:
    """The parents that a node has derivatives by, in whichever way its condition may go."""
    return node.parents[2:] if node._row.selects else node.parents


def _leading_to(wrt: Iterable[Value], order: Sequence[Value]) -> set[Value]:
    """The variables, and the nodes of a backward order that depend on one."""
    leading = set(wrt)
    for node in reversed(order):
        if not leading.isdisjoint(_differentiable(node)):
            leading.add(node)
    return leading


def _contributions(
    node: Value, upstream: Value, reached: Value, wanted: set[Value]
) -> Iterator[tuple[Value, Value, Value, Value]]:
    """For each wanted parent: the derivative by it, ∂output/∂node times that, and whether output reaches it; Values.

    A condition sends what it receives to both its branches, and 0 to the one that is not taken, so that the graph
    of the derivative follows the condition. What is not `reached` sends 0, also where its derivative has no value.
    """
    if node._row.selects:
        x, y, chosen, other = node.parents
        for parent, taken in ((chosen, True), (other, False)):
            if parent in wanted and not parent.is_constant:
                one, amount, reach = (
                    _chosen(node._row, x, y, *((sent, 0.0) if taken else (0.0, sent)))
                    for sent in (constant(1.0), upstream, reached)
                )
                yield parent, one, amount, reach
        return
    for parent, partial in _partials(node, wanted):
        amount = _times(upstream, partial)
        if not reached.is_constant:
            amount = _chosen(ops.CONDITIONALS["=="], reached, 0.0, 0.0, amount)
        yield parent, partial, amount, reached


def _either(one: Value | None, other: Value) -> Value:
    """1 where one of the two is 1, else 0."""
    if one is None or one is other:
        return other
    for known in (one, other):
        if known.is_constant:
            return known if known.data else (other if known is one else one)
    return record(ops.MAXIMUM, (one, other))


def _chosen(row: ops.Primitive, *operands: Operand) -> Value:
    """A condition, where it has the value of the branch that is taken."""
    found = _Within.__primitive__(row, tuple([_Within(x) if isinstance(x, Value) else x for x in operands]))
    return found.value if isinstance(found, _Within) else constant(found)


def _partials(node: Value, wanted: set[Value]) -> list[tuple[Value, Value]]:
    """The derivatives of a node with respect to its parents, as Values over its parents."""
    out, operands = _Within(node), tuple(map(_Within, node.parents))
    places = [place for place, parent in enumerate(node.parents) if parent in wanted and not parent.is_constant]
    rules = node._row.partials
    if isinstance(rules, tuple):
        partials = [rules[place](out, *operands) for place in places]
    else:
        every = rules(out, *operands)
        partials = [every[place] for place in places]
    values = [partial.value if isinstance(partial, _Within) else constant(partial) for partial in partials]
    return [(node.parents[place], value) for place, value in zip(places, values, strict=True)]


class _Within:
    """A Value within the formula of a derivative, where not every branch of a condition has a value."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        self.value = value

    @staticmethod
    def __primitive__(row: ops.Primitive, operands: tuple[Any, ...]) -> Any:
        values = [operand.value if isinstance(operand, _Within) else constant(operand) for operand in operands]
        if row.selects and values[0].is_constant and values[1].is_constant:  # decided once for all
            return operands[2 if row.forward(values[0].data, values[1].data, True, False) else 3]
        return _Within(record(row, values, untaken=True))

    def __neg__(self) -> Any:
        return ops.NEGATE(self)

    def __add__(self, other: Any) -> Any:
        return ops.ADD(self, other)

    def __radd__(self, other: Any) -> Any:
        return ops.ADD(other, self)

    def __sub__(self, other: Any) -> Any:
        return ops.SUBTRACT(self, other)

    def __rsub__(self, other: Any) -> Any:
        return ops.SUBTRACT(other, self)

    def __mul__(self, other: Any) -> Any:
        return ops.MULTIPLY(self, other)

    def __rmul__(self, other: Any) -> Any:
        return ops.MULTIPLY(other, self)


def _times(x: Value, y: Value) -> Value:
    """The product, where a constant 1 changes nothing and a constant 0 ends it."""
    for one, other in ((x, y), (y, x)):
        if one.is_constant and one.data == 1.0:
            return other
        if one.is_constant and one.data == 0.0 and math.isfinite(other.data):
            return one
    return record(ops.MULTIPLY, (x, y), untaken=True)


def _plus(x: Value, y: Value) -> Value:
    """The sum, where a constant 0 changes nothing."""
    for one, other in ((x, y), (y, x)):
        if one.is_constant and one.data == 0.0:
            return other
    return record(ops.ADD, (x, y), untaken=True)
