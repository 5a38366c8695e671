"""Tables of numbers: one slip is one wrong row, and what follows from it is right."""

import json
import math
import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Value, build, compare, nodes
from engine.compare import Answer, Comparison
from engine.forward import partials
from engine.graph import computed_nodes, leaves, names
from tests.strategies import case, graph_of, graphs, worked

SLIP = {
    "dE/dout_o1": "0.741365",
    "dE/dnet_o1": "0.138499",
    "dE/dw5": "0.0821670",
    "dE/dout_o2": "-0.217072",
    "dE/dnet_o2": "-0.0380982",
    "dE/dout_h1": "0.0553994",  # only one of two paths
    "dE/dnet_h1": "0.0133679",
    "dE/dw1": "0.000668396",
}
DELTAS = ("out_o1", "net_o1", "out_o2", "net_o2", "out_h1", "net_h1")
WEIGHTS = ("w5", "w8", "w1")


@pytest.fixture
def mazur():
    return worked("mazur_2_2_2")["E"]


def wrong(report):
    return [name for name, row in report.items() if row.verdict == "wrong"]


def keys(report):
    """What each row that is not wrong is told of first, if anything."""
    return {name: row.mistakes[0].key for name, row in report.items() if row.mistakes and row.verdict != "wrong"}


def mistakes(report):
    """The likeliest mistake of each wrong row that has a name."""
    return {name: row.mistakes[0].key for name, row in report.items() if row.mistakes and row.verdict == "wrong"}


# A student with a pocket calculator, who rounds every number and goes on from there


def printed(x):
    return f"{x:.3e}" if x else "0"


def half_unit(text):
    return 0.5 * 10.0 ** Decimal(text).as_tuple().exponent if float(text) else 0.0


def table_of(loss, slips, rng, *, share=1.0, values=False, rounds=True):
    """A student's answers, and which of them are slips larger than what rounding reaches.

    A number is answered with probability `share`; with `values` the values too, and the local derivatives are taken
    at them. A student who `rounds` goes on with what is printed, others with what they have.
    """
    named, order = names(loss), computed_nodes(loss)
    answers, planted, own = {}, [], {}
    of_leaves = [leaf for leaf in leaves(reversed(order)) if not leaf.is_constant]
    questions = [(True, node) for node in nodes(loss) if node.op and values]
    questions += [(False, node) for node in (*order, *of_leaves) if node is not loss]
    questions = [question for question in questions if rng.random() < share]
    plans = set(rng.sample(questions, min(slips, len(questions))))

    def answered(question, key, x, reach):
        if question in plans:
            least = 4.0 * (reach + half_unit(printed(x))) or 0.5
            slipped = x + rng.choice((-1.0, 1.0)) * least * rng.choice((1.0, 2.0, 10.0)) + 0.1 * x
            if abs(float(printed(slipped)) - x) > 2.0 * (reach + half_unit(printed(slipped))):
                planted.append(key)
                x = slipped
        answers[key] = printed(x)
        return (float(printed(x)) if rounds else x), half_unit(printed(x))

    for node in nodes(loss):
        if node.op and values:
            own[node] = node._row.forward(*[own.get(parent, parent.data) for parent in node.parents])
            if (True, node) in questions:
                own[node], _ = answered((True, node), f"value({named[node]})", own[node], 0.0)
    received, reaches = {loss: 1.0}, {}
    for node in (*order, *of_leaves):
        if node not in received:
            continue
        grad, reach = received[node], reaches.get(node, 0.0)
        if (False, node) in questions:
            grad, reach = answered((False, node), named[node], grad, reach)
        operands = [own.get(parent, parent.data) for parent in node.parents]
        derivatives = partials(node._row, own.get(node, node.data), operands, node.parents, textbook=values)
        for parent, derivative in zip(node.parents, derivatives if node.op else [], strict=True):
            if derivative is not None:
                received[parent] = received.get(parent, 0.0) + grad * derivative
                reaches[parent] = reaches.get(parent, 0.0) + abs(derivative) * reach
    return answers, planted


TABLES = settings(max_examples=150, deadline=None)


def is_plain(answers):
    return answers and all(math.isfinite(float(answer)) for answer in answers.values())


@TABLES
@given(graphs(), st.integers(0, 10**6), st.sampled_from([1.0, 0.6]), st.booleans())
def test_a_table_in_which_every_row_is_computed_from_rounded_rows_is_right(graph, seed, share, values):
    loss, _ = graph
    answers, _ = table_of(loss, 0, random.Random(seed), share=share, values=values)
    if is_plain(answers):
        report = compare(loss, answers)
        assert report.ok, str(report)
        assert report.credit == (len(answers), len(answers))
        assert set(keys(report).values()) <= {"early_rounding"}


@TABLES
@given(graphs(), st.integers(0, 10**6), st.sampled_from([1.0, 0.6]), st.booleans(), st.booleans())
def test_one_slip_is_one_wrong_row(graph, seed, share, values, rounds):
    loss, _ = graph
    answers, planted = table_of(loss, 1, random.Random(seed), share=share, values=values, rounds=rounds or values)
    if is_plain(answers) and planted:
        report = compare(loss, answers)
        (slip,) = planted
        verdicts = ("wrong", "undecided") if values else ("wrong",)  # rounded values may leave open who is the larger
        assert report[slip].verdict in verdicts or float(answers[slip]) == 0.0, str(report)
        assert set(wrong(report)) <= {slip}, str(report)
        node = report[slip].node
        assert node in (None, slip.removeprefix("value(").removesuffix(")")) or node not in answers, str(report)
        if rounds and float(answers[slip]):
            assert report.credit[0] == len(report) - 1, str(report)


def test_of_two_slips_both_are_found_nearly_always():
    tried = found = 0

    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(graphs(), st.integers(0, 10**6))
    def count(graph, seed):
        nonlocal tried, found
        loss, _ = graph
        answers, planted = table_of(loss, 2, random.Random(seed))
        if len(planted) == 2 and "0" not in [answers[slip] for slip in planted]:
            tried += 1
            found += set(wrong(compare(loss, answers))) == set(planted)

    count()
    assert tried > 50
    assert found >= 0.98 * tried


# Follow-through


def test_what_follows_from_a_slip_is_right_and_says_where_the_slip_is(mazur):
    report = compare(mazur, SLIP)
    assert wrong(report) == ["dE/dout_h1"]
    assert report["dE/dout_h1"].node == "out_h1"
    assert keys(report) == {"dE/dnet_h1": "follow_through", "dE/dw1": "follow_through"}
    assert report["dE/dnet_h1"].message == "Follows rightly from your own ∂E/∂out_h1, where the slip is."
    assert report["dE/dw1"].message == "Follows rightly from your own ∂E/∂net_h1; the slip is at ∂E/∂out_h1."
    assert [report[name].mistakes[0].node for name in ("dE/dnet_h1", "dE/dw1")] == ["out_h1", "out_h1"]
    assert (report.ok, report.credit) == (False, (7, 8))
    shown = str(report)
    assert "✓ follows" in shown
    assert "7 right (2 follow from a slip), 1 wrong of 8" in shown
    assert shown.count("went wrong first at: out_h1") == 1


def test_nodes_without_an_answer_are_carried_on(mazur):
    report = compare(mazur, {"out_h1": "0.0553994", "w1": "0.000668396", "w2": "0.00133679"})
    assert keys(report) == {"w1": "follow_through", "w2": "follow_through"}
    assert wrong(report) == ["out_h1"]


def test_a_second_slip_is_judged_by_the_numbers_after_the_first(mazur):
    report = compare(mazur, {**SLIP, "dE/dnet_h1": "0.0267358", "dE/dw1": "0.00133679"})  # twice as large
    assert wrong(report) == ["dE/dout_h1", "dE/dnet_h1"]
    assert report["dE/dnet_h1"].message == "From your own ∂E/∂out_h1 it would be 0.0133679145."
    assert report["dE/dnet_h1"].node == "net_h1"
    assert report["dE/dw1"].message == "Follows rightly from your own ∂E/∂net_h1, where the slip is."


def test_a_right_row_after_a_slip_is_simply_right(mazur):
    report = compare(mazur, {**SLIP, "dE/dnet_h1": "0.00877135", "dE/dw1": "0.000438568"})
    assert wrong(report) == ["dE/dout_h1"]
    assert keys(report) == {}


def test_a_wrong_row_that_follows_from_nothing_is_wrong(mazur):
    report = compare(mazur, {**SLIP, "dE/dw1": "0.000668402"})  # seven units of the last digit
    assert wrong(report) == ["dE/dout_h1", "dE/dw1"]
    assert report["dE/dw1"].message == "From your own ∂E/∂net_h1 it would be 0.000668395."
    rough = compare(mazur, {"out_o1": "0.7", "net_o1": "0.133"})["net_o1"]  # 0.7 leaves 0.131 to 0.138
    assert (rough.verdict, rough.mistakes) == ("undecided", ())
    assert "rounded too roughly" in rough.message
    between = compare(mazur, {"out_o1": "0.741", "net_o1": "0.1383"})["net_o1"]  # of no number that rounds to 0.741
    assert between.verdict == "wrong"


TELLS_NOTHING = "Everything times 0 is 0: this tells nothing."


@pytest.mark.parametrize("zero", ["0", "0.0", 0, 0.0, "0*0.4"])
def test_zeros_everywhere_earn_nothing(mazur, zero):
    every = "out_o1 net_o1 w5 out_o2 net_o2 w8 out_h1 net_h1 w1 out_h2 net_h2".split()
    report = compare(mazur, dict.fromkeys(every, zero))
    assert report.credit == (0, len(every)), str(report)
    assert {"out_o1"} <= set(wrong(report)) <= {"out_o1", "out_o2"}
    assert str(report).count(TELLS_NOTHING) >= 8


def test_a_lone_wrong_0_is_one_wrong_row_and_carries_nothing_on(mazur):
    report = compare(mazur, {**SLIP, "dE/dout_h1": "0", "dE/dnet_h1": "0", "dE/dw1": "0", "new(w1)": "0.15"}, lr=0.5)
    assert wrong(report) == ["dE/dout_h1"]
    assert report["dE/dw1"].message == f"It comes from your own 0 for ∂E/∂net_h1. {TELLS_NOTHING}"
    assert [report[name].verdict for name in ("dE/dnet_h1", "dE/dw1", "new(w1)")] == ["undecided"] * 3
    assert report["new(w1)"].mistakes[0].node == "out_h1"
    assert report.credit == (5, 9)


def test_what_a_wrong_0_leaves_of_a_sum_follows_from_a_slip(mazur):
    report = compare(mazur, {"net_o1": "0", "out_h1": "-0.0190491", "net_h1": "-0.00459656"})
    assert wrong(report) == ["net_o1"]
    assert keys(report) == {"out_h1": "follow_through", "net_h1": "follow_through"}


def test_a_right_0_carries_on():
    loss = build("z = w*x + b\na = relu(z)\nL = (a - y)**2", w=-2.0, x=3.0, b=1.0, y=1.0)["L"]
    assert compare(loss, {"a": "-2", "z": "0", "w": "0", "b": "0"}).ok
    report = compare(loss, {"a": "-4", "z": "0", "w": "0", "b": "0"})
    assert (wrong(report), report.credit) == (["a"], (3, 4))


def test_a_0_that_follows_from_another_wrong_number_is_right():
    loss = build("z = w*x + b\na = relu(z)\nL = (a - y)**2", w=2.0, x=3.0, b=1.0, y=1.0)["L"]
    report = compare(loss, {"value(z)": "-7", "value(a)": "0", "a": "-2", "z": "0", "w": "0"})
    assert wrong(report) == ["value(z)"]
    assert set(keys(report).values()) == {"follow_through"}
    assert report.credit == (4, 5)


def test_what_follows_needs_its_digits_too(mazur):
    assert compare(mazur, {"out_h1": "0.0553994", "net_h1": "0.013"})["net_h1"].verdict == "undecided"
    assert compare(mazur, {"out_h1": "0.0553994", "net_h1": "0.013"}, digits=2)["net_h1"].verdict == "right"


def test_python_floats_are_followed_as_floats_are_judged(mazur):
    slip = 0.0553994248917689
    slope = 0.24130070857232525
    report = compare(mazur, {"out_h1": slip, "net_h1": slip * slope * (1.0 + 4e-7), "w1": slip * slope * 0.05})
    assert wrong(report) == ["out_h1"]
    assert wrong(compare(mazur, {"out_h1": slip, "net_h1": slip * slope * (1.0 + 4e-6)})) == ["out_h1", "net_h1"]


def test_a_formula_gives_its_number_to_the_rows_after_it(mazur):
    report = compare(mazur, {"out_h1": "(out_o1 - t1)*out_o1*(1 - out_o1)*w5", "net_h1": "0.0133679"})
    assert (wrong(report), keys(report)) == (["out_h1"], {"net_h1": "follow_through"})


def test_numbers_multiplied_out_follow_too(mazur):
    report = compare(mazur, {"out_h1": "0.1385*0.4", "net_h1": "0.0554*0.2413", "w1": "0.0554*0.2413*0.06"})
    assert wrong(report) == ["out_h1", "w1"]
    assert keys(report) == {"net_h1": "follow_through"}


def test_a_slip_in_a_value_is_followed_through_values_local_derivatives_gradients_and_new_weights(mazur):
    report = compare(
        mazur,
        {
            "value(net_h1)": "0.4775",  # 0.1 too large
            "value(out_h1)": "0.617157",
            "local(out_h1, net_h1)": "0.236274",
            "value(net_o1)": "1.11546",
            "value(out_o1)": "0.753145",
            "out_o1": "0.743145",
            "net_o1": "0.138163",
            "w5": "0.0852682",
            "new(w5)": "0.357366",
        },
        lr=0.5,
    )
    assert wrong(report) == ["value(net_h1)"]
    assert set(keys(report).values()) == {"follow_through"}
    assert report["value(out_h1)"].message == "Follows rightly from your own value of net_h1, where the slip is."
    assert report.credit == (8, 9)


def test_a_local_derivative_of_ones_own_is_used_in_the_gradient(mazur):
    report = compare(mazur, {"local(out_o1, net_o1)": "0.7514", "net_o1": "0.557061", "w5": "0.330488"})
    assert (wrong(report), set(keys(report).values())) == (["local(out_o1, net_o1)"], {"follow_through"})


def test_a_slip_in_one_of_two_sums_is_followed_into_the_whole():
    """Mazur's page derives ∂E_o1/∂out_h1 and ∂E_o2/∂out_h1, and adds them up."""
    loss = worked("mazur_2_2_2")["E"]
    answers = {
        "dE/dnet_o1": "0.138498562",
        "dE_o1/dout_h1": "0.062324353",  # with w6
        "dE_o2/dout_h1": "-0.019049118",
        "dE/dout_h1": "0.043275235",
        "dE/dw1": "0.000522117",
    }
    report = compare(loss, answers)
    assert wrong(report) == ["dE_o1/dout_h1"]
    assert report["dE/dout_h1"].message == "Follows rightly from your own ∂E_o1/∂out_h1, where the slip is."
    report = compare(loss, {"dE/dnet_o1": "0.200", "dE_o1/dout_h1": "0.0800", "dE/dout_h1": "0.0610"})
    assert wrong(report) == ["dE/dnet_o1"]


def test_a_branch_that_the_students_own_value_takes_is_followed():
    loss = build("z = w*x\na = z if z > 0 else 0.1*z\nL = a**2", w=2.0, x=-1.5)["L"]
    report = compare(loss, {"value(z)": "3", "value(a)": "3", "a": "6", "z": "6", "w": "-9"})
    assert (wrong(report), set(keys(report).values())) == (["value(z)"], {"follow_through"})


def test_a_slip_to_where_nothing_has_a_value_stops_nothing():
    loss = build("u = x*x\nL = log(u)", x=2.0)["L"]
    report = compare(loss, {"value(u)": "-4", "value(L)": "1.39", "u": "-0.25", "x": "1.00"})
    assert wrong(report) == ["value(u)"]


def test_the_students_own_gradients_can_be_asked_for(mazur):
    comparison = Comparison(mazur, None, 3, 0, "gradient", ())
    for name, answer in SLIP.items():
        comparison.row(Answer(name, answer))
    graph = worked("mazur_2_2_2")
    own = {name: comparison.table().own(mazur).get(node) for name, node in comparison.by_name.items()}
    assert own["out_h1"] == 0.0553994
    assert own["w1"] == 0.000668396
    assert own["w2"] == pytest.approx(0.0133679 * graph["i2"].data)  # carried on from net_h1
    assert own["w8"] == pytest.approx(-0.0380982 * graph["out_h2"].data)


# Early rounding


def test_early_rounding_is_excused_and_said(mazur):
    report = compare(mazur, {"out_o1": "0.74", "net_o1": "0.13824", "w5": "0.0820136"}, digits=2)
    assert report.ok
    assert report["net_o1"].message == "Follows from your own rounded ∂E/∂out_o1; unrounded it is 0.138498562."
    assert keys(report) == {"net_o1": "early_rounding", "w5": "early_rounding"}
    assert report["w5"].mistakes[0].node == "w5"
    assert "3 right (2 rounded early) of 3" in str(report)
    assert "✓ rounded" in str(report)


def test_macleods_page_is_right_but_for_its_hidden_layer():
    """The errors of the hidden layer use weights that are updated already; the new weights follow from them."""
    example = case("worked/macleod_2_2_1_updated_weights.json")
    loss = graph_of(example)["E"]
    forms = {"value": "value({node})", "neg_grad": "{wrt}", "update": "new({param})"}
    answers = {forms[one["kind"]].format(**one): one["printed"] for one in example["expected"]}
    report = compare(loss, answers, lr=1.0, convention="negative_gradient", digits=2)
    assert report.ok, str(report)
    rounded = [name for name, key in keys(report).items() if key == "early_rounding"]
    assert rounded == ["value(in3)", "in3", "new(w1)", "new(w2)"]
    hidden = {"in1": "-2.406e-3", "in2": "-7.916e-3"}
    new = {"new(w3)": "0.09916", "new(w4)": "0.7978", "new(w5)": "0.3972", "new(w6)": "0.5928"}
    whole = compare(loss, answers | hidden | new, lr=1.0, convention="negative_gradient", digits=2)
    assert wrong(whole) == ["in1", "in2", "new(w6)"]  # of δ₂ would follow 0.5929
    assert [whole[name].mistakes[0].key for name in hidden] == ["updated_weights", "updated_weights"]
    assert (whole["in1"].node, whole["in2"].node) == ("o1", "o2")
    assert whole["new(w3)"].message == "Follows rightly from your own −∂E/∂in1, where the slip is."
    assert whole["new(w6)"].message == "From your own −∂E/∂in2 it would be 0.5928756."


def test_a_term_made_to_complete_a_rounded_sum_is_excused(mazur):
    """Mazur prints ∂E_o2/∂out_h1 as what the other two printed numbers leave."""
    sums = {"dE_o1/dout_h1": "0.055399425", "dE/dout_h1": "0.036350306"}
    report = compare(mazur, {**sums, "dE_o2/dout_h1": "-0.019049119"})
    assert report.ok
    assert keys(report) == {"dE_o2/dout_h1": "early_rounding"}
    assert not compare(mazur, {**sums, "dE_o2/dout_h1": "-0.019049121"}).ok


# The sign


def gradients_of(loss):
    loss.backward()
    found = {node.label: node.grad for node in nodes(loss) if node.label}
    loss.zero_grad()
    return found


@pytest.mark.parametrize("along", [1.0, -1.0], ids=["the weights as they are", "the weights turned along"])
def test_the_sign_of_all_deltas_turned_is_another_convention(mazur, along):
    grads = gradients_of(mazur)
    answers = {name: f"{-grads[name]:.6g}" for name in DELTAS} | {
        name: f"{along * grads[name]:.6g}" for name in WEIGHTS
    }
    report = compare(mazur, answers)
    told = [*DELTAS, *(WEIGHTS if along < 0.0 else ())]
    assert {name: row.verdict for name, row in report.items()} == {
        name: "undecided" if name in told else "right" for name in answers
    }
    assert keys(report) == dict.fromkeys(told, "sign_flipped")
    assert 'convention="negative_gradient"' in report["net_o1"].mistakes[0].text
    assert "--convention negative_gradient" in report["net_o1"].mistakes[0].text
    assert report["net_o1"].message == "This is −∂E/∂net_o1, right by another convention: δ = −∂E/∂z."
    assert str(report).count("Every δ has the other sign") == 1
    accepted = compare(mazur, answers, convention="negative_gradient")
    assert accepted.ok, str(accepted)
    assert accepted["w5"].expected == pytest.approx(along * grads["w5"])


def test_gradients_where_the_negative_was_asked_for_are_told_too(mazur):
    grads = gradients_of(mazur)
    report = compare(mazur, {name: f"{grads[name]:.6g}" for name in DELTAS}, convention="negative_gradient")
    assert {row.verdict for row in report.values()} == {"undecided"}
    assert 'convention="gradient"' in report["net_o1"].mistakes[0].text


def test_formulas_of_the_other_convention_are_told():
    loss = build("z = w*x + b\na = sigmoid(z)\nL = 0.5*(y - a)**2", w=0.3, x=1.5, b=-0.2, y=1.0)["L"]
    report = compare(loss, {"a": "y - a", "z": "(y - a)*a*(1 - a)", "w": "-(y - a)*a*(1 - a)*x"})
    assert [row.verdict for row in report.values()] == ["undecided", "undecided", "right"]
    report = compare(loss, {"a": "y - a", "z": "(y - a)*a*(1 + a)"})
    assert [row.verdict for row in report.values()] == ["wrong", "wrong"]


def test_a_lone_turned_sign_is_wrong(mazur):
    grads = gradients_of(mazur)
    assert compare(mazur, {"net_o1": f"{-grads['net_o1']:.6g}"})["net_o1"].verdict == "wrong"
    report = compare(mazur, {name: f"{grads[name] * (-1 if name == 'out_o2' else 1):.6g}" for name in DELTAS})
    assert wrong(report) == ["out_o2"]
    assert report.notes == ()


def test_a_sign_that_rounds_early_in_the_other_convention_is_told():
    loss = worked("macleod_2_2_1_updated_weights")["E"]
    report = compare(loss, {"value(o3)": "0.69", "o3": "-0.19", "in3": "-0.0406"}, digits=2)
    assert [row.verdict for row in report.values()] == ["right", "undecided", "undecided"]


# A step with weights already updated, and gradients never reset


@pytest.fixture
def early(mazur):
    """The new weights of Mazur's net where the output weights are updated before the hidden layer is done."""
    value = {node.label: node.data for node in nodes(mazur)}
    delta = {k: (value[f"out_{k}"] - value[t]) * value[f"out_{k}"] * (1 - value[f"out_{k}"]) for k, t in OUTPUTS}
    new = {w: value[w] - 0.5 * delta[o] * value[f"out_{h}"] for w, o, h in OUTPUT_WEIGHTS}
    for h, (to_1, to_2), hidden in HIDDEN:
        back = delta["o1"] * new[to_1] + delta["o2"] * new[to_2]
        slope = value[f"out_{h}"] * (1 - value[f"out_{h}"])
        new |= {w: value[w] - 0.5 * back * slope * value[i] for w, i in hidden}
    return new


OUTPUTS = (("o1", "t1"), ("o2", "t2"))
OUTPUT_WEIGHTS = (("w5", "o1", "h1"), ("w6", "o1", "h2"), ("w7", "o2", "h1"), ("w8", "o2", "h2"))
HIDDEN = (("h1", ("w5", "w7"), (("w1", "i1"), ("w2", "i2"))), ("h2", ("w6", "w8"), (("w3", "i1"), ("w4", "i2"))))


@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize("given", [range(1, 9), range(1, 5), [3]], ids=["all weights", "the hidden ones", "one"])
def test_weights_updated_too_early_are_known_by_the_new_weights_alone(early, given, atomic):
    loss = worked("mazur_2_2_2", atomic=atomic)["E"]
    report = compare(loss, {f"new(w{place})": f"{early[f'w{place}']:.9f}" for place in given}, lr=0.5)
    hidden = [name for name in report if name in ("new(w1)", "new(w2)", "new(w3)", "new(w4)")]
    assert wrong(report) == hidden
    assert mistakes(report) == dict.fromkeys(hidden, "updated_weights")
    assert all(report[name].node == ("out_h1" if name in ("new(w1)", "new(w2)") else "out_h2") for name in hidden)
    if "new(w1)" in hidden:
        assert "to out_h1 through w5 and w7 as already updated" in report["new(w1)"].message


def test_other_wrong_weights_are_not_blamed_on_an_early_update(mazur, early):
    report = compare(mazur, {"new(w1)": f"{early['w1'] + 2e-9:.9f}", "new(w2)": "0.2", "new(w5)": "0.4411"}, lr=0.5)
    assert "updated_weights" not in mistakes(report).values()


ON_MACLEODS_PAGE = {"in1": "-2.406e-3", "in2": "-7.916e-3"}
NEW_ON_MACLEODS_PAGE = {"new(w3)": "0.09916", "new(w4)": "0.7978", "new(w5)": "0.3972", "new(w6)": "0.5928"}


@pytest.mark.parametrize("asked", [["in1"], ["in2"], ["in1", "in2"], list(NEW_ON_MACLEODS_PAGE)], ids=", ".join)
def test_weights_updated_too_early_are_known_where_numbers_were_rounded_on_the_way(asked):
    loss = worked("macleod_2_2_1_updated_weights")["E"]
    page = ON_MACLEODS_PAGE | NEW_ON_MACLEODS_PAGE
    report = compare(loss, {name: page[name] for name in asked}, lr=1.0, convention="negative_gradient")
    assert mistakes(report) == dict.fromkeys(asked, "updated_weights"), str(report)
    rounded = [name for name, row in report.items() if row.message.endswith("your number, but for rounding.")]
    assert rounded == [name for name in asked if name in (*ON_MACLEODS_PAGE, "new(w6)")]


def test_a_number_between_the_right_one_and_that_of_updated_weights_is_neither():
    loss = worked("macleod_2_2_1_updated_weights")["E"]  # −0.007926 through the new weight, −0.008172 through the old
    for between in ("-7.99e-3", "-8.05e-3", "-8.12e-3", "-7.916e-3 + 0*w1"):  # a formula over names is not rounded
        report = compare(loss, {"in2": between}, lr=1.0, convention="negative_gradient")
        assert wrong(report) == ["in2"]
        assert "updated_weights" not in mistakes(report).values()


def test_weights_updated_too_early_are_known_through_several_layers():
    loss = build(
        "h = tanh(u*x)\nk = tanh(v*h)\na = sigmoid(w*k)\nL = 0.5*(y - a)**2", u=0.7, v=-0.4, w=1.3, x=0.9, y=1.0
    )
    value = {name: node.data for name, node in loss.items()}
    lr, a, k, h = 2.0, value["a"], value["k"], value["h"]
    at_z = (a - value["y"]) * a * (1 - a)
    new_w = value["w"] - lr * at_z * k
    at_k = at_z * new_w * (1 - k * k)
    new_v = value["v"] - lr * at_k * h
    new_u = value["u"] - lr * at_k * new_v * (1 - h * h) * value["x"]
    report = compare(loss["L"], {"new(u)": f"{new_u:.8g}", "new(v)": f"{new_v:.8g}", "new(w)": f"{new_w:.8g}"}, lr=lr)
    assert {name: row.node for name, row in report.items()} == {"new(u)": "k", "new(v)": "k", "new(w)": None}
    assert mistakes(report) == {"new(u)": "updated_weights", "new(v)": "updated_weights"}


def test_gradients_that_were_never_reset_are_known_by_their_multiple(mazur):
    grads = gradients_of(mazur)
    report = compare(mazur, {name: f"{3 * grads[name]:.6g}" for name in WEIGHTS})
    assert mistakes(report) == dict.fromkeys(WEIGHTS, "no_accumulation_reset")
    assert "3 times too large" in report["w5"].message
    assert wrong(report) == list(WEIGHTS)
    mixed = {"w5": f"{3 * grads['w5']:.6g}", "w8": f"{2 * grads['w8']:.6g}"}
    assert "no_accumulation_reset" not in mistakes(compare(mazur, mixed)).values()


NEURON = "z = w*x + b\na = sigmoid(z)\nL = 0.5*(y - a)**2"
OF_A_MEAN = "p = w*2 + b\nq = w*3 + b\nr = w*5 + b\nL = (p**2 + q**2 + r**2)/3"


@pytest.mark.parametrize(("lines", "times"), [(NEURON, 2), (OF_A_MEAN, 3)])
def test_a_factor_of_the_loss_that_was_forgotten_is_no_gradient_that_was_never_reset(lines, times):
    leaves = {"w": 0.3, "b": -0.2} | ({"x": 1.5, "y": 1.0} if "x" in lines else {})
    loss = build(lines, **leaves)["L"]
    grads = gradients_of(loss)
    doubled = {name: f"{times * grads[name]:.6g}" for name in ("w", "b")}
    assert "no_accumulation_reset" not in mistakes(compare(loss, doubled)).values()
    inner = {name: f"{grads[name]:.6g}" for name in ("z", "a", "p", "q", "r") if name in grads}
    told = compare(loss, {**inner, **doubled})
    assert mistakes(told) == dict.fromkeys(doubled, "no_accumulation_reset")  # the factor is in the inner gradients
    assert "no_accumulation_reset" not in mistakes(compare(loss, {**inner, "w": doubled["w"]})).values()
    first = next(iter(inner))
    with_it = {**inner, first: f"{times * grads[first]:.6g}", **doubled}
    assert "no_accumulation_reset" not in mistakes(compare(loss, with_it)).values()
    again = {name: f"{(times + 2) * grads[name]:.6g}" for name in ("w", "b")}
    assert mistakes(compare(loss, again)) == dict.fromkeys(again, "no_accumulation_reset")


def test_twice_the_gradients_of_a_loss_without_a_factor_were_never_reset():
    loss = build(NEURON.replace("0.5*", ""), w=0.3, x=1.5, b=-0.2, y=1.0)["L"]
    grads = gradients_of(loss)
    report = compare(loss, {name: f"{2 * grads[name]:.6g}" for name in ("w", "b")})
    assert mistakes(report) == dict.fromkeys(("w", "b"), "no_accumulation_reset")


def test_gradients_added_to_old_ones_are_known_by_what_the_leaves_hold():
    w, x = Value(2.0, label="w"), Value(3.0, label="x")
    (w * w * 0.25).backward()  # w.grad is 1
    loss = w * x
    loss.label = "L"
    row = compare(loss, {"w": "4.00"})["w"]
    assert row.mistakes[0].key == "no_accumulation_reset"
    assert row.message.startswith("This is the gradient, 3, added to what w held of an earlier backward pass, 1.")
    assert w.grad == 1.0


# What holds for every table


def test_the_order_of_the_answers_changes_nothing(mazur):
    there = compare(mazur, SLIP)
    back = compare(mazur, dict(reversed(SLIP.items())))
    assert {name: row.verdict for name, row in there.items()} == {name: row.verdict for name, row in back.items()}
    assert all(there[name].message == back[name].message for name in SLIP)


def test_a_report_counts_what_could_not_be_read_as_nothing(mazur):
    report = compare(mazur, {**SLIP, "w7": "?", "w8": "0.02"})
    assert report.credit == (7, 10)
    assert json.dumps(report.credit) == "[7, 10]"
