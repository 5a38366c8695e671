"""Health says what ails a net: vanishing, exploding, dead, saturated, or nothing."""

import numpy as np
import pytest

from nn import MLP, gradient_health, plot_healths

GENERATOR = np.random.default_rng(0)
X, Y = GENERATOR.normal(size=(20, 3)), GENERATOR.normal(size=20)


def deep(activation, depth=12, **options):
    return MLP(3, [10] * depth + [1], activation, seed=1, **options)


@pytest.mark.parametrize(
    ("model", "verdict", "remedy"),
    [
        (deep("sigmoid"), "vanishing", "take relu or tanh rather than sigmoid"),
        (deep("tanh", init=lambda n, m, g: g.normal(0.0, 0.05, (m, n))), "vanishing", "weights that fit"),
        (deep("relu", init=lambda n, m, g: g.normal(0.0, 2.0, (m, n))), "exploding", "clip_norm=1.0"),
        (deep("relu"), "fine", ""),
        (deep("tanh"), "fine", ""),
        (deep("sigmoid", norm="batch"), "fine", ""),
    ],
)
def test_deep_nets_get_their_verdict_and_the_remedy(model, verdict, remedy):
    health = gradient_health(model, X, Y, "mse")
    assert health.verdict == verdict
    assert health.message.startswith(f"{verdict.capitalize()}: δ of layer 1 is ")
    assert remedy in health.message


def test_the_norms_are_those_of_the_gradients():
    model = MLP(3, [4, 1], "tanh", seed=0)
    health = gradient_health(model, X, Y, "mse")
    W1, B1, W2, B2 = (
        np.array([[w.data for w in n.weights] for n in model.layers[0].neurons]),
        np.array([n.bias.data for n in model.layers[0].neurons]),
        np.array([[w.data for w in n.weights] for n in model.layers[1].neurons]),
        np.array([n.bias.data for n in model.layers[1].neurons]),
    )
    A = np.tanh(X @ W1.T + B1)
    delta2 = 2.0 * (A @ W2.T + B2 - Y[:, None]) / len(X)
    delta1 = delta2 @ W2 * (1.0 - A**2)
    assert health.layers[0].delta == pytest.approx(np.sqrt(np.mean(delta1**2)), rel=1e-12)
    gradient = np.hypot(np.linalg.norm(delta1.T @ X), np.linalg.norm(delta1.sum(axis=0)))
    assert health.layers[0].gradient == pytest.approx(gradient, rel=1e-12)


def test_dead_relus_are_counted_and_named():
    model = MLP(3, [4, 1], "relu", seed=0)
    for neuron in model.layers[0].neurons[:3]:
        neuron.bias.data = -100.0
    health = gradient_health(model, X, Y, "mse")
    assert health.layers[0].dead == 0.75
    assert "But in layer 1 75% of the ReLUs are dead" in health.message


def test_saturated_units_are_counted_and_named():
    model = MLP(3, [4, 1], "tanh", seed=0)
    for neuron in model.layers[0].neurons:
        neuron.bias.data = 50.0
    health = gradient_health(model, X, Y, "mse")
    assert health.layers[0].saturated == 1.0
    assert "100% of the outputs are saturated" in health.message


def test_the_model_is_as_it_was():
    model = MLP(3, [4, 1], "tanh", norm="batch", seed=0)
    for parameter in model.parameters():
        parameter.grad = 7.0
    before = model.state_dict()
    gradient_health(model, X, Y, "mse")
    assert model.state_dict() == before
    assert {p.grad for p in model.parameters()} == {7.0}


def test_a_perfect_net_has_nothing_to_learn():
    model = MLP(3, [1], seed=0)
    assert "Nothing to learn" in gradient_health(model, X, model.predict(X), "mse").message


def test_it_prints_as_a_table():
    lines = str(gradient_health(MLP(3, [4, 1], "relu", seed=0), X, Y, "mse")).splitlines()
    assert lines[0].split() == ["layer", "activation", "δ", "gradient", "dead", "saturated"]
    assert lines[2].split()[:2] == ["1", "relu"]
    assert lines[-1].startswith("Fine: ")


def test_it_plots_across_layers_and_across_epochs():
    health = gradient_health(deep("sigmoid"), X, Y, "mse")
    (by_layer,) = health.plot().axes
    assert by_layer.get_yscale() == "log"
    assert by_layer.lines[0].get_ydata().tolist() == [one.delta for one in health.layers]
    (over_epochs,) = plot_healths([health, health]).axes
    assert len(over_epochs.lines) == 13
    with pytest.raises(ValueError, match="no health to plot"):
        plot_healths([])


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="There is no loss 'msee'"):
        gradient_health(MLP(3, [1]), X, Y, "msee")
    with pytest.raises(TypeError, match="looks at the layers of an MLP"):
        gradient_health(None, X, Y, "mse")


@pytest.mark.parametrize("size", [1e40, 1e13])
def test_a_net_whose_numbers_leave_the_floats_is_exploding(size):
    model = MLP(3, [8] * 12 + [1], "relu", init=lambda n, m, g: g.normal(0.0, size, (m, n)), seed=0)
    health = gradient_health(model, X, Y, "mse")
    assert health.verdict == "exploding"
    assert "clip_norm" in str(health)


def test_a_net_of_zeros_is_told_apart_from_a_deep_one():
    with pytest.warns(UserWarning, match="are all 0"):
        model = MLP(3, [4, 1], "tanh", init="zeros")
    health = gradient_health(model, X, Y, "mse")
    assert (health.verdict, "Take random ones" in health.message) == ("vanishing", True)


def test_one_layer_is_not_compared_with_itself():
    assert gradient_health(MLP(3, [1], seed=0), X, Y, "mse").message == "Fine: one layer, whose δ is the loss's own."


def test_parts_keep_their_modes():
    model = MLP(3, [4, 4, 1], "tanh", norm="batch", seed=0)
    model.layers[0].norm.eval()
    gradient_health(model, X, Y, "mse")
    assert [layer.norm.training for layer in model.layers[:2]] == [False, True]
