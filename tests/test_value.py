"""The record, and the one chain rule over it."""

import copy
import gc
import math
import warnings
import weakref
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine import DomainError, Value, build, dot, label_all, log, maximum, sqrt, tanh, total
from engine.graph import nodes
from tests.strategies import graphs


def leaf_gradients(loss, leaves):
    for leaf in leaves:
        leaf.grad = 0.0
    loss.backward()
    return [leaf.grad for leaf in leaves]


def test_a_node_records_parents_and_local_derivatives_in_operand_order():
    a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    product = a * b
    assert product.parents == (a, b)
    assert product.local_derivatives == (-3.0, 2.0)
    assert (product.op, a.op) == ("*", "")
    assert dot([a, b], [b, a], 1.0).parents[:4] == (a, b, b, a)


def test_fan_out_adds_up():
    x = Value(3.0)
    assert leaf_gradients(x * x, [x]) == [6.0]
    assert (x * x).parents == (x, x)
    b = x + x
    c = b + b
    assert leaf_gradients(c, [x]) == [4.0]
    assert leaf_gradients(x - x, [x]) == [0.0]
    assert leaf_gradients(x / x, [x]) == [0.0]


def test_numbers_stand_on_either_side():
    x = Value(3.0)
    for result, number in [
        (x + 2, 5.0), (2 + x, 5.0), (x - 2, 1.0), (2 - x, -1.0), (x * 2, 6.0), (2 * x, 6.0),
        (x / 2, 1.5), (6 / x, 2.0), (x**2, 9.0), (2**x, 8.0), (-x, -3.0), (+x, 3.0), (abs(-x), 3.0),
        (np.float64(2) * x, 6.0), (x * np.float32(2), 6.0), (np.array(2.0) + x, 5.0),
        (x + Fraction(1, 2), 3.5), (Decimal("0.5") + x, 3.5), (x + True, 4.0),
    ]:  # fmt: skip
        assert isinstance(result, Value)
        assert result.data == number


def test_leaves_accumulate_and_inner_nodes_do_not():
    a = Value(3.0)
    b = a * a
    loss = b * 2.0
    loss.backward()
    loss.backward()
    assert (a.grad, b.grad) == (24.0, 2.0)
    loss.zero_grad()
    assert (a.grad, b.grad, loss.grad) == (0.0, 0.0, 0.0)


def test_two_losses_over_a_shared_node_are_each_right():
    a = Value(5.0)
    shared = a * a
    (shared * 2.0).backward()
    (shared * 0.5).backward()
    assert a.grad == 25.0


def test_constants_are_visible_leaves_without_a_gradient():
    x = Value(-2.0, label="x")
    cube = x**3
    three = cube.parents[1]
    cube.backward()
    assert (three.data, three.label, three.op, three.grad) == (3.0, "", "", 0.0)
    assert cube.local_derivatives == (12.0, 0.0)
    assert x.grad == 12.0


def test_functions_and_methods_are_the_same_node():
    x = Value(0.7)
    for name in "exp log log10 sqrt sin cos tan tanh sigmoid relu step".split():
        by_method, by_function = getattr(x, name)(), getattr(engine, name)(x)
        assert by_method.data == by_function.data
        assert by_method.local_derivatives == by_function.local_derivatives
        assert by_method.op == name
    assert maximum(x, 0.2).data == x.maximum(0.2).data == 0.7
    assert tanh(0.5).data == math.tanh(0.5)
    assert total([]).data == 0.0


@given(graphs(), st.floats(-3, 3))
def test_the_gradient_is_linear_in_the_loss(graph, factor):
    loss, leaves = graph
    once = leaf_gradients(loss, leaves)
    scaled = leaf_gradients(loss * factor + 1.0, leaves)
    assert scaled == pytest.approx([factor * grad for grad in once], rel=1e-9, abs=1e-12)


@given(graphs())
def test_the_chain_rule_holds_for_a_function_of_the_loss(graph):
    loss, leaves = graph
    once = leaf_gradients(loss, leaves)
    derivative = 1.0 - math.tanh(loss.data) ** 2
    assert leaf_gradients(loss.tanh(), leaves) == pytest.approx([derivative * g for g in once], rel=1e-6, abs=1e-12)


@given(graphs())
def test_every_gradient_is_the_sum_over_its_consumers(graph):
    loss, _ = graph
    loss.zero_grad()
    loss.backward()
    received = dict.fromkeys(nodes(loss), 0.0)
    for node in nodes(loss):
        for parent, derivative in zip(node.parents, node.local_derivatives, strict=True):
            received[parent] += derivative * node.grad
    for node, amount in received.items():
        if node is not loss and (node.op or node.label):
            assert node.grad == pytest.approx(amount, rel=1e-12, abs=1e-300)


def test_refresh_recomputes_in_place_from_the_leaves():
    a, b = Value(2.0), Value(3.0)
    loss = (a * b).tanh() + a**2
    a.data = 0.5
    loss.refresh()
    again = (a * b).tanh() + a**2
    assert loss.data == again.data
    assert leaf_gradients(loss, [a, b]) == leaf_gradients(again, [a, b])


def test_refresh_changes_nothing_where_the_leaves_leave_the_domain():
    a = Value(2.0, label="a")
    loss = log(a * 1.0) + a * 3.0
    a.data = -1.0
    with pytest.raises(DomainError, match="logarithm needs a number above 0"):
        loss.refresh()
    assert loss.data == math.log(2.0) + 6.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: log(Value(-1.0, "p")), r"log\(-1\) has no value \(with p = -1\)"),
        (lambda: log(Value(0.0)), "above 0"),
        (lambda: 1 / Value(0.0, "z"), "the divisor must not be 0"),
        (lambda: Value(0.0) ** -1, "exponent that is not negative"),
        (lambda: Value(-8.0) ** (1 / 3), "whole exponent"),
        (lambda: sqrt(Value(-4.0)), "not negative"),
        (lambda: Value(math.inf) - math.inf, "no difference"),
    ],
)
def test_what_has_no_value_is_refused_with_the_names_and_the_numbers(make, message):
    with pytest.raises(DomainError, match=message):
        make()


def test_overflow_is_infinite_as_in_ieee_754():
    assert Value(1000.0).exp().data == math.inf


@pytest.mark.parametrize("wrong", ["3", 1j, [1.0], None, object(), np.array("a"), b"3", int])
def test_what_is_no_real_number_is_refused(wrong):
    with pytest.raises(TypeError, match="A Value holds"):
        Value(wrong)
    with pytest.raises(TypeError):
        Value(1.0) + wrong
    with pytest.raises(TypeError):
        Value(1.0).maximum(wrong)


def test_nan_and_numbers_too_large_are_refused():
    with pytest.raises(ValueError, match="nan is none"):
        Value(math.nan)
    with pytest.raises(ValueError, match="too large"):
        Value(10**400)
    with pytest.raises(TypeError, match="label is a str"):
        Value(1.0, label=3)


def test_a_value_is_no_truth_value_and_no_float():
    x = Value(1.0, label="x")
    with pytest.raises(TypeError, match="lose the graph"):
        bool(x)
    with pytest.raises(TypeError, match=r"write `x\.item\(\)`"):
        float(x)
    assert x.item() == 1.0
    assert f"{x:.3f}" == "1.000"


def test_repr_leaves_out_what_is_default():
    x = Value(2.0, label="x")
    assert repr(Value(2.0)) == "Value(2.0)"
    (x * 3.0).backward()
    assert repr(x) == "Value(2.0, grad=3.0, label='x')"


def test_label_all_names_after_variables_and_the_first_name_wins():
    a = Value(1.0)
    b = a
    kept = Value(2.0, label="mine")
    _hidden = Value(3.0)
    label_all(locals())
    assert (a.label, b.label, kept.label, _hidden.label) == ("a", "a", "mine", "")


def test_an_infinite_derivative_is_delivered_with_one_warning():
    x = Value(0.0, label="x")
    root = sqrt(x)
    root.label = "root"
    with pytest.warns(RuntimeWarning, match="gradient of x is infinite.*at root") as caught:
        root.backward()
    assert len(caught) == 1
    assert x.grad == math.inf


def test_a_nan_gradient_raises_where_it_first_arose_and_changes_no_leaf():
    x = Value(0.0, label="x")
    y = sqrt(x)
    y.label = "y"
    loss = y * 0.0
    x.grad = 7.0
    with pytest.raises(FloatingPointError, match=r"gradient of x has no value \(nan\): at y"):
        loss.backward()
    assert x.grad == 7.0


def test_the_node_where_nan_first_arose_is_named_also_with_several_paths():
    x = Value(0.0, label="x")
    a, root = x * 1.0, sqrt(x)
    a.label, root.label = "a", "root"
    with pytest.raises(FloatingPointError, match=r"has no value .* at root"):
        (a + root * 0.0).backward()


def test_refresh_follows_a_condition_to_its_other_branch():
    graph = build("L = log(x) if x > 0 else x*x", x=-1.0)
    for x, value, grad in [(2.0, math.log(2.0), 0.5), (-3.0, 9.0, -6.0), (4.0, math.log(4.0), 0.25)]:
        graph["x"].data = x
        graph.loss.refresh()
        graph.loss.zero_grad()
        graph.loss.backward()
        assert (graph.loss.data, graph["x"].grad) == (value, grad)
    graph["x"].data = math.nan
    with pytest.raises(ValueError, match="nan is none"):
        graph.loss.refresh()


def test_a_chain_of_100_000_nodes_builds_and_sweeps_without_recursion():
    x = Value(1.0, label="x")
    y = x
    for _ in range(50_000):
        y = y * 1.00001 + 0.00001
    y.backward()
    assert x.grad == pytest.approx(1.00001**50_000, rel=1e-9)
    assert len(nodes(y)) == 200_001


def test_a_graph_is_freed_by_reference_counting_alone():
    class Watched(Value):
        __slots__ = ("__weakref__",)

    x = Watched(1.0)
    watch = weakref.ref(x)
    gc.disable()
    try:
        y = x
        for _ in range(1000):
            y = (y * 1.01).tanh()
        y.backward()
        del x, y
        assert watch() is None
    finally:
        gc.enable()


def test_a_copy_keeps_its_sharing():
    a = Value(2.0, label="a")
    twin, loss = copy.deepcopy([a, a * a + a])
    loss.backward()
    assert (twin.grad, a.grad) == (5.0, 0.0)


def test_operations_between_values_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (np.float64(1e308) * Value(10.0)).data == math.inf
