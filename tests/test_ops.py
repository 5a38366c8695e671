"""Every row of the table: a new row is tested by being written."""

import cmath
import math
import pickle

import pytest

from engine import ops
from engine.ops import TABLE, Primitive

ROWS = [row for row in TABLE.values() if row.name not in ("", "constant")]
ARITY = {"+": 2, "-": 2, "*": 2, "/": 2, "**": 2, "maximum": 2, "minimum": 2, "total": 3, "dot": 5}
POINTS = {
    1: [(-1.7,), (-0.3,), (0.4,), (2.2,)],
    2: [(0.7, -1.3), (2.1, 0.4), (-0.6, -2.5), (1.5, 3.0)],
    3: [(0.7, -1.3, 2.0)],
    4: [(0.7, -1.3, 2.0, 0.5), (-0.7, 1.3, 2.0, 0.5)],
    5: [(0.7, -1.3, 2.0, 0.5, 0.25)],
}

# The same operations, by another road: analytic continuations for the complex step.
COMPLEX = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "**": lambda x, y: cmath.exp(y * cmath.log(x)),
    "neg": lambda x: -x,
    "identity": lambda x: x,
    "exp": cmath.exp,
    "log": cmath.log,
    "log10": cmath.log10,
    "sqrt": cmath.sqrt,
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "tanh": cmath.tanh,
    "sigmoid": lambda x: 1.0 / (1.0 + cmath.exp(-x)),
    "abs": lambda x: x if x.real > 0.0 else -x,
    "relu": lambda x: x if x.real > 0.0 else 0j,
    "step": lambda x: complex(x.real > 0.0),
    "sign": lambda x: complex(math.copysign(1.0, x.real)),
    "maximum": lambda x, y: x if x.real > y.real else y,
    "minimum": lambda x, y: x if x.real < y.real else y,
    "total": lambda *xs: sum(xs),
    "dot": lambda a, b, x, y, bias: a * x + b * y + bias,
    "if >": lambda x, y, a, b: a if x.real > y.real else b,
    "if <": lambda x, y, a, b: a if x.real < y.real else b,
    "if >=": lambda x, y, a, b: a if x.real >= y.real else b,
    "if <=": lambda x, y, a, b: a if x.real <= y.real else b,
    "if ==": lambda x, y, a, b: a if x.real == y.real else b,
    "if !=": lambda x, y, a, b: a if x.real != y.real else b,
}


def points(row: Primitive) -> list[tuple[float, ...]]:
    arity = 4 if row.name.startswith("if ") else ARITY.get(row.name, 1)
    return [point for point in POINTS[arity] if row.inside is None or row.inside(*point)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_partials_agree_with_the_complex_step(row):
    tried = 0
    for point in points(row):
        if row is ops.POWER and point[0] < 0.0:
            continue
        derivatives = row.derivatives(row(*point), point)
        assert row(*point) == pytest.approx(COMPLEX[row.name](*map(complex, point)).real, rel=1e-14)
        for place, derivative in enumerate(derivatives):
            moved = [complex(x, 1e-200 * (i == place)) for i, x in enumerate(point)]
            assert (derivative or 0.0) == pytest.approx(COMPLEX[row.name](*moved).imag / 1e-200, rel=1e-13, abs=1e-15)
            tried += 1
    assert tried


@pytest.mark.parametrize("row", [row for row in ROWS if row.textbook], ids=lambda row: row.name)
def test_the_textbook_form_is_the_same_derivative(row):
    for point in points(row):
        if row is ops.POWER and point[0] < 0.0:
            continue
        out = row(*point)
        assert row.derivatives(out, point, textbook=True) == pytest.approx(row.derivatives(out, point), rel=1e-12)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rows_follow_ieee_754_and_never_raise(row):
    special = [0.0, -0.0, 1.0, -1.0, 1e308, -1e308, 5e-324, 745.0, -745.0, math.inf, -math.inf, math.nan]
    arity = len(points(row)[0])
    for x in special:
        for y in special if arity > 1 else [0.0]:
            operands = (x, y, *([1.0] * (arity - 2)))[:arity]
            out = row(*operands)
            assert isinstance(out, float)
            assert all(isinstance(derivative, float | None) for derivative in row.derivatives(out, operands))


def test_stable_forms_keep_their_digits_where_the_textbook_loses_them():
    # 1 − tanh²(20), 50 digits: 1.6993417021166355e-17; σ'(−800) underflows to 0 without an error.
    assert ops.TANH.derivatives(math.tanh(20.0), (20.0,))[0] == pytest.approx(1.6993417021166355e-17, rel=1e-14)
    assert ops.SIGMOID(-1000.0) == 0.0
    assert ops.SIGMOID.derivatives(ops.SIGMOID(40.0), (40.0,))[0] == pytest.approx(4.248354255291589e-18, rel=1e-14)


@pytest.mark.parametrize(
    ("row", "operands", "value", "derivatives"),
    [
        (ops.ABS, (0.0,), 0.0, (0.0,)),
        (ops.RELU, (0.0,), 0.0, (0.0,)),
        (ops.MAXIMUM, (1.0, 1.0), 1.0, (0.5, 0.5)),
        (ops.MINIMUM, (1.0, 1.0), 1.0, (0.5, 0.5)),
        (ops.SQRT, (0.0,), 0.0, (math.inf,)),
        (ops.POWER, (0.0, 0.0), 1.0, (0.0, 0.0)),
        (ops.POWER, (0.0, 2.0), 0.0, (0.0, 0.0)),
        (ops.SIGN, (0.0,), 0.0, (0.0,)),
        (ops.STEP, (0.0,), 0.0, (0.0,)),
    ],
    ids=str,
)
def test_conventions_at_kinks_are_those_of_pytorch(row, operands, value, derivatives):
    assert row(*operands) == value
    assert row.derivatives(value, operands) == derivatives


def test_a_row_pickles_as_its_name():
    assert pickle.loads(pickle.dumps(ops.TANH)) is ops.TANH
