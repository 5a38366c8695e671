"""Predict first: what is right, which mistake it was, and the score."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Backprop, FormulaError, Prediction, Value, build, compare
from engine.blanks import blanks
from engine.graph import nodes
from engine.prediction import judge_blank
from tests.strategies import graphs, worked
from tests.terminals import ROOT


@pytest.fixture
def walk():
    return Backprop(worked("mazur_2_2_2")["E"])


def numbers(walk):
    return [(node.data, node.grad) for node in nodes(walk.loss)], walk.position


def blank_at(walk, name, question):
    """One blank of the step at a node, with the walk before it."""
    walk.run_to(name)
    step = walk.step()
    walk.back()
    return next(blank for blank in blanks(step) if blank.question == question)


@pytest.mark.parametrize(
    ("question", "answer", "verdict"),
    [
        ("w5", "0.0822", "right"),
        ("w5", 0.0821670405642308, "right"),
        ("w5", "0.08", "undecided"),
        ("w5", "0.083", "wrong"),
        ("dE/dw5", "(out_o1 - t1)*out_o1*(1 - out_o1)*out_h1", "right"),
        ("dE/dw5", "(out_o1 - t1)*out_o1*(1 - out_o1)*w5", "wrong"),
        ("dE_o1/dout_h1", "0.0554", "right"),
        ("local(out_h1, net_h1)", "out_h1*(1 - out_h1)", "right"),
        ("value(net_h1)", "0.3775", "right"),
        ("w5", "0.741*0.187*0.593", "right"),
        ("w5", "what?", "invalid"),
    ],
)
def test_an_answer_is_judged_as_compare_judges_it(walk, question, answer, verdict):
    walk.goto(7)
    before = numbers(walk)
    prediction = walk.predict(question, answer)
    row = compare(worked("mazur_2_2_2")["E"], {question: answer})[question]
    assert (prediction.verdict, prediction.expected) == (row.verdict, row.expected)
    assert prediction.verdict == verdict
    assert numbers(walk) == before


def test_a_node_can_be_asked_by_itself_and_the_digits_needed_be_chosen(walk):
    assert walk.predict(walk.find("w5"), "0.08", digits=1).verdict == "right"
    assert walk.predict("w5", "0.0822", digits=5).verdict == "undecided"


@pytest.mark.parametrize(
    ("question", "error", "said"),
    [
        ("w55", LookupError, "No node is called 'w55'. Did you mean"),
        ("dE/dw55", LookupError, "No node is called 'w55'"),
        ("local(w5)", ValueError, "local takes two names"),
        ("new(w5)", ValueError, "learning rate"),
        ("1/2", ValueError, "asks for nothing"),
    ],
)
def test_a_question_that_is_none_is_an_error(walk, question, error, said):
    with pytest.raises(error, match=said.replace("(", r"\(").replace(")", r"\)")):
        walk.predict(question, 1)
    with pytest.raises(ValueError, match="digits is a whole number"):
        walk.predict("w5", 1, digits=0)
    assert len(walk.score) == 0


@pytest.mark.parametrize(
    ("question", "answer", "keys", "message"),
    [
        ("out_h1", "0.0553994", ["path_missing"], "Perhaps you took the path by net_o1 alone, and paths are added."),
        (
            "net_o1",
            "0.741365",
            ["activation_derivative_missing"],
            "Perhaps you left out σ′(net_o1) = out_o1·(1 − out_o1).",
        ),
        (
            "w5",
            "0.0554",
            ["weight_for_input"],
            "Perhaps you took w5 itself, and the derivative is the other factor, out_h1.",
        ),
        ("w5", "-0.08216704", ["sign_flipped"], "Perhaps you turned the sign of out_h1."),
        ("w5", "0.400", ["value_for_gradient"], "This is the value of w5."),
        ("w5", "0.123", [], ""),
    ],
)
def test_a_wrong_number_is_told_which_mistake_gives_it(walk, question, answer, keys, message):
    prediction = walk.predict(question, answer)
    assert prediction.verdict == "wrong"
    assert [mistake.key for mistake in prediction.mistakes] == keys
    assert message in prediction.message


def test_mistakes_that_fit_alike_are_joined():
    walk = Backprop(build("z = a*b\nL = tanh(z)", a=1.0, b=1.5).loss)
    blank = blank_at(walk, "z", "∂z/∂b = ?")
    assert judge_blank(walk, blank, "1.5").message == (
        "Perhaps you took b itself, and the derivative is the other factor, a; or you gave the value of z."
    )


def test_a_prediction_prints_itself(walk):
    assert str(walk.predict("w5", "0.0822")) == "∂E/∂w5 = 0.0822 is right."
    assert repr(walk.predict("w5", 0.08)) == (
        "∂E/∂w5 = 0.08 is undecided.\n  Right as far as it goes: 1 significant digit, and 3 are needed."
    )
    wrong = str(walk.predict("out_h1", "0.0553994"))
    assert wrong.startswith("∂E/∂out_h1 = 0.0553994 is wrong.\n  Perhaps you took the path by net_o1 alone")
    assert "0.0363" not in wrong  # to be tried again


@pytest.mark.parametrize(
    ("question", "answer", "verdict"),
    [
        ("∂E/∂out_h1 = ?", "0.0363503", "right"),
        ("∂E/∂out_h1 = ?", "0.0553994 - 0.0190491", "right"),
        ("∂E/∂out_h1 = ?", "dE/dnet_o1*w5 + dE/dnet_o2*w7", "right"),
        ("∂E/∂out_h1 = ?", "net_o1.grad*w5 - 0.0190491", "right"),  # a name, and a number that was rounded
        ("∂E/∂out_h1 = ?", "dE/dnet_o1*w5", "wrong"),
        ("∂E/∂out_h1 = ?", "dE/dnet_o1*w7 + dE/dnet_o2*w5", "wrong"),
        ("∂out_h1/∂net_h1 = ?", "0.241", "right"),
        ("∂out_h1/∂net_h1 = ?", "0.24", "undecided"),
        ("∂out_h1/∂net_h1 = ?", "out_h1*(1 - out_h1)", "right"),
        ("∂out_h1/∂net_h1 = ?", "out_h1 - out_h1²", "right"),
        ("∂out_h1/∂net_h1 = ?", "sigmoid(net_h1)*(1 - sigmoid(net_h1))", "right"),
        ("∂out_h1/∂net_h1 = ?", "0.59327*(1 - 0.59327)", "right"),
        ("∂out_h1/∂net_h1 = ?", "out_h1*(1 - net_h1)", "wrong"),
        ("∂E/∂net_h1 += ?", "grad*out_h1*(1 - out_h1)", "right"),
        ("∂E/∂net_h1 += ?", "∂E/∂out_h1 * out_h1*(1 - out_h1)", "right"),
        ("∂E/∂net_h1 += ?", "0.0363503*0.241301", "right"),
        ("∂E/∂net_h1 += ?", "grad*0.2413", "right"),
        ("∂E/∂net_h1 += ?", "(dE/dnet_o1*w5 + dE/dnet_o2*w7)*out_h1*(1 - out_h1)", "right"),
        ("∂E/∂net_h1 += ?", "grad", "wrong"),
        ("∂E/∂net_h1 += ?", "out_h1*(1 - out_h1)", "wrong"),
        ("∂E/∂net_h1 += ?", "w1.grad + 0.00877135", "right"),  # a gradient so far is a number of this place
        ("∂E/∂net_h1 += ?", "grad*0.2", "undecided"),
    ],
)
def test_a_blank_takes_numbers_and_formulas_over_gradients(walk, question, answer, verdict):
    blank = blank_at(walk, "out_h1", question)
    before = numbers(walk)
    prediction = judge_blank(walk, blank, answer)
    assert (prediction.verdict, prediction.question, prediction.step) == (verdict, question, 12)
    assert prediction.kind == ("sum of paths" if "out_h1 =" in question[:13] else "sigmoid")
    assert numbers(walk) == before


def test_a_formula_that_is_right_here_by_chance_is_wrong():
    walk = Backprop(build("L = x**2", x=2.0).loss)
    blank = blank_at(walk, "L", "∂L/∂x = ?")
    assert judge_blank(walk, blank, "2*x").verdict == "right"
    prediction = judge_blank(walk, blank, "x*x")
    assert prediction.verdict == "wrong"
    assert prediction.message.startswith("For example at x = ")
    assert judge_blank(walk, blank, "x*x*x").message == "Perhaps you did not lower the exponent 2 by 1."


def test_what_is_asked_is_no_answer(walk):
    blank = blank_at(walk, "out_h1", "∂E/∂out_h1 = ?")
    for answer in ("grad", "dE/dout_h1", "1*out_h1.grad"):
        with pytest.raises(FormulaError, match="This gradient is what is asked"):
            judge_blank(walk, blank, answer)


@given(graphs(most=10), st.integers(3, 12))
def test_every_number_of_every_step_printed_to_some_digits_is_right(graph, digits):
    loss, _ = graph
    loss.zero_grad()
    walk = Backprop(loss)
    for position in range(len(walk)):
        walk.goto(position)
        step = walk.step()
        walk.back()
        for blank in blanks(step):
            assert judge_blank(walk, blank, f"{blank.expected:.{digits - 1}e}").verdict == "right"


def test_the_first_try_counts_and_all_are_kept(walk):
    for answer in ("0.0554", "0.0822", "0.08"):
        walk.predict("w5", answer)
    walk.predict("w6", "0.08")
    walk.predict("w6", "0.0827")
    walk.predict("w7", "not at all")
    walk.predict("out_h1", "0.0553994")
    assert walk.score.counts == {
        "dot": {"right": 1, "wrong": 1, "shown": 0, "undecided": 0},  # too few digits are no try
        "sum of paths": {"right": 0, "wrong": 1, "shown": 0, "undecided": 0},
    }
    assert walk.score.total == {"right": 1, "wrong": 2, "shown": 0, "undecided": 0}
    assert [one.answer for one in walk.score.predictions] == ["0.0554", "0.0822", "0.08", "0.08", "0.0827", "0.0553994"]
    assert len(walk.score) == 3
    assert str(walk.score) == (
        " first tries    right   wrong   shown   undecided   of\n"
        " ─────────────────────────────────────────────────────\n"
        " dot                1       1                        2\n"
        " sum of paths               1                        1\n"
        " all                1       2                        3\n"
        "\n"
        "mistakes: weight_for_input 1×, path_missing 1×"
    )


def test_the_same_question_after_numbers_have_changed_is_another(walk):
    walk.predict("w5", "0.0822")
    walk.set("w5", 0.3)
    walk.predict("w5", "0.0822")
    assert walk.score.total == {"right": 1, "wrong": 1, "shown": 0, "undecided": 0}


def test_the_score_is_written_for_a_teacher(walk, tmp_path):
    walk.predict("w5", "0.0554")
    walk.predict("w5", "0.0822")
    path = walk.score.save(tmp_path / "ada.json", {"student": "Ada"})
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "student": "Ada",
        "format": "chalkgrad score 1",
        "loss": "E",
        "total": {"right": 0, "wrong": 1, "shown": 0, "undecided": 0},
        "counts": {"dot": {"right": 0, "wrong": 1, "shown": 0, "undecided": 0}},
        "questions": [
            {
                "step": None,
                "question": "∂E/∂w5 = ?",
                "kind": "dot",
                "expected": 0.0821670405642308,
                "counted": "wrong",
                "tries": [
                    {"answer": "0.0554", "verdict": "wrong", "mistakes": ["weight_for_input"]},
                    {"answer": "0.0822", "verdict": "right", "mistakes": []},
                ],
            }
        ],
    }
    with pytest.raises(ValueError, match=r"saved as \.json"):
        walk.score.save(tmp_path / "ada.txt")


def test_predictions_are_public_and_frozen(walk):
    prediction = walk.predict("w5", "0.0822")
    assert isinstance(prediction, Prediction)
    with pytest.raises(AttributeError):
        prediction.verdict = "wrong"


def test_a_graph_that_was_edited_is_told_of(walk):
    walk.find("w5").data = 2.0
    with pytest.raises(ValueError, match=r"restart\(\) computes everything from the leaves"):
        walk.predict("w5", 1)


def test_an_infinite_gradient_is_not_written_as_a_number():
    walk = Backprop(build("L = 2*sqrt(x)", x=0.0).loss)
    assert walk.predict("x", "1/sqrt(x)").expected is None
    assert json.loads(walk.score.to_json())["loss"] == "L"


def test_hostile_labels_are_data_in_the_score():
    x = Value(2.0, label='"},\n"format": "\x1b[31m')
    walk = Backprop(x * x)
    walk.predict(x, "4.00")
    assert json.loads(walk.score.to_json())["format"] == "chalkgrad score 1"
    assert "\x1b" not in str(walk.score) + str(walk.score.predictions)


def test_two_processes_write_the_same_score():
    code = (
        "from engine import Backprop, build; w = Backprop(build(open('demos/mazur.txt').read()).loss); "
        "w.interact('predict;n;1;2;w5;;.;goto 11;s;0.0554;0.03635;1;.;predict w5 = 0.0554'.split(';')); "
        "print(w.score.to_json(), w.score)"
    )
    environment = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "PATH": ""}
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert b"path_missing" in printed.pop()
