"""Scripts written for other scalar engines run with our `Value` in its place, and give the same numbers.

The engines themselves are not needed: `benchmarks` has one in the design of microgpt, and micrograd's is a few lines.
"""

import math
import random

import pytest

from benchmarks.peers import TupleValue, value_class_of
from benchmarks.workloads import gpt_step, moons_step
from engine import Value, dot
from engine.printed import half_unit
from tests.strategies import case


class Closures:
    """A scalar in the design of micrograd: each node has a closure that passes its gradient on."""

    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents, self.pass_on = data, 0, parents, lambda: None

    def made(self, data, other, by_self, by_other):
        out = Closures(data, (self, other))

        def pass_on():
            self.grad += by_self * out.grad
            other.grad += by_other * out.grad

        out.pass_on = pass_on
        return out

    def __add__(self, other):
        other = other if isinstance(other, Closures) else Closures(other)
        return self.made(self.data + other.data, other, 1, 1)

    def __mul__(self, other):
        other = other if isinstance(other, Closures) else Closures(other)
        return self.made(self.data * other.data, other, other.data, self.data)

    def __pow__(self, n):
        return self.made(self.data**n, Closures(0), n * self.data ** (n - 1), 0)

    def relu(self):
        return self.made(max(0, self.data), Closures(0), self.data > 0, 0)

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + (-other)

    def __rsub__(self, other):
        return other + (-self)

    def __truediv__(self, other):
        return self * other**-1

    def __rtruediv__(self, other):
        return other * self**-1

    __radd__, __rmul__ = __add__, __mul__

    def backward(self):
        order, seen, stack = [], set(), [(self, False)]
        while stack:
            node, done = stack.pop()
            if done:
                order.append(node)
            elif node not in seen:
                seen.add(node)
                stack += [(node, True), *((parent, False) for parent in node.parents)]
        self.grad = 1
        for node in reversed(order):
            node.pass_on()


PUBLISHED = [
    (Value, "micrograd_readme"),
    (Value, "micrograd_neuron"),
    (Value, "micrograd_L"),
    (Closures, "micrograd_readme"),  # the other design has no tanh
    (Closures, "micrograd_L"),
]


@pytest.mark.parametrize(("made", "name"), PUBLISHED, ids=lambda of: getattr(of, "__name__", of))
def test_published_expressions_run_as_python(made, name):
    """The formulas as statements over Values, with methods for functions; the numbers are those printed there."""
    example = case(f"worked/{name}.json")
    names = {leaf: made(number) for leaf, number in example["leaf"].items()}
    functions = {"relu": lambda x: x.relu(), "tanh": lambda x: x.tanh()}
    for name, formula in example["graph"]:
        names[name] = eval(formula, functions, names)
    names[example["output"]].backward()
    for printed in example["expected"]:
        number = names[printed["node"]].data if printed["kind"] == "value" else names[printed["wrt"]].grad
        assert abs(number - float(printed["printed"])) <= half_unit(printed["printed"])


def a_script_that_trains(Value):
    """Gradient descent by hand, `sum` with its leading 0, gradients cleared to an int."""
    rng = random.Random(3)
    weights, bias = [Value(rng.uniform(-1, 1)) for _ in range(3)], Value(0)
    said = []
    for step in range(20):
        loss = 0
        for x in ([1.0, 2.0, -1.0], [0.5, -1.5, 2.0], [3, 0, 1]):
            predicted = sum(w * xi for w, xi in zip(weights, x, strict=True)) + bias
            loss += (predicted.relu() - x[0]) ** 2 / 3
        for p in (*weights, bias):
            p.grad = 0
        loss.backward()
        for p in (*weights, bias):
            p.data -= 0.05 * p.grad
        said.append(f"{step} {loss.data:.6f} {bias.grad:.6f}")
    return said


def test_a_script_for_micrograd_gives_the_same_numbers():
    assert a_script_that_trains(Value) == a_script_that_trains(Closures)


@pytest.mark.parametrize("other", [Closures, TupleValue], ids=["micrograd", "microgpt"])
def test_a_net_trains_to_the_same_losses(other):
    ours, theirs, at_once = moons_step(Value), moons_step(other), moons_step(Value, dot)
    for _ in range(3):
        loss = ours()
        assert loss == pytest.approx(theirs(), rel=1e-11)
        assert loss == pytest.approx(at_once(), rel=1e-11)


def test_a_gpt_for_microgpt_trains_to_the_same_losses():
    ours, theirs = gpt_step(Value), gpt_step(TupleValue)
    for _ in range(4):
        assert f"{ours():.9f}" == f"{theirs():.9f}"


def test_the_class_of_a_file_is_had_without_running_the_file(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import nowhere\nclass Value:\n    twice = 2 * math.pi\nnowhere.fail()\n")
    assert value_class_of(script).twice == 2 * math.pi
