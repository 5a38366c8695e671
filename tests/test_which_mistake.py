"""Which mistake a wrong answer was, in a report: for formulas, numbers, local derivatives, new weights."""

import pytest

from engine import build, compare
from tests.strategies import worked

NEURON = "z = w*x + b\na = sigmoid(z)\nL = 0.5*(y - a)**2"


@pytest.fixture
def neuron():
    return build(NEURON, w=0.3, x=1.5, b=-0.2, y=1.0).loss


def named(report, name):
    """Verdict, first wrong node, and the keys of an answer's mistakes."""
    row = report[name]
    return row.verdict, row.node, [mistake.key for mistake in row.mistakes]


def test_the_message_shows_the_line_that_went_wrong_in_the_students_own_terms(neuron):
    row = compare(neuron, {"w": "-(y - a)*x"})["w"]
    assert row.mistakes[0].text == "At a = σ(z) you left out σ′(z) = a·(1 − a): your answer is ∂L/∂a·x."
    assert row.mistakes[0].node == row.node == "z"


def test_a_change_that_leaves_the_gradient_as_it_is_is_no_mistake():
    loss = build("z = w*x\na = relu(z)\nL = (a - y)**2", w=0.7, x=1.5, y=0.2).loss
    assert compare(loss, {"w": "2*(a - y)*step(a)*x"}).ok  # f'(a) for f'(z)


def test_what_cannot_be_told_apart_is_told_together(neuron):
    verdict, _, keys = named(compare(neuron, {"w": "-(y - a)*a*(1 - a)"}), "w")
    assert verdict == "wrong"
    assert {"input_factor_missing", "stopped_early", "wrong_variable"} <= set(keys)


@pytest.mark.parametrize("answer", ["-(y - a)*a*(1 - a)*x + 0.3*w**3", "tan(a) - x*x", "1.37*y"])
def test_what_no_known_mistake_gives_is_wrong_and_has_no_name(neuron, answer):
    assert named(compare(neuron, {"w": answer}), "w") == ("wrong", "w", [])


def test_a_repair_is_told_where_one_change_makes_it_right(neuron):
    message = compare(neuron, {"w": "-(y - a)*a*(1 - x)*x"})["w"].message
    assert message.endswith("With a in place of x it is right.")
    assert "With" not in compare(neuron, {"w": "7"})["w"].message  # it would be the answer


def test_a_formula_that_follows_from_a_wrong_one_is_right(neuron):
    report = compare(neuron, {"a": "-(y - a)", "z": "-(y - a)", "w": "-(y - a)*x", "b": "-(y - a)*x"})
    assert [named(report, name)[0] for name in report] == ["right", "wrong", "right", "wrong"]
    assert named(report, "w")[2] == ["follow_through"]
    assert named(report, "b")[:2] == ("wrong", "b")
    assert named(report, "b")[2][0] == "bias_chain"


def test_right_answers_further_on_tell_that_the_mistake_came_after_them():
    graph = build(
        "z1 = w1*x\nh = sigmoid(z1)\nz2 = w2*h\na = sigmoid(z2)\nL = (a - y)**2", w1=0.4, w2=-0.6, x=1.2, y=0.1
    )
    alone = "2*(a - y)*a*(1 - a)*w2*h*(1 - h)"
    report = compare(graph.loss, {"h": "2*(a - y)*a*(1 - a)*w2", "z1": "2*(a - y)*a*(1 - a)*w2", "w1": alone + "*w1"})
    assert named(report, "z1") == ("wrong", "z1", ["activation_derivative_missing", "stopped_early"])
    assert named(report, "w1")[:2] == ("wrong", "w1")
    assert named(report, "w1")[2][0] == "weight_for_input"


def test_a_number_is_named_to_its_digits(neuron):
    assert named(compare(neuron, {"w": "-0.6567"}), "w")[:2] == ("wrong", "z")
    assert "activation_derivative_missing" in named(compare(neuron, {"w": "-0.6567"}), "w")[2]
    assert named(compare(neuron, {"w": "-0.6571"}), "w")[2] == []
    assert named(compare(neuron, {"w": "-0.7"}), "w")[2] == []  # too rough to tell


def test_a_whole_number_means_itself():
    circuit = build("q = x + y\nf = q*z", x=-2.0, y=5.0, z=-4.0).loss
    assert named(compare(circuit, {"q": "4"}), "q")[2][0] == "sign_flipped"
    assert named(compare(circuit, {"q": "0"}), "q")[0] != "right"


def test_the_value_of_a_node_is_not_its_gradient(neuron):
    for answer in ("0.25", "z"):
        assert named(compare(neuron, {"z": answer}), "z")[2][0] == "value_for_gradient"


def test_local_derivatives_are_named_too(neuron):
    assert named(compare(neuron, {"local(a, z)": "1 - a**2"}), "local(a, z)")[2][0] == "wrong_activation_derivative"


def test_a_new_weight_is_named_by_its_gradient(neuron):
    report = compare(neuron, {"new(w)": "w + 0.5*(y - a)*x"}, lr=0.5)
    assert named(report, "new(w)") == ("wrong", "z", ["activation_derivative_missing"])


def test_names_are_the_same_in_the_other_convention(neuron):
    report = compare(neuron, {"z": "y - a"}, convention="negative_gradient")
    assert named(report, "z")[2][0] == "activation_derivative_missing"


def test_given_values_that_were_put_in_are_named_at_the_given_values(neuron):
    assert "activation_derivative_missing" in named(compare(neuron, {"w": "-(y - a)*1.5"}), "w")[2]


@pytest.mark.parametrize("answer", ["pi", "e", "-pi", "w", "0*w", "1e300*w", "L"])
def test_odd_answers_are_wrong_and_nothing_breaks(neuron, answer):
    assert compare(neuron, {"w": answer})["w"].verdict == "wrong"


def test_constants_that_were_rounded_do_not_hide_a_mistake():
    loss = build("z = w*x + b\nL = z**2/3", w=0.3, x=1.5, b=-0.2).loss
    assert named(compare(loss, {"w": "0.667*z"}), "w")[2][0] == "input_factor_missing"


def test_updated_weights_are_named_by_those_that_matter():
    row = compare(worked("mazur_2_2_2")["E"], {"out_h1": UPDATED}, lr=0.5)["out_h1"]
    assert (row.mistakes[0].key, row.node) == ("updated_weights", "out_h1")
    assert "w5" in row.mistakes[0].text


DELTA_1, DELTA_2 = "(out_o1 - t1)*out_o1*(1 - out_o1)", "(out_o2 - t2)*out_o2*(1 - out_o2)"
UPDATED = f"{DELTA_1}*(w5 - lr*{DELTA_1}*out_h1) + {DELTA_2}*w7"
