"""`fit` by replay: the same training as with a graph for every batch, step by step, or a reason why not."""

import math
import random
import signal
from functools import partial

import numpy as np
import pytest

from engine import Value, tanh, total
from nn import (
    MLP,
    SGD,
    Adam,
    Module,
    NotFinite,
    Optimizer,
    RecordingError,
    RMSprop,
    accuracy,
    fit,
    gradient_descent_step,
    half_squared_error,
    hinge,
    mse,
)
from nn.losses import LOSSES
from tests.strategies import Tied

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(0, 1, (7, 3))
TARGETS = {
    "mse": GENERATOR.normal(0, 1, (7, 2)),
    "half_squared_error": GENERATOR.normal(0, 1, (7, 2)),
    "mae": GENERATOR.normal(0, 1, (7, 2)),
    "binary_cross_entropy": GENERATOR.random((7, 2)),
    "binary_cross_entropy_with_logits": GENERATOR.random((7, 2)),
    "cross_entropy": GENERATOR.integers(0, 2, 7),
    "hinge": GENERATOR.choice([-1.0, 1.0], (7, 2)),
}


def net(loss="mse", **options):
    output = "sigmoid" if loss == "binary_cross_entropy" else "linear"
    return MLP(3, [4, 2], "tanh", output, **{"seed": 0} | options)


def both(make, y, *, optimizer=None, **options):
    """Models and histories of the same training, replayed and eager."""
    found = []
    for engine in ("replay", "eager"):
        model = make()
        made = {"optimizer": optimizer(model.parameters())} if optimizer else {}
        found.append((model, fit(model, X, y, engine=engine, **options, **made)))
    return found


def assert_same(one, other):
    (model, history), (other_model, other_history) = one, other
    assert list(history) == list(other_history)
    for name in history:
        assert history[name] == pytest.approx(other_history[name], rel=1e-11, abs=1e-13)
    numbers = model.state_dict()
    assert numbers == pytest.approx(other_model.state_dict(), rel=1e-11, abs=1e-13)
    gradients = [[p.grad for p in m.parameters()] for m in (model, other_model)]
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-10, abs=1e-12)
    assert (history.engine, other_history.engine) == ("replay", "eager")
    assert history.stopped == other_history.stopped


@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_every_loss_replays_as_it_trains(loss, batch_size):
    assert_same(*both(lambda: net(loss), TARGETS[loss], loss=loss, batch_size=batch_size, epochs=2, seed=1))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("loss", [mse, half_squared_error, hinge])
def test_sums_and_means_are_told_apart(loss, reduction):
    given = partial(loss, reduction=reduction)
    y = TARGETS[loss.__name__]
    assert_same(*both(lambda: net(loss.__name__), y, loss=given, batch_size=3, epochs=2, seed=1, lr=0.01))


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(SGD, lr=0.1, momentum=0.9),
        partial(SGD, lr=0.1, weight_decay=0.1),
        partial(RMSprop, lr=0.01),
        partial(Adam, lr=lambda step: 0.1 / (1 + step)),
    ],
)
@pytest.mark.parametrize("clip_norm", [None, 0.05])
def test_every_optimizer_moves_arrays_as_it_moves_values(optimizer, clip_norm):
    options = {"optimizer": optimizer, "batch_size": 2, "epochs": 3, "seed": 2, "clip_norm": clip_norm}
    assert_same(*both(net, TARGETS["mse"], **options))


def test_what_an_optimizer_remembers_is_given_back():
    models = [net(), net()]
    optimizers = [Adam(model.parameters(), 0.01) for model in models]
    for model, optimizer, engine in zip(models, optimizers, ("replay", "eager"), strict=True):
        fit(model, X, TARGETS["mse"], optimizer=optimizer, epochs=2, seed=0, engine=engine)
    assert optimizers[0].steps == optimizers[1].steps == 2
    assert np.array(optimizers[0].memory) == pytest.approx(np.array(optimizers[1].memory), rel=1e-11, abs=1e-18)


class SignDescent(Optimizer):
    """A rule that asks for the sign of a number, and so can't be applied to arrays."""

    def update(self, w, g, *remembered, lr):
        return w - lr * (1.0 if g > 0 else -1.0), math.sqrt(g * g)


def test_an_optimizer_of_ones_own_updates_the_values():
    assert_same(*both(net, TARGETS["mse"], optimizer=partial(SignDescent, lr=0.01), batch_size=2, epochs=3, seed=2))


def test_parameters_that_the_optimizer_does_not_have_stay():
    def last_layer_alone(parameters):
        return SGD(parameters[-10:], 0.1)

    first, second = both(net, TARGETS["mse"], optimizer=last_layer_alone, epochs=2, seed=0)
    assert_same(first, second)
    assert [p.data for p in first[0].parameters()[:-10]] == [p.data for p in net().parameters()[:-10]]


def test_validation_metrics_and_the_best_epoch_are_the_same():
    options = {
        "loss": "cross_entropy", "metrics": ["accuracy"], "validation_split": 0.3, "patience": 3, "epochs": 30,
        "lr": 2.0, "seed": 3,
    }  # fmt: skip
    first, second = both(lambda: net("cross_entropy"), TARGETS["cross_entropy"], **options)
    assert_same(first, second)
    assert first[1].best_epoch == second[1].best_epoch
    assert "val_accuracy" in first[1]


def test_tied_layers_and_single_operations_replay():
    generator = np.random.default_rng(1)
    examples, y = generator.normal(0, 1, (6, 2)), generator.normal(0, 1, 6)
    for make in (Tied, lambda: MLP(2, [3, 1], "sigmoid", atomic=True, seed=0)):
        models = [make(), make()]
        for model, engine in zip(models, ("replay", "eager"), strict=True):
            fit(model, examples, y, epochs=3, seed=0, engine=engine)
        assert models[0].state_dict() == pytest.approx(models[1].state_dict(), rel=1e-11)


def test_a_column_that_a_model_does_not_use_is_left_out():
    class First(Module):
        def __init__(self):
            self.w = Value(0.5, "w")

        def __call__(self, x):
            return self.w * x[0]

    assert_same(*both(First, TARGETS["mse"][:, 0], epochs=2, seed=0))


# Whoever looks sees the numbers of that moment.


def test_whoever_looks_between_epochs_or_steps_sees_the_numbers():
    seen = {"replay": [], "eager": []}
    for engine, looks in seen.items():
        model = net()

        def rate(step, model=model, looks=looks):
            looks.append([p.data for p in model.parameters()])
            return 0.1

        def metric(outputs, targets, model=model, looks=looks):
            looks.append([p.grad for p in model.parameters()])
            return 0.0

        def on_epoch(epoch, model, history, looks=looks):
            looks.append([model.predict(X).tolist(), list(history["loss"])])

        options = {"lr": rate, "metrics": [metric], "on_epoch": on_epoch, "epochs": 2, "batch_size": 4, "seed": 0}
        fit(model, X, TARGETS["mse"], engine=engine, **options)
    assert len(seen["replay"]) == len(seen["eager"])
    for one, other in zip(seen["replay"], seen["eager"], strict=True):
        assert np.concatenate([np.ravel(part) for part in one]) == pytest.approx(
            np.concatenate([np.ravel(part) for part in other]), rel=1e-10, abs=1e-13
        )


def test_what_is_changed_between_epochs_is_taken():
    def halve(epoch, model, history):
        for p in model.parameters():
            p.data *= 0.5

    assert_same(*both(net, TARGETS["mse"], on_epoch=halve, epochs=3, seed=0))


# Losses of one's own.


def penalized(model):
    return lambda outputs, targets: mse(outputs, targets) + 1e-2 * total([p * p for p in model.parameters()])


def test_a_loss_of_ones_own_replays_when_asked():
    models = [net(), net()]
    histories = [
        fit(model, X, TARGETS["mse"], loss=penalized(model), epochs=3, batch_size=3, seed=0, engine=engine)
        for model, engine in zip(models, ("replay", "auto"), strict=True)
    ]
    assert_same((models[0], histories[0]), (models[1], _as_eager(histories[1])))


def _as_eager(history):
    assert history.engine == 'eager: the loss is a function of your own, which engine="replay" would record'
    assert str(history).endswith("\nnot replayed: " + history.engine.removeprefix("eager: "))
    history.engine = "eager"
    return history


def test_a_sum_of_ones_own_stays_a_sum_through_the_checks_of_single_examples():
    def squares(outputs, targets):
        return total([(o - t) ** 2 for row, wanted in zip(outputs, targets, strict=True)
                      for o, t in zip(row, wanted, strict=True)])  # fmt: skip

    first, second = both(net, TARGETS["mse"], loss=squares, epochs=4, batch_size=4, lr=0.01, seed=0)
    assert_same(first, second)


def test_the_gradients_of_what_a_loss_learns_beside_the_model_are_kept_too():
    grads = []
    for engine in ("replay", "eager"):
        model, scale = net(), Value(1.0, "scale")

        def scaled(outputs, targets, scale=scale):
            return mse([[scale * o for o in row] for row in outputs], targets)

        fit(model, X, TARGETS["mse"], loss=scaled, optimizer=SGD([*model.parameters(), scale], 0.01), epochs=3,
            seed=0, engine=engine)  # fmt: skip
        grads.append((scale.data, scale.grad))
    assert grads[0] == pytest.approx(grads[1], rel=1e-10)


def test_a_loss_that_is_neither_sum_nor_mean_is_refused():
    def largest(outputs, targets):
        return max((mse(o, t) for o, t in zip(outputs, targets.tolist(), strict=True)), key=lambda one: one.data)

    with pytest.raises(RecordingError, match="can't be replayed"):
        fit(net(), X, TARGETS["mse"], loss=largest, epochs=1, engine="replay")


# What can't be replayed, and why.


class Branching(Module):
    """An `if` on data, which a recording knows nothing of."""

    def __init__(self):
        self.w = Value(0.5, "w")

    def __call__(self, x):
        return self.w * x[0] if x[0] > 0.0 else tanh(self.w * x[0])


class Noisy(Branching):
    def __call__(self, x):
        return self.w * x[0] * random.random()


def test_a_model_that_branches_on_data_is_left_to_eager_and_says_so():
    history = fit(Branching(), X[:, :1], TARGETS["mse"][:, 0], epochs=1, seed=0)
    assert history.engine == "eager: it asks whether x1 > 0.0, and a recording knows only the answer of one example"
    assert "\nnot replayed: it asks whether x1 > 0.0" in str(history)
    with pytest.raises(RecordingError, match=r"can't be replayed: it asks whether x1 > 0.0, .* engine=\"eager\""):
        fit(Branching(), X[:, :1], TARGETS["mse"][:, 0], epochs=1, engine="replay")


class Secret(Branching):
    """An `if` on plain numbers, which nobody notices."""

    def __call__(self, x):
        z = self.w * x[0]
        return z if z.data > 0.0 else 0.1 * z


@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_an_if_on_plain_numbers_is_noticed_by_what_it_gives(batch_size):
    history = fit(Secret(), X[:, :1], TARGETS["mse"][:, 0], epochs=1, batch_size=batch_size, seed=0)
    assert history.engine.startswith("eager: its first examples differ from their replay, as with an `if` on data")


def test_random_numbers_are_noticed_and_drawn_again():
    losses = []
    for engine in ("auto", "eager"):
        random.seed(3)
        history = fit(Noisy(), X[:, :1], TARGETS["mse"][:, 0], epochs=2, seed=0, engine=engine)
        losses.append(history["loss"])
    assert losses[0] == losses[1]
    history = fit(Noisy(), X[:, :1], TARGETS["mse"][:, 0], epochs=1)
    assert history.engine.startswith("eager: it draws random numbers")


class Changing(Branching):
    steep = 1.0

    def __call__(self, x):
        return self.w * x[0] * self.steep


def test_a_model_that_goes_another_way_later_stops_with_an_explanation():
    def at_step_3(model, step):
        if step == 3:
            model.steep = 2.0
        return 0.1

    model = Changing()
    with pytest.raises(
        RecordingError, match=r"stopped at epoch 3: an example, computed anew, differs .* A recording"
    ) as e:
        fit(model, X[:, :1], TARGETS["mse"][:, 0], epochs=5, lr=partial(at_step_3, model), batch_size=4, seed=0)
    assert e.value.history.epochs == 2
    assert model.w.data != 0.5


def steeper(epoch, model, history):
    model.steep = float(epoch)


def test_what_is_changed_in_a_model_between_epochs_is_recorded_anew():
    models = [Changing(), Changing()]
    histories = [
        fit(model, X[:, :1], TARGETS["mse"][:, 0], epochs=4, on_epoch=steeper, seed=0, engine=engine)
        for model, engine in zip(models, ("auto", "eager"), strict=True)
    ]
    assert_same(*zip(models, histories, strict=True))
    with pytest.raises(RecordingError, match="Training stopped at epoch 3"):
        fit(Changing(), X[:, :1], TARGETS["mse"][:, 0], epochs=4, on_epoch=steeper, engine="replay")


def test_a_training_that_converges_is_not_stopped_by_what_is_left_of_it():
    generator = np.random.default_rng(0)
    examples = generator.normal(size=(20, 3))
    model = MLP(3, [1], seed=0)
    history = fit(model, examples, examples @ [1.0, 2.0, -1.0] + 0.5, lr=0.1, epochs=200, batch_size=4, seed=0)
    assert history.engine == "replay"
    assert history["loss"][-1] < 1e-25


def test_what_is_done_to_the_optimizer_between_epochs_is_taken():
    optimizers = []

    def adam(parameters):
        optimizers.append(Adam(parameters, 0.05))
        return optimizers[-1]

    def alternate(epoch, model, history):
        parameters, optimizer = model.parameters(), optimizers[-1]
        optimizer.parameters = parameters[:5] if epoch % 2 else parameters[5:]
        optimizer.memory = [(0.0, 0.0) for _ in optimizer.parameters]

    assert_same(*both(net, TARGETS["mse"], optimizer=adam, on_epoch=alternate, epochs=4, seed=0))


def test_a_rule_that_was_put_in_place_of_the_optimizers_is_taken():
    def halved(parameters):
        optimizer = SGD(parameters, 0.1)
        optimizer.update = lambda w, g, *remembered, lr: (w - lr * (g if g > 0 else 0.5 * g), *remembered)
        return optimizer

    assert_same(*both(net, TARGETS["mse"], optimizer=halved, epochs=3, seed=0))


def test_the_validation_follows_a_model_that_judges_otherwise_than_it_learns():
    class Warm(Changing):
        def __call__(self, x):
            return self.w * x[0] if self.training else self.w * x[0] * self.steep

    options = {"validation": (X[:, :1], TARGETS["mse"][:, 0]), "on_epoch": steeper, "epochs": 4, "seed": 0}
    models = [Warm(), Warm()]
    histories = [
        fit(model, X[:, :1], TARGETS["mse"][:, 0], engine=engine, **options)
        for model, engine in zip(models, ("replay", "eager"), strict=True)
    ]
    assert_same(*zip(models, histories, strict=True))


def test_ctrl_c_pressed_twice_leaves_a_step_whole():
    model = net()

    def rate(step):
        if step == 3:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return 0.1

    optimizer = Adam(model.parameters(), rate)
    with pytest.raises(KeyboardInterrupt):
        fit(model, X, TARGETS["mse"], optimizer=optimizer, batch_size=7, epochs=6, shuffle=False, engine="replay")
    other = net()
    fit(other, X, TARGETS["mse"], optimizer=Adam(other.parameters(), 0.1), batch_size=7, epochs=3, shuffle=False)
    assert optimizer.steps == 3
    assert model.state_dict() == pytest.approx(other.state_dict(), rel=1e-11)


@pytest.mark.parametrize(
    ("make", "options", "reason"),
    [
        (lambda: net(norm="batch"), {}, "batch normalization mixes the examples of a batch"),
        (lambda: net(), {"engine": "eager"}, ""),
    ],
)
def test_what_is_left_to_eager(make, options, reason):
    history = fit(make(), X, TARGETS["mse"], epochs=1, **options)
    assert history.engine == "eager" + f": {reason}" * bool(reason)
    assert ("not replayed" in str(history)) == bool(reason)


def test_a_model_that_needs_plain_numbers_is_left_to_eager():
    class Table(Module):
        def __init__(self):
            self.rows = [Value(0.1 * i, f"row{i}") for i in range(3)]

        def __call__(self, x):
            return 1.0 * self.rows[int(x[0])]

    history = fit(Table(), [[0.0], [2.0], [1.0]], [0.0, 1.0, 2.0], epochs=1)
    assert history.engine.startswith("eager: computed with Values in place of numbers it fails (TypeError: ")


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="There is no engine 'fast': take 'auto', 'replay' or 'eager'"):
        fit(net(), X, TARGETS["mse"], engine="fast")


# Ends of all kinds.


@pytest.mark.parametrize("engine", ["replay", "eager"])
def test_numbers_that_are_not_finite_are_told_alike(engine):
    model = MLP(3, [2], seed=0)
    with pytest.raises(NotFinite, match=r"stopped at epoch \d+, batch 1.*the loss is inf") as caught:
        fit(model, X, TARGETS["mse"], lr=1e40, epochs=100, engine=engine)
    assert caught.value.epoch == caught.value.history.epochs + 1 > 3
    assert math.isfinite(mse(model.batch(X), TARGETS["mse"].tolist()).data)


def test_the_parameters_after_numbers_that_are_not_finite_are_those_of_the_last_good_step():
    models = [MLP(3, [2], seed=0), MLP(3, [2], seed=0)]
    for model, engine in zip(models, ("replay", "eager"), strict=True):
        with pytest.raises(NotFinite):
            fit(model, X, TARGETS["mse"], lr=1e40, epochs=100, engine=engine, seed=0)
    assert models[0].state_dict() == pytest.approx(models[1].state_dict(), rel=1e-10)


def test_ctrl_c_ends_training_after_the_batch():
    model, steps = net(), []

    def rate(step):
        steps.append(step)
        if step == 4 and len(steps) > 2:  # fit itself asks for the first and the last
            signal.raise_signal(signal.SIGINT)
        return 0.1

    history = fit(model, X, TARGETS["mse"], lr=rate, batch_size=3, epochs=3, engine="replay")
    assert history.stopped == "stopped by Ctrl-C in epoch 2 of 3"
    assert history.epochs == 2


def test_gradient_descent_by_hand_is_what_is_replayed():
    model, other = MLP(3, [4, 1], "relu", seed=0), MLP(3, [4, 1], "relu", seed=0)
    y = TARGETS["mse"][:, 0]
    fit(model, X, y, lr=0.1, epochs=20, batch_size=None, shuffle=False, metrics=[partial(accuracy_of_signs)])
    for _ in range(20):
        loss = mse(other.batch(X), y.tolist())
        other.zero_grad()
        loss.backward()
        gradient_descent_step(other.parameters(), 0.1)
    assert model.state_dict() == pytest.approx(other.state_dict(), rel=1e-11)


def accuracy_of_signs(outputs, targets):
    return accuracy([float(o > 0) for o in outputs], [float(t > 0) for t in targets])


@pytest.mark.parametrize(
    ("make", "loss"),
    [
        (lambda: MLP(64, [32, 10], seed=0), "cross_entropy"),
        (lambda: MLP(2, [16, 16, 1], seed=0), "hinge"),
        (lambda: MLP(2, [16, 16, 1], atomic=True, seed=0), "hinge"),
        (lambda: MLP(2, [4, 1], "tanh", "sigmoid", seed=0), "binary_cross_entropy"),
        (lambda: MLP(2, [2, 2], "sigmoid", "sigmoid", seed=0), "half_squared_error"),
        (lambda: MLP(8, [8] * 29 + [1], "tanh", seed=0), "mse"),
    ],
    ids=["digits", "moons", "moons, atomic", "xor", "mazur", "vanishing"],
)
def test_the_nets_of_the_demos_replay_as_they_train(make, loss):
    generator, (model, other) = np.random.default_rng(5), (make(), make())
    examples, outputs = generator.normal(0, 1, (12, model.n_inputs)), len(model.layers[-1].neurons)
    y = {
        "cross_entropy": generator.integers(0, outputs, 12),
        "hinge": generator.choice([-1.0, 1.0], 12),
    }.get(loss, generator.random((12, outputs)))
    histories = [
        fit(one, examples, y, loss=loss, lr=0.01, epochs=2, batch_size=5, seed=0, engine=engine)
        for one, engine in ((model, "replay"), (other, "eager"))
    ]
    assert_same((model, histories[0]), (other, histories[1]))
