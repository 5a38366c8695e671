"""Every row of the table: a new row is tested by being written."""

import contextlib
import itertools
import math
import pickle
from decimal import Decimal, localcontext

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine import DomainError, Value, dot, grad, log_softmax, logsumexp, ops, softmax
from engine.value import record
from tests.reference import FORMULAS, ROWS, arity, derivative, points, value
from tests.strategies import case

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
NUMERICS = case("numerics/ulp_reference.json")["operations"]


def by_name(row):
    return row.name


def order_of(place, count):
    """The derivative once by the operand at `place`."""
    return tuple(int(i == place) for i in range(count))


def test_every_row_has_a_reference():
    assert set(FORMULAS) == {row.name for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_values_and_partials_agree_with_50_digits(row):
    for point in points(row):
        out = row(*point)
        assert out == pytest.approx(float(value(row, point)), rel=1e-15, abs=0.0)
        for place, partial in enumerate(row.derivatives(out, point)):
            exact = float(derivative(row, point, order_of(place, len(point))))
            assert (partial or 0.0) == pytest.approx(exact, rel=2e-15, abs=1e-300)


@pytest.mark.parametrize("row", [row for row in ROWS if row.on_complex], ids=by_name)
def test_the_complex_step_gives_the_partials(row):
    for point in points(row):
        assert row.on_complex(*map(complex, point)).real == pytest.approx(row(*point), rel=1e-14)
        for place, partial in enumerate(row.derivatives(row(*point), point)):
            moved = [complex(x, 1e-200 * (i == place)) for i, x in enumerate(point)]
            assert row.on_complex(*moved).imag / 1e-200 == pytest.approx(partial or 0.0, rel=1e-13, abs=1e-15)


def test_only_the_error_function_is_not_continued_to_complex_numbers():
    assert [row.name for row in ROWS if row.on_complex is None] == ["gelu", "erf", "erfc"]


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_grad_agrees_with_50_digits_to_the_third_order(row):
    """All mixed derivatives too: each is `grad` of the one below it."""
    for point in points(row)[:2]:
        leaves = [Value(x) for x in point]
        known = {(0,) * len(point): record(row, leaves)}
        for total in (1, 2, 3):
            for by in itertools.combinations_with_replacement(range(len(point)), total):
                order = tuple(by.count(place) for place in range(len(point)))
                below = tuple(times - (place == by[-1]) for place, times in enumerate(order))
                (known[order],) = grad(known[below], [leaves[by[-1]]])
                exact = float(derivative(row, point, order))
                assert known[order].data == pytest.approx(exact, rel=1e-12, abs=1e-14), order


@pytest.mark.parametrize("row", [row for row in ROWS if row.textbook], ids=by_name)
def test_the_textbook_form_is_the_same_derivative(row):
    for point in points(row):
        out = row(*point)
        assert row.derivatives(out, point, textbook=True) == pytest.approx(row.derivatives(out, point), rel=1e-11)


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_rows_follow_ieee_754_and_never_raise(row):
    special = [0.0, -0.0, 1.0, -1.0, 1e308, -1e308, 5e-324, 745.0, -745.0, math.inf, -math.inf, math.nan]
    for x in special:
        for y in special if arity(row) > 1 else [0.0]:
            operands = (x, y, 1.0, 2.0, 1.0)[: arity(row)]
            out = row(*operands)
            assert isinstance(out, float)
            assert all(isinstance(derivative, float | None) for derivative in row.derivatives(out, operands))


@pytest.mark.parametrize("row", [row for row in ROWS if row.at], ids=by_name)
@given(x=ANY_FLOAT)
@example(x=0.0)
@example(x=-0.0)
@example(x=1000.0)
@example(x=-1000.0)
@example(x=-1.0)
def test_value_and_derivative_at_once_are_the_same_bits(row, x):
    out, partial = row.at(x)
    if math.isfinite(out):
        assert (out, partial) == (row(x), row.derivatives(row(x), (x,))[0])
        assert math.copysign(1.0, out) == math.copysign(1.0, row(x)) or out == 0.0
    else:  # then `forward` and `partials` are asked; inside the domain that is so only where exp is about to overflow
        assert not math.isfinite(row(x)) or (row is ops.EXP and x >= 709.0)


# Digits.


def at(row, place=None):
    """The value of a row, or one of its partials, as a Value has recorded it."""

    def computed(*numbers):
        node = record(row, [Value(x) for x in numbers])
        return node.data if place is None else node.local_derivatives[place]

    return computed


def first_softmax(function):
    return lambda *xs: function([Value(x) for x in xs])[0].data


def first_log_softmax_gradient(*xs):
    leaves = [Value(x) for x in xs]
    log_softmax(leaves)[0].backward()
    return leaves[0].grad


def logits_loss(z, y):
    """Binary cross-entropy of a logit, of rows alone: y·softplus(−z) + (1 − y)·softplus(z)."""
    z = Value(z)
    return z, dot([y, 1.0 - y], [(-z).softplus(), z.softplus()])


def logits_loss_gradient(*numbers):
    z, loss = logits_loss(*numbers)
    loss.backward()
    return z.grad


SPECIAL = {
    "expm1/elu": at(ops.EXPM1),
    "pow": at(ops.POWER),
    "d_pow/dx": at(ops.POWER, 0),
    "d_pow/dy": at(ops.POWER, 1),
    "div": at(ops.DIVIDE),
    "d_div/db": at(ops.DIVIDE, 1),
    "d_hypot/dx": at(ops.HYPOT, 0),
    "d_atan2/dy": at(ops.ATAN2, 0),
    "logsumexp3": lambda *xs: logsumexp([Value(x) for x in xs]).data,
    "softmax3[0]": first_softmax(softmax),
    "log_softmax3[0]": first_softmax(log_softmax),
    "d_log_softmax3[0]/dx0": first_log_softmax_gradient,
    "bce_logits": lambda *numbers: logits_loss(*numbers)[1].data,
    "d_bce_logits": logits_loss_gradient,
}


def computed_as(name):
    plain = name.split("(")[0].strip()
    if plain in SPECIAL:
        return SPECIAL[plain]
    return at(ops.TABLE[plain[2:]], 0) if plain.startswith("d_") else at(ops.TABLE[plain])


def units_in_the_last_place(number, exact):
    nearest = float(exact)
    if math.isinf(number) or math.isinf(nearest):
        return 0.0 if number == nearest else math.inf
    with localcontext(prec=60, Emin=-(10**8), Emax=10**8):
        return float(abs(Decimal(number) - Decimal(exact)) / Decimal(math.ulp(nearest)))


@pytest.mark.parametrize("name", NUMERICS)
def test_every_reference_point_is_within_its_budget(name):
    """To twice the budget, since C libraries round differently."""
    function, budget = computed_as(name), NUMERICS[name]["budget"]
    off = {}
    for *given_as, exact in NUMERICS[name]["points"]:
        numbers = tuple(map(float.fromhex, given_as))
        off[numbers] = units_in_the_last_place(function(*numbers), exact)
    worst = max(off, key=off.get)
    assert off[worst] <= 2 * budget, f"{name} at {worst} is off by {off[worst]:.1f} units, the budget is {budget}"


# Conventions.

AT_KINKS = {
    "abs": abs,
    "reciprocal": lambda x: 1.0 / x,
    "div": lambda x, y: x / y,
    "leaky_relu(0.01)": lambda x: x.leaky_relu(),
    "gelu_erf": lambda x: x.gelu(),
    "clamp(-1,1)": lambda x: x.clamp(-1.0, 1.0),
    "pow_const0": lambda x: x**0,
    "pow_const0.0": lambda x: x**0.0,
    "pow_const1": lambda x: x**1,
    "pow_const2": lambda x: x**2,
    "pow_const0.5": lambda x: x**0.5,
    "pow_const-1": lambda x: x**-1,
    "pow(x,y)": lambda x, y: x**y,
    "const2**y": lambda y: 2.0**y,
    "const0**y": lambda y: 0.0**y,
    "atan2(y,x)": lambda y, x: y.atan2(x),
    "softplus_as_logaddexp": lambda x: x.logaddexp(0.0),
    "logsumexp[a,b,c]": lambda *xs: logsumexp(xs),
    "softmax[a,b][0]": lambda *xs: softmax(xs)[0],
    "log_softmax[a,b][0]": lambda *xs: log_softmax(xs)[0],
}
# What has an infinite value in IEEE 754 by leaving its domain is refused here.
REFUSED = {"div", "reciprocal", "log", "log1p", "atanh", "pow(x,y)", "pow_const-1", "sqrt", "asin"}


@pytest.mark.parametrize(
    "kink", case("numerics/kinks.json")["points"], ids=lambda kink: f"{kink['op']} at {kink['at']}"
)
def test_conventions_at_kinks_and_bounds_are_those_of_pytorch(kink):
    leaves = [Value(float(x)) for x in kink["at"]]
    function = AT_KINKS.get(kink["op"]) or getattr(Value, kink["op"])
    expected = float(kink["value"])
    try:
        node = function(*leaves)
    except DomainError:
        assert (
            math.isnan(expected) or (math.isinf(expected) and kink["op"] in REFUSED) or kink["op"] == "softmax[a,b][0]"
        )
        return
    assert node.data == expected
    wanted = list(map(float, kink["grad"]))
    if any(map(math.isnan, wanted)):  # no gradient to rely on
        return
    with pytest.warns() if any(map(math.isinf, wanted)) else contextlib.nullcontext():
        node.backward()
    assert [leaf.grad for leaf in leaves] == pytest.approx(wanted, rel=1e-15)


def test_a_row_pickles_as_its_name():
    assert pickle.loads(pickle.dumps(ops.TANH)) is ops.TANH
