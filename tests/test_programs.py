"""Laws that hold for random programs over all rows of the table."""

import pickle

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mpmath import mp, mpf

from engine import Backprop, DomainError, grad, gradcheck
from engine.graph import forward_order, nodes, recorded_derivatives
from tests.reference import FORMULAS
from tests.strategies import is_tame, leaf_gradients, programs

CLOSE = 1e-12  # relative to the sum of the absolute values of all path products


def along_paths(loss, leaf, weigh):
    """Σ over the paths from `leaf` to the loss of the products of `weigh(derivative)`."""
    sums = {leaf: 1.0}
    for node in forward_order(loss):
        pairs = zip(node.parents, recorded_derivatives(node), strict=True)
        sums[node] = sum(weigh(d) * sums.get(parent, 0.0) for parent, d in pairs if d is not None)
    return sums.get(loss, 0.0)


def agree(found, expected, loss, leaves, times=1.0):
    """Whether gradients agree to roundings of their terms, the loss being taken `times` its size."""
    for leaf, one, other in zip(leaves, found, expected, strict=True):
        assert abs(one - other) <= CLOSE * times * along_paths(loss, leaf, abs)


def to_50_digits(loss, leaves):
    """The gradient with values and derivatives of mpmath alone, from the leaves on; no derivative comes from a row."""
    values = {node: mpf(node.data) for node in nodes(loss)}
    derivatives = {leaf: {leaf: mpf(1)} for leaf in leaves}
    with mp.workdps(50):
        for node in forward_order(loss):
            formula, point = FORMULAS[node._row.name], tuple(values[parent] for parent in node.parents)
            values[node] = mpf(formula(*point))
            derivatives[node] = dict.fromkeys(leaves, mpf(0))
            for place, parent in enumerate(node.parents):
                if parent in derivatives and any(derivatives[parent].values()):
                    order = tuple(int(i == place) for i in range(len(point)))
                    local = mp.diff(formula, point, order)
                    for leaf, derivative in derivatives[parent].items():
                        derivatives[node][leaf] += mp.re(local) * derivative
    return [derivatives[loss].get(leaf, mpf(0)) for leaf in leaves]


@given(programs())
def test_gradients_agree_with_50_digits(program):
    loss, leaves = program
    agree(leaf_gradients(loss, leaves), to_50_digits(loss, leaves), loss, leaves)


@given(programs())
def test_gradients_agree_with_the_complex_step(program):
    loss, leaves = program
    assume(all(node._row.on_complex for node in forward_order(loss)))
    for leaf, engine in zip(leaves, leaf_gradients(loss, leaves), strict=True):
        values = {leaf: complex(leaf.data, 1e-100)}
        for node in forward_order(loss):
            values[node] = node._row.on_complex(*[values.get(p, complex(p.data)) for p in node.parents])
        step = values[loss].imag / 1e-100 if loss in values else 0.0
        assert abs(engine - step) <= CLOSE * along_paths(loss, leaf, abs)


@given(programs())
def test_the_gradient_is_the_sum_over_all_paths(program):
    loss, leaves = program
    agree(leaf_gradients(loss, leaves), [along_paths(loss, leaf, lambda d: d) for leaf in leaves], loss, leaves)


@given(programs())
def test_grad_is_backward_as_a_graph(program):
    loss, leaves = program
    agree([derivative.data for derivative in grad(loss, leaves)], leaf_gradients(loss, leaves), loss, leaves)


@given(programs(), st.lists(st.floats(-2.0, 2.0).map(lambda x: round(x, 2) + 0.005), min_size=4, max_size=4))
def test_derivatives_of_derivatives_follow_their_leaves(program, moved):
    """Refreshed elsewhere, perhaps beyond a kink or in another branch, they are those of the loss refreshed there."""
    loss, leaves = program
    first = grad(loss, leaves)
    second = grad(first[0], leaves)
    for leaf, number in zip(leaves, moved, strict=False):
        leaf.data = number
    try:
        loss.refresh()
        for derivative in (*first, *second):
            derivative.refresh()
    except DomainError:
        assume(False)
    assume(all(is_tame(node) for node in forward_order(loss)))
    again = grad(loss, leaves)
    for derivative, anew in zip((*first, *second), (*again, *grad(again[0], leaves)), strict=True):
        assert derivative.data == pytest.approx(anew.data, rel=1e-9, abs=1e-9)


@given(programs())
def test_gradcheck_finds_nothing_wrong(program):
    loss, _ = program
    assert "wrong" not in {row.verdict for row in gradcheck(loss).values()}


@given(programs(), st.data())
def test_gradcheck_always_finds_a_planted_slip(program, data):
    """A local derivative times 1.001, with its sign turned, or missing, anywhere where it is not 0."""
    loss, _ = program
    used = Backprop(loss).order
    places = [
        (node, place)
        for node in used
        for place, derivative in enumerate(recorded_derivatives(node))
        if derivative and not node._row.selects and (node._row.on_complex or abs(derivative) > 1e-3)
    ]
    assume(places)
    node, place = data.draw(st.sampled_from(places))
    derivatives = list(recorded_derivatives(node))
    derivatives[place] = data.draw(st.sampled_from([1.001, -1.0, 0.0])) * derivatives[place]
    node.set_derivatives(derivatives)
    assert not gradcheck(loss).ok


@given(programs(), st.floats(-3, 3).filter(lambda factor: factor == 0.0 or abs(factor) > 1e-100))
def test_the_gradient_is_linear_in_the_loss(program, factor):
    loss, leaves = program
    once = leaf_gradients(loss, leaves)
    agree(leaf_gradients(loss * factor + 1.0, leaves), [factor * grad for grad in once], loss, leaves, abs(factor))


@given(programs())
def test_twice_backward_is_twice_the_gradient(program):
    loss, leaves = program
    once = leaf_gradients(loss, leaves)
    inner = {node: node.grad for node in nodes(loss) if node.op}
    loss.backward()
    agree([leaf.grad for leaf in leaves], [2.0 * grad for grad in once], loss, leaves, 2.0)
    assert all(node.grad == grad for node, grad in inner.items())


@given(programs(), programs())
def test_two_losses_add_up(program, other):
    (loss, leaves), (second, _) = program, other
    shared = loss * second.data + loss.tanh()
    each = [sum(pair) for pair in zip(leaf_gradients(loss, leaves), leaf_gradients(shared, leaves), strict=True)]
    for leaf in leaves:
        leaf.grad = 0.0
    loss.backward()
    shared.backward()
    agree([leaf.grad for leaf in leaves], each, loss + shared, leaves)


@given(programs())
def test_a_walk_ends_with_the_gradients_of_backward_and_its_beginning_can_be_had_again(program):
    loss, leaves = program
    loss.zero_grad()
    expected = leaf_gradients(loss, leaves)
    loss.zero_grad()
    walk = Backprop(loss).run()
    assert [leaf.grad.hex() for leaf in leaves] == [grad.hex() for grad in expected]
    walk.goto(0)
    assert [leaf.grad for leaf in leaves] == [1.0 if leaf is loss else 0.0 for leaf in leaves]


@given(programs())
def test_a_program_survives_pickling(program):
    loss, leaves = program
    twin, *twins = pickle.loads(pickle.dumps([loss, *leaves]))
    assert leaf_gradients(twin, twins) == leaf_gradients(loss, leaves)
