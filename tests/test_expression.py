"""Expressions over a walk, and conditions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Backprop, FormulaError, Value, build
from engine.expression import Condition, Expression
from engine.formula import Source
from tests.strategies import case, graphs, worked


@pytest.fixture
def walk():
    return Backprop(worked("mazur_2_2_2")["E"]).goto(6)


W5 = 0.0821670405642308


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("w5", 0.4),
        ("w5.data", 0.4),
        ("w5.grad", W5),
        ("w5 . grad", W5),
        ("dE/dw5", W5),
        ("∂E/∂w5", W5),
        ("∂ E / ∂ w5", W5),
        ("2*dE/dw5**2", 2 * W5**2),
        ("∂E/∂w5²", W5**2),
        ("1/w5.grad", 1 / W5),
        ("w5 - 0.5*w5.grad", 0.4 - 0.5 * W5),
        ("abs(-w5.grad)", W5),
        ("grad", 1.0),
        ("step", 7.0),
        ("step(2) + step(-2)", 1.0),
        ("data", 0.023560025583847746),
        ("e + pi", 5.859874482048838),
        ("w5 if w5.grad > 0 else 1", 0.4),
    ],
)
def test_a_formula_over_data_and_gradients_so_far(walk, text, value):
    assert Expression(text, walk).value() == pytest.approx(value, rel=1e-15)


def test_names_of_nodes_come_first():
    graph = build("dL = a*b\ndw = dL + b\nq = dL/dw\nstep = q*q\nL = step + grad", a=2.0, b=3.0, grad=5.0)
    walk = Backprop(graph.loss)
    assert Expression("dL/dw", walk).value() == 6.0 / 9.0  # a quotient of two nodes
    assert Expression("dL/db", walk).value() == Expression("∂L/∂b", walk).value() == 0.0  # no node is called db
    assert Expression("grad + step", walk).value() == 5.0 + 4.0 / 9.0
    assert Expression("grad.grad", walk.run()).value() == 1.0


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("w9", 1, "Nothing is called `w9`. Did you mean `w"),
        ("2*w9.grad", 3, "Nothing is called `w9`. Did you mean `w"),
        ("1 + dE/dw9", 9, "Nothing is called `w9`"),
        ("dE_o1/dw5", 2, "The walk has the gradients of E alone. Write dE/dw5."),
        ("dQ/dw5", 2, "Nothing is called `Q`"),
        ("w5.gard", 4, "A node has no `.gard`. Write `w.grad`"),
        ("w5.__class__", 4, "A node has no `.__class__`."),
        ("2w5.grad", 1, "This is not a formula. did you mean `2*w5.grad`?"),
        ("w5.grad(3)", 1, "`w5.grad` is not a function. did you mean `w5.grad*(3)`?"),
        ("∂E/∂w5 ∂E/∂w6", 8, "This is not a formula. did you mean `∂E/∂w5*∂E/∂w6`?"),
        ("log(0 - w5.grad)", 1, "log(-0.082167) has no value: the logarithm needs a number above 0."),
        ("w5 +", 5, "The formula breaks off here."),
        ("", 1, "There is no formula here."),
        ("w5 > 1", 1, "A comparison by itself is not part of a formula."),
    ],
)
def test_an_error_points_into_what_was_typed(walk, text, column, said):
    line = f"display {text}"
    with pytest.raises(FormulaError) as error:
        Expression(text, walk, Source(line, None, 8)).value()
    told = error.value
    assert (told.column, told.text) == (column + 8, line)
    assert f"{told.problem} {told.hint}".startswith(said)


def test_two_nodes_of_one_name_are_refused():
    walk = Backprop(Value(1.0, label="w") * Value(2.0, label="w"))
    for text in ("w", "w.grad", "3 + w"):
        with pytest.raises(FormulaError, match="`w` names 2 nodes"):
            Expression(text, walk)


def test_at_the_end_no_node_comes_next(walk):
    expression = Expression("2*grad", walk)
    assert expression.value() == 2.0
    assert [node.label for node in expression.gradients] == ["E_o2"]
    walk.run()
    with pytest.raises(FormulaError, match="the walk is at its end"):
        expression.value()


@pytest.mark.parametrize("text", case("hostile_inputs.json")["formulas_reject"], ids=ascii)
def test_what_is_no_formula_is_refused(walk, text):
    with pytest.raises(FormulaError):
        Expression(text, walk).value()


@given(graphs(most=12), st.data())
def test_every_gradient_is_the_one_of_the_node(graph, data):
    loss, _ = graph
    loss.zero_grad()
    walk = Backprop(loss)
    walk.goto(data.draw(st.integers(0, len(walk))))
    for node, name in walk.names.items():
        if not node.is_constant:
            assert Expression(name, walk).value() == node.data
            for text in (f"{name}.grad", f"∂{walk.names[loss]}/∂{name}"):
                assert Expression(text, walk).value() == node.grad


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("abs(grad) > 0.5", True),
        ("w5.grad<0.05", False),
        ("w5.grad >= w6.grad", False),
        ("w5.grad ≤ dE/dw6", True),
        ("step == 7", True),
        ("step != 7", False),
        ("step ≠ 8", True),
        ("(1 if w5 > 1 else 2) == 2", True),
    ],
)
def test_a_condition_compares_two_expressions(walk, text, holds):
    assert Condition(text, walk).holds() is holds


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("grad", 5, "A condition compares two numbers."),
        ("(grad > 1)", 11, "A condition compares two numbers."),
        ("0 < grad < 1", 10, "A condition has one comparison."),
        ("grad = 1", 6, "A comparison for equality is written `==`."),
        ("grad > q", 8, "Nothing is called `q`."),
        ("1 < w5.grd", 8, "A node has no `.grd`."),
        ("grad >", 7, "There is no formula here."),
    ],
)
def test_a_condition_that_is_none_is_pointed_into(walk, text, column, said):
    line = f"b {text}"
    with pytest.raises(FormulaError) as error:
        Condition(text, walk, Source(line, None, 2)).holds()
    assert (error.value.column, error.value.text) == (column + 2, line)
    assert error.value.problem == said
