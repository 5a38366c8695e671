"""`model.groups(loss)`: every node has a home, and the homes flow from the inputs to the loss."""

import re
import sys
from graphlib import CycleError, TopologicalSorter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Value, dot, exp, leaky_relu, logsumexp, mean, nodes, softmax, sqrt, tanh, total
from engine.graph import names
from nn import MLP, BatchNorm, Layer, Module, Neuron, cross_entropy, mse
from nn.layers import without_example
from nn.losses import LOSSES
from tests.strategies import Tied
from tests.test_nets import Mixture

X = [[0.5, -1.0], [1.5, 0.3], [-0.2, 0.8]]
OUTPUT = {"binary_cross_entropy": "sigmoid"}
"""The output that a loss needs, where it is not linear."""


def targets(loss, size):
    """Targets for the three examples of X, which fit the loss."""
    if loss == "cross_entropy":
        return [0, 1, 1]
    return [1.0, -1.0 if loss == "hinge" else 0.0, 1.0] if size == 1 else [[1.0] * size] * 3


def loss_of(model, name, kind):
    """The loss of one example, of a batch, or of a batch in evaluation mode."""
    size = len((model.layers[-1] if isinstance(model, MLP) else model).neurons)
    t = targets(name, size)
    if kind == "example":
        return LOSSES[name](model(X[0]), t[0])
    return LOSSES[name](model.train(kind == "batch").batch(X), t)


def paths(model, loss):
    """The path of each node by the name that `engine` gives it; of nodes with one name a list, as in the graph."""
    found, called = {}, names(loss)
    for node, path in model.groups(loss).items():
        found.setdefault(called[node], []).append(path)
    return {name: several[0] if len(several) == 1 else several for name, several in found.items()}


def flow(groups, loss, depth):
    """From which boxes edges lead into each box, where `depth` parts of each path make a box."""
    box = {node: ".".join(path.split(".")[:depth]) for node, path in groups.items()}
    into = {name: [] for name in box.values()}
    for node in box:
        into[box[node]] += [box[parent] for parent in node.parents if box[parent] != box[node]]
    return into


def cycle(groups, loss, depth):
    """The boxes of a cycle, if there is one."""
    try:
        list(TopologicalSorter(flow(groups, loss, depth)).static_order())
    except CycleError as error:
        return error.args[1]
    return None


# Nets of layers.

NETS = [
    (norm, atomic, kind, name, size)
    for norm in (None, "batch")
    for atomic in (False, True)
    for kind in ("example", "batch", "evaluation")
    for name in LOSSES
    for size in (1, 2)
    if not (norm and kind == "example") and not (name == "cross_entropy" and size == 1)
]


@pytest.mark.parametrize(("norm", "atomic", "kind", "name", "size"), NETS)
def test_every_node_has_a_home_that_its_label_agrees_with_and_homes_flow_to_the_loss(norm, atomic, kind, name, size):
    model = MLP(2, [3, 2, size], "tanh", OUTPUT.get(name, "linear"), norm=norm, atomic=atomic, seed=0)
    loss = loss_of(model, name, kind)
    groups = model.groups(loss)
    assert list(groups) == nodes(loss)[:-1]
    parts = r"(layer\d\.unit\d(\.norm)?|inputs|loss)"
    example = r"(\.ex\d)?" if kind != "example" else ""
    assert all(re.fullmatch(parts + example, path) for path in groups.values())
    for node, path in groups.items():
        if told := re.fullmatch(r"(w|b|z|n|a|gamma|beta|mu|var)(\d)_(\d)(_\d)?(_ex\d)?", node.label):
            letter, layer, unit, _, number = told.groups()
            inside = ".norm" if letter in ("gamma", "beta", "mu", "var") else ""
            assert path == f"layer{layer}.unit{unit}{inside}{(number or '').replace('_', '.')}"
        if told := re.fullmatch(r"x\d(_ex\d)?", node.label):
            assert path == f"inputs{(told[1] or '').replace('_', '.')}"
    into = flow(groups, loss, 1)
    assert {box: set(boxes) for box, boxes in into.items() if box != "loss"} == {
        "inputs": set(), "layer1": {"inputs"}, "layer2": {"layer1"}, "layer3": {"layer2"}
    }  # fmt: skip
    assert set(into.get("loss", ())) <= {"layer3"}
    # A unit's Z and A are in one box and its normalization, between them, in another: that is a cycle by their names.
    for depth in (1, 2) if norm else (1, 2, 3, 4):
        assert cycle(groups, loss, depth) is None


def test_the_homes_in_a_net_for_one_example():
    model = MLP(2, [1, 1], "tanh", atomic=True, seed=0)
    assert paths(model, mse(model([0.5, -1.0]), 1.0)) == {
        "w1_1_1": "layer1.unit1",
        "x1": "inputs",
        "w1_1_2": "layer1.unit1",
        "x2": "inputs",
        "b1_1": "layer1.unit1",
        "w2_1_1": "layer2.unit1",
        "b2_1": "layer2.unit1",
        "1": "loss",
        "2": "loss",
        "v1": "layer1.unit1",
        "v2": "layer1.unit1",
        "v3": "layer1.unit1",
        "z1_1": "layer1.unit1",
        "a1_1": "layer1.unit1",
        "v4": "layer2.unit1",
        "z2_1": "layer2.unit1",
        "v5": "loss",
    }


def test_the_homes_in_a_normalized_batch():
    model = MLP(1, [1, 1], "tanh", norm="batch", seed=0)
    assert paths(model, mse(model.batch([[0.5], [-1.0]]), [1.0, 0.25])) == {
        "w1_1_1": "layer1.unit1",
        "x1_ex1": "inputs.ex1",
        "x1_ex2": "inputs.ex2",
        "2": ["layer1.unit1.norm.ex1", "layer1.unit1.norm.ex2", "loss.ex1", "loss.ex2"],
        "1e-05": "layer1.unit1.norm",
        "gamma1_1": "layer1.unit1.norm",
        "beta1_1": "layer1.unit1.norm",
        "w2_1_1": "layer2.unit1",
        "b2_1": "layer2.unit1",
        "1": "loss.ex1",
        "0.25": "loss.ex2",
        "z1_1_ex1": "layer1.unit1.ex1",
        "z1_1_ex2": "layer1.unit1.ex2",
        "mu1_1": "layer1.unit1.norm",
        "v1": "layer1.unit1.norm.ex1",  # Z − μ
        "v2": "layer1.unit1.norm.ex1",
        "v3": "layer1.unit1.norm.ex2",
        "v4": "layer1.unit1.norm.ex2",
        "var1_1": "layer1.unit1.norm",
        "v5": "layer1.unit1.norm",  # σ² + ε
        "v6": "layer1.unit1.norm",
        "v7": "layer1.unit1.norm.ex1",
        "v8": "layer1.unit1.norm.ex1",
        "n1_1_ex1": "layer1.unit1.ex1",
        "a1_1_ex1": "layer1.unit1.ex1",
        "z2_1_ex1": "layer2.unit1.ex1",
        "v9": "loss.ex1",
        "v10": "loss.ex1",
        "v11": "layer1.unit1.norm.ex2",
        "v12": "layer1.unit1.norm.ex2",
        "n1_1_ex2": "layer1.unit1.ex2",
        "a1_1_ex2": "layer1.unit1.ex2",
        "z2_1_ex2": "layer2.unit1.ex2",
        "v13": "loss.ex2",
        "v14": "loss.ex2",
    }


@pytest.mark.parametrize(
    ("model", "homes"),
    [
        (Neuron(2, "tanh", seed=0), {"neuron"}),
        (Layer(2, 2, "tanh", seed=0), {"unit1", "unit2"}),
        (Layer(2, 2, "tanh", norm="batch", seed=0).eval(), {"unit1", "unit1.norm", "unit2", "unit2.norm"}),
        (BatchNorm(2).eval(), {"batchnorm"}),
    ],
    ids=["neuron", "layer", "normalized layer", "norm"],
)
def test_a_part_alone_has_homes_too(model, homes):
    loss = total([output**2 for output in np.ravel(model([Value(0.5, "x1"), Value(-1.0, "x2")]))])
    found = model.groups(loss)
    assert set(found.values()) == {*homes, "inputs", "loss"}
    assert {found[parameter] for parameter in model.parameters()} == homes
    assert cycle(found, loss, 1) is None


def test_the_output_as_the_loss_leaves_nothing_to_the_loss():
    model = MLP(2, [2, 1], atomic=True, seed=0)
    assert set(model.groups(model(X[0])).values()) == {"inputs", "layer1.unit1", "layer1.unit2", "layer2.unit1"}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_inputs", [1, 2, 4])
def test_single_products_and_sums_are_at_home_in_their_unit(n_inputs, bias):
    neuron = Neuron(n_inputs, "linear", bias=bias, atomic=True, seed=0)
    z = neuron([1.0] * n_inputs)
    loss = mse(z, 0.5)
    groups = neuron.groups(loss)
    assert {groups[node] for node in nodes(z) if node.op} == {"neuron"}
    assert {groups[node] for node in nodes(loss)[:-1] if node not in nodes(z)} == {"loss"}


ACTIVATIONS_OF_ONES_OWN = {
    "swish": lambda z: z * z.sigmoid(),
    "scaled": lambda z: 1.7 * (0.6 * z).tanh(),
    "leaky": lambda z: leaky_relu(z, 0.2),
    "same": lambda z: z,
}


@pytest.mark.parametrize("activation", ACTIVATIONS_OF_ONES_OWN.values(), ids=ACTIVATIONS_OF_ONES_OWN)
@pytest.mark.parametrize("sizes", [[2, 2], [1, 1]])
def test_every_node_of_an_activation_of_ones_own_is_at_home_in_its_unit(activation, sizes):
    model = MLP(2, sizes, activation, activation, seed=0)
    outputs = np.ravel(model(X[0]))
    loss = mse(list(outputs), [1.0] * len(outputs))
    groups = model.groups(loss)
    inside = {node for output in outputs for node in nodes(output)}
    assert all((path == "loss") == (node not in inside) for node, path in groups.items())
    assert {path for node, path in groups.items() if node in inside and node not in model.parameters()} == {
        "inputs", *(f"layer{layer}.unit{unit}" for layer in (1, 2) for unit in range(1, sizes[0] + 1))
    }  # fmt: skip
    assert cycle(groups, loss, 2) is None


def test_what_is_made_of_an_output_is_the_losss_also_if_it_looks_like_an_activation():
    model = MLP(2, [2, 1], seed=0)
    y = model(X[0])
    p = y.sigmoid()
    loss = -p.log()
    groups = model.groups(loss)
    assert (groups[y], groups[p]) == ("layer2.unit1", "loss")


@pytest.mark.parametrize("label", ["a2_1", "p", ""])
def test_a_function_of_a_linear_output_is_the_losss_whatever_its_label(label):
    model = MLP(2, [2, 1], seed=0)
    p = model(X[0]).sigmoid()
    p.label = label
    assert model.groups(mse(p, 1.0))[p] == "loss"


def test_a_penalty_on_the_weights_is_the_losss():
    model = MLP(2, [2, 1], "tanh", seed=0)
    squares = [p * p for p in model.parameters()] + [p**2 for p in model.parameters()]
    sizes = [abs(p) for p in model.parameters()]
    loss = mse(model.batch(X), [1.0, 0.0, 1.0]) + 1e-4 * (total(squares) + total(sizes))
    groups = model.groups(loss)
    assert {groups[node] for node in squares + sizes} == {"loss"}
    assert cycle(groups, loss, 1) is cycle(groups, loss, 3) is None


# Examples.


def test_what_several_examples_share_belongs_to_none_of_them():
    model = MLP(2, [2, 1], "tanh", seed=0)
    shared, first, second = Value(0.5, "shared"), Value(1.0, "x2_ex1"), Value(-1.0)
    target = Value(0.25, "t")
    loss = mse(model.batch([[shared, first], [shared, second]]), [target, target])
    groups = model.groups(loss)
    assert (groups[shared], groups[first], groups[second]) == ("inputs", "inputs.ex1", "inputs.ex2")
    assert groups[target] == "loss"
    assert set(groups.values()) == {
        "inputs", "inputs.ex1", "inputs.ex2", "loss",  # o − t has the shared t: in an example's box it made a cycle
        *(f"{unit}{end}" for unit in ("layer1.unit1", "layer1.unit2", "layer2.unit1") for end in ("", ".ex1", ".ex2")),
    }  # fmt: skip
    for depth in (1, 2, 3):
        assert cycle(groups, loss, depth) is None


def test_targets_of_their_own_belong_to_their_examples():
    model = MLP(2, [1], seed=0)
    T = [Value(1.0), Value(0.0, "y_ex2"), Value(1.0)]
    groups = model.groups(mse(model.batch(X), T))
    assert [groups[t] for t in T] == ["loss.ex1", "loss.ex2", "loss.ex3"]


def test_where_examples_meet_in_the_inputs_or_in_the_loss_they_stay_together():
    model = MLP(1, [2, 1], "tanh", seed=0)
    raw = [Value(0.5, "r_ex1"), Value(2.0, "r_ex2")]
    centre = mean(raw)
    outputs = model.batch([[r - centre] for r in raw])
    shares = softmax(outputs)
    loss = -(shares[0] * 0.5).log()
    groups = model.groups(loss)
    assert (groups[raw[0]], groups[centre]) == ("inputs.ex1", "inputs")
    assert groups[outputs[1]] == "layer2.unit1.ex2"
    assert groups[shares[0]] == "loss"
    for depth in (1, 2, 3):
        assert cycle(groups, loss, depth) is None


def test_constants_of_several_examples_make_no_cycle():
    model = MLP(2, [1], seed=0)
    half = total([0.25, 0.25])
    loss = mse(model.batch(X), [half, half, 1.0])
    groups = model.groups(loss)
    assert groups[half] == "loss"
    assert cycle(groups, loss, 2) is None


def test_an_example_is_known_by_what_is_made_of_it_and_never_by_a_parameter():
    model = MLP(2, [1, 1], atomic=True, seed=0)
    rows = [[Value(0.5), Value(-1.0)], [Value(1.5), Value(0.3)]]
    for parameter in model.parameters():
        parameter.label += "_ex1"
    groups = model.groups(mse(model.batch(rows), [1.0, 0.0]))
    assert [[groups[x] for x in row] for row in rows] == [["inputs.ex1"] * 2, ["inputs.ex2"] * 2]
    ends = [path for node, path in groups.items() if node.op == "*"]
    assert sorted(ends) == sorted(
        ["layer1.unit1.ex1", "layer1.unit1.ex2"] * 2 + ["layer2.unit1.ex1", "layer2.unit1.ex2"]
    )


@pytest.mark.parametrize(
    ("label", "parts"),
    [
        ("a2_1_ex3", ("a2_1", "3")),
        ("x1_ex12", ("x1", "12")),
        ("a2_1", ("a2_1", "")),
        ("_ex", ("_ex", "")),
        ("vortex3", ("vortex3", "")),
        ("m_ex1_ex2", ("m_ex1", "2")),
        ("m_ex2b", ("m_ex2b", "")),
        ("m_ex-1", ("m_ex-1", "")),
    ],
)
def test_the_end_of_a_label_tells_the_example(label, parts):
    assert without_example(label) == parts


# Labels of a person's own.


def test_an_output_with_another_name_is_at_home_all_the_same():
    for activation in ("linear", "tanh", "leaky_relu"):
        for atomic in (False, True):
            model = MLP(2, [2, 1], activation, activation, atomic=atomic, seed=0)
            y = model(X[0])
            y.label = "y"
            for node in nodes(y)[:-1]:
                if node.op:
                    node.label = ""
            inside, loss = nodes(y), mse(y, 1.0)
            groups = model.groups(loss)
            assert all((path == "loss") == (node not in inside) for node, path in groups.items())
            assert groups[y] == "layer2.unit1"


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_labels_that_look_like_the_nets_break_nothing(drawn):
    batch = drawn.draw(st.booleans())
    model = MLP(2, [2, 1], "tanh", drawn.draw(st.sampled_from(["linear", "sigmoid"])), seed=0)
    loss = mse(model.batch(X), [0.0, 1.0, 0.0]) if batch else mse(model(X[0]), 1.0)
    every = nodes(loss)
    homes = {parameter: model.groups(loss)[parameter] for parameter in model.parameters()}
    alike = st.sampled_from([node.label for node in every] + ["a2_1_ex7", "w9_9_9", "x_ex0", "a.b", "loss", "z_ex٣"])
    for node in drawn.draw(st.lists(st.sampled_from(every), max_size=12)):
        node.label = drawn.draw(alike)
    groups = model.groups(loss)
    assert list(groups) == every[:-1]
    assert all(groups[parameter] == home for parameter, home in homes.items())
    assert cycle(groups, loss, 1) is None


# Modules of a person's own.


class Linear(Module):
    """Sums of products in plain Python."""

    def __init__(self, n_inputs, n_outputs):
        self.W = [[Value(0.3 * i - 0.2 * j, f"w{j}_{i}") for i in range(n_inputs)] for j in range(n_outputs)]
        self.b = [Value(0.1, f"b{j}") for j in range(n_outputs)]

    def __call__(self, x):
        return [sum((w * a for w, a in zip(row, x, strict=True)), b) for row, b in zip(self.W, self.b, strict=True)]


class Norm(Module):
    def __init__(self, size):
        self.gain = [Value(1.0, f"g{i}") for i in range(size)]

    def __call__(self, x):
        centre = mean(x)
        spread = sqrt(mean([(a - centre) ** 2 for a in x]) + 1e-5)
        return [gain * ((a - centre) / spread) for gain, a in zip(self.gain, x, strict=True)]


class Attention(Module):
    def __init__(self, size):
        self.query, self.key, self.value, self.out = [Linear(size, size) for _ in range(4)]

    def __call__(self, xs):
        queries, keys, values = [[part(x) for x in xs] for part in (self.query, self.key, self.value)]
        mixed = []
        for query in queries:
            shares = softmax([dot(query, key) / 2**0.5 for key in keys])
            mixed.append(self.out([dot(shares, column) for column in zip(*values, strict=True)]))
        return mixed


class Block(Module):
    def __init__(self, size):
        self.before, self.attention = Norm(size), Attention(size)
        self.feed = {"norm": Norm(size), "layers": [Linear(size, 3), Linear(3, size)]}

    def __call__(self, xs):
        attended = self.attention([self.before(x) for x in xs])
        xs = [[a + b for a, b in zip(x, more, strict=True)] for x, more in zip(xs, attended, strict=True)]
        first, second = self.feed["layers"]
        fed = [second([h.relu() for h in first(self.feed["norm"](x))]) for x in xs]
        return [[a + b for a, b in zip(x, more, strict=True)] for x, more in zip(xs, fed, strict=True)]


class Transformer(Module):
    def __init__(self, tokens=3, size=2):
        self.tokens = [[Value(0.1 * i - 0.3 * j, f"t{i}_{j}") for j in range(size)] for i in range(tokens)]
        self.places = [[Value(0.2 * i + 0.1 * j, f"p{i}_{j}") for j in range(size)] for i in range(4)]
        self.blocks = [Block(size), Block(size)]
        self.head = Linear(size, tokens)

    def __call__(self, text):
        xs = [
            [t + p for t, p in zip(self.tokens[token], place, strict=True)]
            for token, place in zip(text, self.places, strict=False)
        ]
        for block in self.blocks:
            xs = block(xs)
        return [self.head(x) for x in xs]


def test_a_transformer_is_folded_by_its_parts():
    model = Transformer()
    loss = cross_entropy(model([0, 1, 2]), [1, 2, 0])
    groups = model.groups(loss)
    block = ["before", "attention.query", "attention.key", "attention.value", "attention.out"]
    block += ["feed.norm", "feed.layers1", "feed.layers2"]
    assert set(groups.values()) == {
        "transformer", "head", "loss", *(f"blocks{number}.{part}" for number in (1, 2) for part in block)
    }  # fmt: skip
    assert {groups[parameter] for parameter in model.blocks[1].attention.key.parameters()} == {"blocks2.attention.key"}
    assert {box: set(boxes) for box, boxes in flow(groups, loss, 1).items()} == {
        "transformer": set(),
        "blocks1": {"transformer"},
        "blocks2": {"blocks1"},
        "head": {"blocks2"},
        "loss": {"head"},
    }
    for depth in (2, 3):
        assert cycle(groups, loss, depth) is None
    inside = {groups[node] for node in nodes(loss)[:-1] if node.op == "mean"}
    assert inside == {f"blocks{number}.{norm}" for number in (1, 2) for norm in ("before", "feed.norm")}
    assert {groups[node] for node in groups if node.op == "relu"} == {"blocks1.feed.layers1", "blocks2.feed.layers1"}
    assert {groups[node] for node in groups if node.op == "logsumexp"} == {"loss"}


def test_what_the_model_holds_itself_goes_by_the_name_of_its_class():
    model = Mixture()
    x = [Value(0.5, "x1"), Value(-1.0, "x2")]
    outputs = model(x)
    groups = model.groups(mse(outputs, [0.0, 1.0]))
    assert {place: groups[parameter] for place, parameter in model.named_parameters()} == {
        "scales.0": "mixture",
        "scales.1.0": "mixture",
        "scales.1.1.0": "mixture",
        "by_name.shift": "mixture",
        "by_name.3.deep": "mixture",
        "parts.first.weights.0": "parts.first",
        "parts.first.weights.1": "parts.first",
        "parts.first.bias": "parts.first",
    }
    assert [groups[one] for one in (*x, *outputs)] == ["inputs", "inputs", "mixture", "mixture"]


def test_numbers_count_from_1_and_keys_are_names():
    class Many(Module):
        def __init__(self):
            self.grid = [[Linear(1, 1)], [Linear(1, 1), Linear(1, 1)]]
            self.array = np.array([[Linear(1, 1)], [Linear(1, 1)]], dtype=object)
            self.named = {0: Linear(1, 1), "deep": ({"er": Linear(1, 1)},)}
            self.fc1 = [Linear(1, 1)]
            self.nets = [MLP(1, [1, 1], seed=0), Layer(1, 1, norm="batch", seed=0), Neuron(1, seed=0)]

        def __call__(self, x):
            for part in [*self.grid[0], *self.grid[1], *self.array.ravel(), self.named[0], self.named["deep"][0]["er"]]:
                x = part(x)
            for net in [*self.fc1, *self.nets]:
                x = list(np.ravel(net(x)))
            return x[0]

    model = Many().eval()
    x = Value(0.5, "x")
    groups = model.groups(mse(model([x]), 1.0))
    assert list(dict.fromkeys(groups[parameter] for parameter in model.parameters())) == [
        "grid1_1", "grid2_1", "grid2_2", "array1_1", "array2_1", "named.0", "named.deep1.er", "fc1_1",
        "nets1.layer1.unit1", "nets1.layer2.unit1", "nets2.unit1", "nets2.unit1.norm", "nets3",
    ]  # fmt: skip
    assert groups[x] == "inputs"


def test_two_nets_with_the_same_labels_are_told_apart():
    class Autoencoder(Module):
        def __init__(self):
            self.encoder = MLP(2, [2, 1], "tanh", "tanh", seed=0)
            self.decoder = MLP(1, [2, 2], "tanh", lambda z: z * z.sigmoid(), seed=1)
            self.last = [Neuron(2, "tanh", seed=2), Neuron(2, "linear", seed=3)]

        def __call__(self, x):
            decoded = self.decoder([self.encoder(x)])
            return [neuron(decoded) for neuron in self.last]

    model, x = Autoencoder(), [Value(0.5), Value(-1.0)]
    code = model.encoder(x)
    outputs = [neuron(model.decoder([code])) for neuron in model.last]
    loss = mse(outputs, x)
    groups = model.groups(loss)
    in_encoder = [node for node in nodes(code) if node.op]
    assert all(groups[node].startswith("encoder.layer") for node in in_encoder)
    assert sorted(set(groups.values())) == sorted(
        {"inputs", "loss", "encoder.layer2.unit1", "last1", "last2"}
        | {f"{net}.unit{unit}" for net in ("encoder.layer1", "decoder.layer1", "decoder.layer2") for unit in (1, 2)}
    )
    assert {groups[one] for one in x} == {"inputs"}  # though they are the targets as well
    for depth in (1, 2, 3):
        assert cycle(groups, loss, depth) is None


def test_activations_between_and_behind_ones_own_modules_stay_with_the_module_before():
    class Net(Module):
        def __init__(self):
            self.first, self.second = Linear(2, 2), Linear(2, 1)

        def __call__(self, x):
            return self.second([leaky_relu(h, 0.1) for h in self.first(x)])[0].tanh()

    model = Net()
    for name in LOSSES:
        if name in ("mse", "half_squared_error", "mae", "hinge", "binary_cross_entropy_with_logits"):
            y = model([Value(0.5), Value(-1.0)])
            loss = LOSSES[name](y, 1.0)
            groups = model.groups(loss)
            inside = {node for node, path in groups.items() if path != "loss"}
            assert inside == set(nodes(y)) - {loss}
            assert groups[y] == "second"
            assert {groups[node] for node in groups if node.op == "leaky_relu"} == {"first"}


def test_numbers_as_inputs_are_constants_of_the_module_that_they_go_into():
    model = Linear(2, 1)
    (y,) = model([0.5, -1.0])
    loss = (y - 2.0) ** 2
    groups = model.groups(loss)
    assert all((path == "linear") == (node in nodes(y)) for node, path in groups.items())


def test_what_one_module_makes_of_its_inputs_is_at_home_in_it_and_what_several_use_in_the_inputs():
    class Net(Module):
        def __init__(self):
            self.first, self.second = Linear(2, 1), Linear(1, 1)

        def __call__(self, x):
            a, b, c = x
            both = a * b
            return self.second([*self.first([tanh(c), both])])[0] + self.second([both])[0]

    model, x = Net(), [Value(0.5), Value(-1.0), Value(2.0)]
    groups = model.groups(mse(model(x), 1.0))
    (both,) = [node for node in groups if node.parents == (x[0], x[1])]
    (bent,) = [node for node in groups if node.op == "tanh"]
    assert (groups[bent], groups[both], groups[x[0]]) == ("first", "inputs", "inputs")


def test_a_parameter_behind_a_function_of_its_own_is_put_to_use_with_it():
    class Gain(Module):
        def __init__(self):
            self.log_gain, self.after = Value(0.1, "s"), Linear(1, 1)

        def __call__(self, x):
            return self.after([x * exp(self.log_gain)])[0]

    model, x = Gain(), Value(2.0, "x")
    y = model(x)
    groups = model.groups(mse(y, 1.0))
    (gain,) = [node for node in groups if node.op == "exp"]
    assert (groups[model.log_gain], groups[gain], groups[x], groups[y]) == ("gain", "gain", "inputs", "after")


def test_a_shared_module_is_at_home_where_it_is_first():
    model = Tied()
    groups = model.groups(mse(model(X[0]), 1.0))
    assert set(groups.values()) == {"inputs", "layer.unit1", "layer.unit2", "layers3.unit1", "loss"}


def test_a_net_before_this_one_is_its_inputs_and_one_behind_it_the_loss():
    generator, judge = MLP(1, [2, 2], "tanh", seed=0), MLP(2, [2, 1], "tanh", seed=1)
    made = generator([0.3])
    loss = mse(judge(made), 1.0)
    assert {judge.groups(loss)[node] for one in made for node in nodes(one) if not node.is_constant} == {"inputs"}
    ahead = generator.groups(loss)
    assert {ahead[node] for node in nodes(loss)[:-1] if node not in generator.groups(total(made))} - {
        "layer2.unit1", "layer2.unit2"  # the outputs
    } == {"loss"}  # fmt: skip
    assert cycle(ahead, loss, 1) is cycle(judge.groups(loss), loss, 1) is None


def test_a_constant_that_several_modules_share_is_an_input():
    model = MLP(1, [2, 1], seed=0)
    one = total([0.25, 0.75])
    assert one.is_constant
    assert model.groups(mse(model([one]), 1.0))[one] == "inputs"
    assert model.groups(mse(model([0.5]), one) + one * one)[one] == "loss"


# What is asked, and what is left as it was.


def test_asking_changes_nothing():
    model = MLP(2, [2, 1], "tanh", norm="batch", seed=0)
    loss = mse(model.batch(X), [1.0, 0.0, 1.0])
    loss.backward()
    before = [(node.data, node.grad, node.label) for node in nodes(loss)]
    state = model.state_dict()
    assert model.groups(loss) == model.groups(loss)
    assert [(node.data, node.grad, node.label) for node in nodes(loss)] == before
    assert model.state_dict() == state


def test_the_homes_of_deep_graphs_are_found_without_recursion():
    model = Linear(1, 1)
    (x,) = inputs = [Value(0.5, "x")]
    for _ in range(5_000):
        inputs = [tanh(inputs[0])]
    (y,) = model(inputs)
    for _ in range(100):
        (y,) = model([y])
    loss = y
    for _ in range(5_000):
        loss = loss + 1.0
    assert sys.getrecursionlimit() < 5_000
    groups = model.groups(loss)
    assert len(groups) == len(nodes(loss)) - 1
    assert (groups[x], groups[y], groups[loss.parents[0]]) == ("inputs", "linear", "loss")


@pytest.mark.parametrize("given", [None, 1.0, "L", [Value(1.0)]], ids=repr)
def test_what_is_no_loss_is_refused(given):
    with pytest.raises(TypeError, match="groups takes the loss, one Value computed from the model's outputs, not "):
        MLP(1, [1], seed=0).groups(given)


def test_a_loss_of_another_net_is_refused():
    model, other = MLP(2, [1], seed=0), MLP(2, [1], seed=0)
    words = r"None of the parameters of this MLP is under Value\(.*Pass a loss that is computed from this model's out"
    for loss in (mse(other(X[0]), 1.0), Value(model(X[0]).data), logsumexp([1.0, 2.0])):
        with pytest.raises(ValueError, match=words):
            model.groups(loss)


def test_a_model_without_parameters_has_no_homes_to_give():
    class Empty(Module):
        pass

    with pytest.raises(ValueError, match="This Empty has no parameters, and so no node is at home in it"):
        Empty().groups(Value(1.0))
