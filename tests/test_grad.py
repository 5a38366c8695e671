"""`grad`: derivatives as graphs of their own, to any order."""

import math

import pytest

from engine import DomainError, Value, build, dot, grad, hypot, maximum, relu, sigmoid, softmax, sqrt, tanh, total
from engine.graph import computed_nodes


def successive(output, variable, order):
    """The derivatives of first, second, … order."""
    found = [output]
    for _ in range(order):
        found += grad(found[-1], [variable])
    return [derivative.data for derivative in found[1:]]


@pytest.mark.parametrize("x", [0.0, -2.0, 1.5])
def test_a_coefficient_of_zero_ends_a_power(x):
    variable = Value(x)
    assert successive(variable**2, variable, 4) == [2 * x, 2.0, 0.0, 0.0]
    assert successive(variable**3, variable, 4) == [3 * x**2, 6 * x, 6.0, 0.0]
    assert successive(variable**1, variable, 4) == [1.0, 0.0, 0.0, 0.0]
    assert successive(variable**0, variable, 2) == [0.0, 0.0]
    assert successive(5.0 * variable + 1.0, variable, 3) == [5.0, 0.0, 0.0]


def test_tanh_to_the_fourth_order():
    x = Value(0.3)
    t = math.tanh(0.3)
    slope = 1 - t * t
    expected = [slope, -2 * t * slope, (6 * t * t - 2) * slope, (16 * t - 24 * t**3) * slope]
    assert successive(tanh(x), x, 4) == pytest.approx(expected, rel=1e-13)


def test_the_hessian_of_rosenbrocks_function():
    x, y = Value(-1.2), Value(1.0)
    loss = (1 - x) ** 2 + 100 * (y - x**2) ** 2
    gradient = grad(loss, [x, y])
    hessian = [[entry.data for entry in grad(slope, [x, y])] for slope in gradient]
    assert [slope.data for slope in gradient] == pytest.approx([-215.6, -88.0])
    assert hessian == [pytest.approx([1330.0, 480.0]), pytest.approx([480.0, 200.0])]


def test_a_hessian_times_a_vector_without_the_hessian():
    xs, direction = [Value(0.3), Value(-0.7), Value(1.1)], [1.0, 2.0, -1.0]
    loss = tanh(dot(xs, [0.5, -1.0, 2.0])) * sigmoid(total(xs)) + softmax(xs)[1]
    product = grad(dot(grad(loss, xs), direction), xs)
    hessian = [grad(slope, xs) for slope in grad(loss, xs)]
    for entry, row in zip(product, hessian, strict=True):
        assert entry.data == pytest.approx(sum(h.data * d for h, d in zip(row, direction, strict=True)), rel=1e-13)


def test_a_derivative_is_a_graph_over_the_same_leaves():
    x, y = Value(0.5, "x"), Value(2.0, "y")
    (slope,) = grad(x**3 * y, [x])
    slope.backward()
    assert (slope.data, x.grad, y.grad) == (1.5, 6.0, 0.75)  # 3x²y, 6xy, 3x²
    x.data = 0.0
    slope.refresh()
    assert slope.data == 0.0


def test_the_gradients_that_nodes_hold_are_not_touched():
    x = Value(2.0)
    loss = x * x
    loss.backward()
    grad(loss, [x])
    assert (x.grad, loss.grad) == (4.0, 1.0)


def test_a_gradient_by_inner_nodes_by_itself_and_by_what_does_not_matter():
    graph = build("z = w*x\na = tanh(z)\nL = a**2", w=0.3, x=1.5)
    by_z, by_loss, by_other = grad(graph.loss, [graph["z"], graph.loss, Value(3.0)])
    assert by_z.data == pytest.approx(2 * math.tanh(0.45) * (1 - math.tanh(0.45) ** 2))
    assert (by_loss.data, by_other.data) == (1.0, 0.0)


def test_conventions_at_kinks_hold_for_grad_too():
    x, y = Value(0.0), Value(0.0)
    assert [d.data for d in grad(relu(x) + abs(y), [x, y])] == [0.0, 0.0]
    assert [d.data for d in grad(maximum(x, y), [x, y])] == [0.5, 0.5]
    assert [d.data for d in grad(hypot(x, y), [x, y])] == [0.0, 0.0]
    assert [d.data for d in grad(y.atan2(x), [x, y])] == [0.0, 0.0]
    assert [d.data for d in grad(x**y, [x, y])] == [0.0, 0.0]
    assert successive(x.leaky_relu(0.1), x, 2) == [0.1, 0.0]
    assert successive(x.elu(), x, 2) == [1.0, 1.0]
    bound = Value(1.0)
    assert successive(bound.clamp(0.0, 1.0), bound, 2) == [1.0, 0.0]


def test_a_condition_passes_its_derivative_through_the_branch_taken():
    graph = build("L = x**2 if x > 0 else log(-x)", x=1.5)
    (slope,) = grad(graph.loss, [graph["x"]])
    assert slope.data == 3.0
    assert successive(graph.loss, graph["x"], 3) == [3.0, 2.0, 0.0]


def test_the_derivative_of_a_condition_follows_it_when_refreshed():
    graph = build("L = a*x**2 if x > 0 else b*x**3", a=2.0, b=5.0, x=3.0)
    (slope,) = grad(graph.loss, [graph["x"]])
    by_a, by_b = grad(graph.loss, [graph["a"], graph["b"]])
    for x, expected in [(3.0, (12.0, 9.0, 0.0)), (-2.0, (60.0, 0.0, -8.0)), (1.0, (4.0, 1.0, 0.0))]:
        graph["x"].data = x
        for derivative in (slope, by_a, by_b):
            derivative.refresh()
        assert (slope.data, by_a.data, by_b.data) == expected
    branch_without_value = build("L = log(x) if x > 0 else x*x", x=-1.0)
    (slope,) = grad(branch_without_value.loss, [branch_without_value["x"]])
    for x, expected in [(-1.0, -2.0), (2.0, 0.5), (-3.0, -6.0)]:
        branch_without_value["x"].data = x
        slope.refresh()
        assert slope.data == expected


@pytest.mark.parametrize("formula", ["cbrt(x)**2", "sqrt(x)**2", "sqrt(x)*x", "acos(1 - x)**2"])
def test_a_branch_that_is_taken_hides_no_derivative_without_a_value(formula):
    """0·∞ has no value, in a branch as without one; in the other branch it does not matter."""
    graph = build(f"L = {formula} if y > 0 else 3*x", x=0.5, y=1.0)
    (slope,) = grad(graph.loss, [graph["x"]])
    graph["x"].data = 0.0
    with pytest.raises(DomainError):
        slope.refresh()
    graph.loss.refresh()
    with pytest.raises(FloatingPointError):
        grad(graph.loss, [graph["x"]])
    graph["y"].data = -1.0
    slope.refresh()
    graph.loss.refresh()
    assert slope.data == grad(graph.loss, [graph["x"]])[0].data == 3.0


def test_what_both_branches_share_is_reached_by_either():
    graph = build("s = x**2\nL = (s*2 if y > 0 else (s*3 if x > 1 else log(s)))", x=0.5, y=1.0)
    (slope,) = grad(graph.loss, [graph["x"]])
    for x, y, expected in [(0.5, 1.0, 2.0), (0.5, -1.0, 4.0), (2.0, -1.0, 12.0), (2.0, 1.0, 8.0)]:
        graph["x"].data, graph["y"].data = x, y
        slope.refresh()
        assert slope.data == expected


def test_a_derivative_is_a_node_of_its_own():
    x, y = Value(2.0), Value(3.0, "y")
    (slope,) = grad(x * y, [x])
    assert slope is not y
    slope.label = "slope"
    assert (slope.data, y.label) == (3.0, "y")


def test_a_deep_graph_is_differentiated_without_recursion():
    x = y = Value(1.0)
    for _ in range(3_000):
        y = y * x
    (slope,) = grad(y, [x])
    assert slope.data == 3_001.0
    assert len(computed_nodes(slope)) < 20_000


def test_an_infinite_derivative_is_told_once_and_one_without_a_value_is_refused():
    x = Value(0.0, "x")
    with pytest.warns(RuntimeWarning, match=r"gradient of x is infinite.*sqrt of 0"):
        assert grad(sqrt(x), [x])[0].data == math.inf
    with pytest.raises(FloatingPointError, match=r"gradient of x has no value"):
        grad(sqrt(x) * 0.0, [x])


def test_what_cannot_be_differentiated_by_is_refused():
    x = Value(2.0, "x")
    cube = x**3
    with pytest.raises(TypeError, match=r"takes a list.*grad\(…, \[x\]\)"):
        grad(cube, x)
    with pytest.raises(TypeError, match=r"not by float 2\.0"):
        grad(cube, [2.0])
    with pytest.raises(TypeError, match=r"differentiates a Value, not float 8\.0"):
        grad(8.0, [x])
    with pytest.raises(ValueError, match="is a constant of an expression"):
        grad(cube, [cube.parents[1]])
