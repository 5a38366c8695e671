"""A graph recorded for one example and replayed for many: the engine's own losses and gradients, as matrices."""

import copy
import itertools
import math
import pickle
import random
import re
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import engine.acts
import engine.program
import engine.rows
from engine import (
    DomainError,
    Replay,
    Value,
    atan2,
    build,
    cbrt,
    dot,
    exp,
    hypot,
    log,
    logsumexp,
    maximum,
    mean,
    nodes,
    ops,
    relu,
    softmax,
    sqrt,
    total,
)
from engine.arrays import FORMS
from engine.graph import backward_order, derivatives_by_parent
from engine.value import clone, record
from tests.reference import ROWS, arity, points
from tests.strategies import graphs, is_tame, programs

ROOT = Path(__file__).parents[1]
ULPS = 2.0**-50
"""Four units in the last place."""


def contributions(loss):
    """The sum of the sizes of all that each leaf receives, path by path, whatever their signs."""
    sizes = {loss: 1.0}
    for node in backward_order(loss):
        for parent, derivative in derivatives_by_parent(node):
            sizes[parent] = sizes.get(parent, 0.0) + sizes[node] * abs(derivative)
    return sizes


def eager(replay, batch, parameters=None, wanted=()):
    """Losses, gradients and what their terms sum up to without signs, by the engine, one example after the other."""
    copies = clone(replay.loss)
    loss = copies[replay.loss]
    if parameters is not None:
        for parameter, number in zip(replay.parameters, parameters, strict=True):
            copies[parameter].data = number
    losses, values = [], []
    gradient, sizes = np.zeros((2, len(replay.parameters)))
    for row in batch:
        for leaf, number in zip(replay.inputs, row, strict=True):
            copies[leaf].data = float(number)
        loss.refresh()
        loss.zero_grad()
        loss.backward()
        size = contributions(loss)
        losses.append(loss.data)
        values.append([copies[node].data for node in wanted])
        for place, parameter in enumerate(replay.parameters):
            if parameter in copies:
                gradient[place] += copies[parameter].grad
                sizes[place] += size.get(copies[parameter], 0.0)
    return np.array(losses), gradient, sizes, np.array(values).reshape(len(losses), len(wanted))


def assert_replays(replay, batch, parameters=None, wanted=()):
    """Demand what the engine gives one by one, to 1e-12.

    A sum in another order differs by roundings of its terms, so where they cancel it is known to some ulps of their
    sizes and no better: a few are allowed, and no constant.
    """
    losses, gradients = replay(batch, parameters)
    right, gradient, sizes, values = eager(replay, batch, parameters, wanted)
    close(losses, right, replay.values(replay.loss, batch, parameters))
    assert losses.shape == (len(batch),)
    wrong = np.abs(gradients.array - gradient) > 1e-12 * np.abs(gradient) + 4.0 * ULPS * sizes
    assert [(gradients.array[i], gradient[i], sizes[i]) for i in np.flatnonzero(wrong)] == []
    assert list(gradients) == list(replay.parameters)
    if wanted:
        close(replay.values(list(wanted), batch, parameters), values)


def close(found, *others):
    for other in others:
        np.testing.assert_allclose(found, other, rtol=1e-12, atol=1e-14)


def leaves(prefix, numbers):
    return [Value(number, f"{prefix}{i}") for i, number in enumerate(numbers, 1)]


def uniform(count, seed=0, low=-1.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, count).tolist()


def by_dot(weights, xs, bias):
    return dot(weights, xs, bias)


def by_hand(weights, xs, bias):
    return reduce(add, [w * x for w, x in zip(weights, xs, strict=True)]) + bias


def perceptron(sizes, *activations, neuron=by_dot, seed=0):
    """Inputs, outputs and parameters, row by row, of a net written without `nn`."""
    rng = random.Random(seed)
    xs = leaves("x", [rng.uniform(-1, 1) for _ in range(sizes[0])])
    parameters, outputs = [], xs
    for number, (width, units) in enumerate(itertools.pairwise(sizes), 1):
        sums = []
        for unit in range(1, units + 1):
            weights = leaves(f"w{number}_{unit}_", [rng.uniform(-1, 1) for _ in range(width)])
            bias = Value(rng.uniform(-1, 1), f"b{number}_{unit}")
            parameters += [*weights, bias]
            sums.append(neuron(weights, outputs, bias))
        outputs = [activations[number - 1](z) for z in sums]
    return xs, outputs, parameters


def itself(z):
    return z


def named(loss, label="L"):
    loss.label = label
    return loss


def replay_of(text, inputs, **values):
    """The replay of formulas; all labelled leaves besides the inputs are parameters."""
    graph = build(text, values)
    return Replay(graph.loss, [graph[name] for name in inputs.split()]), graph


def some_net(**options):
    xs, (out,), parameters = perceptron([3, 4, 1], Value.tanh, itself, **options)
    y = Value(0.5, "y")
    return Replay(named((out - y) ** 2), [*xs, y], parameters)


# The engine's numbers, for every row.


def roles_of(row):
    """Ways to hand out roles to operands: input, parameter, constant. All of them, or each for each operand."""
    count = arity(row)
    if count <= 2:
        return [roles for roles in itertools.product("ipc", repeat=count) if set(roles) != {"c"}]
    turns = [*itertools.product("ipc", repeat=2), *itertools.product("icp", repeat=2)]
    every = {tuple(one[(k + shift) % 2] for k in range(count)) for one in turns for shift in (0, 1)}
    every |= {tuple("ipc"[(k + shift) % 3] for k in range(count)) for shift in range(3)}
    every |= {tuple("c" if k != place else role for k in range(count)) for place in range(count) for role in "ip"}
    return sorted(every - {("c",) * count})


def in_domain(row, point):
    return (row.inside is None or row.inside(*point)) and not row.at_kink(point)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_replays_whatever_its_operands_are(row):
    """Two nodes of it, so that they are computed together, with leaves of their own and with some in common."""
    first, second, *_ = points(row)
    for roles, common in itertools.product(roles_of(row), [None, 0]):
        inputs, parameters, made, moves = [], [], [], []
        shared = None
        for point in (first, second):
            operands = []
            for place, (role, number) in enumerate(zip(roles, point, strict=True)):
                if place == common and shared is not None:
                    operands.append(shared)
                    continue
                leaf = number if role == "c" else Value(number, f"{role}{place}")
                operands.append(leaf)
                if role == "i":
                    inputs.append(leaf)
                    moves.append(place)
                elif role == "p":
                    parameters.append(leaf)
                if place == common:
                    shared = leaf
            if not in_domain(row, [getattr(one, "data", one) for one in operands]):
                break
            made.append(record(row, operands))
        else:
            replay = Replay(dot(made, [1.5, -0.5]), inputs, parameters)
            data = [leaf.data for leaf in inputs]
            moved = [x * 1.01 for x in data] if row is not ops.POWER else data
            batch = [data, moved] if _moves(row, made, inputs, moved) else [data]
            assert_replays(replay, batch, wanted=made)


def _moves(row, made, inputs, moved):
    now = dict(zip(inputs, moved, strict=True))
    return all(in_domain(row, [now.get(one, one.data) for one in node.parents]) for node in made)


@st.composite
def replays(draw, sources):
    """The replay of a random graph with any of its leaves as inputs, parameters and constants, and rows for it."""
    loss, labelled = draw(sources)
    under = set(nodes(loss))
    assume(loss.op and all(is_tame(node) for node in under if node.op))
    roles = {leaf: draw(st.sampled_from("iipc")) for leaf in labelled}
    inputs = [leaf for leaf in labelled if roles[leaf] == "i" and leaf in under]
    replay = Replay(loss, inputs, [leaf for leaf in labelled if roles[leaf] == "p"])
    recorded = [leaf.data for leaf in inputs]
    rng = random.Random(draw(st.integers(0, 99)))
    rows = [recorded] + [[x + rng.uniform(-0.2, 0.2) for x in recorded] for _ in range(6)]
    return replay, [row for row in rows if _is_tame_at(replay, row)]


def _is_tame_at(replay, row):
    copies = clone(replay.loss)
    for leaf, number in zip(replay.inputs, row, strict=True):
        copies[leaf].data = number
    try:
        copies[replay.loss].refresh()
    except DomainError:
        return False
    return all(is_tame(node) for node in nodes(copies[replay.loss]) if node.op)


def as_batch(replay, rows, count):
    """So many examples, from these."""
    return np.resize(np.array(rows, dtype=float).reshape(len(rows), len(replay.inputs)), (count, len(replay.inputs)))


@given(replays(programs() | graphs(most=15)), st.sampled_from([0, 1, 2, 5]))
@settings(max_examples=120, deadline=None)
def test_random_graphs_replay(found, count):
    replay, rows = found
    batch = as_batch(replay, rows, count)
    assert_replays(replay, batch, wanted=nodes(replay.loss)[:8])
    assert str(replay).startswith("Replay of ")


@given(replays(programs() | graphs(most=15)))
@settings(max_examples=25, deadline=None)
def test_the_gradients_of_a_thousand_examples_are_their_sum(found):
    replay, rows = found
    losses, gradients = replay(as_batch(replay, rows, 1000))
    right, _, _, _ = eager(replay, rows)
    close(losses, np.resize(right, 1000))
    times = np.bincount(np.arange(1000) % len(rows))
    gradient, sizes = np.zeros((2, len(replay.parameters)))
    for count, row in zip(times, rows, strict=True):
        _, one, size, _ = eager(replay, [row])
        gradient += count * one
        sizes += count * size
    # The roundings of a sum of 1,000 terms, pairwise or in a matrix product, are no more than those of a few.
    assert (np.abs(gradients.array - gradient) <= 1e-12 * np.abs(gradient) + 16.0 * ULPS * sizes).all()


def test_sizes_of_a_batch_one_after_the_other_do_not_mix():
    replay = some_net()
    rng = np.random.default_rng(0)
    for count in [3, 1, 0, 7, 1, 30, 3, 2, 0, 5, 6, 8, 9, 30]:
        assert_replays(replay, rng.normal(size=(count, 4)))


@pytest.mark.parametrize("count", [4, 5, 6, 7, 50])
def test_a_long_batch_runs_in_chunks(monkeypatch, count):
    """Also with parameters that pass through numbers which all examples share."""
    batch = np.random.default_rng(0).normal(size=(count, 3))
    losses, gradients = [], []
    for widest, fitting in [(2048, 2**18), (3, 2**18), (1, 2**18), (2048, 200)]:
        monkeypatch.setattr(engine.program, "WIDEST", widest)
        monkeypatch.setattr(engine.program, "FITTING", fitting)
        xs, (out,), parameters = perceptron([3, 4, 1], Value.tanh, itself)
        norm = total([p.exp() for p in parameters]).sqrt()
        replay = Replay(out * norm + norm.log(), xs, parameters)
        found, gradient = replay(batch)
        losses.append(found)
        gradients.append(gradient.array)
        assert_replays(replay, batch)
    close(losses[0], *losses[1:])
    close(gradients[0], *gradients[1:])


def test_a_loss_that_no_input_moves_is_the_same_for_every_example():
    w, b = Value(0.5, "w"), Value(0.25, "b")
    replay = Replay((w * b).tanh(), [])
    losses, gradients = replay(np.zeros((3, 0)))
    assert losses.tolist() == pytest.approx([math.tanh(0.125)] * 3, rel=1e-15)
    assert gradients[w] == pytest.approx(3.0 * 0.25 * (1.0 - math.tanh(0.125) ** 2), rel=1e-14)
    assert replay(np.zeros((0, 0)))[0].shape == (0,)


def test_without_parameters_there_are_losses():
    x = Value(0.5)
    losses, gradients = Replay(x.tanh() * 2.0, [x])([[1.0], [2.0]])
    assert losses.tolist() == pytest.approx([2.0 * math.tanh(1.0), 2.0 * math.tanh(2.0)], rel=1e-15)
    assert (dict(gradients), gradients.array.shape) == ({}, (0,))


def test_parameters_are_the_other_leaves_with_a_label():
    x, w, silent = Value(1.0, "x"), Value(2.0, "w"), Value(3.0)
    replay = Replay(w * x * silent * 2.0, [x])
    assert (replay.inputs, replay.parameters) == ((x,), (w,))
    assert Replay(w * x * silent, [x], [silent]).parameters == (silent,)


# What people give.


def test_a_parameters_data_is_read_at_every_call_unless_an_array_is_given():
    replay = some_net()
    batch = np.random.default_rng(0).normal(size=(5, 4))
    assert_replays(replay, batch)
    for parameter in replay.parameters:
        parameter.data *= -0.5
    assert_replays(replay, batch)
    given = np.linspace(-1.0, 1.0, len(replay.parameters))
    for parameter in replay.parameters:
        parameter.data = math.nan  # nobody reads it
    assert_replays(replay, batch, given)
    assert_replays(replay, batch, given * 2.0)
    close(replay.values(replay.loss, batch, given.tolist()), replay(batch, given)[0])
    with pytest.raises(ValueError, match=r"data of w1_1_1 was set to float nan"):
        replay(batch)


def test_numbers_of_any_kind_are_a_batch():
    replay, _ = replay_of("L = w*x*y", "x y", w=0.5, x=1.0, y=2.0)
    right = [1.0, 6.0]
    for batch in [
        [[1, 2], [3, 4]], ((1.0, 2.0), (3.0, 4.0)), np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]], dtype="u1"),
        np.array([[1, 2], [3, 4]], dtype=np.float32), np.array([[1.0, 3.0], [2.0, 4.0]]).T,
        np.arange(1.0, 9.0).reshape(2, 4)[:, :2] - [[0.0, 0.0], [2.0, 2.0]],
    ]:  # fmt: skip
        assert replay(batch)[0].tolist() == right
    assert replay(np.array([[True, True]]))[0].tolist() == [0.5]
    w, x = Value(2, "w"), Value(np.float32(0.5), "x")  # and so are numbers of leaves
    assert Replay(w * x, [x])([[3]])[0].tolist() == [6.0]


@pytest.mark.parametrize("empty", [[], np.zeros((0, 4)), np.zeros(0), np.zeros((0, 4), dtype=int)], ids=repr)
def test_a_batch_of_no_examples_has_no_losses_and_gradients_of_0(empty):
    replay = some_net()
    losses, gradients = replay(empty)
    assert losses.shape == (0,)
    assert gradients.array.tolist() == [0.0] * len(replay.parameters)
    assert replay.values(replay.loss, empty).shape == (0,)
    assert replay.values([replay.loss, replay.inputs[0]], empty).shape == (0, 2)


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ([[1.0]], ValueError, r"with 2 numbers: shape \(n, 2\), .*\(x and y\).*This one has shape \(1, 1\)"),
        ([[1.0, 2.0, 3.0]], ValueError, r"has shape \(1, 3\)"),
        ([1.0, 2.0], ValueError, r"has shape \(2,\)\. For one example write \[example\]"),
        ([1.0, 2.0, 3.0], ValueError, r"has shape \(3,\)\.$"),
        (5.0, ValueError, r"has shape \(\)"),
        (np.zeros((2, 2, 2)), ValueError, r"has shape \(2, 2, 2\)"),
        (np.zeros((0, 3)), ValueError, r"has shape \(0, 3\)"),
        ([["1", "2"]], TypeError, r"array of numbers.*here is str_ .* at \(0, 0\)"),
        ([[1j, 2.0]], TypeError, r"here is complex128 .* at \(0, 0\)"),
        ([[2.0, None]], TypeError, r"here is None at \(0, 1\) \(counted from 0\)"),
        ([[Value(1.0), Value(2.0)]], TypeError, r"array of numbers"),
        (np.array([["2026-01-01", "2026-01-02"]], dtype="M8[D]"), TypeError, r"here is datetime64"),
        (np.ma.masked_array([[1.0, 2.0]], [[False, True]]), TypeError, "masked"),
        (None, TypeError, "here is None"),
        ([[1.0, 2.0], [3.0]], TypeError, r"array of numbers, \(examples, inputs\)"),
        ({"x": 1.0}, TypeError, r"array of numbers"),
        ([[1.0, 2.0], [3.0, math.nan], [math.nan, 4.0]], ValueError, r"nan in row 1, column 1 \(y;"),
        ([[1.0, 2.0], [3.0, 4.0], [-math.inf, 4.0]], ValueError, r"-inf in row 2, column 0 \(x;"),
        ([[math.inf, 2.0], [-math.inf, 4.0]], ValueError, r"inf in row 0, column 0 \(x;"),
    ],
)
def test_a_batch_of_something_else_is_refused_with_what_was_expected_and_what_came(batch, error, message):
    replay, _ = replay_of("L = w*x*y", "x y", w=0.5, x=1.0, y=2.0)
    with pytest.raises(error, match=message):
        replay(batch)
    with pytest.raises(error, match=message):
        replay.values(replay.loss, batch)


def test_large_numbers_in_a_batch_are_no_error():
    """Nor a warning, which is one in tests: their sum is beyond a float, and they are not."""
    replay, graph = replay_of("L = w*tanh(x)", "x", w=0.5, x=1.0)
    losses, gradients = replay([[1.7e308], [1.7e308]])
    assert (losses.tolist(), gradients[graph["w"]]) == ([0.5, 0.5], 2.0)
    assert replay([[1.0], [2.0]], [1.7e308])[0].max() > 1e308


def test_losses_whose_sum_is_beyond_a_float_are_no_error():
    replay, _ = replay_of("L = x + 0*w", "x", w=0.5, x=1.0)
    assert replay([[1.7e308], [1.7e308]])[0].tolist() == [1.7e308] * 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([1.0], r"array of 2 numbers.*shape \(1,\)"),
        ([[1.0, 2.0]], r"shape \(1, 2\)"),
        ([1.0, math.nan], r"Parameter number 1, b, is nan"),
        ([-math.inf, math.inf], r"Parameter number 0, a, is -inf"),
        (["1", "2"], r"here is str_"),
        (3.0, r"shape \(\)"),
        ({"a": 1.0, "b": 2.0}, r"array of numbers, and here is dict"),
    ],
)
def test_parameters_are_an_array_with_a_number_for_each(parameters, message):
    replay, _ = replay_of("L = a*x + b", "x", a=0.5, b=1.0, x=1.0)
    with pytest.raises((TypeError, ValueError), match=message):
        replay([[1.0]], parameters)


def test_only_leaves_under_the_loss_vary():
    x, w, other = Value(1.0, "x"), Value(2.0, "w"), Value(3.0, "other")
    inner = named((w * x).tanh(), "inner")
    loss = inner * 3.0
    three = loss.parents[1]
    for arguments, error, message in [
        ((3.0, [x]), TypeError, r"a Value, not float 3\.0"),
        ((x, [x]), ValueError, r"is a leaf: nothing was computed"),
        ((loss, x), TypeError, r"inputs is a list of Values: inputs=\[x\]"),
        ((loss, 5), TypeError, r"inputs is a list of Values, not int 5"),
        ((loss, [x, 3.0]), TypeError, r"inputs\[1\] must be a leaf.* it is float 3\.0"),
        ((loss, [inner]), ValueError, r"inputs\[0\], inner, is an inner node \(tanh of 1 operand\), and only leaves"),
        ((loss, [three]), ValueError, r"inputs\[0\] is the constant 3 .*Value\(3\)"),
        ((loss, [x, x]), ValueError, r"inputs\[1\], x, is listed twice"),
        ((loss, [x, other]), ValueError, r"does not depend on inputs\[1\], other"),
        ((loss, [x], [w, inner]), ValueError, r"parameters\[1\], inner, is an inner node"),
        ((loss, [x], [three]), ValueError, r"parameters\[0\] is the constant 3 "),
        ((loss, [x], [w, w]), ValueError, r"parameters\[1\], w, is listed twice"),
        ((loss, [x], [w, x]), ValueError, r"x can't be both: inputs vary .* parameters"),
        ((loss, [x], [None]), TypeError, r"parameters\[0\] must be a leaf.* it is None"),
        ((loss, [x], w), TypeError, r"parameters=\[w\]"),
    ]:
        with pytest.raises(error, match=message):
            Replay(*arguments)


def test_a_parameter_that_the_loss_does_not_depend_on_has_the_gradient_0():
    x, w, other = Value(1.0, "x"), Value(2.0, "w"), Value(3.0, "other")
    _, gradients = Replay(w * x, [x], [other, w])([[3.0], [4.0]])
    assert dict(gradients) == {other: 0.0, w: 7.0}
    assert gradients.array.tolist() == [0.0, 7.0]


def test_gradients_are_asked_for_by_parameter():
    x, w = Value(1.0, "x"), Value(2.0, "w")
    _, gradients = Replay(w * x, [x])([[3.0]])
    assert (len(gradients), repr(gradients), w in gradients, x in gradients) == (1, "Gradients(w: 3)", True, False)
    with pytest.raises(KeyError, match="x is none of the 1 parameter"):
        gradients[x]
    assert gradients.get("w") is None  # a label is no parameter
    with pytest.raises(KeyError):
        gradients["w"]


def test_a_graph_that_was_edited_is_not_recorded():
    x, w = Value(1.0, "x"), Value(2.0, "w")
    inner = named(w * x, "inner")
    loss = inner.tanh()
    w.data = 5.0
    with pytest.raises(ValueError, match=r"inner was computed as 2 .* they give 5 now.*refresh\(\).*record it"):
        Replay(loss, [x])
    loss.refresh()
    Replay(loss, [x])
    inner.set_derivatives((1.0, 3.0))
    with pytest.raises(ValueError, match=r"inner .* its local derivatives are others now"):
        Replay(loss, [x])


def test_a_constant_that_was_changed_since_is_not_passed_over():
    x, w, c = Value(1.0, "x"), Value(2.0, "w"), Value(3.0, "c")
    inner = (x * c).tanh()
    replay = Replay(w * inner, [x], [w])
    c.data = 0.5
    for call in (replay, lambda batch: replay.values(inner, batch)):
        with pytest.raises(ValueError, match=r"changed since it was recorded: the constant c was 3, and it is 0\.5"):
            call([[1.0]])
    c.data = 3.0
    assert replay([[1.0]])[0].tolist() == [2.0 * math.tanh(3.0)]


def test_a_constant_is_what_it_was_for_all_that_is_asked_with_parameters():
    """With an array no data is read, that of a constant neither."""
    x, w, c = Value(1.0, "x"), Value(2.0, "w"), Value(3.0, "c")
    inner = (x * c).tanh()
    replay = Replay(w * inner, [x], [w])
    c.data = 0.5
    assert replay([[1.0]], [2.0])[0].tolist() == [2.0 * math.tanh(3.0)]
    assert replay.values(inner, [[1.0]], [2.0]).tolist() == [math.tanh(3.0)]


# Sums, however they are written.


def test_fan_out_adds_up():
    x, w = Value(3.0, "x"), Value(0.5, "w")
    b = w + w
    c = b + b
    for loss in [w * w, c, w - w, w / w, x * x * w, (w * x) * (w * x), c * x + b, w * x + w, total([w, w, x]), b * b]:
        assert_replays(Replay(loss, [x] if x in set(nodes(loss)) else [], [w]), [[2.0]] if x in nodes(loss) else [[]])
    a = w * x
    twice = a + a
    replay = Replay(twice + twice, [x])
    losses, gradients = replay([[1.0], [2.0], [-4.0]])
    assert (losses.tolist(), gradients[w]) == ([2.0, 4.0, -8.0], -4.0)


def test_a_weight_in_two_neurons_and_two_layers_gets_the_sum():
    xs, ws = leaves("x", [0.5, -1.0]), leaves("w", [0.3, 0.7])
    b = Value(0.1, "b")
    one, other = dot(ws, xs, b).tanh(), dot(ws[::-1], xs, b).tanh()
    tied = dot(ws, [one, other], b).tanh()
    for loss in [one * other, dot(ws, [one, other], b), dot(ws, [tied, one]) + dot(ws, xs), dot(ws, [one, one], one)]:
        assert_replays(Replay(loss, xs, [*ws, b]), np.random.default_rng(0).normal(size=(4, 2)))


def test_one_input_in_several_sums_and_twice_in_one():
    x, y, *ws = leaves("v", uniform(8))
    first = dot(ws[:3], [x, y, x], ws[3])
    second = ws[4] * x + ws[5] * x + ws[0] * y
    third = dot([x, y], [y, x]) + x * y + x * x
    loss = first * second.tanh() + third * ws[1]
    assert_replays(
        Replay(loss, [x, y], ws), np.random.default_rng(0).normal(size=(3, 2)), wanted=[first, second, third]
    )


def test_terms_of_a_sum_come_in_any_order():
    """Each unit lists its inputs in an order of its own, and the weights on either side."""
    xs, ws = leaves("x", uniform(3)), leaves("w", uniform(12, 1))
    bs = leaves("b", uniform(4, 2))
    printed = set()
    rng = random.Random(0)
    for _ in range(6):
        units = []
        for unit in range(4):
            terms = [
                *(x * w if rng.random() < 0.5 else w * x for w, x in zip(ws[3 * unit :], xs, strict=False)),
                bs[unit],
            ]
            rng.shuffle(terms)
            units.append(rng.choice([total, lambda some: reduce(add, some)])(terms).tanh())
        replay = Replay(named(total([z * z for z in units])), xs, [*ws, *bs])
        assert_replays(replay, np.random.default_rng(0).normal(size=(3, 3)))
        printed.add(str(replay))
    assert len(printed) == 1
    assert "Z1 = W1 @ X + b1                             (4×3 · 3×n)" in printed.pop()


def test_a_neuron_by_sums_and_products_is_that_by_dot():
    batch = np.random.default_rng(0).normal(size=(7, 4))
    one, other = some_net(neuron=by_dot), some_net(neuron=by_hand)
    assert str(one) == str(other)
    losses, gradients = one(batch)
    again, same = other(batch)
    assert losses.tolist() == again.tolist()
    assert gradients.array.tolist() == same.array.tolist()


def test_an_inner_node_of_a_sum_that_is_used_elsewhere_stays_one():
    xs, ws = leaves("x", [0.5, -1.0]), leaves("w", [0.3, 0.7])
    product = ws[0] * xs[0]
    part = product + ws[1] * xs[1]
    loss = (part + ws[0]).tanh() * part + product
    assert_replays(Replay(loss, xs, ws), [[0.1, 0.2], [0.3, -0.4]], wanted=[product, part])


def test_weights_that_are_computed_pass_their_gradients_on():
    xs, ws = leaves("x", uniform(3)), leaves("w", uniform(6, 1))
    rows = [softmax(ws[:3]), [w.exp() for w in ws[3:]]]
    scale = total([w * w for w in ws]).sqrt()
    hidden = [dot(row, xs, scale) for row in rows]
    assert_replays(Replay(dot(hidden, rows[0][:2]) / scale, xs, ws), np.random.default_rng(0).normal(size=(4, 3)))


def test_some_weights_of_a_sum_are_constants():
    xs, w = leaves("x", uniform(3)), Value(0.5, "w")
    loss = dot([w, 2.0, Value(0.25)], xs, 1.5).tanh() + dot([3.0, w], [xs[0], xs[2]]) + 0.5 * xs[1] * xs[1]
    assert_replays(Replay(loss, xs, [w]), np.random.default_rng(0).normal(size=(4, 3)))


def positions(count, *, bias=False, own_bias=False):
    """Inputs, outputs and parameters of two layers which are used at several positions."""
    xs = [leaves(f"x{p}_", uniform(3, p)) for p in range(1, count + 1)]
    W, U = (
        [leaves(f"w{i}_", uniform(3, 10 + i)) for i in (1, 2)],
        [leaves(f"u{i}_", uniform(2, 20 + i)) for i in (1, 2)],
    )
    of_layer = leaves("b", uniform(2, 30)) if bias else []
    of_position = leaves("c", uniform(count, 31)) if own_bias else []
    outputs = []
    for place, x in enumerate(xs):
        hidden = [relu(dot(w, x, *of_layer[unit : unit + 1])) for unit, w in enumerate(W)]
        outputs.append([dot(u, hidden, *of_position[place : place + 1]) for u in U])
    return [leaf for x in xs for leaf in x], outputs, [*W[0], *W[1], *U[0], *U[1], *of_layer, *of_position]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("own_bias", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_same_weights_at_several_positions_are_one_product(count, bias, own_bias):
    xs, outputs, parameters = positions(count, bias=bias, own_bias=own_bias)
    loss = mean([logsumexp(one) - one[p % 2] for p, one in enumerate(outputs)])
    replay = Replay(loss, xs, parameters)
    assert_replays(replay, np.random.default_rng(0).normal(size=(5, len(xs))), wanted=outputs[0])
    assert str(replay).count("W1 @") == 1
    assert "W3" not in str(replay)


@pytest.mark.parametrize("wide_first", [True, False])
def test_numbers_are_read_as_one_column_and_as_two(wide_first):
    """A product over a, b, c, d, and one with (a, c) and (b, d) as its columns: they stand in the same rows."""
    a, b, c, d = xs = leaves("x", uniform(4))
    ws, us, bs = leaves("w", uniform(4, 1)), leaves("u", uniform(2, 2)), leaves("b", uniform(2, 3))
    wide = [dot(ws, xs, bs[0]).tanh()]
    narrow = [dot(us, column, bs[1]).tanh() for column in ([a, c], [b, d])]
    loss = total([z.exp() for z in (wide + narrow if wide_first else narrow + wide)])
    assert_replays(Replay(loss, xs, [*ws, *us, *bs]), np.random.default_rng(0).normal(size=(5, 4)))


def test_a_chain_of_10000_levels_needs_no_recursion():
    x, w = Value(0.3, "x"), Value(1.5, "w")
    deep = x * w
    for _ in range(10_000):
        deep = deep.sin()
    replay = Replay(deep, [x])
    losses, gradients = replay([[0.3], [0.4]])
    right, gradient, _, _ = eager(replay, [[0.3], [0.4]])
    assert losses.tolist() == pytest.approx(right.tolist(), rel=1e-10)  # 10,000 roundings
    assert gradients[w] == pytest.approx(gradient[0], rel=1e-9)
    long = w * x
    for _ in range(10_000):
        long = long + w
    losses, gradients = Replay(long, [x])([[0.5], [1.0]])
    assert losses.tolist() == pytest.approx([15_000.75, 15_001.5], rel=1e-12)
    assert gradients[w] == pytest.approx(20_001.5, rel=1e-12)


def test_a_sum_has_10000_terms():
    xs, ws = leaves("x", uniform(10_000)), leaves("w", uniform(10_000, 1))
    batch = np.random.default_rng(2).uniform(-1.0, 1.0, (3, 10_000))
    by_numpy = batch @ [w.data for w in ws]
    for wide in (dot(ws, xs), reduce(add, [w * x for w, x in zip(ws, xs, strict=True)])):
        losses, gradients = Replay(wide * 2.0, xs, ws)(batch)
        np.testing.assert_allclose(losses, 2.0 * by_numpy, rtol=1e-10)
        np.testing.assert_allclose(gradients.array, 2.0 * batch.sum(axis=0), rtol=1e-12, atol=1e-13)
    losses, _ = Replay(logsumexp([w * x for w, x in zip(ws, xs, strict=True)]), xs, ws)(batch)
    np.testing.assert_allclose(losses, np.log(np.exp(batch * [w.data for w in ws]).sum(axis=1)), rtol=1e-12)


# Conditions.


@pytest.mark.parametrize(
    "text",
    [
        "L = a*x if x > 0 else log(b - x)",
        "L = log(a*x) if x > 0 else a*x",
        "L = a*log(x) + b*x if x > 0 else a*x",  # a sum of what has no value there
        "L = a*log(x)*x + log(x)*log(x)*b if x > 0 else a*x",
        "L = logsumexp(a*log(x), b*x) if x > 0 else a*x",
        "L = mean(a*log(x), b*x) if x > 0 else a*x",
        "L = max(a*log(x), b*x)*sqrt(a*x) if x > 0 else a*x",
        "L = (a*log(x) + b*x)^3/x if x > 0 else tanh(a/(x - 1) + b*x)",
        "s = a*x + b\nL = 1/s if s != 0.5 else s*x",
    ],
)
def test_a_branch_that_is_not_taken_need_not_have_a_value(text):
    graph = build(text, a=0.5, b=0.75, x=1.5)
    replay = Replay(graph.loss, [graph["x"]], [graph["a"], graph["b"]])
    batch = [[1.5], [-1.0], [-0.5], [2.5]]
    losses, gradients = replay(batch)
    gradient = np.zeros(2)
    for row, loss in zip(batch, losses, strict=True):
        again = build(text, a=0.5, b=0.75, x=row[0])
        again.loss.backward()
        assert loss == pytest.approx(again.loss.data, rel=1e-12)
        gradient += [again["a"].grad, again["b"].grad]
    close(gradients.array, gradient)


def test_a_branch_that_is_taken_must_have_a_value():
    replay, graph = replay_of("p = a + x\nL = a*x if x > 0 else log(p)", "x", a=0.5, x=1.0)
    with pytest.raises(DomainError, match=r"Example 2 .*log\(-1\.5\) has no value \(with p = -1\.5\)"):
        replay([[1.0], [-0.25], [-2.0], [-3.0]])
    assert replay.values(graph["p"], [[1.0], [-2.0]]).tolist() == [1.5, -1.5]


def test_what_python_decided_is_the_same_for_every_example():
    x, w = Value(1.0, "x"), Value(2.0, "w")
    loss = w * x if x.data > 0 else w * x * x
    assert Replay(loss, [x])([[-3.0]])[0].tolist() == [-6.0]


# The printed program.


def lines(text):
    return [line.rstrip() for line in text.strip("\n").split("\n")]


def test_a_net_with_a_penalty_is_printed_with_the_formulas_of_the_chapter():
    xs, (out,), parameters = perceptron([2, 16, 16, 1], relu, relu, itself)
    y = Value(1.0, "y")
    penalty = 1e-4 * total([p * p for p in parameters])
    replay = Replay(named(relu(1.0 - y * out) + penalty), [*xs, y], parameters)
    assert lines(str(replay)) == lines("""
Replay of L for n examples: 3 inputs (x1, x2 and y), 337 parameters

forward
  P = all 337 parameters
  X = (x1, x2)
  V1 = P·P
  v2 = Σ V1
  v3 = 0.0001·v2
  Z1 = W1 @ X + b1                             (16×2 · 2×n)
  A1 = relu(Z1)
  Z2 = W2 @ A1 + b2                            (16×16 · 16×n)
  A2 = relu(Z2)
  Z3 = W3 @ A2 + b3                            (1×16 · 16×n)
  v4 = y·Z3
  v5 = 1 − v4
  v6 = relu(v5)
  L = v6 + v3

backward, with δ = ∂L/∂Z
  δ3 = −relu′(v5)·y
  ∂L/∂W3 = δ3 @ A2ᵀ                            (1×n · n×16)
  ∂L/∂b3 = Σ δ3
  δ2 = (W3ᵀ @ δ3)·relu′(Z2)
  ∂L/∂W2 = δ2 @ A1ᵀ                            (16×n · n×16)
  ∂L/∂b2 = Σ δ2
  δ1 = (W2ᵀ @ δ2)·relu′(Z1)
  ∂L/∂W1 = δ1 @ Xᵀ                             (16×n · n×2)
  ∂L/∂b1 = Σ δ1
  ∂L/∂P += 0.0002·n·P
""")
    assert repr(replay) == "<Replay of L: 3 inputs, 337 parameters, 12 array operations>"
    assert_replays(replay, np.random.default_rng(0).normal(size=(3, 3)))


def softmax_net(neuron=by_dot):
    xs, logits, parameters = perceptron([4, 8, 3], Value.tanh, itself, neuron=neuron)
    ys = leaves("y", [0.0, 1.0, 0.0])
    return Replay(named(logsumexp(logits) - dot(ys, logits)), [*xs, *ys], parameters)


@pytest.mark.parametrize("neuron", [by_dot, by_hand])
def test_softmax_with_cross_entropy_is_printed_as_share_minus_target(neuron):
    assert lines(str(softmax_net(neuron))) == lines("""
Replay of L for n examples: 7 inputs (x1, x2, x3, x4, y1, y2 and 1 more), 67 parameters

forward
  X = (x1, x2, x3, x4)
  Y = (y1, y2, y3)
  Z1 = W1 @ X + b1                             (8×4 · 4×n)
  A1 = tanh(Z1)
  Z2 = W2 @ A1 + b2                            (3×8 · 8×n)
  v1 = logsumexp Z2
  v2 = Σ Y·Z2
  L = v1 − v2

backward, with δ = ∂L/∂Z
  δ2 = −Y + softmax(Z2)
  ∂L/∂W2 = δ2 @ A1ᵀ                            (3×n · n×8)
  ∂L/∂b2 = Σ δ2
  δ1 = (W2ᵀ @ δ2)·tanh′(Z1)
  ∂L/∂W1 = δ1 @ Xᵀ                             (8×n · n×4)
  ∂L/∂b1 = Σ δ1
""")


def test_mazurs_example_is_printed_as_two_layers():
    graph = build((ROOT / "demos" / "mazur.txt").read_text(encoding="utf-8"))
    replay = Replay(graph.loss, [graph[name] for name in ("i1", "i2", "t1", "t2")], graph.parameters)
    assert len(replay.parameters) == 8
    assert lines(str(replay)) == lines("""
Replay of E for n examples: 4 inputs (i1, i2, t1 and t2), 8 parameters

forward
  X = (i1, i2)
  T = (t1, t2)
  Z1 = W1 @ X + b1                             (2×2 · 2×n)
  A1 = σ(Z1)
  Z2 = W2 @ A1 + b2                            (2×2 · 2×n)
  A2 = σ(Z2)
  V1 = T − A2
  V2 = V1²
  V3 = 0.5·V2
  E = Σ V3

backward, with δ = ∂E/∂Z
  δ2 = −V1·σ′(Z2)
  ∂E/∂W2 = δ2 @ A1ᵀ                            (2×n · n×2)
  δ1 = (W2ᵀ @ δ2)·σ′(Z1)
  ∂E/∂W1 = δ1 @ Xᵀ                             (2×n · n×2)
""")
    _, gradients = replay([[0.05, 0.10, 0.01, 0.99]])
    assert gradients[graph["w5"]] == pytest.approx(0.08216704056423078, rel=1e-12)


def test_a_layer_at_two_positions_is_printed_as_one_product():
    xs, outputs, parameters = positions(2)
    replay = Replay(named(mean([logsumexp(one) for one in outputs])), xs, parameters)
    assert lines(str(replay)) == lines("""
Replay of L for n examples: 6 inputs (x1_1, x1_2, x1_3, x2_1, x2_2 and x2_3), 10 parameters

forward
  X = (x1_1, x2_1, x1_2, x2_2, x1_3, x2_3)
  Z1 = W1 @ X                                  (2×3 · 3×2n)
  A1 = relu(Z1)
  Z2 = W2 @ A1                                 (2×2 · 2×2n)
  V1 = logsumexp Z2                            (2 sums of 2)
  L = mean V1

backward, with δ = ∂L/∂Z
  δ2 = 1/2·softmax(Z2)
  ∂L/∂W2 = δ2 @ A1ᵀ                            (2×2n · 2n×2)
  δ1 = (W2ᵀ @ δ2)·relu′(Z1)
  ∂L/∂W1 = δ1 @ Xᵀ                             (2×2n · 2n×3)
""")


def evaluated(program, **known):
    """The lines of a printed program, computed with NumPy as they stand, line by line."""
    meaning = {
        "tanh": np.tanh,
        "tanhʹ": lambda z: 1.0 - np.tanh(z) ** 2,
        "σ": lambda z: 1.0 / (1.0 + np.exp(-z)),
        "σʹ": lambda z: np.exp(-z) / (1.0 + np.exp(-z)) ** 2,
        "sum_over_examples": lambda z: z.sum(axis=1, keepdims=True),
        "softmax": lambda z: np.exp(z) / np.exp(z).sum(axis=0),
        "column_sums": lambda z: z.sum(axis=0),
        "logsumexp": lambda z: np.log(np.exp(z).sum(axis=0)),
    }
    names = dict(known)
    backward = False
    for line in program.splitlines()[2:]:
        backward = backward or line.startswith("backward")
        if " = " not in line or not line.startswith("  ") or re.match(r"  [XYT] = \(", line):
            continue
        name, formula = re.sub(r"\s{2,}\(.*\)$", "", line.strip()).split(" = ", 1)
        formula = re.sub(r"∂\w+/∂(\w+)", r"d\1", formula)
        formula = re.sub(r"\bΣ (.*)", r"sum_over_examples(\1)" if backward else r"column_sums(\1)", formula)
        formula = re.sub(r"logsumexp (\w+)", r"logsumexp(\1)", formula)
        for written, meant in [("²", "**2"), ("·", "*"), ("−", "-"), ("ᵀ", ".T"), ("′", "ʹ")]:
            formula = formula.replace(written, meant)
        for token in sorted({one for one in meaning if "ʹ" in one or one == "σ"}, key=len, reverse=True):
            formula = formula.replace(f"{token}(", f"meaning[{token!r}](")
        names[re.sub(r"∂\w+/∂(\w+)", r"d\1", name)] = eval(formula, {**meaning, "meaning": meaning, **names})
    return names


@pytest.mark.parametrize("neuron", [by_dot, by_hand])
@pytest.mark.parametrize("activation", [Value.tanh, Value.sigmoid])
def test_the_printed_formulas_are_true(neuron, activation):
    """Computed as they are printed, on a net of scalars, they give the gradients of the engine."""
    xs, outputs, parameters = perceptron([3, 5, 2], activation, itself, neuron=neuron)
    ys = leaves("y", [0.25, 0.5])
    loss = named(total([0.5 * (y - out) ** 2 for y, out in zip(ys, outputs, strict=True)]))
    replay = Replay(loss, [*xs, *ys], parameters)
    batch = np.random.default_rng(0).normal(size=(6, 5))
    numbers = np.array([p.data for p in parameters])
    first, second = numbers[:20].reshape(5, 4), numbers[20:].reshape(2, 6)
    names = evaluated(
        str(replay), X=batch[:, :3].T, Y=batch[:, 3:].T, W1=first[:, :3], b1=first[:, 3:], W2=second[:, :5],
        b2=second[:, 5:],
    )  # fmt: skip
    right, gradient, _, _ = eager(replay, batch)
    close(names["L"], right)
    found = [np.hstack([names["dW1"], names["db1"]]).ravel(), np.hstack([names["dW2"], names["db2"]]).ravel()]
    close(np.concatenate(found), gradient)


def test_the_printed_formulas_of_softmax_are_true():
    replay = softmax_net()
    batch = np.random.default_rng(0).normal(size=(6, 7))
    numbers = np.array([p.data for p in replay.parameters])
    first, second = numbers[:40].reshape(8, 5), numbers[40:].reshape(3, 9)
    names = evaluated(
        str(replay), X=batch[:, :4].T, Y=batch[:, 4:].T, W1=first[:, :4], b1=first[:, 4:], W2=second[:, :8],
        b2=second[:, 8:],
    )  # fmt: skip
    right, gradient, _, _ = eager(replay, batch)
    close(names["L"], right)
    found = [np.hstack([names["dW1"], names["db1"]]).ravel(), np.hstack([names["dW2"], names["db2"]]).ravel()]
    close(np.concatenate(found), gradient)


def test_what_goes_into_a_sum_several_times_is_printed_so():
    x, u = Value(0.5, "x"), Value(0.3, "u")
    a = u * x
    b = a + a
    text = str(Replay(named(b + b), [x]))
    assert re.search(r"^  ∂L/∂u \+?= .*4", text, re.MULTILINE), text


def test_a_sum_over_examples_of_what_all_share_is_printed_n_times():
    x, a, b = Value(0.5, "x"), Value(0.3, "a"), Value(0.7, "b")
    for loss in [x + a * b, a * b]:
        text = str(Replay(named(loss), [x] if x in set(nodes(loss)) else []))
        assert re.search(r"^  ∂L/∂a \+?= .*\bn\b", text, re.MULTILINE), text


def test_every_parameter_has_its_line_in_the_backward_pass():
    """Also where a neuron reads numbers of several kinds."""
    x, s, t, b = Value(0.5, "x"), Value(0.3, "s"), Value(0.7, "t"), Value(0.1, "b")
    ws = leaves("w", [0.2, 0.9])
    for second in [(t * x).exp(), t * x * x, x]:
        text = str(Replay(named(dot(ws, [(s * x).tanh(), second], b).tanh()), [x]))
        assert "(, )" not in text
        backward = text.partition("backward")[2]
        for name in "s" if second is x else "st":
            assert re.search(rf"^  ∂L/∂(\([s, t]*\b{name}\b[s, t]*\)|{name}) ", backward, re.MULTILINE), text


def test_a_part_of_a_matrix_lies_within_it():
    xs, outputs, parameters = positions(3)
    text = str(Replay(named(mean([logsumexp(one) - one[1] for one in outputs])), xs, parameters))
    assert "(2×2 · 2×3n)" in text
    assert not [part for part in re.findall(r"Z2\[(?:\d+:)?(\d+)\]", text) if int(part) > 2], text


def test_a_part_of_a_sum_does_not_bear_its_label():
    x, y, b = Value(1.0, "x"), Value(2.0, "y"), Value(3.0, "b")
    text = str(Replay(named(dot([x], [y], b)), [x, y]))
    assert text.count("  L = ") == 1


def test_a_long_program_is_cut():
    x, w = Value(0.5, "x"), Value(0.3, "w")
    deep = w * x
    for _ in range(100):
        deep = (deep * x).tanh()
    text = str(Replay(named(deep), [x]))
    assert re.search(r"^  … and 1\d\d lines more$", text, re.MULTILINE)


# Values of nodes.


def test_any_recorded_node_has_its_values():
    xs, (one, other), parameters = perceptron([2, 3, 2], Value.tanh, Value.sigmoid, neuron=by_hand)
    loss = (one - other) ** 2 + one * parameters[0].exp()
    replay = Replay(loss, xs, parameters)
    batch = np.random.default_rng(0).normal(size=(4, 2))
    every = nodes(loss)
    _, _, _, right = eager(replay, batch, wanted=every)
    for number, node in enumerate(every):  # sums, what is absorbed by them, leaves and constants
        found = replay.values(node, batch)
        assert found.shape == (4,)
        close(found, right[:, number])
    close(replay.values(every, batch), right)
    close(replay.values((one, other, one), batch), replay.values([one, other, one], batch))
    assert replay.values(xs, batch).tolist() == batch.tolist()


def test_no_node_has_no_values():
    replay = some_net()
    assert replay.values([], np.zeros((3, 4))).shape == (3, 0)


def test_only_recorded_nodes_have_values():
    replay = some_net()
    batch = np.zeros((1, 4))
    with pytest.raises(ValueError, match=r"other.* was not recorded: it is not under L"):
        replay.values(Value(1.0, "other"), batch)
    with pytest.raises(ValueError, match="was not recorded"):
        replay.values(replay.loss * 2.0, batch)
    for wrong in (3.0, "L", None, [replay.loss, "L"]):
        with pytest.raises(TypeError, match=r"a recorded node .*, not (float 3\.0|str 'L'|None)"):
            replay.values(wrong, batch)


def test_values_need_only_what_they_are_computed_from():
    replay, graph = replay_of("a = w*x\nL = log(a)", "x", w=0.5, x=1.0)
    assert replay.values(graph["a"], [[-1.0], [2.0]]).tolist() == [-0.5, 1.0]
    with pytest.raises(DomainError, match=r"Example 0 .*L: log\(-0\.5\)"):
        replay.values([graph["a"], graph["L"]], [[-1.0], [2.0]])


# Nothing else changes.


def test_a_replay_leaves_the_graph_as_it_is():
    replay = some_net()
    replay.loss.backward()
    every = nodes(replay.loss)
    before = [(node.data, node.grad, node.local_derivatives, node.label) for node in every]
    batch = np.random.default_rng(0).normal(size=(5, 4))
    kept, given = batch.copy(), np.linspace(-1.0, 1.0, len(replay.parameters))
    for _ in range(2):
        replay(batch)
        replay(batch, given)
        replay.values(every, batch)
        str(replay)
    Replay(replay.loss, replay.inputs, replay.parameters)
    with pytest.raises(FloatingPointError):
        replay(np.full((1, 4), 1e200))
    assert [(node.data, node.grad, node.local_derivatives, node.label) for node in every] == before
    assert batch.tolist() == kept.tolist()
    assert given.tolist() == np.linspace(-1.0, 1.0, len(replay.parameters)).tolist()


def test_results_are_arrays_of_their_own():
    replay = some_net()
    rng = np.random.default_rng(0)
    batch, other = rng.normal(size=(2, 5, 4))
    losses, gradients = replay(batch)
    kept, values = [losses.copy(), gradients.array.copy()], replay.values(replay.inputs[0], batch)
    replay(other)
    replay.values(replay.inputs[0], other)
    assert (losses.tolist(), gradients.array.tolist()) == tuple(one.tolist() for one in kept)
    assert values.tolist() == batch[:, 0].tolist()
    for one in (losses, gradients.array, values):
        one[:] = 7.0
    assert replay(batch)[0].tolist() == kept[0].tolist()
    assert batch[0, 0] != 7.0


def test_two_replays_of_one_graph_stand_side_by_side():
    xs, (out,), parameters = perceptron([2, 3, 1], Value.tanh, itself)
    loss = out * out
    one, other = Replay(loss, xs, parameters), Replay(loss, xs[:1], [*parameters[:4], xs[1]])
    rng = np.random.default_rng(0)
    for _ in range(3):
        assert_replays(one, rng.normal(size=(4, 2)))
        assert_replays(other, rng.normal(size=(3, 1)))


def test_threads_share_a_replay():
    replay = some_net()
    rng = np.random.default_rng(0)
    tasks = [(rng.normal(size=(size, 4)), rng.normal(size=len(replay.parameters))) for size in [1, 50, 3, 400, 50] * 20]

    def work(task):
        losses, gradients = replay(*task)
        return [losses.tolist(), gradients.array.tolist(), replay.values(replay.loss, *task).tolist()]

    right = [work(task) for task in tasks]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, tasks)) == right


# What is not finite.


@pytest.mark.parametrize(
    ("text", "batch", "error", "message"),
    [
        ("L = w*log(x)", [1, 2, 3, -1, -2], DomainError, r"Example 3 .*log\(-1\) has no value \(with x = -1\)"),
        ("p = w*x\nL = log(p)", [1, 2, -1], DomainError, r"Example 2 .*L: log\(-2\) has no value \(with p = -2\)"),
        ("L = relu(w*log(x))", [1, 0], DomainError, r"Example 1 .*log\(0\)"),  # max(−∞, 0) would be 0
        ("L = relu(w*log(x))", [1, -1], DomainError, r"Example 1 .*log\(-1\)"),
        ("L = exp(-w/x)", [1, 0], DomainError, r"Example 1 .*-2 / 0 has no value"),
        ("L = min(w, 1/x)", [1, 0], DomainError, r"Example 1 .*1 / 0 has no value \(with x = 0\)"),
        ("L = w/x", [0, 0], DomainError, r"Example 0 .*L: 2 / 0 has no value"),
        ("L = x^(w/4)", [1, 2, -1], DomainError, r"Example 2 .*-1 \*\* 0\.5"),
        ("s = exp(x)\nL = w*s", [1, 1000], FloatingPointError, r"Example 1 .*L is inf, .*began at s = exp of 1000"),
        ("L = w*exp(abs(x))*x", [1, 1000, -1000], FloatingPointError, r"Example 1 .*L is inf, .*= exp of 1000"),
        ("L = w*exp(abs(x))*x", [1000, -1000], FloatingPointError, r"Example 0 .*L is inf"),
        ("m = w*x\nL = sqrt(m)", [1, 0], FloatingPointError, r"Example 1 .*gradient of w has no value \(nan\): at m"),
        ("s = w*exp(x)\nL = tanh(s)", [1, 2, 1000], FloatingPointError, r"Example 2 .*gradient of w .*at s "),
        ("L = w*x", [1, 8e307, 8e307, 8e307], FloatingPointError, r"Example 3 .*sum of the gradients .* too large"),
    ],
)
def test_the_first_example_that_is_not_finite_is_named_with_its_node_and_operation(text, batch, error, message):
    replay, graph = replay_of(text, "x", w=2.0, x=1.5)
    many = [[1.5]] * 700  # more examples than are looked through at a time
    with pytest.raises(error, match=message):
        replay([[x] for x in batch])
    moved = re.sub(r"Example (\d)", lambda found: f"Example {700 + int(found[1])}", message)
    with pytest.raises(error, match=moved):
        replay(many + [[x] for x in batch])
    assert replay(many)[0].shape == (700,)
    assert graph.loss.grad == 0.0


def test_a_domain_error_has_the_node():
    replay, graph = replay_of("p = w*x\nq = log(p)\nL = q*q", "x", w=2.0, x=1.0)
    with pytest.raises(DomainError) as caught:
        replay([[1.0], [-1.0]])
    assert caught.value.node is graph["q"]
    with pytest.raises(DomainError, match="Example 0"):
        replay([[1.0]], [-1.0])


def test_an_example_without_a_finite_loss_or_gradient_is_not_recorded():
    x, w = Value(1000.0, "x"), Value(2.0, "w")
    with pytest.raises(FloatingPointError, match=r"L is inf, and it began at .* = exp of 1000"):
        Replay(named(w * x.exp()), [x])
    zero = Value(0.0, "zero")
    with pytest.raises(FloatingPointError, match=r"gradient of w has no value \(nan\)"):
        Replay((w * zero).sqrt(), [zero])


# Kinks, and terms that cancel.

AT_A_KINK = [relu, abs, Value.step, Value.leaky_relu, Value.elu, lambda z: maximum(z, 0.0)]


@pytest.mark.parametrize("order", list(itertools.permutations([0.1, 0.2, -0.3])), ids=str)
def test_an_example_at_a_kink_is_recorded(order):
    """0.1 + 0.2 − 0.3 is 0, or a rounding above or below it, as the sum is done; both sides are right there."""
    for function in AT_A_KINK:
        xs, ws = leaves("x", order), leaves("w", [1.0] * 3)
        x, y, z = xs
        for neuron in [
            dot(ws, xs), dot(ws[:2], xs[:2], z), x * ws[0] + y * ws[1] + z, z + (y * ws[1] + ws[0] * x),
            total(xs) * ws[0],
            ws[0] * x + 0.0 + y + z, x - (-y) + ws[0] * z,
        ]:  # fmt: skip
            known = set(nodes(neuron))
            kept = [leaf for leaf in xs if leaf in known]
            Replay(function(neuron).exp() * ws[1], kept, ws)
            Replay(function(neuron) * ws[1], kept[:1], ws)


@pytest.mark.parametrize("order", list(itertools.permutations([0.1, 0.2, -0.3])), ids=str)
def test_constants_that_cancel_at_a_kink_are_recorded(order):
    for function in AT_A_KINK:
        x, w, s = Value(1.0, "x"), Value(0.0, "w"), Value(2.0, "s")
        Replay(function(total([w * x, *order])) * s, [x])
        Replay(function(reduce(add, order, w * x)) * s, [x])


def test_a_neuron_that_is_exactly_at_0_is_recorded():
    xs, ws = leaves("x", [1.0, -2.0]), leaves("w", [0.5, 0.25])
    b = Value(0.0, "b")
    for function in AT_A_KINK:
        replay = Replay(function(dot(ws, xs, b)) * 3.0 + b, xs)
        losses, gradients = replay([[1.0, -2.0], [1.0, -1.0]])
        right, gradient, _, _ = eager(replay, [[1.0, -2.0], [1.0, -1.0]])
        assert losses.tolist() == right.tolist()
        close(gradients.array, gradient)
    zero = leaves("x", [0.0, 0.0])
    Replay(relu(dot(ws, zero)) + abs(ws[0] * zero[0]), zero)


@pytest.mark.parametrize(
    "text", [f"L = a*x if a*x + a*y {test} z else b*y" for test in ("==", "!=", ">", "<", ">=", "<=")]
)
@pytest.mark.parametrize("numbers", [(0.1, 0.2), (0.2, 0.1)])
def test_a_comparison_within_a_rounding_is_recorded(text, numbers):
    x, y = numbers
    replay_of(text, "x y", a=1.0, b=2.0, x=x, y=y, z=0.3)
    replay_of(text, "z x", a=1.0, b=2.0, x=x, y=y, z=x + y)


@pytest.mark.parametrize("big", [5.0, 20.0, 40.0, 300.0])
def test_shares_next_to_1_and_sums_next_to_0_are_recorded(big):
    zs, w = leaves("z", [big, 0.0, -1.0]), Value(1.0, "w")
    shares = softmax([w * z for z in zs])
    whole = logsumexp([w * z for z in zs])
    for loss in [-log(shares[0]), 1.0 - shares[0], -log(shares[1]), whole - w * zs[0], (whole - w * zs[0]) * shares[1]]:
        losses, _ = Replay(loss, zs)([[z.data for z in zs], [0.1, 0.2, 0.3]])
        assert losses[0] == pytest.approx(loss.data, rel=1e-12, abs=1e-13)
    halves = leaves("h", [-math.log(2.0)] * 2)
    small = logsumexp([w * half for half in halves])  # log 1, or a rounding of it
    for loss in [small, small * small, abs(small), small / (small + 1e-3), w * 1.0 / (small + 1e-9)]:
        Replay(loss, halves)


def test_quotients_of_what_cancels_are_recorded():
    xs, ws = leaves("x", [0.1, 0.2, -0.3]), leaves("w", [1.0] * 3)
    for left in (dot(ws, xs), ws[2] * xs[2] + (ws[1] * xs[1] + ws[0] * xs[0])):
        if left.data:
            for loss in [1.0 / left, log(abs(left)), left / abs(left), abs(left).sqrt()]:
                Replay(loss, xs, ws)
    x, w = Value(0.3, "x"), Value(3.9, "w")
    chaos = x
    for _ in range(60):  # doubles a rounding at every step
        chaos = w * chaos * (1.0 - chaos)
    Replay(chaos, [x])


# Size.


def peak(function):
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_memory_is_bounded_whatever_the_batch():
    """At most 32 MB above the losses, for batches of any length."""
    xs, (out,), parameters = perceptron([2, 16, 16, 1], Value.tanh, Value.tanh, itself)
    replay = Replay(out * out, xs, parameters)
    batch = np.random.default_rng(0).normal(size=(200_000, 2))
    replay(batch[:10])
    assert peak(lambda: replay(batch)) < 32e6 + 8.0 * len(batch)
    assert peak(lambda: replay.values(out, batch)) < 32e6 + 2.0 * 8.0 * len(batch)


def test_batches_of_many_sizes_take_no_more_memory_than_one():
    replay = some_net()
    batch = np.random.default_rng(0).normal(size=(1500, 4))

    def call(sizes):
        for size in sizes:
            replay(batch[:size])

    assert peak(lambda: call(range(1, 1500, 30))) < 10.0 * peak(lambda: call([1499]))


# The check at recording can fail.


def wrong_tanh(place, grad, out, operands, amount):
    return [lambda: np.multiply(grad, 1.0 - out * out * (1.0 - 1e-9), out=amount)]


@pytest.mark.parametrize(
    ("table", "row", "wrong"),
    [
        (FORMS, ops.SIGMOID, lambda x: 1.0 / (1.0 + np.exp(-x)) + 1e-11),
        (FORMS, ops.COS, np.sin),
        (FORMS, ops.EXP, lambda x: np.exp(x) * (1.0 + 1e-11)),
        (engine.acts._AMOUNTS, ops.TANH, wrong_tanh),
        (engine.acts._AMOUNTS, ops.EXP, engine.acts._AMOUNTS[ops.IDENTITY]),
        (engine.acts._AMOUNTS, ops.SUBTRACT, engine.acts._AMOUNTS[ops.ADD]),
    ],
)
def test_a_wrong_form_is_caught_when_a_graph_is_recorded(monkeypatch, table, row, wrong):
    x, w = Value(0.5, "x"), Value(0.75, "w")
    operands = [w * x, x * 0.25 + w][: arity(row)]
    loss = record(row, operands) * w
    Replay(loss, [x])
    monkeypatch.setitem(table, row, wrong)
    with pytest.raises(ValueError, match=r"does not replay: the (loss|gradient of w) becomes \S+, and the graph has"):
        Replay(loss, [x])


@pytest.mark.parametrize("name", ["put", "first"])
def test_a_gradient_that_is_not_added_is_caught(monkeypatch, name):
    """What broke early engines: of two amounts, the last one is all that is left."""
    x, w = Value(0.5, "x"), Value(0.75, "w")
    loss = (w * x).tanh() * (w + x).exp()
    Replay(loss, [x])
    if name == "first":
        monkeypatch.setattr(engine.rows.Ledger, "first", lambda self, places: True)
    else:
        monkeypatch.setattr(engine.rows.Sink, "put", lambda self, adjoints, amount: [])
    with pytest.raises(ValueError, match="the gradient of w becomes"):
        Replay(loss, [x])


def test_numbers_of_any_real_type_are_taken():
    replay, _ = replay_of("L = w*x", "x", w=0.5, x=1.0)
    assert replay([[Fraction(1, 2)], [Decimal("0.25")]])[0].tolist() == [0.25, 0.125]


def test_constants_keep_the_sign_of_their_zeros():
    x, w = Value(1.0, "x"), Value(2.0, "w")
    replay = Replay(w * atan2(0.0, x) + w * w * atan2(-0.0, x), [x])
    assert replay([[-1.0]])[0].tolist() == pytest.approx([2.0 * math.pi - 4.0 * math.pi])


@pytest.mark.parametrize("function", [lambda y: (y - 2.0 * y) ** 0 * 2.0, lambda y: hypot(y, y - 2.0 * y)])
def test_a_number_that_has_no_value_is_not_hidden_by_a_power_or_a_length(function):
    x, w = Value(1.0, "x"), Value(2.0, "w")
    replay = Replay(w * function(exp(x)).atan(), [x])
    with pytest.raises(DomainError, match=r"Example 1 .* has no value"):
        replay([[1.0], [1000.0]])


def test_a_sum_that_is_too_large_on_the_way_is_told():
    x, y, w = Value(1.0, "x"), Value(2.0, "y"), Value(2.0, "w")
    node = mean([x, y])
    replay = Replay(w * node, [x, y])
    with pytest.raises(FloatingPointError, match=r"Example 0 .* too large for a float"):
        replay.values(node, [[1e308, 1e308]])


def test_an_input_at_which_a_derivative_is_infinite_can_be_recorded():
    x, w = Value(0.0, "x"), Value(0.5, "w")
    replay = Replay(w * (x * 3.0).tanh() + sqrt(x) + mean([exp(Value(n)) for n in (0.3, 0.58, -0.81)]), [x], [w])
    assert replay([[0.0]])[1][w] == 0.0


def test_a_condition_elsewhere_does_not_hide_a_derivative_without_a_value():
    x, w = Value(0.5, "x"), Value(0.3, "w")
    replay = Replay(cbrt(w * x) + build("r = 1 if x > 0 else 0", x=x).loss, [x], [w])
    with pytest.raises(FloatingPointError, match=r"Example 0 .*no value .nan."):
        replay([[0.0]])


def test_nets_under_a_branch_that_is_not_taken_are_left_alone():
    x, y = Value(0.5, "x"), Value(1.0, "y")
    ws = leaves("w", uniform(6))
    under = [dot(ws[:2], [log(x), y], ws[2]).tanh(), dot(ws[3:5], [log(x), y], ws[5]).tanh()]
    both = build("r = p*q if x > 0 else p2", p=under[0], q=under[1], x=x, p2=ws[0] * y).loss
    replay = Replay(both * both, [x, y], ws)
    batch = [[0.5, 1.0], [-1.0, 2.0], [0.25, -1.0], [0.0, 1.0]]
    losses, gradients = replay(batch)
    expected = np.zeros(6)
    for row, loss in zip(batch, losses, strict=True):
        right, gradient, _, _ = eager(replay, [row])
        assert loss == pytest.approx(right[0], rel=1e-12)
        expected += gradient
    assert gradients.array == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda replay: pickle.loads(pickle.dumps(replay))])
def test_a_copy_records_its_own_graph(copied):
    replay, graph = replay_of("L = tanh(a*x + b)", "x", a=0.5, b=1.0, x=1.0)
    other = copied(replay)
    graph["a"].data = 2.0
    assert other([[1.0]])[0].tolist() == pytest.approx([math.tanh(1.5)])
    assert other.parameters[0] is not graph["a"]
