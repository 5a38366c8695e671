"""Nets: modules and their parameters, neurons, layers, activations, first weights and batch normalization."""

import copy
import json
import math
import pickle
import random
import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine import DomainError, Value, dot, draw, gradcheck, nodes, total
from engine.ops import TABLE
from engine.text import in_notation
from nn import MLP, Adam, BatchNorm, Layer, Module, Neuron, fit, mse
from nn.activations import ACTIVATIONS, as_activation
from nn.init import INITS, first_weights
from nn.layers import ForwardError
from tests.strategies import Tied, case, leaf_gradients

NUMBER = st.floats(-3.0, 3.0).map(lambda x: round(x, 3))


def values(numbers):
    """The same lists with Values in them."""
    return [values(x) for x in numbers] if isinstance(numbers, list) else Value(numbers)


def data(nested):
    return [data(x) for x in nested] if isinstance(nested, list) else nested.data


def names(module):
    return [name for name, _ in module.named_parameters()]


def filled(module, seed=0):
    """The module with other numbers in every parameter."""
    rng = random.Random(seed)
    for p in module.parameters():
        p.data = rng.uniform(-1.5, 1.5)
    return module


# Activations.

OF_ONE_NUMBER = {row.name: row for row in TABLE.values() if not row.many and len(row.partials) - len(row.defaults) == 1}
"""The rows of the engine's table with one operand, besides those that a person leaves out."""
SIZES = [0.0, 1e-9, 0.01, 0.3, 0.5, 0.75, 0.9, 0.999, 1.0, 1.001, 1.5, 2.0, 3.7, 8.0, 20.0, 40.0, 300.0]
GRID = sorted({sign * size for size in SIZES for sign in (-1.0, 1.0)})


def by_the_engine(function, x):
    """The value and the derivative of a function at a number, by a backward pass."""
    leaf = Value(x)
    result = function(leaf)
    result.backward()
    return result.data, leaf.grad


def points(activation):
    """The points of the grid at which an activation has a value and a finite derivative."""
    row = OF_ONE_NUMBER.get(activation.name)
    inside = [x for x in GRID if row is None or row.inside is None or row.inside(x)]
    found = [x for x in inside if x != 0.0 or activation.name not in ("sqrt", "cbrt")]
    found = [x for x in found if x != 1.0 or activation.name not in ("asin", "acos", "acosh")]
    return [x for x in found if x != -1.0 or activation.name not in ("asin", "acos")]


def test_every_function_of_one_number_is_an_activation():
    assert set(ACTIVATIONS) == set(OF_ONE_NUMBER) - {"neg", "identity"} | {"linear"}  # −x is written with its operator
    for name, activation in ACTIVATIONS.items():
        assert activation.name == name
        assert activation.function is getattr(engine, name, activation.function)


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_an_activation_of_arrays_is_the_engines_function(activation):
    Z = np.array(points(activation))
    assert len(Z) >= 8
    A = activation.on_arrays(Z)
    slopes = activation.derivative(Z, A)
    expected = [by_the_engine(activation.function, x) for x in Z.tolist()]
    assert A.tolist() == pytest.approx([value for value, _ in expected], rel=1e-12, abs=0.0)
    assert slopes.tolist() == pytest.approx([slope for _, slope in expected], rel=1e-12, abs=0.0)


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_an_activation_works_on_arrays_of_any_shape(activation):
    Z = np.array(points(activation))[:6]
    A = activation.on_arrays(Z)
    for shape in [(2, 3), (6, 1), (1, 2, 3)]:
        assert activation.on_arrays(Z.reshape(shape)).tolist() == A.reshape(shape).tolist()
        slopes = activation.derivative(Z.reshape(shape), A.reshape(shape))
        assert slopes.tolist() == activation.derivative(Z, A).reshape(shape).tolist()


def as_python(rule):
    """A rule as people write it, over A and Z, for `eval`."""
    for written, meant in [
        ("|Z|", "abs(Z)"), ("√π", "sqrt(pi)"), ("√", "sqrt"), ("²", "**2"), ("·", "*"), ("−", "-"),
        ("ln 10", "log(10)"), ("ln 2", "log(2)"), ("Φ", "normal"), ("φ", "density"), ("σ", "sigmoid"),
    ]:  # fmt: skip
        rule = rule.replace(written, meant)
    return rule


MEANT = {name: getattr(math, name) for name in ("exp", "sqrt", "log", "pi", "sin", "cos", "sinh", "cosh")} | {
    "sigmoid": lambda z: 1.0 / (1.0 + math.exp(-z)),
    "normal": lambda z: 0.5 * math.erfc(-z / math.sqrt(2.0)),
    "density": lambda z: math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi),
    "sign": lambda z: math.copysign(1.0, z) if z else 0.0,
}


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_the_rule_that_is_shown_is_the_derivative(activation):
    tried = [x for x in points(activation) if abs(x) <= 4.0]
    assert len(tried) >= 4
    for x in tried:
        value, slope = by_the_engine(activation.function, x)
        shown = eval(as_python(activation.rule), {"__builtins__": {"abs": abs}}, MEANT | {"Z": x, "A": value})
        assert shown == pytest.approx(slope, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("activation", [row for row in ACTIVATIONS.values() if row.saturates], ids=lambda row: row.name)
def test_an_activation_that_saturates_is_steepest_at_0(activation):
    slopes = np.abs([by_the_engine(activation.function, x)[1] for x in GRID])
    assert slopes[GRID.index(0.0)] == max(slopes) == pytest.approx(activation.saturates, rel=1e-15)
    assert max(slopes[0], slopes[-1]) < 1e-4 * activation.saturates


def test_the_activations_that_saturate():
    flat = {name for name, row in ACTIVATIONS.items() if row.saturates}
    assert flat == {"sigmoid", "tanh", "softsign", "erf", "erfc", "atan"}


def test_an_activation_is_found_by_its_name_and_by_its_function():
    assert as_activation("tanh") is as_activation(engine.tanh) is as_activation(ACTIVATIONS["tanh"])
    assert not as_activation("tanh").is_own
    named = MLP(2, [3, 1], "sigmoid", "tanh", seed=0)
    given = MLP(2, [3, 1], engine.sigmoid, engine.tanh, seed=0)
    assert repr(named) == repr(given) == "MLP(2 → 3 sigmoid → 1 tanh, 13 parameters)"
    assert named([0.5, -1.0]).data == given([0.5, -1.0]).data


def test_a_copy_of_a_net_has_the_same_activations():
    net = MLP(2, [3, 1], "tanh", seed=0)
    for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert copied.layers[0].activation is ACTIVATIONS["tanh"]
        assert copied.state_dict() == net.state_dict()
        assert not set(copied.parameters()) & set(net.parameters())


def test_a_function_of_ones_own_is_an_activation():
    def bent(z):
        return z * engine.sigmoid(1.7 * z)

    net = MLP(2, [3, 1], bent, lambda z: 2.0 * z, seed=0)
    assert repr(net) == "MLP(2 → 3 bent → 1 f, 13 parameters)"
    assert all(layer.activation.is_own for layer in net.layers)
    W, V = ([[p.data for p in neuron.weights] for neuron in layer.neurons] for layer in net.layers)
    Z = np.array(W) @ [0.5, -1.0]
    assert net([0.5, -1.0]).data == pytest.approx((2.0 * np.array(V) @ (Z / (1.0 + np.exp(-1.7 * Z)))).item())
    assert gradcheck(mse(net([0.5, -1.0]), 1.0))
    assert fit(net, [[0.5, -1.0], [1.0, 0.0]], [1.0, 0.0], epochs=20, seed=0)["loss"][-1] < 0.1


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ("rleu", ValueError, r"There is no activation 'rleu'\. Did you mean `relu`"),
        ("TANH", ValueError, "Did you mean `tanh`"),
        ("", ValueError, r"There is no activation ''\. Known names: linear, sigmoid, tanh"),
        ("softmax", ValueError, r"softmax is no activation of one unit.*cross_entropy.*engine\.softmax\(model\(x\)\)"),
        (3.0, TypeError, r"An activation is a name or a function of a Value, not float 3\.0"),
        (None, TypeError, "An activation is a name or a function of a Value, not NoneType None"),
    ],
)
def test_what_is_no_activation_is_refused(given, error, words):
    for make in (partial(MLP, 2, [3, 1], given), partial(Layer, 2, 3, given), partial(Neuron, 2, given)):
        with pytest.raises(error, match=words):
            make()
    with pytest.raises(error, match=words):
        MLP(2, [3, 1], "tanh", given)


def test_an_activation_must_give_a_value():
    def lost(z):
        return math.tanh(z.data)

    with pytest.raises(TypeError, match=r"The activation lost must return a Value, and it gave float 0\."):
        Neuron(1, lost, init="uniform", seed=0)([1.0])


# First weights.

INPUTS, UNITS = 300, 200
PAPERS = {
    "uniform": 1.0 / 3.0,
    "xavier_uniform": 2.0 / (INPUTS + UNITS),
    "xavier_normal": 2.0 / (INPUTS + UNITS),
    "he_uniform": 2.0 / INPUTS,
    "he_normal": 2.0 / INPUTS,
    "zeros": 0.0,
}
"""The variance of each, as the paper has it."""


def test_every_initialization_is_tested():
    assert set(INITS) == set(PAPERS)


@pytest.mark.parametrize("name", INITS)
def test_first_weights_have_the_variance_of_the_paper(name):
    weights = first_weights(name, INPUTS, UNITS, np.random.default_rng(0))
    assert weights.shape == (UNITS, INPUTS)
    assert weights.var() == pytest.approx(PAPERS[name], rel=0.02)  # of 60,000 numbers, by 0.6 % at most
    assert abs(weights.mean()) <= 4.0 * math.sqrt(PAPERS[name] / weights.size)
    deviation = math.sqrt(PAPERS[name])
    if "normal" in name:
        assert np.mean(np.abs(weights) < deviation) == pytest.approx(0.6827, abs=0.01)
        assert np.abs(weights).max() > 3.0 * deviation
    else:  # uniform up to √3 deviations
        assert np.mean(np.abs(weights) <= deviation) == pytest.approx(
            1.0 / math.sqrt(3.0) if deviation else 1.0, abs=0.01
        )
        assert math.sqrt(3.0) * deviation * 0.999 <= np.abs(weights).max() <= math.sqrt(3.0) * deviation


@pytest.mark.parametrize("make", [partial(MLP, 3, [4, 2]), partial(Layer, 3, 2), partial(Neuron, 3)])
def test_a_seed_repeats_the_first_weights(make):
    def weights(seed=None):
        return list(make(seed=seed).state_dict().values())

    assert weights(7) == weights(7) == weights(np.random.default_rng(7))
    assert weights(7) != weights(8)
    assert weights() != weights()
    generator = np.random.default_rng(7)
    assert weights(generator) == weights(7)
    assert weights(generator) != weights(7)  # it goes on


def test_no_two_layers_begin_alike():
    net = MLP(4, [4, 4, 4], "tanh", seed=0)
    assert len({p.data for layer in net.layers for neuron in layer.neurons for p in neuron.weights}) == 48


HE = {"relu", "leaky_relu", "elu", "gelu", "silu", "softplus"}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_usual_first_weights_fit_the_activation(name):
    expected = "he_normal" if name in HE else "xavier_uniform"
    generator = np.random.default_rng(5)
    net = MLP(3, [4, 2], name, seed=5)
    hidden, output = first_weights(expected, 3, 4, generator), first_weights("xavier_uniform", 4, 2, generator)
    for layer, weights in zip(net.layers, (hidden, output), strict=True):
        assert [data(neuron.weights) for neuron in layer.neurons] == weights.tolist()
        assert data(layer.biases) == [0.0] * len(layer.neurons)
    for single in (Layer(3, 1, name, seed=5).neurons[0], Neuron(3, name, seed=5)):
        assert data(single.weights) == first_weights(expected, 3, 1, np.random.default_rng(5))[0].tolist()


def test_first_weights_by_a_function_of_ones_own():
    asked = []

    def counting(n_inputs, n_outputs, generator):
        asked.append((n_inputs, n_outputs, type(generator)))
        return np.arange(n_inputs * n_outputs).reshape(n_outputs, n_inputs)

    net = MLP(3, [2, 1], init=counting)
    assert asked == [(3, 2, np.random.Generator), (2, 1, np.random.Generator)]
    assert [p.data for p in net.parameters()] == [0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 5.0, 0.0, 0.0, 1.0, 0.0]
    assert all(type(p.data) is float for p in net.parameters())
    nested = Layer(2, 2, init=lambda n_inputs, n_outputs, generator: [[1, 2], [3, 4]])
    assert [data(neuron.weights) for neuron in nested.neurons] == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("init", "what"), [("zeros", "are all 0"), (lambda i, o, g: np.ones((o, i)), "are the same in every unit")]
)
@pytest.mark.parametrize(("activation", "instead"), [("relu", "he_normal"), ("tanh", "xavier_uniform")])
def test_hidden_units_that_begin_alike_are_warned_of(init, what, activation, instead):
    with pytest.warns(UserWarning, match=rf"weights of hidden layer 1 {what}.*stay alike.*'{instead}'") as caught:
        MLP(2, [3, 1], activation, init=init)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match="hidden layer") as caught:
        MLP(2, [3, 3, 1], activation, init=init)
    assert ["layer 1" in str(w.message) for w in caught] == [True, False]


def test_units_that_begin_alike_stay_alike_as_the_warning_says():
    with pytest.warns(UserWarning, match="stay alike for ever"):
        net = MLP(2, [3, 1], "sigmoid", init="zeros")
    fit(net, [[0.0, 1.0], [1.0, 0.5], [1.0, 1.0]], [1.0, 0.0, 2.0], epochs=20, seed=0)
    first, *others = [[*data(neuron.weights), neuron.bias.data] for neuron in net.layers[0].neurons]
    assert others == [first, first]
    assert 0.0 not in first


def test_one_layer_may_begin_with_zeros():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for made in (MLP(2, [3], init="zeros"), Layer(2, 3, init="zeros"), Neuron(2, init="zeros")):
            assert not any(p.data for p in made.parameters())
        MLP(2, [1, 1], init=lambda i, o, g: np.ones((o, i)))  # one unit is like no other


@pytest.mark.parametrize(
    ("init", "error", "words"),
    [
        ("xavier_normale", ValueError, r"There is no initialization 'xavier_normale'\. Did you mean `xavier_normal`"),
        ("best", ValueError, r"There is no initialization 'best'\. Known names: uniform, xavier_uniform"),
        (3, TypeError, "An initialization is a name or a function, not int 3"),
        (
            lambda i, o, g: np.zeros((i, o)),
            ValueError,
            r"of shape \(3, 2\), and the layer of 2 units .* needs \(2, 3\)",
        ),
        (lambda i, o, g: 0.5, ValueError, r"weights of shape \(\)"),
        (lambda i, o, g: np.full((o, i), np.nan), ValueError, "weights that are not finite"),
        (lambda i, o, g: np.full((o, i), np.inf), ValueError, "weights that are not finite"),
    ],
)
def test_what_gives_no_first_weights_is_refused(init, error, words):
    for make in (partial(MLP, 3, [2, 1]), partial(Layer, 3, 2)):
        with pytest.raises(error, match=words):
            make(init=init)


# Modules and their parameters.


def test_parameters_are_named_by_their_place_and_come_unit_by_unit():
    net = MLP(2, [4, 1], seed=0)
    expected = [f"layers.0.neurons.{j}.{what}" for j in range(4) for what in ("weights.0", "weights.1", "bias")]
    expected += [f"layers.1.neurons.0.weights.{i}" for i in range(4)] + ["layers.1.neurons.0.bias"]
    assert names(net) == list(net.state_dict()) == expected
    assert dict(net.named_parameters())["layers.0.neurons.3.weights.1"] is net.layers[0].neurons[3].weights[1]
    assert net.parameters() == [p for _, p in net.named_parameters()]
    assert names(Neuron(2, seed=0)) == ["weights.0", "weights.1", "bias"]
    assert names(Neuron(1, bias=False, seed=0)) == ["weights.0"]


class Mixture(Module):
    """Values in lists, tuples, dicts and parts, and things that are no parameters."""

    def __init__(self):
        self.scales = [Value(0.5), (Value(-1.0), [Value(2.0)])]
        self.by_name = {"shift": Value(0.1), 3: {"deep": Value(-0.2)}}
        self.parts = {"first": Neuron(2, "tanh", seed=0)}
        self.same = self.scales[0]
        self.also_same = [self.parts["first"]]
        self.name, self.bytes, self.numbers, self.nothing = "abc", b"abc", [1.0, 2, None], None
        self.computed = self.scales[0] * 2.0
        self.constant = self.computed.parents[1]

    def __call__(self, x):
        hidden = self.parts["first"](x)
        one, (two, (three,)) = self.scales
        return [one * hidden + self.by_name["shift"], two * hidden + three * x[0] + self.by_name[3]["deep"]]


def test_a_module_of_ones_own_has_the_values_among_its_attributes():
    assert names(Mixture()) == [
        "scales.0",
        "scales.1.0",
        "scales.1.1.0",
        "by_name.shift",
        "by_name.3.deep",
        "parts.first.weights.0",
        "parts.first.weights.1",
        "parts.first.bias",
    ]


def test_a_module_of_ones_own_fits_and_predicts():
    net, target = Mixture(), filled(Mixture(), seed=3)
    X = [[0.1 * i, math.sin(i)] for i in range(12)]
    Y = target.predict(X)
    assert Y.shape == (12, 2)
    assert Y[5].tolist() == data(target(X[5]))
    before = net.state_dict()
    history = fit(net, X, Y, optimizer=Adam(net.parameters(), 0.05), epochs=60, seed=0)
    assert history["loss"][-1] < 0.25 * history["loss"][0]
    assert not set(before.values()) & set(net.state_dict().values())  # every parameter has learned
    assert net.same is net.scales[0]


def test_a_function_with_parameters_is_a_module():
    class Line(Module):
        def __init__(self):
            self.w, self.b = Value(0.0, "w"), Value(0.0, "b")

        def __call__(self, x):
            return self.w * x[0] + self.b

    line = Line()
    fit(line, [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], lr=0.2, epochs=200, seed=0)
    assert (line.w.data, line.b.data) == pytest.approx((2.0, 1.0), abs=1e-3)
    assert line.predict([[10.0]]).tolist() == pytest.approx([21.0], abs=1e-2)


def test_shared_parameters_are_there_once():
    net = Tied()
    assert len(net.parameters()) == 9
    assert names(net)[0] == "layer.neurons.0.weights.0"
    loss = mse(net([0.3, -0.7]), 1.0)
    assert gradcheck(loss)
    before = [p.data for p in net.parameters()]
    fit(net, [[0.3, -0.7]], [1.0], lr=0.1, epochs=1)
    grads = leaf_gradients(loss, net.parameters())
    assert [p.data for p in net.parameters()] == pytest.approx(
        [x - 0.1 * g for x, g in zip(before, grads, strict=True)], rel=1e-12
    )


def test_a_module_without_a_call_says_so():
    with pytest.raises(NotImplementedError, match="Empty has no __call__: write what it does with one example"):
        type("Empty", (Module,), {})()([1.0])


def test_zero_grad_clears_every_parameter():
    net = Mixture()
    mse(net([1.0, 2.0]), [0.0, 0.0]).backward()
    assert all(p.grad for p in net.parameters())
    net.zero_grad()
    assert not any(p.grad for p in net.parameters())


def test_train_and_eval_reach_every_part():
    net = MLP(2, [2, 2, 1], "tanh", norm="batch", seed=0)
    assert len([part for part in net.modules() if isinstance(part, BatchNorm)]) == 2
    assert all(part.training for part in net.modules())
    assert net.eval() is net
    assert not any(part.training for part in net.modules())
    assert net.train() is net
    assert all(part.training for part in net.modules())
    assert not any(part.training for part in net.train(False).modules())
    assert {type(part) for part in net.modules()} == {MLP, Layer, Neuron, BatchNorm}


@pytest.mark.parametrize("training", [True, False])
def test_predict_leaves_the_mode_as_it_was(training):
    net = MLP(1, [2, 1], "log", norm="batch", init=lambda i, o, g: np.ones((o, i)) + np.eye(o, i), seed=0)
    net.train(training)
    for parameter in net.layers[0].norm.beta:
        parameter.data = 1.0
    net.predict([[1.0]])
    assert {part.training for part in net.modules()} == {training}
    with pytest.raises(ForwardError):
        net.predict([[-5.0]])
    assert {part.training for part in net.modules()} == {training}


def test_predictions_are_arrays():
    X = [[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]]
    one, three = MLP(2, [4, 1], seed=0), MLP(2, [4, 3], seed=0)
    assert one.predict(X).shape == one.predict(np.array(X)).shape == (3,)
    assert three.predict(X).shape == (3, 3)
    assert one.predict(X).tolist() == [one(x).data for x in X]
    assert three.predict(X).tolist() == [data(three(x)) for x in X]
    assert one.predict(X[:1]).shape == (1,)


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        ([0.0, 1.0], ValueError, r"two dimensions, \(examples, inputs\), and its shape is \(2,\).*write \[X\]"),
        ([[0.0, 1.0, 2.0]], ValueError, "The model takes 2 inputs, and the rows of X have 3"),
        ([[0.0, 1.0], [0.0]], ValueError, r"The rows of X have different lengths: \[1, 2\]"),
        ([[0.0, math.nan]], ValueError, "not finite: nan, row 0, column 1"),
        ([["a", "b"]], TypeError, "X must hold numbers"),
        ([], ValueError, "X is empty"),
    ],
)
def test_predict_refuses_what_are_no_examples(X, error, words):
    with pytest.raises(error, match=words):
        MLP(2, [3, 1], seed=0).predict(X)


def normed(seed):
    return MLP(2, [3, 1], "tanh", norm="batch", seed=seed)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=22, max_size=22))
def test_a_state_is_kept_bit_for_bit(numbers):
    numbers[-3:] = map(abs, numbers[-3:])  # the running variances
    net, other = normed(0), normed(1)
    state = dict(zip(net.state_dict(), numbers, strict=True))
    net.load_state_dict(state)
    assert net.state_dict() == state
    other.load_state_dict(json.loads(json.dumps(net.state_dict())))
    assert [x.hex() for x in other.state_dict().values()] == [x.hex() for x in numbers]
    assert [p.data for p in other.parameters()] == [p.data for p in net.parameters()]


def test_a_state_makes_a_net_the_same():
    X = [[0.1, 0.2], [1.0, -1.0], [0.0, 2.0]]
    trained, other = normed(0), normed(1)
    fit(trained, X, [0.0, 1.0, 2.0], epochs=3, seed=0)
    assert trained.predict(X).tolist() != other.predict(X).tolist()
    other.load_state_dict(trained.state_dict())
    assert trained.predict(X).tolist() == other.predict(X).tolist()  # with the running statistics


def test_a_state_has_parameters_and_then_buffers():
    net = normed(0)
    assert list(net.state_dict()) == [
        *names(net),
        *[f"layers.0.norm.running_mean.{i}" for i in range(3)],
        *[f"layers.0.norm.running_var.{i}" for i in range(3)],
    ]
    assert list(net.state_dict().values())[-6:] == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]


def test_a_state_may_hold_numpy_numbers():
    net = MLP(2, [1], seed=0)
    net.load_state_dict(dict(zip(names(net), [np.float32(0.5), np.int64(2), 3], strict=True)))
    assert [p.data for p in net.parameters()] == [0.5, 2.0, 3.0]
    assert all(type(p.data) is float for p in net.parameters())


LAST = "layers.0.norm.running_var.2"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda state: state.pop(LAST), ValueError, rf"not that of this MLP: 1 missing, such as {LAST}\.$"),
        (lambda state: state.clear(), ValueError, r"22 missing, such as layers\.0\.neurons\.0\.weights\.0\.$"),
        (lambda state: state.update(extra=1.0), ValueError, r"this MLP: 1 unknown, such as extra\.$"),
        (
            lambda state: state.update({"layers.0.norm.running_var.3": state.pop(LAST)}),
            ValueError,
            rf"1 missing, such as {LAST} and 1 unknown, such as layers\.0\.norm\.running_var\.3\. Did you mean",
        ),
        (lambda state: state.update({LAST: math.nan}), ValueError, rf"{LAST} must be finite, and it is nan"),
        (lambda state: state.update({LAST: -math.inf}), ValueError, rf"{LAST} must be finite, and it is -inf"),
        (lambda state: state.update({LAST: "0.5"}), TypeError, rf"{LAST} must be a number, and it is str '0\.5'"),
        (lambda state: state.update({LAST: None}), TypeError, rf"{LAST} must be a number, and it is NoneType None"),
        (lambda state: state.update({LAST: True}), TypeError, rf"{LAST} must be a number, and it is bool True"),
        (lambda state: state.update({LAST: Value(1.0)}), TypeError, rf"{LAST} must be a number, and it is Value"),
        (lambda state: state.update({LAST: [1.0]}), TypeError, rf"{LAST} must be a number, and it is list"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, error, words):
    net, state = normed(0), normed(1).state_dict()
    before = net.state_dict()
    change(state)
    with pytest.raises(error, match=words):
        net.load_state_dict(state)
    assert net.state_dict() == before


# Neurons and layers.


def test_a_neuron_is_a_weighted_sum_and_an_activation():
    neuron = Neuron(3, "tanh", init=lambda i, o, g: [[0.5, -1.0, 2.0]])
    neuron.bias.data = 0.25
    a = neuron([1.0, 2.0, 0.5])
    assert a.data == math.tanh(0.5 - 2.0 + 1.0 + 0.25)
    (z,) = a.parents
    assert (a.op, z.op) == ("tanh", "dot")
    assert z.parents == (*neuron.weights, *z.parents[3:6], neuron.bias)


def test_a_linear_unit_passes_its_sum_on():
    a = Neuron(2, "linear", seed=0)([1.0, 2.0])
    assert (a.op, a.label) == ("dot", "z")


def test_a_neuron_without_a_bias():
    neuron = Neuron(2, "linear", bias=False, init=lambda i, o, g: [[3.0, 5.0]])
    assert neuron([1.0, 2.0]).data == 13.0
    atomic = Neuron(2, "linear", bias=False, atomic=True, init=lambda i, o, g: [[3.0, 5.0]])
    assert (atomic([1.0, 2.0]).data, atomic([1.0, 2.0]).op) == (13.0, "+")


def test_inputs_that_are_values_are_part_of_the_graph():
    x1, x2 = Value(0.5, "length"), Value(-1.0)
    loss = mse(MLP(2, [3, 1], "tanh", seed=0)([x1, x2]), 1.0)
    assert {x1, x2} <= set(nodes(loss))
    loss.backward()
    assert x1.grad != 0.0 != x2.grad
    assert (x1.label, x2.label) == ("length", "")


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=5), NUMBER, st.sampled_from(["tanh", "silu", "linear"]))
def test_an_atomic_neuron_has_single_products_and_sums_and_the_same_numbers(pairs, bias, activation):
    weights, x = (list(column) for column in zip(*pairs, strict=True))
    made = []
    for atomic in (False, True):
        neuron = Neuron(len(x), activation, init=lambda i, o, g: [weights], atomic=atomic)
        neuron.bias.data = bias
        inputs = values(x)
        a = neuron(inputs)
        made.append((a, [a.data, *leaf_gradients(a, [*neuron.weights, neuron.bias, *inputs])]))
    (whole, numbers), (single, others) = made
    assert others == pytest.approx(numbers, rel=1e-11, abs=1e-11)
    ops = [node.op for node in nodes(single) if node.op]
    last = [] if activation == "linear" else [activation]
    assert sorted(ops) == sorted(["*"] * len(x) + ["+"] * len(x) + last)
    assert [node.op for node in nodes(whole) if node.op] == ["dot", *last]


@st.composite
def nets(draw):
    """A net with random weights, its activations, and some examples."""
    count = draw(st.integers(1, 3))
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    chosen = st.sampled_from(["tanh", "relu", "sigmoid", "linear", "softplus"])
    activation, output = draw(chosen), draw(chosen)
    net = MLP(count, sizes, activation, output, seed=draw(st.integers(0, 2**32)), atomic=draw(st.booleans()))
    filled(net, draw(st.integers(0, 2**32)))
    return net, draw(st.lists(st.lists(NUMBER, min_size=count, max_size=count), min_size=1, max_size=3))


BY_NUMPY = {
    "tanh": np.tanh,
    "relu": lambda Z: Z * (Z > 0.0),
    "sigmoid": lambda Z: 1.0 / (1.0 + np.exp(-Z)),
    "linear": lambda Z: Z,
    "softplus": lambda Z: np.log1p(np.exp(Z)),
}


def weights_of(layer):
    """W and B as arrays, a row a unit."""
    assert layer.weights == [neuron.weights for neuron in layer.neurons]
    return np.array(data(layer.weights)), np.array(data(layer.biases))


@settings(deadline=None)
@given(nets())
def test_a_net_is_the_matrix_formulas(drawn):
    net, X = drawn
    A = np.array(X)
    for layer, activity in zip(net.layers, net.activities(X), strict=True):
        W, B = weights_of(layer)
        Z = A @ W.T + B
        A = BY_NUMPY[layer.activation.name](Z)
        assert np.array(data(activity.Z)) == pytest.approx(Z, rel=1e-12, abs=1e-12)
        assert np.array(data(activity.A)) == pytest.approx(A, rel=1e-12, abs=1e-12)
    expected = A[:, 0] if A.shape[1] == 1 else A
    assert net.predict(X) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert np.array([data(net(x)) for x in X]) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert np.array(data(net.batch(X))) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(nets())
def test_the_gradients_of_a_net_are_what_the_numbers_say(drawn):
    net, X = drawn
    loss = total([o**2 for row in net.activities(X)[-1].A for o in row])
    found = gradcheck(loss, wrt=net.parameters())
    assert found.ok
    assert len(found) == len(net.parameters())


@pytest.mark.parametrize("make", [partial(MLP, 2, [1]), partial(Layer, 2, 1), partial(Neuron, 2)])
def test_a_sum_is_one_node_unless_it_is_to_be_atomic(make):
    for options, ops in [({}, ["dot"]), ({"atomic": True}, ["*", "*", "+", "+"])]:
        output = make(activation="linear", seed=0, **options)([1.0, 2.0])
        assert sorted(node.op for node in nodes(output) if node.op) == ops


def test_one_output_is_a_value_and_several_are_a_list():
    X = [[1.0, 2.0], [3.0, 4.0]]
    for one, two in [
        (MLP(2, [3, 1], seed=0), MLP(2, [3, 2], seed=0)),
        (Layer(2, 1, seed=0), Layer(2, 2, seed=0)),
    ]:
        assert isinstance(one(X[0]), Value)
        assert [type(output) for output in one.batch(X)] == [Value, Value]
        assert [type(o) for o in two(X[0])] == [Value, Value]
        assert [len(output) for output in two.batch(X)] == [2, 2]
    assert isinstance(Neuron(2, seed=0)(X[0]), Value)
    assert [type(output) for output in Neuron(2, seed=0).batch(X)] == [Value, Value]


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (lambda: MLP(2, [16, 16, 1], seed=0), "MLP(2 → 16 relu → 16 relu → 1 linear, 337 parameters)"),
        (lambda: normed(0), "MLP(2 → 3 tanh normalized → 1 linear, 16 parameters)"),
        (lambda: Layer(2, 3, "tanh", seed=0), "Layer(2 → 3 tanh)"),
        (lambda: Neuron(4, seed=0), "Neuron(4 → 1 relu)"),
    ],
)
def test_a_net_says_what_it_is(made, shown):
    assert repr(made()) == shown


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: MLP(2, 3), TypeError, r"sizes lists the units of each layer, such as \[16, 16, 1\]; 3 does not"),
        (lambda: MLP(2, []), TypeError, r"sizes lists the units of each layer.*; \[\] does not"),
        (lambda: MLP(2, "16"), TypeError, "n_outputs must be a whole number, not str '1'"),
        (lambda: MLP(2, [3, 0]), ValueError, "n_outputs must be at least 1, and it is 0"),
        (lambda: MLP(2, [2.0, 1]), TypeError, r"n_outputs must be a whole number, not float 2\.0"),
        (lambda: MLP(0, [1]), ValueError, "n_inputs must be at least 1, and it is 0"),
        (lambda: MLP(True, [1]), TypeError, "n_inputs must be a whole number, not bool True"),
        (lambda: Layer(2, -1), ValueError, "n_outputs must be at least 1, and it is -1"),
        (lambda: Neuron(-1), ValueError, "n_inputs must be at least 1, and it is -1"),
        (lambda: MLP(2, [2, 1], norm="layer"), ValueError, r"no normalization 'layer'\. Known names: batch"),
        (lambda: Layer(2, 2, norm="Batch"), ValueError, r"no normalization 'Batch'\. Did you mean `batch`"),
        (lambda: BatchNorm(0), ValueError, "n_features must be at least 1, and it is 0"),
        (lambda: BatchNorm(1, eps=0.0), ValueError, r"eps must be above 0 and finite, and it is 0\.0"),
        (lambda: BatchNorm(1, momentum=-0.1), ValueError, r"momentum must be above 0 and finite, and it is -0\.1"),
    ],
)
def test_a_net_that_cannot_be_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("make", [partial(MLP, 2, [3, 1]), partial(Layer, 2, 3), partial(Neuron, 2)])
@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        ([1.0], ValueError, "The model takes 2 inputs, and the example has 1"),
        ([1.0, 2.0, 3.0], ValueError, "The model takes 2 inputs, and the example has 3"),
        (1.0, TypeError, r"One example is a list of 2 numbers or Values, not 1\.0"),
        ([1.0, "a"], TypeError, "Input x2: A Value holds one real number, not str 'a'"),
        ([math.nan, 1.0], ValueError, "Input x1: A Value must be a number, and nan is none"),
        ([[1.0, 2.0], [3.0, 4.0]], TypeError, "Input x1: A Value holds one real number, not list"),
    ],
)
def test_an_example_that_does_not_fit_is_refused(make, x, error, words):
    with pytest.raises(error, match=words):
        make(seed=0)(x)


def test_an_example_of_a_batch_is_named_where_it_does_not_fit():
    net = MLP(2, [3, 1], seed=0)
    with pytest.raises(ValueError, match="Input x2_ex3: A Value must be a number"):
        net.batch([[1.0, 2.0], [1.0, 2.0], [1.0, math.nan]])
    with pytest.raises(ValueError, match=r"The batch is empty: it needs at least one example"):
        net.batch([])


def test_an_operation_without_a_value_is_told_with_its_layer_and_unit():
    net = MLP(1, [2, 2, 1], "log", init=lambda i, o, g: np.ones((o, i)) + np.eye(o, i))
    with pytest.raises(ForwardError, match=r"^Layer 1: a1_1: log\(-2\) has no value \(with z1_1 = -2\)") as caught:
        net([-1.0])
    assert (caught.value.layer, caught.value.node) == (1, None)
    assert isinstance(caught.value, DomainError)
    with pytest.raises(
        ForwardError, match=r"^Layer 2: a2_1_ex2: log\(-0\.146183\) has no value \(with z2_1_ex2"
    ) as caught:
        net.batch([[3.0], [0.6]])
    assert caught.value.layer == 2


# Labels.


def labels(output):
    return {node.label for node in nodes(output) if node.label}


def test_labels_tell_the_layer_the_unit_and_where_a_weight_comes_from():
    net = MLP(3, [2, 1], "tanh", "sigmoid", seed=0)
    assert [p.label for p in net.parameters()] == [
        "w1_1_1", "w1_1_2", "w1_1_3", "b1_1", "w1_2_1", "w1_2_2", "w1_2_3", "b1_2", "w2_1_1", "w2_1_2", "b2_1",
    ]  # fmt: skip
    output = net([1.0, 2.0, 3.0])
    computed = {"z1_1", "a1_1", "z1_2", "a1_2", "z2_1", "a2_1"}
    assert labels(output) == {p.label for p in net.parameters()} | {"x1", "x2", "x3"} | computed
    assert output.label == "a2_1"


def test_labels_of_a_batch_tell_the_example():
    net = MLP(2, [2, 1], "tanh", seed=0)
    first, _, third = net.batch([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    parameters = {p.label for p in net.parameters()}
    for example, output in [("ex1", first), ("ex3", third)]:
        found = {"x1", "x2", "z1_1", "z1_2", "a1_1", "a1_2", "z2_1"}
        assert labels(output) - parameters == {f"{label}_{example}" for label in found}
    assert third.label == "z2_1_ex3"
    assert {p.label for p in net.parameters()} == parameters


def test_labels_of_single_neurons_and_layers_have_no_layer():
    assert labels(Neuron(2, "tanh", seed=0)([1.0, 2.0])) == {"w1", "w2", "b", "x1", "x2", "z", "a"}
    one, two = Layer(1, 2, "tanh", seed=0)([1.0])
    assert labels(one) == {"w_1_1", "b_1", "x1", "z_1", "a_1"}
    assert labels(two) == {"w_2_1", "b_2", "x1", "z_2", "a_2"}


def test_labels_of_a_normalized_layer():
    net = normed(0)
    output, _ = net.batch([[1.0, 2.0], [3.0, 5.0]])
    found = labels(output)
    assert {"gamma1_1", "beta1_3", "z1_1_ex2", "n1_1_ex1", "a1_1_ex1", "z2_1_ex1"} <= found
    assert {label for label in found if label[:2] in ("mu", "va")} == {
        f"{n}1_{i}" for n in ("mu", "var") for i in (1, 2, 3)
    }
    assert not {label for label in found if label.startswith(("gamma2", "b1_", "n2"))}
    assert {p.label for p in net.layers[0].norm.parameters()} == {
        f"{n}1_{i}" for n in ("gamma", "beta") for i in (1, 2, 3)
    }


@pytest.mark.parametrize(
    ("label", "in_unicode", "in_latex"),
    [
        ("w2_1_3", "w²₁,₃", "w^{2}_{1,3}"),
        ("w12_10_3", "w¹²₁₀,₃", "w^{12}_{10,3}"),
        ("b2_1", "b²₁", "b^{2}_{1}"),
        ("z2_1", "z²₁", "z^{2}_{1}"),
        ("z2_1_ex3", "z²⁽³⁾₁", "z^{2(3)}_{1}"),
        ("x1", "x₁", "x_{1}"),
        ("x1_ex3", "x⁽³⁾₁", "x^{(3)}_{1}"),
        ("gamma1_2", "γ¹₂", r"\gamma^{1}_{2}"),
        ("var1_2", "var¹₂", r"\mathrm{var}^{1}_{2}"),
        ("L", "L", "L"),
    ],
)
def test_labels_in_other_notations(label, in_unicode, in_latex):
    assert in_notation(label, "plain") == label
    assert in_notation(label, "unicode") == in_unicode
    assert in_notation(label, "latex") == in_latex


def test_a_picture_of_a_net_shows_its_labels_in_any_notation():
    loss = mse(MLP(2, [3, 1], "tanh", seed=0)([0.5, -1.0]), 1.0)
    loss.label = "L"
    for notation, expected in [("plain", "w2_1_3"), ("unicode", "w²₁,₃"), ("latex", "w^{2}_{1,3}")]:
        drawing = draw(loss, notation=notation)
        assert expected in drawing.source
        assert expected in drawing.svg()
        assert sum(label in drawing.source for label in ("w2_1_3", "w²₁,₃", "w^{2}_{1,3}")) == 1
    with pytest.raises(ValueError, match="There is no notation 'tex': take 'plain', 'unicode' or 'latex'"):
        draw(loss, notation="tex")


# Batch normalization.

PYTORCH = case("nets/batch_norm.json")
CLOSE = {"rel": 1e-12, "abs": 1e-12}


def pytorchs_norm():
    norm = BatchNorm(2)
    for unit in range(2):
        norm.gamma[unit].data, norm.beta[unit].data = PYTORCH["gamma"][unit], PYTORCH["beta"][unit]
    return norm


def test_batch_normalization_is_pytorchs():
    norm, inputs = pytorchs_norm(), values(PYTORCH["inputs"])
    outputs = norm.batch(inputs)
    assert np.array(data(outputs)) == pytest.approx(np.array(PYTORCH["outputs"]), **CLOSE)
    assert norm.running_mean == pytest.approx(PYTORCH["running_mean"], **CLOSE)
    assert norm.running_var == pytest.approx(PYTORCH["running_var"], **CLOSE)
    loss = dot([w for row in PYTORCH["weights"] for w in row], [o for row in outputs for o in row])
    loss.backward()
    gradients = np.array([[x.grad for x in row] for row in inputs])
    assert gradients == pytest.approx(np.array(PYTORCH["input_gradients"]), **CLOSE)
    assert [p.grad for p in norm.gamma] == pytest.approx(PYTORCH["gamma_gradients"], **CLOSE)
    assert [p.grad for p in norm.beta] == pytest.approx(PYTORCH["beta_gradients"], **CLOSE)
    norm.eval()
    evaluated = np.array(data(norm.batch(inputs)))
    assert evaluated == pytest.approx(np.array(PYTORCH["evaluation_outputs"]), **CLOSE)
    assert np.array(data([norm(row) for row in inputs])) == pytest.approx(evaluated, **CLOSE)


@settings(deadline=None)
@given(st.lists(NUMBER, min_size=2, max_size=6, unique=True))
def test_a_normalized_column_has_mean_0_and_variance_1(column):
    outputs = np.array(data(BatchNorm(1, eps=1e-30).batch([[Value(x)] for x in column])))
    assert outputs.mean() == pytest.approx(0.0, abs=1e-9)
    assert outputs.var() == pytest.approx(1.0, abs=1e-9)


def test_running_statistics_come_to_those_of_the_data():
    norm = BatchNorm(1, momentum=0.2)
    for _ in range(200):
        norm.batch(values([[1.0], [2.0], [6.0]]))
    assert norm.running_mean == pytest.approx([3.0])
    assert norm.running_var == pytest.approx([7.0])  # (4 + 1 + 9)/2


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_a_normalized_net_are_what_the_numbers_say(activation, training):
    net = filled(MLP(2, [3, 2, 1], activation, norm="batch", seed=0), seed=1).train(training)
    loss = mse(net.batch([[0.1, 0.7], [1.0, -0.5], [-0.3, 0.2]]), [1.0, 0.0, 0.5])
    found = gradcheck(loss, wrt=net.parameters())
    assert found.ok
    assert len(found) == len(net.parameters()) == 25


def test_the_hidden_layers_of_a_normalized_net_have_no_biases():
    net = MLP(2, [3, 3, 2], norm="batch", seed=0)
    assert [len(layer.biases) for layer in net.layers] == [0, 0, 2]
    assert [layer.norm is not None for layer in net.layers] == [True, True, False]
    assert "layers.0.neurons.0.bias" not in names(net)


def test_a_single_example_cannot_be_normalized_in_training():
    net = normed(0)
    before = net.state_dict()
    words = r"at least two examples in training: the variance over one is 0.*model\.batch\(X\).*model\.eval\(\)"
    for ask in (lambda: net([1.0, 2.0]), lambda: net.batch([[1.0, 2.0]]), lambda: BatchNorm(1)([Value(1.0)])):
        with pytest.raises(ValueError, match=words):
            ask()
    assert net.state_dict() == before
    assert isinstance(net.eval()([1.0, 2.0]), Value)


def test_evaluation_is_the_same_each_time_and_changes_no_statistics():
    net = normed(0)
    X = [[0.1, 0.7], [1.0, -0.5], [-0.3, 0.2]]
    net.batch(X)
    before = net.state_dict()
    assert before["layers.0.norm.running_mean.0"] != 0.0
    first = net.predict(X).tolist()
    assert net.predict(X).tolist() == first
    assert net.predict(X[1:2]).tolist() == first[1:2]  # whatever is beside it
    assert data(net.eval().batch(X)) == first
    assert net.state_dict() == before


def test_training_and_evaluation_of_a_normalized_net_are_not_the_same():
    net = normed(0)
    X = [[0.1, 0.7], [1.0, -0.5], [-0.3, 0.2]]
    assert data(net.batch(X)) != net.predict(X).tolist()


def test_a_normalization_of_ones_own():
    net = MLP(2, [3, 1], norm=lambda n: BatchNorm(n, eps=1e-3, momentum=0.5), seed=0)
    assert (net.layers[0].norm.eps, net.layers[0].norm.momentum) == (1e-3, 0.5)
    assert len(net.layers[0].norm.gamma) == 3
    assert repr(MLP(2, [3, 1], norm=BatchNorm, seed=0)) == "MLP(2 → 3 relu normalized → 1 linear, 16 parameters)"


def test_an_infinite_input_belongs_to_the_first_layer():
    with pytest.raises(DomainError, match=r"^Layer 1: a1_1_ex1: sin"):
        MLP(2, [2, 2, 1], "sin", seed=0).batch([[1.0, math.inf]])


def test_every_part_keeps_its_mode_through_a_prediction():
    model = MLP(2, [3, 3, 1], norm="batch", seed=0)
    model.layers[0].norm.eval()
    model.predict([[1.0, 2.0]])
    assert [layer.norm.training for layer in model.layers[:2]] == [False, True]


def test_values_in_an_array_are_parameters():
    class Plane(Module):
        def __init__(self):
            self.W, self.b = np.array([[Value(1.0), Value(2.0)]], dtype=object), Value(0.0)

        def __call__(self, x):
            return dot(self.W[0], x, self.b)

    assert [name for name, _ in Plane().named_parameters()] == ["W.0.0", "W.0.1", "b"]


def test_a_module_that_holds_itself_is_gone_through_once():
    class Knot(Module):
        def __init__(self):
            self.me, self.w = [self], Value(1.0)

    assert len(Knot().parameters()) == 1
    assert len(list(Knot().modules())) == 1


def test_outputs_may_be_a_tuple():
    class Pair(Module):
        def __init__(self):
            self.w = Value(2.0)

        def __call__(self, x):
            return self.w * x[0], self.w * x[1]

    assert Pair().predict([[1.0, 2.0]]).tolist() == [[2.0, 4.0]]


@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("training", [True, False])
def test_rows_of_another_width_are_not_normalized(features, training):
    with pytest.raises(ValueError, match=f"BatchNorm normalizes {features} units, and a row has 2"):
        BatchNorm(features).train(training).batch([[Value(1.0), Value(2.0)], [Value(3.0), Value(5.0)]])


def test_the_slope_of_tanh_does_not_overflow():
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert ACTIVATIONS["tanh"].derivative(np.array([-800.0, 400.0]), np.ones(2)).tolist() == [0.0, 0.0]


def test_methods_of_values_are_the_activations_of_their_names():
    assert Neuron(2, Value.relu, seed=0).activation is ACTIVATIONS["relu"]


def test_one_hidden_unit_of_zeros_is_warned_of_too():
    with pytest.warns(UserWarning, match="are all 0.*no gradient reaches it at all"):
        MLP(2, [1, 1], "tanh", init="zeros")


@pytest.mark.parametrize("x", [{1: 2.0, 3: 4.0}, {1.0, 2.0}, "ab"])
def test_what_has_no_order_or_no_numbers_is_no_example(x):
    with pytest.raises(TypeError, match="One example is a list of 2 numbers or Values"):
        MLP(2, [1], seed=0)(x)


def test_a_batch_may_come_from_a_generator():
    model = MLP(2, [1], seed=0)
    assert [o.data for o in model.batch([i, 1.0] for i in range(3))] == [
        o.data for o in model.batch([[0, 1], [1, 1], [2, 1]])
    ]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MLP(2, [3, 1], norm=lambda units: None), "norm must give a BatchNorm, and it gave NoneType"),
        (lambda: MLP(2, [3, 1], norm=5), 'norm is None, "batch" or a function'),
        (lambda: MLP(2, [3, 1], seed="a"), "A seed is a whole number from 0 on"),
        (lambda: MLP(2, [3, 1], init=""), "There is no initialization ''"),
        (lambda: MLP(2, None), "sizes lists the units"),
    ],
)
def test_more_nets_that_cannot_be_are_refused(make, words):
    with pytest.raises((TypeError, ValueError), match=words):
        make()


def test_batch_norm_prints_its_size():
    assert repr(BatchNorm(3)) == "BatchNorm(3)"


def test_a_probability_is_what_a_sigmoid_gives_and_a_relu_does_not():
    with pytest.raises(ValueError, match="a relu output gives other numbers"):
        fit(MLP(2, [1], output="relu", seed=0), [[1.0, 2.0]], [1.0], loss="binary_cross_entropy")


def test_places_that_collide_are_refused():
    class Dotted(Module):
        def __init__(self):
            self.w = {"a.b": Value(1.0), "a": {"b": Value(2.0)}}

    with pytest.raises(ValueError, match="Two parameters have the same place"):
        Dotted().state_dict()


def test_a_set_of_values_is_refused():
    class Unordered(Module):
        def __init__(self):
            self.w = {Value(1.0)}

    with pytest.raises(TypeError, match="A set has no order"):
        Unordered().parameters()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MLP(2, [1], "rleu"), "Did you mean `relu`"),
        (lambda: MLP([2], [1]), "n_inputs must be a whole number"),
        (lambda: MLP(2, [3, 1], norm=BatchNorm(3)), 'norm is None, "batch"'),
    ],
)
def test_a_hidden_activation_is_looked_at_without_a_hidden_layer_too(make, words):
    with pytest.raises((TypeError, ValueError), match=words):
        make()
