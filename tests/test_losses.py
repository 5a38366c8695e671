"""Losses: PyTorch's numbers, the classroom's half, and what each one refuses."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Value, build, gradcheck, softmax
from nn import (
    MLP,
    Layer,
    Neuron,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    fit,
    half_squared_error,
    hinge,
    mae,
    mse,
)
from nn.losses import LOSSES, OF_LOGITS
from tests.strategies import case

PYTORCH = case("nets/losses.json")["cases"]
CLOSE = {"rel": 1e-12, "abs": 1e-12}


def values(numbers):
    """The same lists with Values in them."""
    return [values(x) for x in numbers] if isinstance(numbers, list) else Value(numbers)


def flat(nested):
    return [y for x in nested for y in flat(x)] if isinstance(nested, list) else [nested]


def gradients(nested):
    return [value.grad for value in flat(nested)]


def has_classes(recorded):
    """Whether the targets are numbers of classes, which have no gradient."""
    return isinstance(flat([recorded["targets"]])[0], int)


def is_cut_off(recorded):
    """Whether a probability of exactly 0 or 1 is wrong: the loss is cut off at a logarithm of −100."""
    pairs = zip(flat(recorded["outputs"]), flat([recorded["targets"]]), strict=False)
    return recorded["loss"] == "binary_cross_entropy" and any(abs(o - t) == 1.0 for o, t in pairs)


@pytest.mark.parametrize("recorded", PYTORCH, ids=lambda recorded: f"{recorded['loss']}-{recorded['reduction']}")
def test_values_and_gradients_are_those_of_pytorch(recorded):
    outputs = values(recorded["outputs"])
    targets = recorded["targets"] if has_classes(recorded) else values(recorded["targets"])
    loss = LOSSES[recorded["loss"]](outputs, targets, reduction=recorded["reduction"])
    loss.backward()
    assert loss.data == pytest.approx(recorded["value"], **CLOSE)
    if is_cut_off(recorded):  # our loss is flat there, as −100 is; PyTorch's gradient is 10¹², which no net survives
        pairs = zip(recorded["outputs"], recorded["targets"], gradients(outputs), strict=True)
        assert [slope for o, t, slope in pairs if abs(o - t) == 1.0] == [0.0, 0.0]
        return
    assert gradients(outputs) == pytest.approx(flat(recorded["output_gradients"]), **CLOSE)
    if recorded["target_gradients"] is not None:
        assert gradients(targets) == pytest.approx(flat(recorded["target_gradients"]), **CLOSE)


def test_pytorchs_record_has_every_loss_that_pytorch_has():
    assert {recorded["loss"] for recorded in PYTORCH} == set(LOSSES) - {"half_squared_error", "hinge"}
    assert sum(map(is_cut_off, PYTORCH)) == 2
    assert sum(recorded["target_gradients"] is not None for recorded in PYTORCH) == 20


@pytest.mark.parametrize("recorded", PYTORCH, ids=lambda recorded: f"{recorded['loss']}-{recorded['reduction']}")
def test_targets_are_numbers_arrays_or_values_alike(recorded):
    function = partial(LOSSES[recorded["loss"]], reduction=recorded["reduction"])
    plain = function(values(recorded["outputs"]), recorded["targets"])
    for targets in (np.array(recorded["targets"]), values(recorded["targets"])):
        assert function(values(recorded["outputs"]), targets).data == pytest.approx(plain.data, rel=1e-15)
    array = np.array(values(recorded["outputs"]), dtype=object)
    assert function(array, recorded["targets"]).data == plain.data


# Every loss beside its formula, on outputs of a net: a list for each example, or a number for each.

OUTPUTS, TARGETS = [[0.3, -1.2], [2.5, 0.1], [-0.7, 0.4]], [[0.5, -1.0], [2.0, 0.2], [0.0, 0.4]]
SHARES = [[0.2, 0.8], [1.0, 0.0], [0.5, 0.5]]
PROBABILITIES = [[0.3, 0.2], [0.9, 0.1], [0.7, 0.4]]
SIGNS = [[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]
MATCHED = {
    "mse": (OUTPUTS, TARGETS),
    "half_squared_error": (OUTPUTS, TARGETS),
    "mae": (OUTPUTS, SIGNS),  # no pair is alike, where |o − t| has a kink
    "binary_cross_entropy": (PROBABILITIES, SHARES),
    "binary_cross_entropy_with_logits": (OUTPUTS, SHARES),
    "cross_entropy": (OUTPUTS, SHARES),
    "hinge": (OUTPUTS, SIGNS),
}
FORMULAS = {
    "mse": lambda o, t: (o - t) ** 2,
    "half_squared_error": lambda o, t: 0.5 * (o - t) ** 2,
    "mae": lambda o, t: abs(o - t),
    "binary_cross_entropy": lambda p, t: -t * np.log(p) - (1.0 - t) * np.log(1.0 - p),
    "binary_cross_entropy_with_logits": lambda o, t: t * np.log1p(np.exp(-o)) + (1.0 - t) * np.log1p(np.exp(o)),
    "cross_entropy": lambda o, t: -t * (o - np.log(np.exp(o).sum(axis=1, keepdims=True))),
    "hinge": lambda o, t: np.maximum(0.0, 1.0 - t * o),
}
PAIRED = [name for name in LOSSES if name != "cross_entropy"]
"""The losses that have a target for each output."""
PER_EXAMPLE = ("half_squared_error", "cross_entropy")  # the mean of the others is over all outputs


def test_every_loss_is_tested():
    assert set(FORMULAS) == set(MATCHED) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_the_sum_and_the_mean_are_those_of_the_formula(name):
    outputs, targets = MATCHED[name]
    terms = FORMULAS[name](np.array(outputs), np.array(targets))
    count = len(outputs) if name in PER_EXAMPLE else terms.size
    assert LOSSES[name](values(outputs), targets, "sum").data == pytest.approx(terms.sum(), rel=1e-13)
    assert LOSSES[name](values(outputs), targets, "mean").data == pytest.approx(terms.sum() / count, rel=1e-13)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_what_the_numbers_say(name, reduction):
    outputs, targets = map(values, MATCHED[name])
    loss = LOSSES[name](outputs, targets, reduction=reduction)
    found = gradcheck(loss)
    assert found
    assert len(found) == len(flat(outputs)) + len(flat(targets))
    assert {row.verdict for row in found.values()} == {"right"}


@pytest.mark.parametrize("name", PAIRED)
def test_one_output_is_its_own_mean_and_sum(name):
    output, target = MATCHED[name][0][0][0], MATCHED[name][1][0][0]
    expected = FORMULAS[name](np.array(output), np.array(target))
    for outputs, targets in [(Value(output), target), ([Value(output)], [target]), ([[Value(output)]], [[target]])]:
        for reduction in ("mean", "sum"):
            assert LOSSES[name](outputs, targets, reduction).data == pytest.approx(float(expected), rel=1e-14)


@pytest.mark.parametrize(
    ("name", "usual"), [(name, "sum" if name == "half_squared_error" else "mean") for name in LOSSES]
)
def test_the_mean_is_usual_but_for_the_classrooms_half(name, usual):
    outputs, targets = MATCHED[name]
    other = {"mean": "sum", "sum": "mean"}[usual]
    loss = LOSSES[name](values(outputs), targets)
    assert loss.data == LOSSES[name](values(outputs), targets, usual).data
    assert loss.data != LOSSES[name](values(outputs), targets, other).data


def test_the_mean_of_the_half_is_over_examples():
    of_two = [[Value(1.0), Value(2.0)], [Value(3.0), Value(4.0)]]
    assert half_squared_error(of_two, [[0.0, 0.0], [0.0, 0.0]], "mean").data == 7.5  # ½·(1 + 4 + 9 + 16)/2
    assert half_squared_error(of_two[:1], [[0.0, 0.0]], "mean").data == 2.5  # one example
    assert half_squared_error(of_two[0], [0.0, 0.0], "mean").data == 1.25  # two examples with one output each


def test_the_derivative_of_the_half_is_output_minus_target():
    outputs = values(OUTPUTS)
    half_squared_error(outputs, TARGETS).backward()
    assert gradients(outputs) == pytest.approx(flat((np.array(OUTPUTS) - TARGETS).tolist()), rel=1e-15)


@pytest.mark.parametrize(("output", "slope"), [(-2.0, -1.0), (0.5, -1.0), (1.0, 0.0), (1.5, 0.0)])
def test_the_hinge_has_a_slope_inside_the_margin_alone(output, slope):
    for target in (1.0, -1.0):
        o = Value(target * output)
        loss = hinge(o, target)
        loss.backward()
        assert (loss.data, o.grad) == (max(0.0, 1.0 - output), target * slope)


# Cross-entropy and its classes.

LOGITS = [0.3, -1.2, 2.0]


@pytest.mark.parametrize(
    "target", [1, np.int64(1), np.uint8(1), 1.0, np.float32(1.0), np.array(1), Value(1.0), [0, 1, 0], (0.0, 1.0, 0.0)]
)
def test_a_class_is_named_by_any_whole_number_or_by_its_share(target):
    logits = values(LOGITS)
    loss = cross_entropy(logits, target)
    loss.backward()
    shares = [share.data for share in softmax(values(LOGITS))]
    assert loss.data == pytest.approx(-math.log(shares[1]), rel=1e-14)
    assert gradients(logits) == pytest.approx([shares[0], shares[1] - 1.0, shares[2]], rel=1e-13)  # p − y


def test_classes_of_a_batch_are_a_list_or_an_array():
    rows, classes = [LOGITS, LOGITS[::-1], LOGITS], [2, 0, 1]
    expected = sum(cross_entropy(values(row), k).data for row, k in zip(rows, classes, strict=True))
    for targets in (classes, np.array(classes), np.array(classes, dtype=float), [Value(float(k)) for k in classes]):
        assert cross_entropy(values(rows), targets, "sum").data == pytest.approx(expected, rel=1e-14)


def test_a_class_that_is_a_value_is_followed_by_a_refresh():
    logits, target = values(LOGITS), Value(1.0, "t")
    loss = cross_entropy(logits, target)
    loss.backward()
    assert target.grad == 0.0  # a class jumps
    for k in (0, 2, 1):
        target.data = float(k)
        loss.refresh()
        assert loss.data == pytest.approx(cross_entropy(values(LOGITS), k).data, rel=1e-14)
        for logit in logits:
            logit.grad = 0.0
        loss.backward()
        anew = values(LOGITS)
        cross_entropy(anew, k).backward()
        assert gradients(logits) == pytest.approx(gradients(anew), rel=1e-14)


def test_class_probabilities_that_are_values_get_their_gradients():
    logits, shares = values(LOGITS), values([0.2, 0.5, 0.3])
    loss = cross_entropy(logits, shares)
    loss.backward()
    logs = [math.log(p.data) for p in softmax(values(LOGITS))]
    assert gradients(shares) == pytest.approx([-log for log in logs], rel=1e-13)
    assert loss.data == pytest.approx(-sum(y * log for y, log in zip([0.2, 0.5, 0.3], logs, strict=True)), rel=1e-13)


@settings(deadline=None)
@given(st.lists(st.floats(-800.0, 800.0), min_size=2, max_size=5), st.data())
def test_cross_entropy_never_overflows_and_its_gradients_add_up_to_0(numbers, data):
    target = data.draw(st.integers(0, len(numbers) - 1))
    logits = values(numbers)
    loss = cross_entropy(logits, target)
    loss.backward()
    assert 0.0 <= loss.data <= 1600.0 + math.log(len(numbers))
    assert sum(gradients(logits)) == pytest.approx(0.0, abs=1e-12)
    assert all((logit.grad <= 0.0) == (k == target) or logit.grad == 0.0 for k, logit in enumerate(logits))


@settings(deadline=None)
@given(st.floats(-30.0, 30.0), st.floats(0.0, 1.0))
def test_logits_give_the_binary_cross_entropy_of_their_sigmoid(o, t):
    with_logits, of_sigmoid = Value(o), Value(o)
    loss, other = binary_cross_entropy_with_logits(with_logits, t), binary_cross_entropy(of_sigmoid.sigmoid(), t)
    loss.backward()
    other.backward()
    assert loss.data == pytest.approx(other.data, rel=1e-2, abs=1e-9)  # 1 − σ(30) keeps three digits
    assert with_logits.grad == pytest.approx(1.0 / (1.0 + math.exp(-o)) - t, abs=1e-15)


def test_two_classes_are_the_binary_cross_entropy_of_the_difference():
    logits, single = values([0.3, 1.7]), Value(1.4)
    for k in (0, 1):
        assert cross_entropy(logits, k).data == pytest.approx(binary_cross_entropy_with_logits(single, k).data)


# What is refused.


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize(
    ("outputs", "targets", "words"),
    [
        ([0.5, 0.5], [1.0], "here are 2 outputs and 1 targets"),
        ([0.5], [1.0, 1.0], "here are 1 outputs and 2 targets"),
        ([0.5, 0.5], 1.0, "here are a list of 2 and one number"),
        (0.5, [1.0, 1.0], "here are one number and a list of 2"),
        ([[0.5, 0.5]], [[1.0]], "here are 2 outputs and 1 targets"),
        ([[0.5], [0.5]], [1.0, 1.0], "here are a list of 1 and one number"),
    ],
)
def test_targets_of_another_shape_are_refused(name, outputs, targets, words):
    with pytest.raises(ValueError, match=f"Targets must have the shape of the outputs: {words}"):
        LOSSES[name](values(outputs), targets)


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize("empty", [[], [[]], [[], []], ()])
def test_without_outputs_there_is_no_loss(name, empty):
    with pytest.raises(ValueError, match="There are no outputs, and so there is no loss"):
        LOSSES[name](empty, empty)


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        (math.nan, ValueError, r"A target is nan\. Leave that example out"),
        (np.float64("nan"), ValueError, "A target is nan"),
        ("1.0", TypeError, "A target is a number or a Value, not str '1.0'"),
        (None, TypeError, "A target is a number or a Value, not NoneType None"),
        (1 + 2j, TypeError, "A target is a number or a Value, not complex"),
    ],
)
def test_a_target_that_is_no_number_is_refused(name, target, error, words):
    for outputs, targets in [(Value(0.5), target), (values([0.5, 0.5]), [1.0, target])]:
        with pytest.raises(error, match=words):
            LOSSES[name](outputs, targets)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["none", "average", None, ""])
def test_an_unknown_reduction_is_refused(name, reduction):
    outputs, targets = MATCHED[name]
    for some in (slice(None), slice(1)):
        with pytest.raises(ValueError, match=rf"There is no reduction {reduction!r}: take 'mean' or 'sum'"):
            LOSSES[name](values(outputs[some]), targets[some], reduction=reduction)


@pytest.mark.parametrize("probability", [-1e-9, 1.0 + 1e-9, 3.0, math.inf])
def test_a_probability_outside_0_to_1_is_refused_by_its_name(probability):
    with pytest.raises(ValueError, match=rf"takes probabilities, and one is {probability:.6g} \(a2_1\).*with_logits"):
        binary_cross_entropy([Value(0.5), Value(probability, "a2_1")], [1.0, 0.0])
    with pytest.raises(ValueError, match=rf'one is {probability:.6g}\. Give the net output="sigmoid"'):
        binary_cross_entropy(Value(probability), 1.0)


@pytest.mark.parametrize(
    ("name", "target", "words"),
    [
        ("binary_cross_entropy", -1.0, "binary_cross_entropy takes targets from 0 to 1, and one is -1"),
        ("binary_cross_entropy", Value(1.5), "binary_cross_entropy takes targets from 0 to 1, and one is 1.5"),
        ("binary_cross_entropy_with_logits", 2, "with_logits takes targets from 0 to 1, and one is 2"),
        ("binary_cross_entropy_with_logits", -math.inf, "takes targets from 0 to 1, and one is -inf"),
        ("hinge", 0.0, r"hinge takes targets −1 and 1, and one is 0\. For 0 and 1 write 2\*t − 1"),
        ("hinge", Value(0.9), "hinge takes targets −1 and 1, and one is 0.9"),
    ],
)
def test_targets_out_of_range_are_refused(name, target, words):
    for outputs, targets in [(Value(0.5), target), (values([0.5, 0.5]), [1.0, target])]:
        with pytest.raises(ValueError, match=words):
            LOSSES[name](outputs, targets)


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        (3, ValueError, "Class 3 is out of range: there are 3, numbered 0 to 2"),
        (-1, ValueError, "Class -1 is out of range: there are 3, numbered 0 to 2"),
        (Value(5.0), ValueError, "Class 5 is out of range"),
        (1.5, TypeError, r"A class is a whole number from 0 to 2, not 1\.5"),
        (Value(0.5), TypeError, r"A class is a whole number from 0 to 2, not 0\.5"),
        ("1", TypeError, "A class is a whole number from 0 to 2, not '1'"),
        (None, TypeError, "A class is a whole number from 0 to 2, not None"),
        ([0.5, 0.5], ValueError, "A target has 2 class probabilities, and there are 3 outputs"),
        ([0.5, 0.6, 0.5], ValueError, r"must add up to 1: \[0\.5, 0\.6, 0\.5\] adds up to 1\.6.*number of the class"),
        ([-0.5, 1.0, 0.5], ValueError, "Class probabilities must not be negative"),
        ([math.nan, 0.5, 0.5], ValueError, "must add up to 1"),
        ([0.5, 0.5, math.nan], ValueError, "must add up to 1"),
        (values([0.5, 0.6, 0.5]), ValueError, "must add up to 1"),
    ],
)
def test_what_names_no_class_is_refused(target, error, words):
    with pytest.raises(error, match=words):
        cross_entropy(values(LOGITS), target)
    with pytest.raises(error, match=words):
        cross_entropy(values([LOGITS, LOGITS]), [1, target])


@pytest.mark.parametrize(("outputs", "target"), [(Value(0.5), 0), ([Value(0.5)], 0), ([[Value(0.5)]] * 2, [0, 0])])
def test_cross_entropy_of_one_output_is_refused(outputs, target):
    with pytest.raises(ValueError, match=r"an output for each class, at least two.*binary_cross_entropy_with_logits"):
        cross_entropy(outputs, target)


@pytest.mark.parametrize(
    ("targets", "count"), [([1], "1 targets"), ([1, 0, 1], "3 targets"), (1, "one target"), ([], "0 targets")]
)
def test_cross_entropy_needs_a_target_for_each_example(targets, count):
    with pytest.raises(ValueError, match=f"here are 2 outputs and {count}"):
        cross_entropy(values([LOGITS, LOGITS]), targets)


X, Y = [[0.1, 0.2], [0.3, 0.4]], [0.0, 1.0]


@pytest.mark.parametrize("output", ["sigmoid", "tanh", "relu", "softplus"])
@pytest.mark.parametrize("name", OF_LOGITS)
def test_logits_that_were_squashed_are_refused(name, output):
    inside = {"cross_entropy": "a softmax", "binary_cross_entropy_with_logits": "a sigmoid"}[name]
    words = rf'{name} expects logits, any numbers, and has {inside} in it: after a {output} output.*output="linear"'
    for model in (MLP(2, [3, 2], "tanh", output, seed=0), Layer(2, 2, output, seed=0), Neuron(2, output, seed=0)):
        before = model.state_dict()
        with pytest.raises(ValueError, match=words):
            fit(model, X, Y, loss=name)
        with pytest.raises(ValueError, match=words):
            fit(model, X, Y, loss=LOSSES[name])
        assert model.state_dict() == before
        with pytest.raises(ValueError, match=name) as caught:
            fit(model, X, Y, loss=name)
        assert ("or take" in str(caught.value)) == (name != "cross_entropy" and output == "sigmoid")


def test_a_sigmoid_before_binary_cross_entropy_with_logits_is_pointed_to_the_loss_without():
    with pytest.raises(ValueError, match=r"or take binary_cross_entropy with the sigmoid, and the probabilities come"):
        fit(MLP(2, [3, 1], "tanh", "sigmoid", seed=0), X, Y, loss="binary_cross_entropy_with_logits")


def test_a_linear_output_before_binary_cross_entropy_is_refused():
    with pytest.raises(ValueError, match=r'a linear output gives other numbers\. Give the net output="sigmoid", or a'):
        fit(MLP(2, [3, 1], "tanh", seed=0), X, Y, loss="binary_cross_entropy")


def test_losses_take_any_output_that_fits():
    for output, name in [
        ("linear", "mse"),
        ("sigmoid", "mse"),
        ("tanh", "hinge"),
        ("sigmoid", "binary_cross_entropy"),
        ("linear", "binary_cross_entropy_with_logits"),
        (lambda z: 2.0 * z, "binary_cross_entropy_with_logits"),
    ]:
        targets = [-1.0, 1.0] if name == "hinge" else Y
        assert fit(MLP(2, [3, 1], "tanh", output, seed=0), X, targets, loss=name, epochs=1)["loss"][0] > 0.0


def test_a_loss_is_a_node_of_the_graph_like_any_other():
    graph = build("z = w*x + b\na = tanh(z)", w=0.3, x=1.5, b=-0.2)
    loss = mse(graph["a"], Value(1.0, "y")) + 0.1 * mae(graph["w"], 0.0)
    assert gradcheck(loss)
    graph["w"].data = 0.5
    loss.refresh()
    assert loss.data == pytest.approx((math.tanh(0.55) - 1.0) ** 2 + 0.05, rel=1e-14)


def test_losses_of_numbers_are_values():
    assert mse(0.25, 0.5).data == 0.0625
    assert hinge([0.25], [1]).data == 0.75
    assert cross_entropy([0.0, 0.0], 1).data == pytest.approx(math.log(2.0))


@pytest.mark.parametrize("target", [math.nan, math.inf, 0.5])
def test_a_class_is_a_whole_number(target):
    with pytest.raises(TypeError, match="A class is a whole number from 0 to 1, not"):
        cross_entropy([Value(1.0), Value(2.0)], target)


def test_no_outputs_have_no_cross_entropy():
    with pytest.raises(ValueError, match="There are no outputs"):
        cross_entropy([], [])
