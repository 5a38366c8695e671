"""The comparison: what is right, what is wrong, and that a planted error is caught."""

import math
import random
import time
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Value, build, compare, dot, sigmoid
from engine.compare import Comparison
from engine.formula import Formula
from engine.graph import nodes
from engine.printed import judge_number
from engine.sampling import Sampler
from tests.strategies import case, drawn_leaves, graph_of, graphs, worked

EQUIVALENT = case("equivalent.json")
MISTAKES = case("mistakes.json")
MAZUR_GRADIENTS = {
    "dE/dout_o1": "0.74136507",
    "dE/dw5": "0.082167041",
    "dE/dnet_o1": "0.138498562",
    "dE_o1/dout_h1": "0.055399425",
    "dE/dout_h1": "0.036350306",
    "dE/dw1": "0.000438568",
}


def verdict(loss, key, answer, **options):
    return compare(loss, {key: answer}, **options)[key].verdict


@pytest.fixture
def mazur():
    return worked("mazur_2_2_2")["E"]


@pytest.fixture
def neuron():
    """One sigmoid neuron and half its squared error."""
    return build("z = w*x + b\na = sigmoid(z)\nL = 0.5*(y - a)**2", w=0.3, x=1.5, b=-0.2, y=1.0)["L"]


@pytest.mark.parametrize("example", EQUIVALENT, ids=lambda example: example["id"])
def test_right_derivations_written_differently_are_accepted(example):
    for seed in range(100):
        loss = graph_of(example, drawn_leaves(example, seed))[example["loss"]]
        report = compare(loss, {example["wrt"]: example["student"]}, seed=seed)
        assert report.ok, f"seed {seed}\n{report}"


@pytest.mark.parametrize("example", MISTAKES, ids=lambda example: example["id"])
def test_wrong_derivations_are_never_accepted(example):
    for seed in range(30):
        loss = graph_of(example, drawn_leaves(example, seed))[example["loss"]]
        assert verdict(loss, example["wrt"], example["wrong"], seed=seed, lr=0.5) == "wrong"


@pytest.mark.parametrize("example", MISTAKES, ids=lambda example: example["id"])
def test_each_published_mistake_is_named_first_with_the_node_where_it_was_made(example):
    for seed in range(10):
        loss = graph_of(example, drawn_leaves(example, seed))[example["loss"]]
        row = compare(loss, {example["wrt"]: example["wrong"]}, seed=seed, lr=0.5)[example["wrt"]]
        assert (row.mistakes[0].key, row.node) == (example["mistake"], example["first_wrong_node"])


@pytest.mark.parametrize("example", MISTAKES, ids=lambda example: example["id"])
def test_the_right_derivations_of_the_same_graphs_are_accepted(example):
    if example["id"].startswith("m32"):  # right only where y > z, and said to be so
        loss = graph_of(example, {"x": 1.0, "y": 1.0, "z": -4.0})["f"]
        row = compare(loss, {"y": example["correct"]})["y"]
        assert (row.verdict, "on the side of each kink where the given values lie" in row.message) == ("wrong", True)
        assert verdict(loss, "y", "max(y, z) + (x + y)*step(y - z)") == "right"
        return
    for seed in range(5):
        loss = graph_of(example, drawn_leaves(example, seed))[example["loss"]]
        assert verdict(loss, example["wrt"], example["correct"], seed=seed, lr=0.5) == "right"


@given(graphs(most=8))
def test_the_engines_own_numbers_are_right_and_moved_ones_wrong(graph):
    loss, _ = graph
    loss.zero_grad()
    loss.backward()
    labelled = {node.label: node for node in nodes(loss) if node.label}
    if not labelled:
        return
    assert compare(loss, {name: node.grad for name, node in labelled.items()}).ok
    for name, node in labelled.items():
        if abs(node.grad) > 1e-3:
            assert verdict(loss, name, f"{node.grad * 1.01:.7e}") == "wrong"
            assert verdict(loss, name, f"{node.grad:.7e}") == "right"


@pytest.mark.parametrize(
    ("text", "expected", "verdict"),
    [
        ("0.082167041", 0.08216704056, "right"),
        ("0.082167042", 0.08216704056, "wrong"),  # outside half a unit is wrong at any length
        ("0.0822", 0.08216704056, "right"),
        ("0.08", 0.08216704056, "undecided"),  # one digit is not enough
        ("0.09", 0.08216704056, "wrong"),
        ("0.082", 0.08216704056, "undecided"),
        ("0.500", 0.5, "right"),  # trailing zeros count
        ("0.5", 0.5, "right"),  # exact
        ("0.5", 0.5004, "undecided"),
        ("0", 0.0, "right"),
        ("0", 0.3, "undecided"),
        ("0.000", 0.0004, "undecided"),
        ("3", 3.0, "right"),
        ("3", 3.6, "wrong"),
        ("-1.50e-3", -0.0015, "right"),
        ("1200", 1200.4, "right"),
        ("0.7071066904050358", 0.7071067811865476, "right"),  # 15 digits and more: a float, to 1e-6
        ("0.7071050000000000", 0.7071067811865476, "wrong"),
        ("0.125", 0.1245, "right"),  # exactly half a unit away
    ],
)
def test_a_printed_number_is_judged_by_its_digits(text, expected, verdict):
    assert judge_number(text, expected, 3, 0.0)[0] == verdict


def test_the_number_of_digits_that_are_needed_can_be_set(mazur):
    assert verdict(mazur, "w5", "0.082") == "undecided"
    assert verdict(mazur, "w5", "0.082", digits=2) == "right"
    assert verdict(mazur, "w5", "0.0821670", digits=9) == "undecided"


def test_numbers_may_come_as_python_numbers(mazur):
    grad = 0.082167040564230779
    for right in (grad, grad * (1 + 5e-7), np.float64(grad), Decimal("0.082167041"), Fraction(grad), Value(grad)):
        assert verdict(mazur, "w5", right) == "right", repr(right)
    assert verdict(mazur, "w5", grad * (1 + 5e-6)) == "wrong"
    circuit = worked("cs231n_add_mul")["f"]
    assert verdict(circuit, "x", -4) == "right"
    assert verdict(circuit, "x", -3) == "wrong"


def test_numbers_multiplied_out_are_right_if_their_roundings_can_reach_the_engine(mazur):
    assert verdict(mazur, "w5", "0.741*0.187*0.593") == "right"
    assert verdict(mazur, "w5", "0.741365*0.186816*0.593270") == "right"
    assert verdict(mazur, "w5", "0.741*0.187*0.598") == "wrong"
    assert verdict(mazur, "w5", "0.741*(1 - 0.813)*0.593") == "right"
    assert verdict(worked("cs231n_add_mul")["f"], "x", "-8/2") == "right"
    assert verdict(worked("cs231n_add_mul")["f"], "x", "-9/2") == "wrong"
    assert verdict(mazur, "w5", "0.1*1") == "undecided"  # 0.05 … 0.15 says nothing


def test_mazurs_gradients_are_right_and_one_changed_digit_is_found(mazur):
    assert compare(mazur, MAZUR_GRADIENTS).ok
    for name, printed in MAZUR_GRADIENTS.items():
        for place in range(len(printed) - 5, len(printed)):
            digit = str((int(printed[place]) + 4) % 10)
            report = compare(mazur, {**MAZUR_GRADIENTS, name: printed[:place] + digit + printed[place + 1 :]})
            assert [row.name for row in report.values() if row.verdict == "wrong"] == [name]
            assert report[name].node == name.split("/d")[1]


def test_the_last_digit_off_is_told_as_such(mazur):
    row = compare(mazur, {"dE_o2/dout_h1": "-0.019049119"})["dE_o2/dout_h1"]
    assert row.verdict == "wrong"
    assert row.message == "Only the last digit is off: to this many places it is −0.019049118."


def test_the_first_node_is_found_through_roundings_and_exact_numbers(mazur):
    def became(answers):
        return [(row.verdict, row.node) for row in compare(mazur, answers, digits=1).values()]

    right = "right", None
    # 0.94 was carried on, and 0.9 printed, too roughly to tell; the exact 1 of ∂E/∂E_o1 leaves nothing in doubt.
    rough = "undecided", None
    assert became({"E_o1": "1", "out_o1": "0.9", "net_o1": "0.1756"}) == [right, ("wrong", "out_o1"), rough]
    assert became({"E_o1": "1", "E_o2": "1", "out_o1": "0.941", "w5": "0.1043"}) == [
        right,
        right,
        ("wrong", "out_o1"),
        right,
    ]
    # Carried as 0.741 and printed as 0.74, so that ∂E/∂net_o1 follows and the slip is at w5.
    assert became({"out_o1": "0.74", "net_o1": "0.13843", "w5": "0.9"}) == [right, right, ("wrong", "w5")]
    # Roundings add up, and nothing else.
    assert became({"out_o1": "0.74", "net_o1": "0.13824", "w5": "0.0820136"}) == [right, right, right]


def test_a_gradient_that_is_zero_but_for_rounding_is_zero():
    loss = build("L = x*0.1 + x*0.2 - x*0.3", x=1.0)["L"]
    assert compare(loss, {"x": "0"})["x"].expected != 0.0
    assert verdict(loss, "x", "0") == "right"
    steep = build("u = x*2\nL = sqrt(u) + w*y", x=0.0, w=1.0, y=5.0)["L"]  # an infinite gradient elsewhere
    assert verdict(steep, "w", "0") == "wrong"


def test_decimals_are_judged_by_their_digits(mazur):
    assert verdict(mazur, "w5", Decimal("0.082167045")) == "wrong"


@given(
    st.sampled_from(["out_o1", "net_o1", "out_h1", "net_h1"]), st.floats(0.2, 3.0).filter(lambda x: abs(x - 1) > 0.1)
)
def test_a_planted_slip_is_traced_to_its_node(planted, factor):
    """The student multiplies one gradient by a wrong factor and goes on rightly from there."""
    graph = worked("mazur_2_2_2")
    names = ["out_o1", "net_o1", "out_o2", "net_o2", "out_h1", "net_h1", "w5", "w1"]
    order = ["E", "E_o1", "E_o2", "out_o1", "out_o2", "net_o1", "net_o2", "out_h1", "net_h1"]
    wrong = dict.fromkeys(graph.values(), 0.0)
    wrong[graph["E"]] = 1.0

    def pass_on(node):
        for parent, derivative in zip(node.parents, node.local_derivatives, strict=True):
            wrong[parent] = wrong.get(parent, 0.0) + derivative * wrong[node]
            if parent.op and not parent.label:
                pass_on(parent)

    for name in order:
        if name == planted:
            wrong[graph[name]] *= factor
        pass_on(graph[name])
    report = compare(graph["E"], {name: f"{wrong[graph[name]]:.7g}" for name in names}, digits=1)
    wrong_rows = {name: row.node for name, row in report.items() if row.verdict == "wrong"}
    assert wrong_rows == {planted: planted}


def test_answers_take_the_forms_of_the_chapter(neuron):
    report = compare(
        neuron,
        {
            "w": "-(y - a)*a*(1 - a)*x",
            "dL/db": "-0.1078",
            "∂L/∂z": "-(y − a)·a·(1 − a)",
            "da/dw": "a*(1 - a)*x",
            "local(a, z)": "a*(1-a)",
            "local(L, a)": "a - y",
            "value(z)": "w*x + b",
            "new(w)": "w + lr*(y - a)*a*(1 - a)*x",
            "da/dy": "0",
        },
        lr=0.1,
    )
    assert report.ok, str(report)


def test_given_values_put_in_are_read_as_the_names(mazur):
    assert verdict(mazur, "w8", "(out_o2 - 0.99)*out_o2*(1 - out_o2)*out_h2") == "right"
    assert verdict(mazur, "out_o2", "-(0.99 - out_o2)") == "right"
    assert verdict(mazur, "out_o2", "-(0.98 - out_o2)") == "wrong"
    assert verdict(
        mazur, "out_h1", "(out_o1 - t1)*out_o1*(1 - out_o1)*0.4 + (out_o2 - t2)*out_o2*(1 - out_o2)*0.5"
    ) == ("right")


def test_a_number_beside_the_name_of_its_leaf_is_not_that_leaf(neuron):
    right = "-(y - a)*a*(1 - a)"
    assert verdict(neuron, "w", f"{right}*1.5") == "right"
    assert verdict(neuron, "w", "-(1 - a)*a*(1 - a)*1.5") == "right"
    for wrong in (f"{right}*x + (w - 0.3)", f"{right}*x**2/1.5", f"{right}*w*x/0.3", f"{right}*x*y + (y - 1)"):
        assert verdict(neuron, "w", wrong) == "wrong", wrong


SCORES = "s1 = u1*x + b\ns2 = u2*x\ns3 = u3*x\n"
SHARES = "S = exp(s1) + exp(s2) + exp(s3)\np1 = exp(s1)/S\np2 = exp(s2)/S\np3 = exp(s3)/S\n"
SOFTMAX = SCORES + SHARES + "L = -(y1*log(p1) + y2*log(p2) + y3*log(p3))"
BINARY = "z = w*x + b\na = sigmoid(z)\nL = -(y*log(a) + (1 - y)*log(1 - a))"


def one_hot(text=SOFTMAX, label=2, hot=1.0, **more):
    labels = {f"y{place}": hot if place == label else (1.0 - hot) / 2 for place in (1, 2, 3)}
    return build(text, {"u1": 0.1, "u2": 0.4, "u3": -0.3, "x": 1.0, "b": 0.2, **labels, **more})["L"]


def binary(y):
    return build(BINARY, w=0.5, x=1.0, b=0.2, y=y)["L"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (SOFTMAX, 2),
        (SCORES + SHARES + "L = y1*(-log(p1)) - y2*log(p2) - log(p3)*y3", 1),
        (SCORES + SHARES + "l1 = log(p1)\nl2 = log(p2)\nl3 = log(p3)\nL = -y1*l1 + -y2*l2 + -y3*l3", 3),
    ],
)
def test_a_softmax_is_right_for_its_one_hot_labels(text, label):
    loss = one_hot(text, label)
    said = ", ".join(f"y{place} = {int(place == label)}" for place in (1, 2, 3))
    for place in (1, 2, 3):
        score, weight, share = f"s{place}", f"u{place}", f"p{place}"
        here = f"{share} - 1" if place == label else share
        for key, answer in [
            (score, f"{share} - y{place}"),
            (score, here),
            (weight, f"({share} - y{place})*x"),
            (weight, f"({here})*x"),
        ]:
            row = compare(loss, {key: answer})[key]
            assert (row.verdict, row.message) == ("right", f"Right for the given labels {said}."), (key, answer)
        for wrong in (f"{share} + y{place}", f"{share}*(1 - {share})", f"y{place} - {share}", f"{here} + 0.001"):
            assert verdict(loss, score, wrong) == "wrong", (score, wrong)
        other = "p1" if place != 1 else "p3"
        assert verdict(loss, score, f"{other} - y{place}") == "wrong"
        assert verdict(loss, weight, here) == "wrong"  # x = 1 is no label


@pytest.mark.parametrize(
    ("y", "key", "right", "wrong"),
    [
        (1.0, "a", "-1/a", "1/a"),
        (1.0, "a", "-1/a", "-y/a - (1 - y)/(1 - a)"),
        (0.0, "a", "1/(1 - a)", "y/a + (1 - y)/(1 - a)"),
        (0.0, "a", "1/(1 - a)", "-1/(1 - a)"),
        (1.0, "z", "a - 1", "1 - a"),
        (0.0, "z", "a", "a - 1"),
        (0.0, "w", "a*x", "a"),
        (1.0, "value(L)", "-log(a)", "-log(1 - a)"),
    ],
)
def test_a_binary_cross_entropy_is_right_for_its_label(y, key, right, wrong):
    assert verdict(binary(y), key, right) == "right"
    assert verdict(binary(y), key, wrong) == "wrong"


def test_only_labels_of_0_and_1_in_a_cross_entropy_are_held():
    assert verdict(binary(0.3), "a", "-0.3/a + 0.7/(1 - a)") == "wrong"  # 0.7 is nobody's given value
    assert verdict(binary(0.3), "a", "-0.3/a + (1 - 0.3)/(1 - a)") == "right"
    assert verdict(one_hot(hot=0.8), "s2", "p2 - y2") == "wrong"
    assert verdict(one_hot(), "u2", "p2 - y2") == "wrong"
    squared = build("a = w*x\nL = (y - a)**2", w=0.5, x=1.0, y=0.0)["L"]
    assert verdict(squared, "a", "2*a") == "wrong"
    weighed = build("z = w*x\na = sigmoid(z)\nL = -x*log(a)", w=0.5, x=1.0)["L"]
    assert verdict(weighed, "w", "a - 1") == "wrong"  # x is an input too


def test_a_label_that_is_named_is_not_put_in():
    """The formula holds when the label is turned, or when the 1 of the one-hot vector moves."""
    loss = one_hot()
    assert verdict(loss, "s2", "-y2*(1 - p2)") == "right"  # y1 = y3 = 0 were put in, y2 was not
    assert verdict(loss, "s1", "p1 + y1") == "wrong"
    assert verdict(loss, "s1", "p1*(1 - y1)**2") == "wrong"
    assert verdict(binary(0.0), "z", "a + y") == "wrong"
    both = build(
        "s = log(exp(u) + exp(v))\nS = log(exp(U) + exp(V))\n"
        "l = u - s\np = exp(l)\nq = exp(v - s)\nP = exp(U - S)\nQ = exp(V - S)\n"
        "L = -(y1*log(p) + y2*log(q) + y3*log(P) + y4*log(Q))",
        {"u": 0.1, "v": 0.4, "U": -0.3, "V": 0.7, "y1": 1.0, "y2": 0.0, "y3": 0.0, "y4": 1.0},
    )["L"]
    assert compare(both, {"u": "p - y1", "v": "q - y2", "U": "P - y3", "V": "Q - y4"}).ok
    assert verdict(both, "v", "q - y3") == "wrong"


def test_a_label_that_is_asked_about_is_not_held():
    loss = one_hot()
    assert verdict(loss, "y2", "-log(p2)*y2") == "wrong"
    assert verdict(loss, "y2", "-log(p2)") == "right"


def test_given_values_are_put_in_and_kinks_are_tried_for_given_labels_too():
    loss = one_hot(x=1.5)
    row = compare(loss, {"u1": "(p1 - y1)*1.5"})["u1"]
    assert (row.verdict, row.message) == (
        "right",
        "Right for the given labels y1 = 0, y2 = 1, y3 = 0. Given values were put in; with the names in their place it "
        "agrees for these labels.",
    )
    assert verdict(loss, "s1", "p1 - y1 if u1 < 1.9 else p1 - y1 + 0.01") == "wrong"
    rectified = one_hot("s1 = relu(u1*x) + b\n" + SCORES.partition("\n")[2] + SHARES + SOFTMAX.splitlines()[-1])
    assert verdict(rectified, "u1", "(p1 - y1)*x*step(u1*x)") == "right"
    assert verdict(rectified, "u1", "(p1 - y1)*x") == "wrong"
    assert verdict(rectified, "u1", "p1*x*step(u1*x)") == "right"


def test_a_few_points_are_had_with_the_labels_held():
    loss = one_hot()
    comparison = Comparison(loss, None, 3, 0, "gradient", ())
    question = comparison.question("s2")
    leaves = comparison.few(question, Formula("p2 - y2"), 8, labels=True)
    held = {leaf.label: set(data.tolist()) for leaf, data in leaves.items() if leaf.label.startswith("y")}
    assert held == {"y1": {0.0}, "y2": {1.0}, "y3": {0.0}}
    assert {len(set(data.tolist())) for leaf, data in leaves.items() if not leaf.label.startswith("y")} == {8}
    soft = Comparison(one_hot(hot=0.8), None, 3, 0, "gradient", ())
    assert soft.few(soft.question("s2"), Formula("p2 - y2"), 8, labels=True) == {}


def test_many_equal_given_values_are_tried_or_undecided():
    seven = build("L = " + "*".join(f"x{i}" for i in range(7)), {f"x{i}": 2.0 for i in range(7)})["L"]
    assert verdict(seven, "x0", "2*2*2*x1*x2*x3") == "right"
    assert verdict(seven, "x0", "2*2*2*2*2*x1") == "undecided"
    assert verdict(seven, "x0", "2*2*2*2*2*2*x1") == "wrong"
    square = build("L = (y - x)**2", x=0.5, y=2.0)["L"]
    assert verdict(square, "x", "-2*(2 - x)") == "right"
    assert verdict(build("L = w*x**2", w=3.0, x=2.0)["L"], "w", "2 + x") == "wrong"  # x + x is right at x = 2 alone


def test_what_is_compared_with_is_no_given_value():
    """Else `x < 1.76`, where x was given 1.76, would stand for `x < x`, which never holds."""
    loss = build("L = w*x", w=3.0, x=1.76)["L"]
    assert verdict(loss, "w", "2*x if x < 1.76 else x") == "wrong"


def test_agreement_at_the_given_point_alone_is_not_enough():
    loss = build("L = w*x", w=3.0, x=1.0)["L"]
    assert verdict(loss, "w", "x**2") == "wrong"
    assert verdict(loss, "w", "x") == "right"


def test_both_sides_of_a_kink_are_tried():
    relu = build("L = relu(w*x)", w=1.0, x=1.0)["L"]
    assert verdict(relu, "w", "x") == "wrong"
    assert verdict(relu, "w", "x if w*x > 0 else 0") == "right"


@pytest.mark.parametrize(
    ("text", "given", "wrong", "right"),
    [
        ("L = relu(w - 3.99)", 1.0, "0*w", "step(w - 3.99)"),
        ("L = relu(w - 30)", 1.0, "0*w", "step(w - 30)"),  # the other side is far from every point drawn
        ("L = relu(w - 30)", 40.0, "0*w", "step(w - 30)"),  # and here the given value lies there
        ("L = 0.5*w^2 if abs(w) <= 5 else 5*(abs(w) - 2.5)", 7.0, "w", "w if abs(w) <= 5 else 5*sign(w)"),
        ("L = w", 0.5, "1 if w < 3.5 else 2", "1 + 0*w"),  # a kink of the answer alone
        ("L = w", 0.5, "1 + (w/4)**40", "1 + 0*w"),  # nothing to see in [−2, 2]
        ("L = w", 0.5, "1 if w < 3000 else 2", "1 + 0*w"),
        ("L = w", 0.5, "(2 if w < 1.3001 else 1) if w > 1.3 else 1", "1 + 0*w"),  # a band that no point is drawn in
        ("L = relu(w)", 0.5, "step(w - 0.0003)", "step(w)"),
        ("L = tanh(30*w)", 0.1, "0.5 if w > 0.7 else 30*(1 - tanh(30*w)**2)", "30*(1 - tanh(30*w)**2)"),
    ],
)
def test_kinks_are_found_also_where_few_points_lie(text, given, wrong, right):
    loss = build(text, w=given)["L"]
    assert verdict(loss, "w", wrong) == "wrong"
    assert verdict(loss, "w", right) == "right"


def test_a_kink_with_one_side_only_is_noted():
    row = compare(build("L = relu(x*x + 1)", x=2.0)["L"], {"x": "2*x"})["x"]
    assert (row.verdict, row.message) == ("right", "No point was found on the other side of the kink at L.")


@pytest.mark.parametrize("given", [-1.0, 1.0])
def test_a_branch_without_a_value_at_the_given_point_is_compared_all_the_same(given):
    loss = build("L = log(x) if x > 0 else x*x", x=given)["L"]
    assert verdict(loss, "x", "1/x if x > 0 else 2*x") == "right"
    assert verdict(loss, "x", "7 if x > 0 else 2*x") == "wrong"
    assert verdict(loss, "x", "1/x if x > 0 else 7") == "wrong"


def test_ties_that_cannot_be_undone_are_compared():
    assert verdict(build("L = max(x, x)", x=2.0)["L"], "x", "1 + 0*x") == "right"
    clipped = build("c = min(r, 1.2)\nL = min(r*A, c*A)", r=1.0, A=2.0)["L"]
    assert verdict(clipped, "r", "(7 if r < 1.2 else 0) if A > 0 else A") == "wrong"


def test_a_point_that_dwarfs_the_others_hides_no_missing_term():
    loss = build("L = 2^(x^3)*x + x", x=0.5)["L"]
    for seed in range(20):
        assert verdict(loss, "x", "2^(x^3)*(1 + 3*x^3*log(2))", seed=seed) == "wrong"
        assert verdict(loss, "x", "2^(x^3)*(1 + 3*x^3*log(2)) + 1", seed=seed) == "right"


def test_formulas_agree_to_a_relative_1e_8():
    loss = build("L = w*x", w=3.0, x=1.0)["L"]
    assert verdict(loss, "w", "x*1.000001") == "wrong"
    assert verdict(loss, "w", "x*1.0000000001") == "right"


def test_the_seed_draws_the_points():
    loss = build("L = w*x", w=3.0, x=1.0)["L"]
    said = {compare(loss, {"w": "x**2"}, seed=seed)["w"].message for seed in (0, 0, 1, 2)}
    assert len(said) == 3


def test_points_are_positive_where_the_graph_needs_it():
    loss = build("L = log(p)*sqrt(q) + x**0.5", p=0.5, q=2.0, x=3.0)["L"]
    assert compare(loss, {"p": "sqrt(q)/p", "q": "log(p)/(2*sqrt(q))", "x": "0.5/sqrt(x)"}).ok
    assert verdict(loss, "p", "1/p") == "wrong"


def test_every_point_is_made_to_fit_the_domain():
    sampler = Sampler(
        build("L = " + " + ".join(f"log(p{i})" for i in range(60)), {f"p{i}": 1.5 for i in range(60)})["L"], 0
    )
    assert sampler.points.valid.all()


def test_saturated_points_are_left_out():
    lost = build("z = 15*w\na = sigmoid(z)\nL = -log(1 - a)", w=0.1)["L"]  # 1 − a has few digits where a is near 1
    assert verdict(lost, "z", "a") == "right"
    assert verdict(lost, "z", "a*1.001") == "wrong"
    loss = build("z = 30*w\na = tanh(z)\nL = a", w=0.1)["L"]
    assert verdict(loss, "w", "30*(1 - a**2)") == "right"
    assert verdict(loss, "w", "30*(1 - a)*(1 + a)") == "right"
    assert verdict(loss, "w", "30*(1 - a)") == "wrong"


def test_an_answer_undefined_at_a_kink_alone_is_excused():
    loss = build("z = w*x\nL = relu(z)", w=1.0, x=2.0)["L"]
    assert verdict(loss, "w", "max(0, z)/z*x") == "right"
    assert verdict(loss, "w", "log(z)*0 + step(z)*x") == "wrong"  # undefined on half of all points
    at_the_kink = build("z = w*x\nL = relu(z)", w=0.0, x=2.0)["L"]
    assert verdict(at_the_kink, "w", "max(0, z)/z*x") == "right"


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("L = softplus(200*w)", "200*exp(200*w)/(1 + exp(200*w))", "200*exp(200*w)/(2 + exp(200*w))"),
        ("L = softplus(10^6*w)*x", "10^6*exp(10^6*w)/(1 + exp(10^6*w))*x", "exp(10^6*w)/(1 + exp(10^6*w))*x"),
        ("L = exp(10^6*w)*x", "10^6*exp(10^6*w)*x", "10^6*exp(10^6*w)*x + (0.01 if w < -1.9 else 0)"),
        ("L = sigmoid(60*w)", "60*exp(60*w)/(1 + exp(60*w))**2", "60*exp(60*w)/(1 + exp(60*w))"),
        ("L = max(softplus(w*w), w*w)", "2*w*exp(w*w)/(1 + exp(w*w))*step(log(1 + exp(w*w)) - w*w)"
            " + 2*w*step(w*w - log(1 + exp(w*w)))", "2*w*exp(w*w)/(1 + exp(w*w))*step(log(1 + exp(w*w)) - w*w)/2"),
    ],
)  # fmt: skip
def test_an_answer_may_overflow_or_lose_its_digits_where_the_engine_does_not(text, right, wrong):
    loss = build(text, w=-0.1, x=0.5)["L"]
    for seed in range(5):
        assert verdict(loss, "w", right, seed=seed) == "right"
        assert verdict(loss, "w", wrong, seed=seed) == "wrong"


def test_an_answer_that_stands_on_its_own_kink_has_the_value_there():
    loss = build("L = max(x, y)", x=1.0, y=0.5)["L"]
    assert verdict(loss, "x", "step(x - max(x, y)) + 0*y") == "wrong"  # step(0), which is 0
    assert verdict(loss, "x", "1 - step(max(x, y) - x)") == "right"


def test_an_answer_without_a_value_on_one_side_of_a_kink_is_wrong():
    loss = build("L = relu(w - 30)", w=1.0)["L"]
    assert verdict(loss, "w", "log(w - 60)*0 if w > 30 else 0") == "wrong"
    row = compare(loss, {"w": "log(-1) if w > 30 else 0"})["w"]
    assert (row.verdict, "has no value at some points" in row.message) == ("wrong", True)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("0.667*2*z/(z*z + 1)*x/log(10)", "0.667 was rounded early, write 2/3"),
        ("2/3*0.4343*2*z/(z*z + 1)*x", "0.4343 was rounded early, write 1/log(10)"),
        (
            "0.6667*0.4343*2*z/(z*z + 1)*x",
            "0.6667 was rounded early, write 2/3 and 0.4343 was rounded early, write 1/log(10)",
        ),
        ("1.333*z/(z*z + 1)*x/2.303", "1.333 was rounded early, write 4/3 and 2.303 was rounded early, write log(10)"),
        ("0.579*z/(z*z + 1)*x", "0.579 was rounded early, write 0.5790593092"),
    ],
)
def test_a_constant_that_was_rounded_early_is_right_and_said(answer, said):
    loss = build("z = w*x + b\nL = log10(z*z + 1)*2/3", w=0.3, x=1.5, b=-0.2)["L"]
    row = compare(loss, {"w": answer})["w"]
    assert (row.verdict, row.message) == ("right", f"Right but for rounding: {said}.")
    assert [(mistake.key, mistake.node, mistake.text) for mistake in row.mistakes] == [("early_rounding", None, said)]


@pytest.mark.parametrize(
    "answer",
    [
        "0.580*z/(z*z + 1)*x",  # not what rounding gives
        "0.58*z/(z*z + 1)*x",  # too few digits to be a rounding
        "0.579*z/(z*z + 1)",
        "0.579*z/(z*z + 1.01)*x",
    ],
)
def test_a_constant_that_is_wrong_is_no_rounding(answer):
    loss = build("z = w*x + b\nL = log10(z*z + 1)*2/3", w=0.3, x=1.5, b=-0.2)["L"]
    row = compare(loss, {"w": answer})["w"]
    assert row.verdict == "wrong"
    assert "early_rounding" not in [mistake.key for mistake in row.mistakes]


@pytest.mark.parametrize(
    "answer",
    ["+".join(["w**x"] * 1_900), "+".join(["0.301*w"] * 1_200), "*".join(["0.3"] * 2_000) + "*w", "w**" * 90 + "w"],
    ids=lambda text: text[:10],
)
def test_an_enormous_answer_is_refused_all_the_same(neuron, answer):
    started = time.perf_counter()
    assert verdict(neuron, "w", answer) == "wrong"
    assert time.perf_counter() - started < 3.0  # and not minutes; a fifth of a second is usual


def random_graph(seed):
    """A graph as text, and derivatives of it by w, made by hand from its parts: the rules of sums and products."""
    rng = random.Random(seed)
    pieces = [("w*x*b", "x*b")]
    for _ in range(rng.randint(1, 3)):
        inner, slope = rng.choice([("w*x + b", "x"), ("w*w", "2*w"), ("x - 0.5*w", "-0.5"), ("b*w", "b")])
        z = f"({inner})"
        outer, derivative = rng.choice(
            [
                (f"sigmoid{z}", f"sigmoid{z}*(1 - sigmoid{z})"),
                (f"tanh{z}", f"(1 - tanh{z})*(1 + tanh{z})"),
                (f"relu{z}", f"step{z}"),
                (f"abs{z}", f"sign{z}"),
                (f"sin{z}", f"cos{z}"),
                (f"log(1 + {z}**2)", f"2*{z}/(1 + {z}**2)"),
                (f"max({z}, 0.5)", f"(1 if {z} > 0.5 else 0)"),
                (f"exp(-{z}**2)", f"(-2*{z}*exp(-{z}**2))"),
                (f"sqrt({z}**2 + 2)", f"{z}/sqrt({z}**2 + 2)"),
            ]
        )
        factor = rng.choice(["x", "b", "3", "(x - b)"])
        pieces.append((f"{factor}*{outer}", f"{factor}*{derivative}*({slope})"))
    text = "L = " + " + ".join(piece for piece, _ in pieces)
    terms = [term for _, term in pieces]
    rewritten = [
        " + ".join(terms),
        " + ".join(reversed(terms)),
        "-(" + "".join(f" - {term}" for term in terms) + ")",
        "(" + " + ".join(f"{term}*(1 + x*x)" for term in terms) + ")/(1 + x**2)",
        " + ".join(f"{term}*exp(w)/exp(w)" for term in terms) + " + w - w",
    ]
    return text, {name: round(rng.uniform(-1.9, 1.9), 2) for name in "wxb"}, rewritten


@pytest.mark.parametrize("seed", range(60))
def test_no_right_rewriting_is_rejected_and_no_wrong_answer_accepted(seed):
    """Wrong on at least half a percent of the points of a box, in one region, in a band, at a bump, or everywhere."""
    text, leaves, rewritten = random_graph(seed)
    graph = build(text, leaves)
    comparison = Comparison(graph["L"], None, 3, seed, "gradient", ())
    question, rng = comparison.question("w"), random.Random(seed)
    for answer in rewritten:
        judged = comparison.judge_formula(question, Formula(answer))
        assert judged.verdict == "right", (text, answer, judged)
    right = f"({rewritten[0]})"
    off = rng.choice([f"{right} + 0.01", f"{right}*1.001 + 0.001", f"-{right} + 0.1", f"{right} + 1"])
    (name, other), at = rng.sample("wxb", 2), round(rng.uniform(-1.9, 1.9), 3)
    for wrong in [
        off,
        f"{off} if {name} > 1.98 else {right}",
        f"{off} if {name} < {at} else {right}",
        f"({off} if {name} < {at} + 0.03 else {right}) if {name} > {at} else {right}",
        f"({off} if {other} > 1.6 else {right}) if {name} < -1.6 else {right}",
        f"{right} + exp(-30000*({name} - {at})**2)",
        f"{right}*1.00001 + 0.00001",
        f"{right} + 0.001*step({name} - 1.97)",
    ]:
        judged = comparison.judge_formula(question, Formula(wrong))
        assert judged.verdict == "wrong", (text, wrong, judged)


def test_the_other_sign_convention(neuron):
    assert verdict(neuron, "z", "(y - a)*a*(1 - a)") == "wrong"
    assert verdict(neuron, "z", "(y - a)*a*(1 - a)", convention="negative_gradient") == "right"
    with pytest.raises(ValueError, match="negative_gradient"):
        compare(neuron, {"z": 1.0}, convention="delta")


def test_a_value_where_a_gradient_was_asked_is_told(neuron):
    row = compare(neuron, {"a": "0.562177"})["a"]
    assert row.verdict == "wrong"
    assert row.message == "This is the value of a. Its gradient, ∂L/∂a, was asked."


@pytest.mark.parametrize(
    ("key", "answer", "message"),
    [
        ("q", "1", "No node is called 'q'"),
        ("dL/dq", "1", "No node is called 'q'"),
        ("L/w", "1", "A derivative is written dU/dV"),
        ("w", "1 +", "breaks off"),
        ("w", "a(1-a)", "did you mean `a*(1-a)`?"),
        ("w", "foo*x", "Nothing is called `foo`"),
        ("w", "", "This is not answered."),
        ("w", None, "number or a formula"),
        ("w", math.nan, "not answered"),
        ("w", [1.0], "number or a formula"),
        ("new(w)", "0.3", "needs the learning rate"),
        ("new(z)", "0.3", "needs the learning rate"),
        ("w", "lr*x", "pass lr=0.5"),
        ("local(L, w)", "1", "For the derivative along all paths ask dL/dw"),
        ("local(L)", "1", "two names"),
        ("value(a, b)", "1", "one name"),
        ("w", "1/0", "divisor must not be 0"),
        ("w", "\u200b", "This is not answered."),
        ("w", True, "number or a formula"),
        ("w\x1b", "1", "invisible character"),
    ],
)
def test_what_cannot_be_read_is_invalid_and_the_rest_still_checked(neuron, key, answer, message):
    report = compare(neuron, {key: answer, "b": "-(y - a)*a*(1 - a)"})
    assert (report[key].verdict, report["b"].verdict) == ("invalid", "right")
    assert message in report[key].message
    assert not report.ok


def test_a_label_that_two_nodes_have_is_invalid():
    x, y = Value(2.0, label="w"), Value(3.0, label="w")
    loss = x * y
    loss.label = "L"
    report = compare(loss, {"w": "3", "L": "w"})
    assert "names 2 nodes" in report["w"].message
    assert "names 2 nodes" in report["L"].message


def test_any_label_can_be_asked_for():
    for label in case("hostile_inputs.json")["labels"]:
        x = Value(2.0, label=label)
        loss = x * 3.0
        loss.label = "L"
        assert verdict(loss, label, "3.00") == "right", ascii(label)


def test_arguments_without_meaning_are_refused(neuron):
    with pytest.raises(TypeError, match="a loss that is a Value, not float"):
        compare(3.0, {"w": 1})
    with pytest.raises(TypeError, match="a mapping"):
        compare(neuron, ["w"])
    with pytest.raises(ValueError, match=r"learning rate is a finite number such as 0\.5, not 'x'"):
        compare(neuron, {"w": 1}, lr="x")
    with pytest.raises(ValueError, match="no answers"):
        compare(neuron, {})
    with pytest.raises(ValueError, match="from 1 on"):
        compare(neuron, {"w": 1}, digits=0)


def test_comparing_touches_neither_values_nor_gradients(neuron):
    neuron.backward()
    before = [(node.data, node.grad, node.local_derivatives) for node in nodes(neuron)]
    compare(neuron, {"w": "x", "b": "0.3", "new(w)": "1.5"}, lr=0.5)
    assert [(node.data, node.grad, node.local_derivatives) for node in nodes(neuron)] == before


def test_the_report_shows_both_values_the_difference_and_the_right_derivation(neuron):
    report = compare(neuron, {"w": "-0.25", "b": "-(y - a)*a*(1 - a)"})
    assert str(report) == (
        " answer to   yours                      engine   difference   verdict\n"
        " ────────────────────────────────────────────────────────────────────\n"
        " w           -0.25                −0.161644928      −0.0884   ✗ wrong\n"
        " b           -(y - a)*a*(1 - a)   −0.107763285                ✓ right\n"
        "\n"
        "1 right, 1 wrong of 2\n"
        "\n"
        "w is wrong: yours gives −0.25, the engine −0.161644928, difference −0.0884\n"
        "  went wrong first at: w\n"
        "  the right derivation:\n"
        "    ∂L/∂a  = −(y − a) = −0.437823\n"
        "    ∂L/∂z  = ∂L/∂a·a·(1 − a) = −0.107763\n"
        "    ∂L/∂w  = ∂L/∂z·x = −0.161645"
    )
    with pytest.raises(AssertionError, match="1 right, 1 wrong of 2"):
        report.raise_if_wrong()
    assert (len(report), list(report), report["w"].mistakes) == (2, ["w", "b"], ())
    with pytest.raises(KeyError, match="no answer is called 'q'"):
        report["q"]
    compare(neuron, {"b": "a*(1 - a)*(a - y)"}).raise_if_wrong()


def test_numbers_at_the_edge_of_a_domain_stop_nothing(neuron):
    report = compare(neuron, {"w": "sqrt(0.0)*0.0", "z": "sqrt(0.0) + 5", "b": "(a - y)*a*(1 - a)"})
    assert [row.verdict for row in report.values()] == ["undecided", "undecided", "right"]


def test_an_answers_markup_is_text(neuron):
    assert "[bold]" in str(compare(neuron, {"w": "[bold]"}))


def test_formulas_for_a_layer_of_2_000_weights_are_compared():
    xs = [Value(0.1 * i, label=f"x{i}") for i in range(50)]
    hidden = []
    for unit in range(40):
        weights = [Value(0.01 * (unit - i), label=f"w{unit}_{i}") for i in range(50)]
        hidden.append(sigmoid(dot(weights, xs, 0.1)))
        hidden[-1].label = f"h{unit}"
    loss = dot(hidden, [0.1] * 40)
    loss.label = "L"
    report = compare(loss, {f"w{unit}_7": f"0.1*h{unit}*(1 - h{unit})*x7" for unit in range(40)})
    assert report.ok


def test_a_derivation_nobody_would_read_is_cut_short():
    """A graph of 3,000 nodes without labels has derivatives whose formulas have more terms than atoms."""
    x = Value(0.5, label="x")
    y = x
    for _ in range(1_000):
        y = (y * x + y).tanh()
    text = str(compare(y, {"x": "7.00"}))
    assert "x is wrong" in text
    assert len(text) < 2_000


def test_a_derivation_is_told_by_the_branch_of_the_given_values():
    """Whatever branches the random points took before."""
    loss = build("h = (w*x if x > 0 else 2*x)*w\nL = (h if h > 1 else 3*h)*x", x=-0.5, w=0.7)["L"]
    report = compare(loss, {"w": "x*x", "x": "w*w*x", "h": "x*2"})
    assert [row.verdict for row in report.values()] == ["wrong", "wrong", "wrong"]
    assert "∂L/∂h  = 3·x = −1.5" in report["w"].derivation


def test_answers_about_what_only_another_branch_uses():
    loss = build("m = x if x > 0 else a*(exp(x) - 1)\nL = m**2", x=1.5, a=1.0)["L"]
    report = compare(loss, {"x": "0.1", "m": "3.0", "a": "5", "value(a)": "1.00"})
    assert {name: (row.verdict, row.node) for name, row in report.items()} == {
        "x": ("wrong", "x"),
        "m": ("right", None),
        "a": ("wrong", "a"),
        "value(a)": ("right", None),
    }


@pytest.mark.parametrize(
    ("text", "given", "name", "wrong"),
    [
        (
            "h1 = relu(w1*x)\nh2 = relu(w2*x)\nL = relu(h1 - h2 - 1)*y",
            {"w1": 0.5, "w2": 0.3, "x": 1, "y": 2},
            "w2",
            "0*w2",
        ),
        ("L = min(z**2, max(3, w))", {"z": 1.46, "w": 1.46}, "w", "-(1 if w > 3 else 0)*(1 if w < z**2 else 0)"),
        ("L = sigmoid(x) - min(abs(z), 0.5*w)", {"x": -0.9, "z": 0.1, "w": -1}, "z", "-(1 if abs(z) < 0.5*w else 0)"),
        ("L = exp(relu(x - 20))", {"x": 1}, "x", "3 if x < 20 else exp(x - 20)"),
    ],
)
def test_kinks_are_tried_in_combination(text, given, name, wrong):
    loss = build(text, given)["L"]
    for seed in range(20):
        assert verdict(loss, name, wrong, seed=seed) == "wrong"


@pytest.mark.parametrize(
    ("text", "name", "answers"),
    [
        ("L = x*(y/relu(x))", "x", ["y/relu(x) - x*y*step(x)/relu(x)**2", "0*x"]),
        ("s = exp(x) + exp(y)\np = exp(x)/s\nq = exp(y)/s\nL = p + q", "x", ["0*x", "p*(1 - p) - p*q", "0"]),
        ("L = sin(x)**2 + cos(x)**2", "x", ["2*sin(x)*cos(x) - 2*cos(x)*sin(x)", "0*x"]),
    ],
)
def test_a_derivative_that_is_zero_everywhere_is_known_through_its_roundings(text, name, answers):
    loss = build(text, x=1.9, y=1.88)["L"]
    for answer in answers:
        assert verdict(loss, name, answer) == "right", answer
    assert verdict(loss, name, "0.001*x") == "wrong"


def test_a_derivation_of_an_inner_node_leaves_out_what_does_not_lead_to_it(mazur):
    row = compare(mazur, {"dE_o2/dout_h1": "-0.5"})["dE_o2/dout_h1"]
    assert row.derivation.splitlines()[-1] == "  ∂E_o2/∂out_h1  = ∂E_o2/∂net_o2·w7 = −0.0190491"
