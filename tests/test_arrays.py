"""The table over arrays, and a recorded graph at many points: the same numbers as one by one."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Value, build, ops
from engine.arrays import FORMS, Array, array, derivatives, gaps, quiet
from engine.batch import Batch
from engine.forward import DomainError, evaluated, partials
from engine.graph import computed_nodes, forward_order, leaves, nodes
from tests.reference import ROWS, arity, points
from tests.strategies import graphs, leaf_gradients, programs

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0, 1e-8, -40.0, 40.0, 720.0, -720.0, 1e200, math.inf, -math.inf, math.nan]
FEW = [0.0, 1.0, -1.0, 2.5, -800.0, math.inf, math.nan]


def by_name(row):
    return row.name


def tried(row):
    """Points inside the domain, random ones, and special ones on and off it."""
    rng = np.random.default_rng(1)
    count = arity(row)
    special = itertools.islice(itertools.product(SPECIAL if count < 3 else FEW, repeat=count), 2_000)
    return [*points(row), *map(tuple, rng.uniform(-3.0, 3.0, (200, count)).tolist()), *special]


def columns(found, count):
    return np.broadcast_to(np.asarray(found, dtype=float), count)


def agree(arrays, floats, rtol=1e-13, atol=1e-300):
    arrays, floats = np.asarray(arrays), np.asarray(floats)
    with quiet():
        close = np.abs(arrays - floats) <= rtol * np.abs(floats) + atol
    return close | (arrays == floats) | (np.isnan(arrays) & np.isnan(floats))


def test_every_row_has_a_form():
    assert set(FORMS) == set(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_a_row_gives_over_arrays_what_it_gives_one_by_one(row):
    every = tried(row)
    with quiet():
        found = row(*map(array, zip(*every, strict=True)))
    assert isinstance(found, Array)
    right = [row(*point) for point in every]
    outside = np.array([row.inside is not None and not row.inside(*point) for point in every])
    # A running sum is no fsum: it errs by units in the last place of its terms, and 1e200 drowns all others.
    terms = [max((abs(x) for x in point if math.isfinite(x)), default=0.0) if row.many else 0.0 for point in every]
    summed = np.array(terms) > 1e3
    fine = agree(found, right, atol=1e-300 + 1e-15 * np.where(summed, 0.0, terms))
    infinite = np.array([row.many and not all(map(math.isfinite, point)) for point in every])
    wrong = np.flatnonzero(~(fine | summed | ((outside | infinite) & ~np.isfinite(found))))
    assert [(every[i], found[i], right[i]) for i in wrong] == []


@pytest.mark.parametrize("textbook", [False, True], ids=["stable", "textbook"])
@pytest.mark.parametrize("row", ROWS, ids=by_name)
def test_partials_over_arrays_are_those_one_by_one(row, textbook):
    every = tried(row)[: len(points(row)) + 200]
    every += [point for point in tried(row) if all(abs(x) <= 40.0 for x in point)][:1_500]
    every = [point for point in every if row.inside is None or row.inside(*point)]
    every = [point for point in every if math.isfinite(row(*point))]
    operands = tuple(map(array, zip(*every, strict=True)))
    parents = [Value(1.0)] * arity(row)
    with quiet():
        found = derivatives(row, row(*operands), operands, textbook=textbook)
    right = [_partials(row, point, parents, textbook) for point in every]
    for place, of_place in enumerate(zip(*right, strict=True)):
        ours = columns(found[place], len(every))
        # One unit in the last place of the value, as tanh has, is many of 1 − tanh².
        wrong = np.flatnonzero(~agree(ours, of_place, rtol=1e-12, atol=4e-16 if textbook else 1e-300))
        assert [(every[i], ours[i], of_place[i]) for i in wrong] == []


def _partials(row, point, parents, textbook):
    every = partials(row, row(*point), point, parents, textbook=textbook)
    return [0.0 if one is None else one for one in every]


@pytest.mark.parametrize("row", [row for row in ROWS if not row.selects and not row.many], ids=by_name)
def test_only_the_partials_that_are_wanted_are_computed(row):
    operands = tuple(map(array, zip(*points(row), strict=True)))
    every = derivatives(row, row(*operands), operands)
    for wanted in itertools.product([True, False], repeat=len(operands)):
        some = derivatives(row, row(*operands), operands, wanted=wanted)
        assert [one is None for one in some] == [not one for one in wanted]
        assert all(one is None or np.array_equal(one, other) for one, other in zip(some, every, strict=True))


@pytest.mark.parametrize("row", [row for row in ROWS if row.kinks], ids=by_name)
def test_distances_to_kinks_are_those_one_by_one(row):
    every = [point for point in tried(row) if all(map(math.isfinite, point))]
    found = gaps(row, tuple(map(array, zip(*every, strict=True))))
    if row in (ops.HYPOT, ops.ATAN2):  # the origin alone, which no side of anything is
        assert found == ()
        return
    assert np.array_equal(np.stack(found, axis=1), [row.kinks(*point) for point in every])


def test_numbers_among_arrays_are_the_same_everywhere():
    x = array([1.0, -2.0, 3.0])
    assert np.array_equal(ops.POWER(x, 2.0), [1.0, 4.0, 9.0])
    assert np.array_equal(ops.CONDITIONALS[">"](x, 0.0, 5.0, x), [5.0, -2.0, 5.0])
    assert ops.ADD(1.0, 2.0) == 3.0


def at_columns(loss, drawn, column):
    """The loss and its gradients with the engine's own backward pass, where the leaves have one column's values."""
    for leaf, values in drawn.items():
        leaf.data = float(values[column])
    loss.refresh()
    return leaf_gradients(loss, list(drawn))


def drawn_for(loss, seed, count=12):
    rng = np.random.default_rng(seed)
    under = [leaf for leaf in nodes(loss) if not leaf.op and not leaf.is_constant]
    return {leaf: rng.uniform(-2.0, 2.0, count) for leaf in under}


@given(graphs(), st.integers(0, 1_000))
def test_values_and_adjoints_of_a_batch_are_those_of_backward(graph, seed):
    loss, _ = graph
    drawn = drawn_for(loss, seed)
    batch = Batch(loss, drawn)
    adjoints = batch.adjoints()
    assert batch.valid().all()
    for column in range(batch.size):
        gradients = at_columns(loss, drawn, column)
        assert columns(batch.value(loss), batch.size)[column] == pytest.approx(loss.data, rel=1e-9, abs=1e-9)
        for leaf, gradient in zip(drawn, gradients, strict=True):
            ours = columns(adjoints.get(leaf, 0.0), batch.size)[column]
            assert ours == pytest.approx(gradient, rel=1e-7, abs=1e-9)


@given(programs(), st.integers(0, 1_000))
def test_a_batch_is_valid_exactly_where_the_graph_has_a_value(program, seed):
    loss, _ = program
    drawn = drawn_for(loss, seed)
    batch = Batch(loss, drawn)
    valid = batch.valid()
    for column in range(batch.size):
        point = {leaf: float(values[column]) for leaf, values in drawn.items()}
        try:
            values, _ = evaluated(loss, point)
        except DomainError:
            assert not valid[column]
            continue
        finite = all(map(math.isfinite, values.values()))
        if finite == valid[column] and finite:
            for node in forward_order(loss):
                assert batch.value(node)[column] == pytest.approx(values[node], rel=1e-6, abs=1e-9)
        else:
            assert not finite


@given(graphs(), st.integers(0, 1_000))
def test_tangents_and_adjoints_are_two_ways_to_one_derivative(graph, seed):
    loss, _ = graph
    drawn = drawn_for(loss, seed)
    batch = Batch(loss, drawn)
    adjoints = batch.adjoints()
    for leaf in drawn:
        tangent = columns(batch.tangents(leaf).get(loss, 0.0), batch.size)
        assert tangent == pytest.approx(columns(adjoints.get(leaf, 0.0), batch.size), rel=1e-9, abs=1e-10)


@given(graphs(), st.integers(0, 1_000))
def test_a_sweep_towards_one_leaf_gives_the_same_as_the_whole(graph, seed):
    loss, _ = graph
    drawn = drawn_for(loss, seed)
    batch = Batch(loss, drawn)
    whole = batch.adjoints()
    for leaf in drawn:
        towards = {leaf, *(node for node in computed_nodes(loss) if leaf in leaves(forward_order(node)))}
        part = batch.adjoints(towards=towards)
        assert np.array_equal(columns(part.get(leaf, 0.0), batch.size), columns(whole.get(leaf, 0.0), batch.size))


def test_each_point_takes_its_own_branch_and_the_other_need_not_have_a_value():
    graph = build("h = log(x) if x > 0 else w*x\nL = h*h", x=1.0, w=2.0)
    x, w = np.array([2.0, -3.0, 0.0]), np.array([5.0, 7.0, 1.0])
    batch = Batch(graph["L"], {graph["x"]: x, graph["w"]: w})
    h = np.array([math.log(2.0), -21.0, 0.0])
    assert batch.valid().all()
    assert batch.value(graph["h"]) == pytest.approx(h)
    adjoints = batch.adjoints()
    assert adjoints[graph["x"]] == pytest.approx(2.0 * h * [0.5, 7.0, 1.0])
    assert adjoints[graph["w"]] == pytest.approx(2.0 * h * [0.0, -3.0, 0.0])
    taken = Batch(graph["L"], {graph["x"]: np.array([-1.0, 1e-320]), graph["w"]: np.array([math.inf, math.inf])})
    assert list(taken.valid()) == [False, True]


def test_changed_derivatives_have_a_row_for_each_change():
    graph = build("h = w*x\nL = h*h", x=3.0, w=2.0)
    batch = Batch(graph["L"], {graph["w"]: np.array([1.0, 2.0])})
    changed = batch.adjoints(changed={(graph["h"], 0): np.array([[0.0], [10.0]])})
    assert changed[graph["w"]] == pytest.approx(np.array([[0.0, 0.0], [60.0, 120.0]]))


def test_a_batch_leaves_the_graph_as_it_was():
    graph = build("h = w*x\nL = tanh(h)", x=3.0, w=2.0)
    graph["L"].backward()
    before = [(node.data, node.grad, node.local_derivatives) for node in nodes(graph["L"])]
    Batch(graph["L"], {graph["w"]: np.array([1.0, 2.0])}).adjoints()
    assert [(node.data, node.grad, node.local_derivatives) for node in nodes(graph["L"])] == before
