"""Optimizers: PyTorch's steps, the rules as formulas, and updates that are refused without a trace."""

import math
import re
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nn
from engine import Value, build, total
from nn import MLP, SGD, Adam, RMSprop, clip_gradients, gradient_descent_step
from nn.optim import Optimizer, adam_update, momentum_update, rmsprop_update
from tests.strategies import case

PYTORCH = case("nets/optimizers.json")
OPTIMIZERS = {
    "SGD": SGD,
    "SGD with momentum": partial(SGD, momentum=0.9),
    "RMSprop": RMSprop,
    "Adam": Adam,
}
FINITE = st.floats(-100.0, 100.0)


def parameters(data=(1.0, -2.0, 0.5), gradients=(0.5, 0.2, -0.1)):
    made = [Value(x, f"w{number}") for number, x in enumerate(data, 1)]
    for p, grad in zip(made, gradients, strict=True):
        p.grad = grad
    return made


def numbers(parameters):
    return [p.data for p in parameters]


def state(optimizer):
    """All that a step can change."""
    return numbers(optimizer.parameters), [p.grad for p in optimizer.parameters], optimizer.memory, optimizer.steps


# PyTorch's steps.


@pytest.mark.parametrize("recorded", PYTORCH["cases"], ids=lambda recorded: f"{recorded['optimizer']}")
def test_ten_steps_are_those_of_pytorch(recorded):
    ps = [Value(x) for x in PYTORCH["start"]]
    optimizer = getattr(nn, recorded["optimizer"])(ps, **recorded["arguments"])
    for gradients, after in zip(PYTORCH["gradients"], recorded["parameters"], strict=True):
        for p, grad in zip(ps, gradients, strict=True):
            p.grad = grad
        optimizer.step()
        assert numbers(ps) == pytest.approx(after, rel=1e-12, abs=1e-12)
    assert optimizer.steps == 10


def test_pytorchs_record_has_every_optimizer_with_its_defaults_and_with_weight_decay():
    cases = [(recorded["optimizer"], recorded["arguments"]) for recorded in PYTORCH["cases"]]
    assert {name for name, _ in cases} == {"SGD", "RMSprop", "Adam"}
    assert ("Adam", {}) in cases
    assert ("RMSprop", {}) in cases
    assert sum("weight_decay" in arguments for _, arguments in cases) == 3


# The rules, on numbers and on arrays.


def test_gradient_descent_moves_against_the_gradient():
    ps = parameters()
    gradient_descent_step(ps, 0.1)
    assert numbers(ps) == [1.0 - 0.1 * 0.5, -2.0 - 0.1 * 0.2, 0.5 + 0.1 * 0.1]
    assert [p.grad for p in ps] == [0.5, 0.2, -0.1]


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=4), st.floats(1e-6, 10.0))
def test_sgd_without_momentum_is_gradient_descent(pairs, lr):
    ps, others = parameters(*zip(*pairs, strict=True)), parameters(*zip(*pairs, strict=True))
    optimizer = SGD(ps, lr)
    for _ in range(3):
        optimizer.step()
        gradient_descent_step(others, lr)
    assert numbers(ps) == numbers(others)


RULES = {
    "momentum": (partial(momentum_update, lr=0.1, momentum=0.9), 1),
    "rmsprop": (partial(rmsprop_update, lr=0.1, alpha=0.9, eps=1e-8), 1),
    "adam": (partial(adam_update, t=3, lr=0.1, betas=(0.9, 0.999), eps=1e-8), 2),
}


@settings(deadline=None)
@pytest.mark.parametrize("name", RULES)
@given(data=st.data())
def test_a_rule_on_arrays_is_the_rule_on_each_number(name, data):
    rule, remembers = RULES[name]
    columns = [FINITE, FINITE, *[st.floats(0.0, 100.0)] * remembers]
    rows = data.draw(st.lists(st.tuples(*columns), min_size=1, max_size=5))
    of_arrays = rule(*[np.array(column) for column in zip(*rows, strict=True)])
    for i, row in enumerate(rows):
        assert [part[i] for part in of_arrays] == pytest.approx(rule(*row), rel=1e-14, abs=1e-300)


def test_the_rules_are_the_formulas_of_the_papers():
    assert momentum_update(1.0, 0.5, 2.0, lr=0.1, momentum=0.9) == pytest.approx((1.0 - 0.1 * 2.3, 2.3))
    square = 0.9 * 4.0 + 0.1 * 0.25
    assert rmsprop_update(1.0, 0.5, 4.0, lr=0.1, alpha=0.9, eps=1e-3) == pytest.approx(
        (1.0 - 0.1 * 0.5 / (math.sqrt(square) + 1e-3), square)
    )
    mean, square = 0.8 * 2.0 + 0.2 * 0.5, 0.9 * 4.0 + 0.1 * 0.25
    step = 0.1 * (mean / (1 - 0.8**3)) / (math.sqrt(square / (1 - 0.9**3)) + 1e-3)
    assert adam_update(1.0, 0.5, 2.0, 4.0, t=3, lr=0.1, betas=(0.8, 0.9), eps=1e-3) == pytest.approx(
        (1.0 - step, mean, square)
    )


@pytest.mark.parametrize(("make", "remembered"), [(SGD, 1), (RMSprop, 1), (Adam, 2)])
def test_an_optimizer_is_its_rule_with_a_memory_for_each_parameter(make, remembered):
    ps = parameters()
    optimizer = make(ps, 0.1)
    assert optimizer.memory == [(0.0,) * remembered] * 3
    expected = [optimizer.update(p.data, p.grad, *[0.0] * remembered, lr=0.1) for p in ps]
    optimizer.step()
    assert [(p.data, *memory) for p, memory in zip(ps, optimizer.memory, strict=True)] == expected


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_adams_first_step_is_its_rate_whatever_the_size_of_the_gradient(size):
    ps = parameters(gradients=[size, -size, 2.0 * size])
    Adam(ps, 0.01).step()
    assert numbers(ps) == pytest.approx([0.99, -1.99, 0.49], rel=1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_is_half_the_sum_of_squares_in_the_loss(name):
    decayed, plain = parameters(), parameters()
    optimizer, other = OPTIMIZERS[name](decayed, 0.1, weight_decay=0.3), OPTIMIZERS[name](plain, 0.1)
    for k in range(4):
        other.zero_grad()
        (total([(k + 1.0) * p for p in plain]) + 0.5 * 0.3 * total([p * p for p in plain])).backward()
        for p in decayed:
            p.grad = k + 1.0
        optimizer.step()
        other.step()
        assert numbers(decayed) == pytest.approx(numbers(plain), rel=1e-12)
        assert [p.grad for p in decayed] == [k + 1.0] * 3


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rate_is_a_function_of_the_step_counted_from_0(name):
    asked = []

    def falling(step):
        asked.append(step)
        return 0.1 / (step + 1)

    ps, others = parameters(), parameters()
    optimizer, other = OPTIMIZERS[name](ps, falling), OPTIMIZERS[name](others, 0.1)
    asked.clear()
    for step in range(4):
        other.lr = 0.1 / (step + 1)
        optimizer.step()
        other.step()
    assert asked == [0, 1, 2, 3]
    assert numbers(ps) == numbers(others)


@pytest.mark.parametrize(
    ("make", "lr"),
    [(SGD, 0.05), (OPTIMIZERS["SGD with momentum"], 0.01), (RMSprop, lambda step: 0.3 / (1 + step)), (Adam, 0.1)],
)
def test_an_optimizer_finds_the_bottom_of_a_bowl(make, lr):
    graph = build("L = (x - 3)**2 + 10*(y + 1)**2 + x*y", x=0.0, y=0.0)
    optimizer = make([graph["x"], graph["y"]], lr)
    for _ in range(300):
        graph.loss.refresh()
        optimizer.zero_grad()
        graph.loss.backward()
        optimizer.step()
    bottom = np.linalg.solve([[2.0, 1.0], [1.0, 20.0]], [6.0, -20.0])
    assert [graph["x"].data, graph["y"].data] == pytest.approx(bottom.tolist(), abs=1e-2)


def test_zero_grad_clears_the_optimizers_own_parameters():
    ps, other = parameters(), Value(1.0)
    other.grad = 5.0
    SGD(ps).zero_grad()
    assert [p.grad for p in ps] == [0.0, 0.0, 0.0]
    assert other.grad == 5.0


def test_parameters_may_come_from_a_generator_or_a_net():
    ps = parameters()
    assert SGD(p for p in ps).parameters == ps
    gradient_descent_step((p for p in ps), 0.1)
    assert ps[0].data == 0.95
    net = MLP(2, [3, 1], seed=0)
    assert Adam(net.parameters()).parameters == net.parameters()


def test_the_usual_rates_are_pytorchs():
    assert [make(parameters()).lr for make in (SGD, RMSprop, Adam)] == [1e-3, 1e-2, 1e-3]


def test_an_optimizer_says_what_it_does():
    optimizer = Adam(parameters(), 0.01)
    optimizer.step()
    assert repr(optimizer) == "Adam(3 parameters, lr=0.01, 1 steps done)"
    assert repr(SGD(parameters(), lambda step: 0.1)) == "SGD(3 parameters, lr=a function of the step, 0 steps done)"


def test_an_update_rule_of_ones_own():
    class SignDescent(Optimizer):
        remembers = 0

        def update(self, w, g, *remembered, lr):
            return (w - lr * math.copysign(1.0, g),)

    ps = parameters()
    SignDescent(ps, 0.25).step()
    assert numbers(ps) == [0.75, -2.25, 0.75]
    with pytest.raises(NotImplementedError, match="Optimizer has no update rule"):
        Optimizer(ps, 0.1).step()


# What is refused, and that nothing has changed then.


def made_by(name, given, **arguments):
    """Take a step in each way there is; `name` is that of an optimizer, or of the function."""
    if name == "gradient_descent_step":
        gradient_descent_step(given, **arguments)
    else:
        OPTIMIZERS[name](given, **arguments).step()


WAYS = ["gradient_descent_step", *OPTIMIZERS]


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize(
    ("lr", "error", "words"),
    [
        (0.0, ValueError, r"lr must be above 0 and finite, and it is 0\.0"),
        (-0.1, ValueError, r"lr must be above 0 and finite, and it is -0\.1"),
        (math.nan, ValueError, "lr must be above 0 and finite, and it is nan"),
        (math.inf, ValueError, "lr must be above 0 and finite, and it is inf"),
        ("0.1", TypeError, r"lr must be a number, not str '0\.1'"),
        (None, TypeError, "lr must be a number, not NoneType None"),
        (True, TypeError, "lr must be a number, not bool True"),
    ],
)
def test_a_rate_that_is_not_above_0_is_refused(name, lr, error, words):
    ps = parameters()
    with pytest.raises(error, match=words):
        made_by(name, ps, lr=lr)
    assert numbers(ps) == [1.0, -2.0, 0.5]
    if name in OPTIMIZERS:
        with pytest.raises(error, match=words.replace("lr must", r"lr at step 0 \(counted from 0\) must")):
            OPTIMIZERS[name](ps, lr=lambda step: lr)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rate_that_falls_to_0_is_refused_at_that_step(name):
    optimizer = OPTIMIZERS[name](parameters(), lambda step: 0.1 - 0.05 * step)
    optimizer.step()
    optimizer.step()
    before = state(optimizer)
    with pytest.raises(ValueError, match=r"lr at step 2 \(counted from 0\) must be above 0 and finite, and it is 0\.0"):
        optimizer.step()
    assert state(optimizer) == before


NET = MLP(2, [1], seed=0)
TWICE, UNNAMED = Value(1.0, "w"), Value(2.0)
TWICE.grad = UNNAMED.grad = 1.0


@pytest.mark.parametrize("name", [*WAYS, "clip_gradients"])
@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([], ValueError, r"There are no parameters to update\. model\.parameters\(\) lists those of a net"),
        (NET.parameters, TypeError, r"write model\.parameters\(\), with parentheses"),
        (Value(1.0), TypeError, r"The parameters are a list of Values: \[w\], or model\.parameters\(\)"),
        ([Value(1.0), Value(2.0) * 3.0], ValueError, r"Parameter number 1 is computed \(\*\), and only a leaf can be"),
        ([build("z = tanh(w)", w=1.0)["z"]], ValueError, r"Parameter z is computed \(tanh\)"),
        ([(Value(2.0) * 3.0).parents[1]], ValueError, r"Parameter number 0 is a constant of an expression: make it a"),
        ([Value(1.0), TWICE, TWICE], ValueError, "Parameter w is listed twice, and would move twice a step"),
        ([Value(1.0), UNNAMED, UNNAMED], ValueError, "Parameter number 1 is listed twice"),
        ([Value(1.0), 2.0], TypeError, r"Parameter number 1 is no Value but float 2\.0"),
        (["w"], TypeError, "Parameter number 0 is no Value but str 'w'"),
    ],
)
def test_what_cannot_be_updated_is_refused(name, given, error, words):
    with pytest.raises(error, match=words):
        clip_gradients(given, 1.0) if name == "clip_gradients" else made_by(name, given, lr=0.1)
    assert (TWICE.data, UNNAMED.data) == (1.0, 2.0)


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("gradient", [math.inf, -math.inf, math.nan])
def test_an_update_to_no_finite_number_changes_nothing(name, gradient):
    ps = parameters()
    optimizer = OPTIMIZERS[name](ps, 0.1) if name in OPTIMIZERS else None
    step = optimizer.step if optimizer else partial(gradient_descent_step, ps, 0.1)
    step()
    ps[2].grad = gradient
    before = state(optimizer) if optimizer else numbers(ps)
    words = (
        rf"Parameter w3 would become (-?inf|nan): it is {ps[2].data:.6g}, with gradient {gradient}\. No parameter was"
    )
    with pytest.raises(FloatingPointError, match=words):
        step()
    assert repr(state(optimizer) if optimizer else numbers(ps)) == repr(before)  # nan is not equal to itself
    ps[2].grad = -0.1
    step()
    assert all(map(math.isfinite, numbers(ps)))


@pytest.mark.parametrize("name", ["gradient_descent_step", "SGD", "SGD with momentum"])
def test_a_step_that_overflows_changes_nothing(name):
    ps = parameters(data=[1.0, -1.7e308], gradients=[1.0, 1.0])
    with pytest.raises(
        FloatingPointError, match=r"Parameter w2 would become -inf: it is -1\.7e\+308, with gradient 1\."
    ):
        made_by(name, ps, lr=1e308)
    assert numbers(ps) == [1.0, -1.7e308]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (partial(SGD, momentum=1.0), r"momentum must be from 0 to below 1\.0, and it is 1\.0"),
        (partial(SGD, momentum=-0.1), r"momentum must be from 0 to below 1\.0, and it is -0\.1"),
        (partial(SGD, momentum="0.9"), r"momentum must be from 0 to below 1\.0, and it is '0\.9'"),
        (partial(SGD, weight_decay=-1e-4), "weight_decay must be from 0 to below inf, and it is -0.0001"),
        (partial(SGD, weight_decay=math.nan), "weight_decay must be from 0 to below inf, and it is nan"),
        (partial(RMSprop, alpha=1.5), r"alpha must be from 0 to below 1\.0, and it is 1\.5"),
        (partial(RMSprop, eps=0.0), r"eps must be above 0 and finite, and it is 0\.0"),
        (partial(Adam, betas=(1.0, 0.999)), r"beta1 must be from 0 to below 1\.0, and it is 1\.0"),
        (partial(Adam, betas=(0.9, -0.1)), r"beta2 must be from 0 to below 1\.0, and it is -0\.1"),
        (partial(Adam, eps=-1e-8), "eps must be above 0 and finite, and it is -1e-08"),
        (partial(Adam, weight_decay=math.inf), "weight_decay must be from 0 to below inf, and it is inf"),
    ],
)
def test_settings_out_of_range_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make(parameters())


# Clipping.


@given(st.lists(FINITE, min_size=1, max_size=6), st.floats(1e-3, 100.0))
def test_clipping_bounds_the_norm_and_keeps_the_direction(gradients, most):
    ps = parameters([0.0] * len(gradients), gradients)
    norm = clip_gradients(ps, most)
    assert norm == pytest.approx(math.sqrt(sum(g * g for g in gradients)), rel=1e-12)
    clipped = [p.grad for p in ps]
    if norm <= most:
        assert clipped == gradients
    else:
        assert math.hypot(*clipped) == pytest.approx(most, rel=1e-12)
        assert clipped == pytest.approx([g * most / norm for g in gradients], rel=1e-12)
    assert numbers(ps) == [0.0] * len(gradients)


def test_clipping_by_hand():
    ps = parameters([0.0, 0.0], [3.0, -4.0])
    assert clip_gradients(ps, 10.0) == 5.0
    assert [p.grad for p in ps] == [3.0, -4.0]
    assert clip_gradients(ps, 1.0) == 5.0
    assert [p.grad for p in ps] == pytest.approx([0.6, -0.8])
    none = parameters([0.0, 0.0], [0.0, 0.0])
    assert clip_gradients(none, 1.0) == 0.0
    assert [p.grad for p in none] == [0.0, 0.0]


@pytest.mark.parametrize("most", [0.0, -1.0, math.nan, math.inf])
def test_a_bound_that_is_not_above_0_is_refused(most):
    ps = parameters()
    with pytest.raises(ValueError, match=re.escape(f"max_norm must be above 0 and finite, and it is {most}")):
        clip_gradients(ps, most)
    assert [p.grad for p in ps] == [0.5, 0.2, -0.1]


@pytest.mark.parametrize("make", [RMSprop, Adam])
def test_a_gradient_whose_square_is_too_large_is_refused(make):
    w = Value(1.0, "w")
    w.grad = 1e200
    optimizer = make([w])
    with pytest.raises(FloatingPointError, match=r"The gradient of w, 1e.200, is too large for"):
        optimizer.step()
    assert (w.data, optimizer.steps) == (1.0, 0)


def test_infinite_gradients_are_not_clipped_to_nan():
    w = Value(1.0, "w")
    w.grad = math.inf
    with pytest.raises(FloatingPointError, match="The gradient of w is inf"):
        clip_gradients([w], 1.0)
    assert w.grad == math.inf


def test_gradients_whose_norm_overflows_are_clipped():
    ws = [Value(1.0), Value(1.0)]
    for w in ws:
        w.grad = 1.7e308
    assert clip_gradients(ws, 1.0) == math.inf
    assert [w.grad for w in ws] == pytest.approx([math.sqrt(0.5)] * 2, rel=1e-15)


def test_a_rate_of_numpy_leaves_floats():
    w = Value(1.0)
    w.grad = 1.0
    gradient_descent_step([w], np.float64(0.1))
    assert type(w.data) is float


@pytest.mark.parametrize(("options", "error"), [({"betas": (0.9,)}, TypeError), ({"betas": (0.9, None)}, ValueError)])
def test_two_betas_are_needed(options, error):
    with pytest.raises(error, match="beta"):
        Adam([Value(1.0)], **options)
