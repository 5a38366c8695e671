"""`gradcheck`: what it reports, what it leaves out, and that it can fail."""

import math

import pytest

import engine
from engine import Value, build, erf, gradcheck, logsumexp, ops, relu, tanh
from engine.graph import computed_nodes
from engine.ops import Primitive
from engine.value import record
from tests.reference import ROWS, points


def wrong(found):
    return [name for name, row in found.items() if row.verdict == "wrong"]


def test_the_report_shows_name_engine_numeric_and_error():
    graph = build("z = w*x + b\na = tanh(z)\nL = (a - 1)**2", w=0.3, x=1.5, b=-0.2)
    graph["z"].set_derivatives([1.501, *graph["z"].local_derivatives[1:]])
    found = gradcheck(graph.loss)
    assert str(found).splitlines() == [
        "gradient           engine          numeric     error  tolerance",
        "w          −2.13078258353   −2.12936300819  −0.00142  ± 2.1e−09  wrong",
        "x         −0.425872601638  −0.425872601638       ≈ 0  ± 4.3e−10  right",
        "b          −1.41957533879   −1.41957533879       ≈ 0  ± 1.4e−09  right",
        "∂z/∂w               1.501              1.5     0.001  ± 1.5e−09  wrong",
    ]
    assert (found.ok, bool(found), wrong(found)) == (False, False, ["w", "∂z/∂w"])
    assert found["w"].error == found["w"].engine - found["w"].numeric
    with pytest.raises(AssertionError, match=r"(?s)not what the numbers say.*∂z/∂w.*wrong"):
        found.raise_if_wrong()
    graph.loss.refresh()
    gradcheck(graph.loss).raise_if_wrong()


def test_a_function_is_called_on_the_numbers_and_lists_given():
    found = gradcheck(lambda x, ys: tanh(x) * logsumexp([x, *ys]), 0.5, [1.0, 2.0])
    assert found
    assert list(found) == ["x", "ys[0]", "ys[1]"]
    assert list(gradcheck(max, Value(2.0, "a"), 3.0)) == ["x1"]  # the larger one
    with pytest.raises(KeyError, match="no gradient is called 'z'"):
        found["z"]


@pytest.mark.parametrize("slip", [1.001, -1.0, 0.0])
@pytest.mark.parametrize("row", [row for row in ROWS if not row.selects], ids=lambda row: row.name)
def test_a_row_with_a_wrong_partial_is_caught(row, slip, monkeypatch):
    """Each partial in turn is planted wrong in the table itself; `at` would go past it."""
    point = points(row)[0]
    monkeypatch.setattr(row, "at", None)
    right = row.derivatives

    def checked():
        return gradcheck(lambda *xs: ops.IDENTITY(record(row, xs)), *point)

    assert checked()
    for place in range(len(point)):

        def planted(out, *operands, place=place):
            found = list(right(out, operands))
            found[place] = slip * found[place] if found[place] else 1e-3
            return found

        with monkeypatch.context() as patch:
            patch.setattr(
                Primitive, "derivatives", lambda self, out, xs, **_: planted(out, *xs) if self is row else [1.0]
            )
            assert not checked().ok


def test_what_has_no_derivative_is_left_out_and_said():
    x = Value(0.0, "x")
    assert "relu) stands at its kink" in gradcheck(relu(x) + x)["x"].reason
    assert "sqrt) stands at the end of its domain" in gradcheck((x + 0.0).sqrt() * 0.0 + x)["x"].reason
    assert gradcheck(x.cbrt())["x"].reason == "it is infinite"
    assert "too few digits" in gradcheck(erf(Value(9.0, "y")) + 1.0)["y"].reason
    near = gradcheck(erf(relu(Value(1e-12, "z"))))
    assert "too near" in near["z"].reason
    assert not near.ok  # nothing was checked
    assert "left out: a kink" in str(near)


@pytest.mark.parametrize(
    ("function", "numbers"),
    [
        (engine.tanh, [250.0]), (engine.sigmoid, [500.0]), (engine.log, [1e-120]), (engine.sqrt, [1e-150]),
        (engine.hypot, [1e-120, 1e-120]), (engine.hypot, [1e200, 1e200]), (engine.atan2, [-1e-80, 1e80]),
        (engine.softsign, [1e72]), (engine.log2, [1e300]), (lambda *xs: engine.softmax(xs)[0], [-10.0, -235.0, -250.0]),
        (lambda *xs: -engine.log_softmax(xs)[0], [300.0, -200.0, 5.0]), (engine.logaddexp, [-282.3, 241.6]),
    ],
)  # fmt: skip
def test_tiny_derivatives_and_extreme_numbers_are_told_right(function, numbers):
    found = gradcheck(function, *numbers)
    assert {row.verdict for row in found.values()} == {"right"}


@pytest.mark.parametrize(("function", "number"), [(engine.exp, 800.0), (engine.cosh, -750.0), (engine.cbrt, 0.0)])
def test_an_infinite_derivative_is_left_out_and_not_called_wrong(function, number):
    found = gradcheck(function, number)
    assert not wrong(found)
    assert not found.ok


@pytest.mark.parametrize("text", ["L = exp(-exp(x))", "L = x*2", "L = softplus(x)", "L = exp(-exp(x)) if x > 0 else x"])
def test_infinite_operands_come_to_an_end(text):
    assert not wrong(gradcheck(build(text, x=math.inf if "exp" not in text else 800.0).loss))


def test_a_gradient_without_a_value_is_left_out():
    found = gradcheck(build("L = cbrt(x)**2 if y > 0 else x", x=0.0, y=1.0).loss)
    assert found["x"].reason == "it has no value"


def test_a_local_derivative_that_cannot_be_told_has_a_row():
    x = Value(5.1, "x")
    tail = x.erf()
    tail.label = "t"
    tail.set_derivatives([-tail.local_derivatives[0]])
    assert "too few digits" in gradcheck(tail + x)["∂t/∂x"].reason


def test_branches_that_are_not_taken_do_not_matter():
    graph = build("L = (x**2 if x > 0 else log(x)) + y", x=1.5, y=0.0)
    assert gradcheck(graph.loss)["x"].numeric == pytest.approx(3.0)


def test_leaves_of_one_name_each_have_a_row():
    first, second = Value(0.3, "w"), Value(0.7, "w")
    square = first * first
    square.label = "s"
    square.set_derivatives([0.3, 0.4])
    assert list(gradcheck(square + second)) == ["w", "w (2)", "∂s/∂w"]
    square.set_derivatives([0.2, 0.4])  # together right, each wrong
    found = gradcheck(square + second)
    assert (found["w"].verdict, wrong(found)) == ("right", ["∂s/∂w", "∂s/∂w (2)"])


def test_only_some_leaves_can_be_asked_for():
    graph = build("L = a*b*c", a=1.0, b=2.0, c=3.0)
    assert list(gradcheck(graph.loss, wrt=[graph["b"]])) == ["b"]
    with pytest.raises(ValueError, match="is no leaf under L"):
        gradcheck(graph.loss, wrt=[Value(1.0)])


def test_the_graph_is_not_touched():
    graph = build("L = tanh(a*b)", a=0.5, b=0.7)
    graph.loss.backward()
    before = [(node.data, node.grad) for node in [*computed_nodes(graph.loss), *graph.values()]]
    gradcheck(graph.loss)
    assert [(node.data, node.grad) for node in [*computed_nodes(graph.loss), *graph.values()]] == before


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(TypeError, match="a Value or a function of Values"):
        gradcheck(3.0)
    with pytest.raises(TypeError, match=r"must return a Value.*lost"):
        gradcheck(lambda x: x.data**2, 3.0)
    with pytest.raises(TypeError, match="takes no numbers"):
        gradcheck(Value(1.0) * 2.0, 3.0)
    assert math.isnan(gradcheck(relu(Value(0.0, "x")))["x"].numeric)
