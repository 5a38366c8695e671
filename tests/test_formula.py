"""Text to Values: what is read, what is refused, and where the errors point."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import FormulaError, Value, build
from engine.formula import LONGEST_FORMULA, Formula
from tests.strategies import case

HOSTILE = case("hostile_inputs.json")
LONG = [
    "(" * 300 + "1" + ")" * 300,
    "-" * 5_000 + "x",
    "-" * 100_000 + "x",
    "+".join(["x"] * 5_001),
    "9" * 5_000,
    "exp(" * 150 + "x" + ")" * 150,
    "2**" * 300 + "x",
]


def refusal(text, **values):
    with pytest.raises(FormulaError) as caught:
        build(text, values)
    return str(caught.value)


def said_of(text):
    """What becomes of any text: its loss, or the words of a refusal; any other exception fails the test."""
    try:
        return repr(build(text, x=0.5, y=2.0).loss)
    except FormulaError as error:
        return str(error)


@pytest.mark.parametrize("formula", [*HOSTILE["formulas_reject"], *LONG], ids=lambda text: ascii(text[:30]))
def test_hostile_formulas_are_refused(formula):
    message = refusal(f"f = {formula}", x=0.5, y=2.0)
    assert len(message) < 1_000
    assert all(character.isprintable() or character == "\n" for character in message)


@pytest.mark.parametrize("formula", HOSTILE["formulas_accept"])
def test_plain_formulas_are_read_as_python_means_them(formula):
    names = {name: getattr(math, name) for name in ("exp", "log", "tanh")}
    expected = eval(formula.replace("^", "**"), {"max": max, **names}, {"x": 0.5, "y": 2.0})
    assert build(f"f = {formula}", x=0.5, y=2.0)["f"].data == pytest.approx(expected, rel=1e-15)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_words(text):
    assert said_of(f"f = {text}")


@given(st.text(alphabet="xy0123456789.+-*/^()=<>if else,#\n·²½σ ", max_size=80))
def test_any_file_is_read_or_refused_in_words(text):
    assert said_of(text)


def test_the_graph_lists_labelled_values_in_order_and_knows_its_loss():
    graph = build("z = w*x + b\na = sigmoid(z)\nL = 0.5*(y - a)**2", w=0.3, x=1.5, b=-0.2, y=1.0)
    assert list(graph) == ["w", "x", "b", "y", "z", "a", "L"]
    assert all(node.label == name for name, node in graph.items())
    assert graph.loss is graph["L"]
    assert graph["L"].data == pytest.approx(0.5 * (1 - 1 / (1 + math.exp(-0.25))) ** 2)


def test_a_sum_of_products_is_one_node_unless_atomic():
    text = "z = w*x + v*y + b"
    values = {"w": 1, "x": 2, "v": 3, "y": 4, "b": 5}
    node = build(text, values)["z"]
    assert (node.op, [parent.label for parent in node.parents]) == ("dot", ["w", "v", "x", "y", "b"])
    assert build(text, values, atomic=True)["z"].op == "+"
    assert build("z = w*x + b - y", values)["z"].parents[0].op == "dot"
    for single in ("z = x + y + 1", "z = x*y - b", "z = x*y*w + b", "z = x**2 + y"):
        assert build(single, values)["z"].op != "dot", single


def test_formulas_are_understood_as_pasted_from_a_pdf():
    values = {"a": 0.5, "y": 1.0, "z": 0.25, "x": 2.0}
    assert build("q = ½(y − a)²", values)["q"].data == 0.125
    assert build("q = −2·x", values)["q"].data == -4.0
    assert build("q = x⁻¹", values)["q"].data == 0.5
    assert build("q = σ(z)·(1−σ(z))", values)["q"].data == pytest.approx(0.2461340827375886)
    assert build("q = x^2 × 3", values)["q"].data == 12.0
    assert build("w₁ = 2\nq = w₁·x ÷ w1", values)["q"].data == 2.0
    assert build("\ufeffq = √(x)\r\nr = q^2\r\n", values)["r"].data == pytest.approx(2.0)


def test_a_condition_is_one_comparison_and_its_test_passes_no_gradient():
    graph = build("f = 3*x if x > y else x**2", x=2.0, y=1.0)
    graph["f"].backward()
    assert (graph["f"].data, graph["x"].grad, graph["y"].grad) == (6.0, 3.0, 0.0)
    assert graph["f"].op == "if >"
    assert build("f = log(x) if x > 0 else 0", x=-1.0)["f"].data == 0.0


def test_conditions_nest_also_in_a_branch_that_is_not_taken():
    text = "f = (1/0 if 2 > 1 else 3) + log(x)*(x if x < 0 else sqrt(x)) if x > 5 else (x if x > 0 else -x)"
    for x, value in [(2.0, 2.0), (-2.0, 2.0)]:
        assert build(text, x=x)["f"].data == value
    with pytest.raises(FormulaError, match="divisor must not be 0"):
        build(text, x=6.0)


def test_a_graphs_own_names_beat_constants():
    assert build("f = e**2")["f"].data == pytest.approx(math.e**2)
    assert build("e = 3\nf = e**2")["f"].data == 9.0
    assert build("pi = 2\ndot = 3\nneg = -1*dot\nf = pi*neg")["f"].data == -6.0


def test_another_name_for_a_node_is_a_node_of_its_own():
    graph = build("x = 2\ny = x\nz = y*y")
    assert graph["y"] is not graph["x"]
    graph["z"].backward()
    assert (graph["x"].grad, graph["y"].grad) == (4.0, 4.0)


def test_parameters_are_the_leaves_that_an_update_changes():
    graph = build("parameters: w, b\nw = 1\nb = 2\nL = w*w + b")
    assert graph.parameters == (graph["w"], graph["b"])
    assert build("L = 1").parameters == ()
    assert "Nothing is called `v`" in refusal("w = 1\nparameters: v\nL = w*w")
    assert "only a leaf" in refusal("w = 1\nL = w*w\nparameters: L")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a = 0.5\nz = a(1-a)",
            ["line 2, column 5: `a` is not a function.", "    z = a(1-a)\n        ^", "`a*(1-a)`?"],
        ),
        ("x = 2\nz = 2x + 1", ["line 2, column 5", "did you mean `2*x + 1`?"]),
        ("x = 2\nz = (x + 1)(x - 1)", ["did you mean `(x + 1)*(x - 1)`?"]),
        ("x = 2\nz = sigmod(x)", ["There is no function `sigmod`", "`sigmoid`"]),
        ("weight = 2\nz = wieght*2", ["`wieght` has no value", "Did you mean `weight`?", "write a line `wieght = …`"]),
        ("z = w*2\nw = 3", ["line 1, column 5: `w` is used before it is assigned on line 2"]),
        ("w = 3\nw = 4", ["line 2, column 1: `w` is assigned twice, first on line 1"]),
        ("a = b\nb = c\nc = a", ["line 1, column 5", "in a circle: a needs b needs c needs a"]),
        ("a = a + 1", ["in a circle: a needs a"]),
        ("p = -1\nL = 2*log(p)", ["line 2, column 7", "log(-1) has no value (with p = -1)", "above 0"]),
        ("z = 0\nL = 1/z", ["line 2, column 5", "with z = 0", "divisor must not be 0"]),
        ("z = 1/0", ["line 1, column 5", "divisor must not be 0"]),
        ("z = (1 + 2", ["line 1, column 5", "never closed"]),
        ("z = 3 +", ["column 8", "breaks off"]),
        ("just words", ["This line assigns nothing"]),
        ("lambda = 3", ["`lambda` is a word of Python", "`lambda_`"]),
        ("x = 1\nz = 1,5*x", ["comma", "0.5"]),
        ("x = 1\nz = x if x else 2", ["one comparison", "`a if z > 0 else b`"]),
        ("x = 1\nz = |x|", ["abs(x)"]),
        ("x = 1\nz = max(x)", ["max takes at least 2 arguments, not 1"]),
        ("z = 1e999", ["too large"]),
        ("z = 9**9**9**9", ["too large for a number"]),
        ("# nothing\n", ["no formula"]),
        ("x = 1\nz = 2½*x", ["line 2, column 6: `½` right after `2`", "as in 2.5"]),
        ("x = 1\nz = x*0,5", ["line 2, column 8", "Decimals have a point: 0.5"]),
        ("x = 1\nz = x % 2", ["line 2, column 7: `%`", "50 % is 0.5"]),
        ("x = 1\nz = x^{2}", ["line 2, column 7: `{`", "Group with ( and )"]),
        ("x = 1\nz = sin x", ["did you mean `sin(x)`?"]),
        ("x = 1\nz = sin²(x)", ["did you mean `sin(x)**2`?"]),
        ("x = 1\nz = logg(x)", ["There is no function `logg`", "`log`"]),
        ("x = 1\nz = ReLU(x)", ["There is no function `ReLU`", "`relu`"]),
        ("z = √2", ["The root needs parentheses"]),
        ("x = 1\nz = not x", ["one comparison"]),
        ("x = 1\nz = 2 if x > 0", ["`a if z > 0 else b`"]),
        ("x = 1\nz = 2 if x = 0 else 3", ["written `==`"]),
        ("x = 1\nz = x + 1)", ["Unmatched ')'", "Every ( needs its )"]),
        ("z = 012", ["does not begin with 0"]),
        ("z = nan", ["no number to calculate with"]),
        ("z = \u200b", ["no formula here"]),
        ("z = q" + "a" * 300 + "*2", ["has no value"]),
        ("z = x\u202ey", ["U+202E (RIGHT-TO-LEFT OVERRIDE)", "Delete it"]),
    ],
)
def test_errors_point_at_the_place_and_say_what_to_write(text, said):
    message = refusal(text)
    for part in said:
        assert part in message


def test_what_is_suggested_can_be_read():
    assert "did you mean" not in refusal("x = 1\nz = 2x + ∂x")


def test_the_caret_stands_under_the_character_also_after_wide_and_folded_ones():
    lines = refusal("ŵ = 1\nz = ½·ŵ² + q").splitlines()
    assert lines[0].startswith("line 2, column 12: `q`")
    assert lines[1].index("q") == lines[2].index("^")


def test_a_value_given_and_assigned_is_refused():
    assert "also given a value" in refusal("w = 1\nz = w*2", w=3.0)
    assert "which is no name" in refusal("z = 1", **{"a b": 1.0})
    with pytest.raises(TypeError, match="no number for `w`"):
        build("z = w*2", w="3")
    with pytest.raises(TypeError, match="build reads a text"):
        build(3)


def test_a_text_that_is_refused_leaves_the_values_given_as_they_were():
    w = Value(2.0)
    with pytest.raises(FormulaError):
        build("L = w*", w=w)
    assert w.label == ""
    with pytest.raises(TypeError, match="named by text, not by int"):
        build("L = 1", {3: 1})


def test_values_may_be_given_as_values():
    w = Value(2.0)
    graph = build("L = w*w", w=w)
    graph.loss.backward()
    assert (graph["w"] is w, w.grad, w.label) == (True, 4.0, "w")


def test_the_longest_formula_is_read_and_one_character_more_refused():
    fits = "x" + " " * (LONGEST_FORMULA - 1)
    assert Formula(fits, known=["x"]).names == {"x": 0}
    with pytest.raises(FormulaError, match="limit is 10,000"):
        Formula(fits + " ")


def test_a_long_sum_needs_no_recursion():
    assert build("f = " + "+".join(["x**2"] * 1_500), x=1.0)["f"].data == 1_500.0
