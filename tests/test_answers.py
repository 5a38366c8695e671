"""Answers in other words: understood where the meaning is plain, else told, and never guessed."""

import contextlib
import dataclasses
import math
import sys
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Backprop, FormulaError, build, compare
from engine.answers import Answer, is_left_out, read_answer, read_answers
from engine.compare import Comparison
from engine.formula import LONGEST_FORMULA, Formula
from engine.printed import literal_of
from tests.strategies import case, worked

W5 = 0.0821670405642308
WITH_UNITS = "the numbers here have no units, such as"


@pytest.fixture(scope="module")
def mazur():
    return worked("mazur_2_2_2")["E"]


@pytest.fixture
def neuron():
    return build("z = w*x + b\na = sigmoid(z)\nL = 0.5*(y - a)**2", w=0.3, x=1.5, b=-0.2, y=1.0)["L"]


def row(loss, key, answer, **options):
    return compare(loss, {key: answer}, **options)[key]


def expected(loss, key, **options):
    return row(loss, key, "1", **options).expected


# What was asked


SPELLINGS = {
    "dE/dw5": "dw5|d w5|∂w5|∂E/∂w_5|∂E/∂w₅|∂E/∂w_{5}|d E / d w5|dE/d(w5)|w_5|w₅|w_{5}|w 5|grad(w5)|grad w5"
    "|gradient of w5|w5.grad|∇w5|δ_w5|delta(w5)",
    "dE/dnet_o1": "delta_net_o1|δ_net_o1|δnet_o1|δ net_o1|δ(net_o1)|net_o_1",
    "new(w5)": "new w5|new_w5|w5_new|w5 new|w5+|w5⁺|w_5+|updated w5|neu w5",
    "value(net_h1)": "value net_h1|value of net_h1|net_h1.data|value( net_h_1 )",
    "dE_o1/dout_h1": "dE_o1/dout_h_1",
    "local(out_h1, net_h1)": "local(out_h_1, net_h_1)",
}


@pytest.mark.parametrize("asked", SPELLINGS)
def test_a_question_is_understood_in_other_words(mazur, asked):
    for key in SPELLINGS[asked].split("|"):
        assert expected(mazur, key, lr=0.5) == expected(mazur, asked, lr=0.5) is not None, key


def test_a_name_of_the_graph_is_always_itself():
    leaves = {"w": 2.0, "x": 3.0, "dw": 4.0, "w5": 5.0, "w5_new": 1.0}
    graph = build("delta_z = w*x\nz = delta_z + dw\nw_5 = z*w5\nL = w_5 + w5_new", leaves)
    for name in graph:
        if name != "L":
            assert expected(graph.loss, name, lr=0.5) == expected(graph.loss, f"dL/d{name}", lr=0.5)
    assert expected(graph.loss, "w_5") == 1.0
    assert expected(graph.loss, "w5") == 10.0


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("δ_q", "No node is called 'δ_q'"),
        ("W5", "No node is called 'W5'. Did you mean `w5`"),
        ("new net_h1", "net_h1 is computed; only a leaf is updated."),
        ("E/w5", "A derivative is written dU/dV, as in dL/dw."),
        ("w" * 100_000, "No node is called"),
        (" " * 3 + "d" * 9_999 + "/" + "d" * 9_999, "No node is called"),
        ("_" * 50_000, "No node is called"),
    ],
)
def test_what_asks_for_nothing_is_told(mazur, key, said):
    found = row(mazur, key, "1", lr=0.5)
    assert (found.verdict, found.expected) == ("invalid", None)
    assert said in found.message


def test_an_update_asked_in_other_words_needs_the_rate(mazur):
    assert "needs the learning rate: pass lr=0.5" in row(mazur, "w5_new", "0.3589").message


def test_a_spelling_that_two_names_share_is_told():
    loss = build("L = w__1*w_1", w__1=2.0, w_1=3.0)["L"]
    found = row(loss, "w1", "1")
    assert (found.verdict, found.message) == ("invalid", "`w1` could be `w__1` or `w_1`: write which.")
    loss = build("L = d_new*_new", d_new=2.0, _new=3.0)["L"]
    assert expected(loss, "d_new") == 3.0
    loss = build("L = new*grad", new=2.0, grad=3.0)["L"]
    assert row(loss, "grad new", "1", lr=0.5).message == "`grad new` could be `dL/dnew` or `new(grad)`: write which."


# What was answered


@pytest.mark.parametrize(
    "answer",
    "0,0821670|8.21670e-2|8.21670E−2|8,21670·10^-2|8.21670x10^-2|8.21670*10**-2|8.21670 × 10⁻²|8.21670·10^(-2)"
    "|8.21670 \\cdot 10^{-2}|≈ 0.0821670|= 0.0821670|~0.0821670|= ≈ 0,0821670|0.0821670.|ca. 0.0821670|+0.0821670"
    "|0.0821670;|0,741365*0,186816*0,593270|(0,0821670)|max(0,1)*0.0821670"
    "|(out_o1 − t1)·out_o_1·(1 − out_o1)·out_h1.".split("|"),
)
def test_an_answer_is_understood_in_other_words(mazur, answer):
    found = row(mazur, "w5", answer)
    assert (found.verdict, found.message) == ("right", "")


@pytest.mark.parametrize(
    ("answer", "read", "unit"),
    [("0.0821670 V", "0.0821670", "V"), ("0.0821670mV", "0.0821670", "mV"), ("8.21670e-2 m/s^2", "8.21670e-2", "m/s^2"),
     ("0,0821670 kg·m²", "0.0821670", "kg·m²"), ("0.0821670 units.", "0.0821670", "units")],
)  # fmt: skip
def test_a_unit_is_left_aside_and_said_so(mazur, answer, read, unit):
    found = row(mazur, "w5", answer)
    assert found.verdict == "right"
    assert found.message == f"It is read as {read.replace('e-', 'e−')}: {WITH_UNITS} {unit}."


def test_the_unit_is_told_of_wrong_answers_too_and_a_name_is_no_unit(mazur):
    assert row(mazur, "w5", "-0.5 V").message == f"It is read as −0.5: {WITH_UNITS} V."
    loss = build("L = V*m", V=2.0, m=3.0)["L"]
    assert "did you mean `0.5*V`?" in row(loss, "m", "0.5 V").message
    assert "did you mean `2*pi`?" in row(loss, "m", "2 pi").message
    assert "did you mean `2*foo`?" in row(loss, "m", "2 foo").message
    ten = build("L = x*x10", x=2.0, x10=0.5)["L"]
    assert "did you mean `1.2*x10**-3`?" in row(ten, "x", "1.2x10^-3").message


def test_a_percentage_is_a_number(mazur):
    found = row(mazur, "w5", "8.2167 %")
    assert (found.verdict, found.obtained) == ("right", 0.082167)
    assert found.message == "It is read as 0.082167: 1 % is 0.01."


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [("8*10^-2", "undecided"), ("8.2*10^-2", "undecided"), ("8.22·10⁻²", "right"), ("8.23*10**-2", "wrong"),
     ("82.2x10^-3", "right")],
)  # fmt: skip
def test_the_digits_of_a_power_of_ten_are_those_before_it(mazur, answer, verdict):
    assert row(mazur, "w5", answer).verdict == verdict


def test_a_fraction_is_exact():
    loss = build("L = w*x", w=1.0, x=0.375)["L"]
    assert [row(loss, "w", answer).verdict for answer in ("3/8", "-3/-8", "6/16", "3⁄8", "3/7", "½")] == [
        "right", "right", "right", "right", "wrong", "wrong"
    ]  # fmt: skip
    told = row(build("L = w*x", w=1.0, x=0.0821670405)["L"], "w", "82167/1000000").message
    assert told.startswith("Whole numbers are exact, and this is off in significant digit 7. A decimal is judged by ")
    assert "³⁄8\n    ^" in row(loss, "w", "³⁄8").message
    assert row(loss, "∂L⁄∂w", "3/8").verdict == "right"
    assert row(build("L = w*x", w=1.0, x=0.37501)["L"], "w", "3/8").verdict == "wrong"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("1,234", "`1,234` could be 1.234 or 1234.\n    1,234\n    ^\n  Write 1.234 or 1234."),
        ("2*12,345", "column 3: `12,345` could be 12.345 or 12345."),
        ("max(0,5, 1)", "column 5: `0,5` could be one number or two."),
        ("1,5,3", "`1,5,3` is not one number."),
        ("1.2.3", "`1.2.3` is not one number."),
        ("1 234", "A number has no spaces within."),
        ("0.08217, 0.09", "An answer is one number, and these could be several."),
        ("0.138*0.59 = 0.082", "An answer is one number or one formula."),
        ("w6 = 0.082", "An answer is one number or one formula."),
        ("5e-2 %", "A percentage has no power of ten."),
        ("5·10^-2 %", "A percentage has no power of ten."),
    ],
)
def test_what_has_two_meanings_is_told_and_not_guessed(mazur, answer, said):
    found = row(mazur, "w5", answer)
    assert (found.verdict, found.obtained) == ("invalid", None)
    assert said in found.message


@pytest.mark.parametrize(
    ("answer", "number"),
    [("12,345.6", 12345.6), ("1.234,5", 1234.5), ("1,234,567", 1234567.0), ("1.234.567", 1234567.0), ("0,123", 0.123),
     (",5", 0.5), ("1.234", 1.234), ("1234,567", 1234.567), ("8.", 8.0), ("exp(0,5)", 1.6487212707001282),
     ("max(0,1)", 1.0), ("max(1,5,3)", 5.0), ("max((0,5), 0)", 0.5)],
)  # fmt: skip
def test_a_comma_is_a_point_or_separates_as_its_place_says(mazur, answer, number):
    assert row(mazur, "w5", answer).obtained == number


@pytest.mark.parametrize(
    "answer",
    "|   |?|???|-|–|—|…|...|___|()|/|n/a|N/A.|k. A.|keine Ahnung|Keine Ahnung!|weiß nicht|I don't know|I don’t know..."
    "|no idea|idk|TODO|None|\u200b|\ufeff ?".split("|"),
)
def test_what_is_left_out_is_not_answered(mazur, answer):
    found = row(mazur, "w5", answer)
    assert found.verdict == "invalid"
    assert found.expected == pytest.approx(W5)
    assert found.message == "This is not answered.\n  Write a number or a formula: 0.25, or (a - y)*x."


@pytest.mark.parametrize("answer", [None, math.nan, np.float64("nan"), Decimal("NaN")])
def test_what_has_no_number_in_a_table_is_not_answered(mazur, answer):
    assert row(mazur, "w5", answer) == dataclasses.replace(row(mazur, "w5", ""), answer=str(answer))


def test_an_unanswered_line_is_told_by_its_number(mazur):
    from engine.compare import judge

    report = judge(mazur, read_answers("w6 = 0.0827\nw5 =\n"), lr=None, digits=3, seed=0, convention="gradient")
    assert report["w6"].verdict == "right"
    assert report["w5"].message.startswith("line 2: This is not answered.")


def test_a_name_of_the_graph_is_an_answer_whatever_it_means_elsewhere():
    loss = build("L = w*na + none", w=2.0, na=3.0, none=1.0)["L"]
    assert row(loss, "w", "na").verdict == "right"
    assert is_left_out("na") is True
    assert is_left_out("na", {"na"}) is False


@given(st.text(max_size=60))
def test_any_text_is_read_or_told(text):
    known = ("w5", "x")
    with contextlib.suppress(FormulaError):
        reading = read_answer(text, known=known)
        assert len(reading.source.places) == len(reading.text) + 1
        assert all(0 <= place <= len(text) for place in reading.source.places)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-999, max_value=999))
def test_a_number_is_the_same_with_a_point_and_with_a_comma(number):
    text = f"{number:f}"
    assert float(literal_of(Formula(read_answer(text.replace(".", ",")).text))) == float(text)


@pytest.mark.parametrize("text", case("hostile_inputs.json")["formulas_accept"])
def test_a_plain_formula_is_left_as_it_is(text):
    assert read_answer(text, known=("x", "y")).text == text


@pytest.mark.parametrize(
    "gradient",
    ["dE/dnet_o1", "∂E/∂net_o1", "∂E / ∂net_o1", "δ_net_o1", "δnet_o1", "delta_net_o1", "grad(net_o1)", "dnet_o1",
     "net_o1.grad", "dE/d(net_o1)", "∂E⁄∂net_o1"],
)  # fmt: skip
@pytest.mark.parametrize("rest", ["*out_h1", " · out_h1(1 - out_h1) i1"])
def test_a_gradient_in_a_formula_is_told_as_one(mazur, gradient, rest):
    told = row(mazur, "w5", f"2*{gradient}{rest}").message
    assert told.startswith(f"column 3: `{gradient}` is a gradient: formulas here are of values and numbers.")
    assert "Did you mean" not in told
    assert "did you mean" not in told


def test_names_of_the_graph_are_no_gradients():
    loss = build("L = dw*w + delta*x", dw=2.0, w=3.0, delta=1.0, x=1.0)["L"]
    assert row(loss, "w", "dw").verdict == "right"
    assert row(loss, "w", "dw*(").message.startswith("column 4: '(' was never closed.")
    assert "Nothing is called `dq`" in row(loss, "w", "dq*w").message


# Files


def test_a_colon_separates_too():
    answers = read_answers("w5: 0.08\nw6 := 0.08\nw7 ≈ 0.02\nb: 1 if w5 == 2 else 0\n")
    assert [(answer.name, answer.given.strip()) for answer in answers] == [
        ("w5", "0.08"), ("w6", "0.08"), ("w7", "0.02"), ("b", "1 if w5 == 2 else 0")
    ]  # fmt: skip


def test_an_error_points_into_the_line_whatever_was_understood_before_it(mazur):
    from engine.compare import judge

    report = judge(
        mazur, read_answers("w5: ≈ 0,5*(out_o_1 + q)\n"), lr=None, digits=3, seed=0, convention="gradient"
    )  # fmt: skip
    told = report["w5"].message
    assert "line 1, column 22: Nothing is called `q`." in told
    line, caret = told.splitlines()[1:3]
    assert line[caret.index("^")] == "q"


# While predicting


@pytest.mark.parametrize("answer", ["0,0822", "8.22·10^-2", "≈ 0.0822", "0.0822 V", "0,0822.", "dE/dnet_o1 * out_h_1"])
def test_a_prediction_is_read_in_the_same_words(answer):
    assert Backprop(worked("mazur_2_2_2")["E"]).predict("w5", answer).verdict == "right"


def test_the_product_that_is_suggested_is_understood():
    walk = Backprop(build("z = w*x\na = sigmoid(z)\nL = (a - 1)**2", w=0.3, x=1.5)["L"])
    suggested = walk.predict("w", "∂L/∂a · a(1-a) x").message.split("did you mean `")[1].removesuffix("`?")
    assert walk.predict("w", suggested).verdict == "right"


def test_a_wrong_prediction_in_other_words_is_told_the_same_mistake():
    walk = Backprop(worked("mazur_2_2_2")["E"])
    for answer in ("-0.0821670", "−0,0821670", "-8.21670·10⁻²"):
        assert [mistake.key for mistake in walk.predict("w5", answer).mistakes] == ["sign_flipped"]


# Hostile and undefined


HOSTILE = [
    *[text for text in case("hostile_inputs.json")["formulas_reject"] if text != "x^2"],  # which is x**2 here
    "1/(w - w)", "log(-1 - w**2)", "sqrt(-1)", "1/0", "exp(exp(exp(exp(w + 9))))", "10**400*w", "9**9**9**9",
    "1e-99999999999999999999", "0e-99999999999999999999", "1·10^99999999999", "1" * 9_000, "1," * 4_000, "," * 9_999,
    "1" + " " * 9_000 + "z", "≈" * 9_999, "= " * 4_000, "a" * 9_999, "a " * 4_999, "(" * 9_999, "exp(" * 2_000,
    "_" * 9_999 + "x", "w_" * 4_999, ". " * 4_999, "x*" * 200_000, "+".join(["w"] * 400_000), "max(" + "0,5," * 2_000,
]  # fmt: skip


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda text: ascii(text[:30]))
def test_what_is_hostile_or_undefined_is_refused_with_little_work(neuron, answer, monkeypatch):
    """Refused before any comparison, and the work is counted in calls."""
    comparison = Comparison(neuron, None, 3, 0, "gradient", ())
    judged, calls = [], 0
    monkeypatch.setattr(Comparison, "judge_formula", lambda *_: judged.append(_))

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    report = None
    sys.setprofile(count)
    try:
        report = comparison.row(Answer("w", answer))
    finally:
        sys.setprofile(None)
    assert report.verdict == "invalid"
    assert report.message
    assert judged == []
    assert calls < 30 * LONGEST_FORMULA
