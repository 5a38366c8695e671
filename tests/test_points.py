"""Where the points lie that formulas are compared at, and what is known of the engine's answer there."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.points
from engine import build
from engine.agreement import Question
from engine.compare import Comparison
from engine.formula import Formula
from engine.graph import forward_order
from engine.points import Points
from engine.sampling import FAR, NARROW, NEAR, POINTS, Sampler
from tests.strategies import graphs, worked
from tests.terminals import ROOT


def sampler_of(text, seed=0, **values):
    graph = build(text, values)
    return Sampler(graph.loss, seed), graph


def test_there_are_4096_points_and_most_of_them_around_0():
    for text in ("L = w*x", "L = relu(w*x) + abs(x)"):
        sampler, graph = sampler_of(text, w=1.0, x=2.0)
        points = sampler.points
        assert points.size >= POINTS - 1
        assert points.valid.all()
        assert (points.reach == NARROW).mean() > 0.5
        w = points.value(graph["w"])
        assert np.abs(w[points.reach == NARROW]).max() < 3.0
        assert np.abs(w[points.reach == FAR[-1]]).max() > 500.0
        assert np.abs(w[points.reach == NEAR] - 1.0).max() <= 1.0


def test_points_are_those_of_the_seed_in_any_process():
    code = (
        "from engine import build, compare; "
        "L = build('L = relu(w*x - 3)*log(x)', w=1.0, x=2.0)['L']; "
        "print(compare(L, {'w': 'x*log(x)*step(w*x - 3.001)', 'x': 'w'}, seed=7))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "PATH": "", "PYTHONHASHSEED": hashes},
            capture_output=True,
            check=True,
        ).stdout
        for hashes in ("1", "2")
    }
    assert len(printed) == 1
    assert b"2 wrong of 2" in printed.pop()
    leaf = [sampler_of("L = w*w", seed, w=1.0) for seed in (0, 1)]
    first, second = (sampler.points.value(graph["w"]) for sampler, graph in leaf)
    assert not np.array_equal(first, second)


def test_a_point_outside_of_a_domain_is_drawn_again_where_that_is_needed():
    sampler, graph = sampler_of("L = log(p)*sqrt(q) + x", p=0.5, q=2.0, x=-1.0)
    points = sampler.points
    assert points.valid.all()
    assert (points.value(graph["x"]) < 0.0).any()
    beyond, graph = sampler_of("L = sqrt(p - 7)", p=8.0)  # beyond what is drawn at first
    assert beyond.points.valid.mean() > 0.9
    steep, _ = sampler_of("L = exp(50*p)*q", p=0.1, q=1.0)
    assert steep.points.valid.mean() > 0.99


@pytest.mark.parametrize(
    "text",
    ["L = relu(w - 30)", "L = abs(w + 400)*x", "L = w if x > 7 else x", "L = clamp(w, 100, 200)", "L = max(w*x, 50)"],
)
def test_both_sides_of_every_kink_are_met_and_from_close_by(text):
    sampler, _ = sampler_of(text, w=1.0, x=0.5) if "x" in text else sampler_of(text, w=1.0)
    sides, gaps = sampler.points.sides, np.abs(sampler.points.gaps())
    assert (sides.sum(axis=1) >= 4).all()
    assert ((~sides).sum(axis=1) >= 4).all()
    assert (gaps.min(axis=1) < 0.02).all()


def test_numbers_that_are_compared_for_equality_are_equal_at_some_points():
    sampler, graph = sampler_of("L = a if n == 2 else b*b", a=1.0, n=2.0, b=3.0)
    equal = sampler.points.value(graph["n"]) == 2.0
    assert 0.02 < equal.mean() < 0.5
    report = Comparison(graph["L"], None, 3, 0, "gradient", ())
    question = report.question("b")
    assert report.judge_formula(question, Formula("2*b if n != 2 else 0")).verdict == "right"
    assert report.judge_formula(question, Formula("2*b")).verdict == "wrong"


@given(graphs(most=12), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_gradients_at_points_are_those_of_the_engine(graph, seed):
    loss, _ = graph
    sampler = Sampler(loss, seed)
    if not sampler.forward:
        return
    points = sampler.drawn({NARROW: 6, NEAR: 6}, "test")
    for kind, root in [("gradient", loss), ("local", loss), ("direct", sampler.forward[-1])]:
        for target in [*sampler.variables, *sampler.forward]:
            found = points.gradient(kind, root, target)
            for column in np.flatnonzero(points.valid & found.steady):
                other = _moved(loss, sampler.variables, points, column)
                right = other.gradient(other.given, kind, *(other.original[node] for node in (root, target)))
                assert found.value[column] == pytest.approx(right.value, rel=1e-6, abs=1e-9)


def _moved(loss, variables, points, column):
    """A sampler whose given values are those of one column, over a copy of the graph."""
    from engine.value import clone

    copies = clone(loss)
    for leaf in variables:
        copies[leaf].data = float(points.value(leaf)[column])
    copies[loss].refresh()
    moved = Sampler(copies[loss], 0)
    moved.original = copies
    return moved


def test_a_gradient_is_steady_where_it_has_digits():
    sampler, graph = sampler_of("a = tanh(30*w)\nL = log(1 + exp(-a)) - 0.25*w", w=0.1)
    points = sampler.points
    grad = points.gradient("gradient", graph["L"], graph["w"])
    w = points.value(graph["w"])
    assert grad.steady[np.abs(w) < 0.2].all()
    saturated = points.gradient("gradient", graph["a"], graph["w"])
    assert not saturated.steady[(np.abs(w) > 0.8) & (points.reach == NARROW)].any()
    assert (saturated.noise[(np.abs(w) > 0.8) & (np.abs(w) < 4.0)] < 1e-10).all()  # but known to be next to nothing


def test_what_vanishes_for_want_of_floats_is_known():
    sampler, graph = sampler_of("L = exp(-400*w)*x", w=0.1, x=1.0)
    points = sampler.points
    w = points.value(graph["w"])
    assert points.vanished[w > 2.0].all()
    assert not points.vanished[np.abs(w) < 1.0].any()
    zero, _ = sampler_of("L = relu(w)*x", w=0.1, x=1.0)
    assert not zero.points.vanished.any()  # a relu is 0 without that


def test_a_large_graph_is_computed_some_points_at_a_time(monkeypatch):
    mazur = worked("mazur_2_2_2")
    question = Question("gradient", mazur["E"], mazur["w1"])
    whole = Comparison(mazur["E"], None, 3, 0, "gradient", ()).points(question)
    monkeypatch.setattr(engine.points, "MOST_NUMBERS", 5_000)
    monkeypatch.setattr(engine.points, "MOST_KEPT", 5_000)
    comparison = Comparison(mazur["E"], None, 3, 0, "gradient", ())
    parts = comparison.points(question)
    assert len(parts.points.chunks) > 10
    assert np.array_equal(whole.expected.value, parts.expected.value)
    assert np.array_equal(whole.usable, parts.usable)
    for node in [*forward_order(mazur["E"]), mazur["w5"]]:
        assert np.array_equal(whole.points.value(node), parts.points.value(node))
    right = Formula("(out_o1 - t1)*out_o1*(1 - out_o1)*out_h1")
    assert comparison.judge_formula(Question("gradient", mazur["E"], mazur["w5"]), right).verdict == "right"


def test_a_further_answer_computes_nothing_of_the_graph_again(monkeypatch):
    mazur = worked("mazur_2_2_2")["E"]
    comparison = Comparison(mazur, None, 3, 0, "gradient", ())
    question = comparison.question("w5")
    comparison.judge_formula(question, Formula("w5"))
    monkeypatch.setattr(engine.points, "Batch", None)
    for answer, verdict in [("(out_o1 - t1)*out_o1*(1 - out_o1)*out_h1", "right"), ("out_o1 - t1", "wrong")]:
        assert comparison.judge_formula(question, Formula(answer)).verdict == verdict


def test_numbers_alone_need_no_points(monkeypatch):
    def no_points(*_):
        raise AssertionError("points were drawn")

    monkeypatch.setattr(Points, "__init__", no_points)
    x = build("x = 0.5")["x"]
    y = x
    for _ in range(20_000):
        y = y * 1.0
    y.label = "y"
    comparison = Comparison(y, None, 3, 0, "gradient", ())
    question = comparison.question("x")
    assert comparison.expected(question, comparison.sampler.given).value == 1.0


@pytest.mark.parametrize("answer", ["w*x", "w*x if x > 1.99 else 0", "x*step(w*x - 3)*1.5"])
def test_a_few_points_tell_of_both_sides_of_every_kink(answer):
    graph = build("z = w*x\nL = relu(z - 3)*y", w=1.0, x=2.0, y=0.5)
    comparison = Comparison(graph["L"], None, 3, 0, "gradient", ())
    question, formula = comparison.question("w"), Formula(answer)
    found = comparison.few(question, formula, 32)
    assert list(found) == [graph["w"], graph["x"], graph["y"]]
    assert {len(values) for values in found.values()} == {32}
    w, x = found[graph["w"]], found[graph["x"]]
    assert (w * x > 3.0).any()
    assert (w * x < 3.0).any()
    assert (np.abs(w) <= 2.0).mean() > 0.5
    if "1.99" in answer:
        assert (x > 1.99).any()
        assert (x < 1.99).any()
    assert comparison.few(question, formula, 4)[graph["w"]].shape == (4,)


def test_a_few_points_are_such_that_the_answer_has_a_value():
    graph = build("L = w*x", w=1.0, x=2.0)
    comparison = Comparison(graph["L"], None, 3, 0, "gradient", ())
    found = comparison.few(comparison.question("w"), Formula("log(x)"), 32)
    assert (found[graph["x"]] > 0.0).all()
    nowhere = comparison.few(comparison.question("w"), Formula("x/(w - w)"), 32)
    assert len(nowhere[graph["x"]]) == 32


def test_a_loss_that_is_a_leaf_or_constant_has_points_too():
    x = build("x = 2")["x"]
    assert Sampler(x, 0).points.valid.all()
    assert math.isfinite(Sampler(build("L = 2*3")["L"], 0).points.size)
