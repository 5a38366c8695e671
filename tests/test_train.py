"""`fit`: micrograd's published training, batches, validation, ends of all kinds, and what is refused before."""

import math
import pickle
import re
import signal
import sys
import threading
import warnings
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from engine import Value, exp, sqrt, total
from nn import (
    MLP,
    SGD,
    Adam,
    History,
    Layer,
    Module,
    Neuron,
    NotFinite,
    RMSprop,
    accuracy,
    clip_gradients,
    cross_entropy,
    fit,
    gradient_descent_step,
    half_squared_error,
    hinge,
    mae,
    mse,
    train,
)
from tests.strategies import case

X = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.5, 0.25]]
Y = [0.0, 1.0, 2.0, 3.0, 4.0]  # each names its example


def net(**options):
    return MLP(2, [3, 1], "tanh", seed=0, **options)


class Scale(Module):
    """y = w·x, which is worked out on paper."""

    def __init__(self, w=0.0):
        self.w = Value(w, "w")

    def __call__(self, x):
        return self.w * x[0]


class Watch:
    """A loss that notes what it was asked: the targets of each batch, its value, and the model at that moment."""

    def __init__(self, model=None, loss=mse):
        self.model, self.loss = model, loss
        self.batches, self.values, self.states, self.judged = [], [], [], []

    def __call__(self, outputs, targets):
        loss = self.loss(outputs, targets)
        if not any(output.op for output in outputs):  # the numbers of a prediction
            self.judged.append(targets)
            return loss
        self.batches.append(targets)
        self.values.append(loss.data)
        self.states.append(self.model and self.model.state_dict())
        return loss

    @property
    def sizes(self):
        return list(map(len, self.batches))


# micrograd's demo: the losses and accuracies that were published.

MOONS = case("nets/micrograd_moons.json")
PUBLISHED = MOONS["steps"]


def micrograd(atomic):
    model = MLP(2, [16, 16, 1], "relu", atomic=atomic, seed=0)
    for p, number in zip(model.parameters(), MOONS["parameters"], strict=True):
        p.data = number
    return model


def falling(step):
    return 1.0 - 0.9 * step / 100


def share_right(outputs, targets):
    return sum((o > 0) == (t > 0) for o, t in zip(outputs, targets, strict=True)) / len(outputs)


@pytest.mark.parametrize(("atomic", "steps"), [(False, 100), (True, 40)])
def test_micrograds_training_by_hand(atomic, steps):
    model, losses, rights = micrograd(atomic), [], []
    for step in range(steps):
        outputs = model.batch(MOONS["X"])
        loss = hinge(outputs, MOONS["y"]) + 1e-4 * total([p * p for p in model.parameters()])
        model.zero_grad()
        loss.backward()
        gradient_descent_step(model.parameters(), falling(step))
        losses.append(loss.data)
        rights.append(accuracy([o.data for o in outputs], MOONS["y"], threshold=0.0))
    assert losses == pytest.approx([loss for loss, _ in PUBLISHED[:steps]], rel=0.0, abs=1e-9)
    assert rights == [right for _, right in PUBLISHED[:steps]]


@pytest.mark.parametrize(("atomic", "epochs"), [(False, 100), (True, 20)])
def test_micrograds_training_by_fit(atomic, epochs):
    model = micrograd(atomic)

    def loss(outputs, targets):
        return hinge(outputs, targets) + 1e-4 * total([p * p for p in model.parameters()])

    history = fit(
        model, MOONS["X"], MOONS["y"], loss=loss, lr=falling, epochs=epochs, batch_size=None, shuffle=False,
        metrics=[share_right],
    )  # fmt: skip
    assert history["loss"] == pytest.approx([loss for loss, _ in PUBLISHED[:epochs]], rel=0.0, abs=1e-9)
    assert history["share_right"] == [right for _, right in PUBLISHED[:epochs]]


# A step, and epochs of batches.


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (None, {}),
        (None, {"lr": 0.05}),
        (SGD, {"lr": 0.05, "momentum": 0.9}),
        (RMSprop, {"lr": 0.01, "weight_decay": 0.1}),
        (Adam, {"lr": lambda step: 0.1 / (1 + step)}),
    ],
)
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_fit_is_the_loop_by_hand(make, options, clip_norm):
    model, other = net(), net()
    optimizer = make and make(model.parameters(), **options)
    watch = Watch()
    history = fit(
        model, X, Y, loss=watch, optimizer=optimizer, epochs=3, batch_size=2, seed=4, clip_norm=clip_norm,
        **({} if make else options),
    )  # fmt: skip
    by_hand = make(other.parameters(), **options) if make else SGD(other.parameters(), options.get("lr", 0.1))
    rows, losses = dict(zip(Y, X, strict=True)), []
    for batch in watch.batches:
        other.zero_grad()
        loss = mse(other.batch([rows[target] for target in batch]), batch)
        loss.backward()
        if clip_norm is not None:
            clip_gradients(other.parameters(), clip_norm)
        by_hand.step()
        losses.append(loss.data)
    assert model.state_dict() == other.state_dict()
    assert watch.values == losses
    assert history.epochs == 3


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (3, [3, 2]), (5, [5]), (32, [5]), (None, [5])]
)
def test_an_epoch_takes_every_example_once(batch_size, sizes):
    watch = Watch()
    history = fit(net(), X, Y, loss=watch, batch_size=batch_size, epochs=4, seed=0)
    assert watch.sizes == sizes * 4
    for epoch in range(4):
        of_epoch = watch.batches[epoch * len(sizes) : (epoch + 1) * len(sizes)]
        assert sorted(target for batch in of_epoch for target in batch) == Y
    assert history.epochs == len(history["loss"]) == 4
    assert history.stopped == "4 epochs done"


def test_there_are_ten_epochs_of_batches_of_32_unless_told_otherwise():
    watch = Watch()
    fit(Scale(), [[0.01 * i] for i in range(70)], [0.0] * 70, loss=watch)
    assert watch.sizes == [32, 32, 6] * 10


def test_each_epoch_has_an_order_of_its_own():
    watch = Watch()
    fit(net(), X, Y, loss=watch, batch_size=None, epochs=6, seed=0)
    assert len({tuple(batch) for batch in watch.batches}) > 3


def test_without_shuffling_the_order_is_that_of_the_examples():
    watch = Watch()
    fit(net(), X, Y, loss=watch, batch_size=2, epochs=2, shuffle=False)
    assert watch.batches == [[0.0, 1.0], [2.0, 3.0], [4.0]] * 2


def test_an_example_left_over_joins_the_batch_before_where_batches_are_normalized():
    for count, batch_size, sizes in [(5, 2, [2, 3]), (5, 4, [5]), (5, 3, [3, 2]), (4, 2, [2, 2]), (5, None, [5])]:
        watch = Watch()
        fit(net(norm="batch"), X[:count], Y[:count], loss=watch, batch_size=batch_size, epochs=2, seed=0)
        assert watch.sizes == sizes * 2


def test_a_single_example_cannot_be_normalized():
    model = net(norm="batch")
    before = model.state_dict()
    with pytest.raises(ValueError, match="at least two examples a batch: take a larger batch_size"):
        fit(model, X[:1], Y[:1])
    assert model.state_dict() == before


def test_the_loss_of_an_epoch_is_the_mean_over_its_examples():
    watch = Watch()
    history = fit(net(), X, Y, loss=watch, batch_size=2, epochs=2, seed=0)
    weighted = [(2 * a + 2 * b + c) / 5 for a, b, c in (watch.values[:3], watch.values[3:])]
    assert history["loss"] == pytest.approx(weighted, rel=1e-15)


@pytest.mark.parametrize("seed", [3, 11])
def test_a_seed_repeats_the_training(seed):
    def trained(seed):
        model = net()
        history = fit(model, X, Y, batch_size=2, epochs=3, seed=seed, validation_split=0.4)
        return dict(history), model.state_dict()

    assert trained(seed) == trained(seed) == trained(np.random.default_rng(seed))
    assert trained(seed) != trained(seed + 1)


def test_gradients_that_were_there_before_do_not_matter():
    spoiled, clean = net(), net()
    for p in spoiled.parameters():
        p.grad = 1e6
    histories = [dict(fit(model, X, Y, epochs=2, batch_size=2, seed=0)) for model in (spoiled, clean)]
    assert histories[0] == histories[1]
    assert spoiled.state_dict() == clean.state_dict()


@pytest.mark.parametrize("kind", [list, tuple, np.array, lambda data: np.array(data, dtype=np.float32)])
def test_examples_and_targets_are_lists_or_arrays(kind):
    expected = fit(net(), X, Y, epochs=2, seed=0)["loss"]
    assert fit(net(), kind(X), kind(Y), epochs=2, seed=0)["loss"] == expected
    assert fit(net(), kind(X), np.array(Y).reshape(-1, 1), epochs=2, seed=0)["loss"] == expected


def test_integers_and_truth_values_are_numbers():
    expected = fit(net(), [[0, 1], [1, 1]], [1.0, 0.0], epochs=2, seed=0)["loss"]
    assert fit(net(), np.array([[0, 1], [1, 1]]), [1, 0], epochs=2, seed=0)["loss"] == expected
    assert fit(net(), [[False, True], [True, True]], [True, False], epochs=2, seed=0)["loss"] == expected


@pytest.mark.parametrize("model", [Layer(2, 1, "linear", seed=0), Neuron(2, "linear", seed=0), Scale(0.5), net()])
def test_any_module_is_trained(model):
    before = model.state_dict()
    history = fit(model, X, [x[0] for x in X], lr=0.2, epochs=60, seed=0)
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    assert model.state_dict() != before


def test_several_outputs_are_trained_together():
    model = MLP(2, [3, 2], "tanh", seed=0)
    targets = [[a + b, a - b] for a, b in X]
    history = fit(model, X, targets, loss="half_squared_error", lr=0.1, epochs=100, seed=0)
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    assert np.abs(model.predict(X) - targets).max() < 0.5


def test_a_loss_by_its_name_is_the_function_of_that_name():
    rows = [[1.0, 2.0], [3.0, 4.0]]
    outputs = MLP(2, [2], output="linear", seed=0).batch(rows)
    by_name = fit(MLP(2, [2], output="linear", seed=0), rows, rows, loss="half_squared_error", epochs=1)["loss"][0]
    assert by_name == pytest.approx(half_squared_error(outputs, rows).data / 2)  # for one example


CLASSES = [0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    "classes",
    [CLASSES, np.array(CLASSES), [float(k) for k in CLASSES], np.array(CLASSES, dtype=np.uint8), np.eye(3)[CLASSES]],
)
@pytest.mark.parametrize("loss", ["cross_entropy", cross_entropy, partial(cross_entropy, reduction="mean")])
def test_classes_are_numbers_or_shares(classes, loss):
    expected = cross_entropy(MLP(2, [4, 3], "tanh", seed=0).batch(X), CLASSES).data
    model = MLP(2, [4, 3], "tanh", seed=0)
    optimizer = Adam(model.parameters(), 0.1)
    history = fit(model, X, classes, loss=loss, optimizer=optimizer, epochs=60, shuffle=False, metrics=["accuracy"])
    assert history["loss"][0] == pytest.approx(expected)
    assert history["accuracy"][-1] == 1.0


def test_only_the_parameters_of_the_optimizer_move():
    model = net()
    hidden, output = model.layers[0].state_dict(), model.layers[1].state_dict()
    fit(model, X, Y, optimizer=Adam(model.layers[1].parameters()), epochs=2)
    assert model.layers[0].state_dict() == hidden
    assert not set(model.layers[1].state_dict().values()) & set(output.values())


def test_an_optimizer_goes_on_where_it_was():
    once, twice = net(), net()
    fit(once, X, Y, optimizer=Adam(once.parameters()), epochs=4, shuffle=False)
    optimizer = Adam(twice.parameters())
    for _ in range(2):
        fit(twice, X, Y, optimizer=optimizer, epochs=2, shuffle=False)
    assert once.state_dict() == twice.state_dict()
    assert optimizer.steps == 4


@pytest.mark.parametrize("training", [True, False])
def test_fit_trains_in_training_mode_and_leaves_the_mode_as_it_was(training):
    model = net(norm="batch").train(training)
    modes = []

    def loss(outputs, targets):
        modes.append(any(output.op for output in outputs) and model.layers[0].norm.training)
        return mse(outputs, targets)

    fit(model, X, Y, loss=loss, epochs=2, validation=(X, Y))
    assert modes == [True, False, True, False]
    assert {part.training for part in model.modules()} == {training}
    assert model.layers[0].norm.running_mean != [0.0, 0.0, 0.0]


def test_on_epoch_is_told_of_each_epoch():
    model, told = net(), []
    history = fit(model, X, Y, epochs=3, seed=0, on_epoch=lambda *given: told.append((*given, dict(given[2]))))
    assert [(epoch, given) for epoch, given, *_ in told] == [(1, model), (2, model), (3, model)]
    assert all(given is history for _, _, given, _ in told)
    assert [len(columns["loss"]) for *_, columns in told] == [3, 3, 3]  # the lists grow


def test_an_error_in_on_epoch_is_not_hidden():
    def broken(epoch, model, history):
        raise LookupError(f"in epoch {epoch}")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(LookupError, match="in epoch 1"):
        fit(net(), X, Y, on_epoch=broken)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("given", ["lr", "optimizer"])
def test_a_rate_that_is_a_function_is_asked_at_each_step(given):
    asked, model = [], Scale()

    def rate(step):
        asked.append(step)
        return 0.1

    options = {"lr": rate} if given == "lr" else {"optimizer": Adam(model.parameters(), rate)}
    asked.clear()
    fit(model, [[1.0]] * 5, [1.0] * 5, batch_size=2, epochs=2, **options)
    assert asked[-6:] == [0, 1, 2, 3, 4, 5]  # before that it was asked about the first and the last step


# Validation, metrics and early stopping.


def test_held_out_examples_are_never_learned_from():
    watch = Watch()
    fit(net(), X, Y, loss=watch, batch_size=2, epochs=5, validation_split=0.4, seed=0)
    learned = {target for batch in watch.batches for target in batch}
    (held_out,) = {tuple(sorted(targets)) for targets in watch.judged}
    assert len(held_out) == 2
    assert learned == set(Y) - set(held_out)
    assert watch.sizes == [2, 1] * 5
    assert len(watch.judged) == 5


def test_what_is_held_out_is_drawn_by_the_seed():
    drawn = set()
    for seed in range(20):
        watch = Watch()
        fit(net(), X, Y, loss=watch, epochs=1, validation_split=0.2, seed=seed)
        drawn |= set(watch.judged[0])
    assert drawn == set(Y)


def test_the_validation_is_that_of_the_model_after_the_epoch():
    model, found = net(), []
    held_out = ([[0.3, 0.3], [2.0, -1.0]], [1.0, -1.0])

    def judge(epoch, model, history):
        outputs = model.predict(held_out[0])
        found.append((mse(outputs, held_out[1]).data, mae(outputs, held_out[1]).data))

    history = fit(model, X, Y, epochs=3, seed=0, validation=held_out, metrics=["mae"], on_epoch=judge)
    assert list(history) == ["loss", "mae", "val_loss", "val_mae"]
    assert history["val_loss"] == pytest.approx([loss for loss, _ in found], rel=1e-15)
    assert history["val_mae"] == pytest.approx([error for _, error in found], rel=1e-15)


def test_validation_changes_nothing_but_the_history():
    with_it, without = net(norm="batch"), net(norm="batch")
    history = fit(with_it, X, Y, epochs=3, seed=0, validation=([[5.0, 5.0]], [1.0]))
    assert history["loss"] == fit(without, X, Y, epochs=3, seed=0)["loss"]
    assert with_it.state_dict() == without.state_dict()


def test_metrics_are_names_or_functions_of_numbers():
    asked = []

    def largest(outputs, targets):
        asked.append((outputs, targets))
        return max(abs(o - t) for o, t in zip(outputs, targets, strict=True))

    model = net()
    outputs = model.predict(X)
    history = fit(model, X, Y, metrics=["mae", largest], epochs=1, shuffle=False, batch_size=None)
    assert list(history) == ["loss", "mae", "largest"]
    ((seen, targets),) = asked
    assert (seen, targets) == (pytest.approx(outputs.tolist(), rel=1e-12), Y)
    assert history["mae"] == pytest.approx([np.abs(outputs - Y).mean()])
    assert history["largest"] == pytest.approx([np.abs(outputs - Y).max()])
    assert list(fit(net(), X, Y, metrics="mae", epochs=1)) == ["loss", "mae"]


@pytest.mark.parametrize(
    ("outputs", "targets", "threshold", "expected"),
    [
        ([0.2, 0.6, 0.5, 0.51], [0, 1, 0, 0], 0.5, 0.75),
        ([-0.2, 0.6, 0.0, 0.3], [-1, 1, -1, -1], 0.0, 0.75),
        ([-3.0, 0.4], [0, 1], 0.0, 1.0),
        ([[0.2], [0.9]], [[0], [1]], 0.5, 1.0),
        ([[0.1, 0.7], [0.9, 0.2]], [1, 1], 0.5, 0.5),
        ([[0.1, 0.7, 0.2], [2.0, 1.0, 3.0]], [1, 0], 0.5, 0.5),
        ([[0.1, 0.7, 0.2], [2.0, 1.0, 3.0]], [1.0, 2.0], 0.5, 1.0),
        ([[0.1, 0.7, 0.2], [2.0, 1.0, 3.0]], [[0, 1, 0], [0.5, 0.2, 0.3]], 0.5, 0.5),
    ],
)
def test_accuracy_is_the_share_told_right(outputs, targets, threshold, expected):
    for kind in (list, np.array):
        assert accuracy(kind(outputs), kind(targets), threshold=threshold) == expected


def test_accuracy_turns_at_a_half_unless_told_otherwise():
    assert accuracy([0.4, 0.6], [0, 1]) == 1.0
    assert accuracy([0.4, 0.6], [1, 0]) == 0.0


@pytest.mark.parametrize(
    ("loss", "output", "targets"),
    [
        ("hinge", "linear", [-1, 1, 1, -1, 1]),
        ("binary_cross_entropy", "sigmoid", [0, 1, 1, 0, 1]),
        ("binary_cross_entropy_with_logits", "linear", [0, 1, 1, 0, 1]),
        ("mse", "sigmoid", [0, 1, 1, 0, 1]),
        ("mse", "linear", [-1, 1, 1, -1, 1]),
        (lambda outputs, targets: mse(outputs, targets), "tanh", [-1, 1, 1, -1, 1]),
    ],
)
def test_accuracy_knows_where_the_outputs_of_a_loss_turn(loss, output, targets):
    model = MLP(2, [4, 1], "tanh", output, seed=1)
    before = model.predict(X)
    turn = 0.5 if output == "sigmoid" else 0.0
    expected = np.mean((before > turn) == (np.array(targets) > 0))
    history = fit(model, X, targets, loss=loss, metrics=["accuracy"], epochs=1, batch_size=None, lr=0.01)
    assert history["accuracy"] == [expected]


def overtrained(**options):
    """The weight goes to 5, and passes the 1 that the validation wants after epoch 2."""
    model, weights = Scale(), []
    history = fit(
        model, [[1.0]], [5.0], lr=0.05, validation=([[1.0]], [1.0]),
        on_epoch=lambda epoch, model, history: weights.append(model.w.data), **options,
    )  # fmt: skip
    return model, history, weights


def test_patience_ends_training_and_restores_the_best_epoch():
    model, history, weights = overtrained(epochs=50, patience=3)
    assert weights == pytest.approx([0.5, 0.95, 1.355, 1.7195, 2.04755])
    assert model.w.data == weights[1]
    assert (history.best_epoch, history.epochs) == (2, 5)
    assert history.stopped == "stopped after epoch 5, with the parameters of epoch 2, the best"
    assert history["val_loss"] == pytest.approx([(w - 1.0) ** 2 for w in weights])


def test_without_validation_patience_watches_the_loss_of_training():
    model, weights = Scale(0.5), []
    history = fit(
        model, [[1.0]], [0.0], lr=1.1, epochs=50, patience=2,
        on_epoch=lambda epoch, model, history: weights.append(model.w.data),
    )  # fmt: skip
    assert weights == pytest.approx([-0.6, 0.72, -0.864])  # it diverges: each loss is larger than the one before
    assert (history.best_epoch, history.epochs) == (1, 3)
    assert model.w.data == weights[0]


def test_an_epoch_that_is_as_good_is_no_better():
    history = fit(Scale(), [[0.0]], [1.0], epochs=9, patience=2)
    assert history["loss"] == [1.0, 1.0, 1.0]
    assert history.best_epoch == 1


def test_patience_that_is_not_used_up_changes_nothing():
    patient, other = net(), net()
    history = fit(patient, X, Y, lr=0.01, epochs=5, patience=1, seed=0)
    assert history["loss"] == fit(other, X, Y, lr=0.01, epochs=5, seed=0)["loss"]
    assert sorted(history["loss"], reverse=True) == history["loss"]
    assert patient.state_dict() == other.state_dict()
    assert (history.stopped, history.best_epoch) == ("5 epochs done", 5)


# Ctrl-C.


def interrupting(model, batch, times=1):
    """A loss that presses Ctrl-C in a batch."""
    watch = Watch(model)

    def loss(outputs, targets):
        result = watch(outputs, targets)
        if len(watch.batches) == batch:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return result

    return watch, loss


def test_ctrl_c_ends_training_after_the_batch_and_returns_the_history():
    before = signal.getsignal(signal.SIGINT)
    model, same = net(), net()
    watch, loss = interrupting(model, batch=5)
    history = fit(model, X, Y, loss=loss, batch_size=2, epochs=9, shuffle=False)
    assert watch.sizes == [2, 2, 1, 2, 2]
    assert history.epochs == 2
    assert history["loss"][1] == pytest.approx((watch.values[3] + watch.values[4]) / 2)
    assert history.stopped == "stopped by Ctrl-C in epoch 2 of 9"
    assert signal.getsignal(signal.SIGINT) is before
    for batch in watch.batches:  # the update of the last batch was done
        same.zero_grad()
        mse(same.batch([X[int(target)] for target in batch]), batch).backward()
        gradient_descent_step(same.parameters(), 0.1)
    assert model.state_dict() == same.state_dict()


def test_ctrl_c_between_epochs_ends_training():
    before = signal.getsignal(signal.SIGINT)
    history = fit(
        net(), X, Y, epochs=9, validation=(X, Y),
        on_epoch=lambda epoch, model, history: epoch == 3 and signal.raise_signal(signal.SIGINT),
    )  # fmt: skip
    assert (history.epochs, len(history["val_loss"])) == (3, 3)
    assert history.stopped == "stopped by Ctrl-C in epoch 3 of 9"
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_twice_stops_at_once():
    before = signal.getsignal(signal.SIGINT)
    model = net()
    watch, loss = interrupting(model, batch=2, times=2)
    with pytest.raises(KeyboardInterrupt):
        fit(model, X, Y, loss=loss, batch_size=2, epochs=9)
    assert len(watch.batches) == 2
    assert model.state_dict() == watch.states[1]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_without_signals_trains_too():
    found = []
    thread = threading.Thread(target=lambda: found.append(fit(net(), X, Y, epochs=2, seed=0)["loss"]))
    thread.start()
    thread.join()
    assert found == [fit(net(), X, Y, epochs=2, seed=0)["loss"]]


# Numbers that are not finite.


def stopped(model, X, y, **options):
    """The error of a training that comes to no finite number."""
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(NotFinite) as caught:
        fit(model, X, y, **options)
    assert signal.getsignal(signal.SIGINT) is before
    assert isinstance(caught.value, FloatingPointError)
    advice = "The parameters are those of the last good step, and the history is in this error's `history`"
    assert advice in str(caught.value)
    return caught.value


def bits(model):
    return {name: number.hex() for name, number in model.state_dict().items()}


def overflowing(model, call):
    """A loss that overflows at a call."""
    watch = Watch(model)

    def loss(outputs, targets):
        result = watch(outputs, targets)
        return result * 1e300 * 1e300 if len(watch.batches) == call else result

    return watch, loss


@pytest.mark.parametrize("make", [SGD, RMSprop, Adam])
def test_a_loss_that_overflows_stops_training_with_the_parameters_of_the_last_finite_loss(make):
    model = net(norm="batch")
    optimizer = make(model.parameters())
    watch, loss = overflowing(model, call=4)
    error = stopped(model, X, Y, loss=loss, optimizer=optimizer, batch_size=3, epochs=9, seed=0)
    assert str(error).startswith("Training stopped at epoch 2, batch 2, layer 2: the loss is inf, and it began at a n")
    assert (error.epoch, error.batch, error.layer) == (2, 2, 2)
    assert (error.node.op, error.node.data) == ("*", math.inf)
    assert bits(model) == {name: number.hex() for name, number in watch.states[-2].items()}
    assert optimizer.steps == 2
    assert error.history.epochs == 1
    assert error.history["loss"] == pytest.approx([(3 * watch.values[0] + 2 * watch.values[1]) / 5])


def test_the_layer_and_the_node_where_an_overflow_began_are_named():
    model = MLP(1, [2, 2, 1], exp, init=lambda i, o, g: 0.5 + 0.01 * np.arange(o * i).reshape(o, i))
    before = bits(model)
    error = stopped(model, [[1.0], [800.0]], [1.0, 2.0], batch_size=1, shuffle=False, lr=1e-9)
    pattern = r"epoch 1, batch 2, layer 2: the loss is inf, and it began at a2_1_ex1 = exp of z2_1_ex1 = [\d.e+]+\."
    assert re.search(pattern, str(error))
    assert (error.epoch, error.batch, error.layer, error.node.label) == (1, 2, 2, "a2_1_ex1")
    assert bits(model) == before
    assert error.history.epochs == 0


def test_a_layer_without_a_value_stops_training():
    model = MLP(1, [2, 1], "log", init=lambda i, o, g: np.ones((o, i)) + np.eye(o, i))
    watch = Watch(model)
    error = stopped(model, [[1.0], [2.0], [-2.0]], [0.0, 1.0, 2.0], loss=watch, batch_size=1, shuffle=False, lr=0.01)
    pattern = (
        r"^Training stopped at epoch 1, batch 3, layer 1: a1_1_ex1: log\(-3\.\d+\) has no value \(with z1_1_ex1 = "
    )
    assert re.search(pattern, str(error))
    assert (error.epoch, error.batch, error.layer) == (1, 3, 1)
    assert model.state_dict() == watch.states[-1]


def test_a_layer_without_a_value_in_the_first_batch_leaves_the_parameters_as_they_were():
    model = MLP(1, [1], output="log", init=lambda i, o, g: np.ones((o, i)))
    optimizer = Adam(model.parameters())
    before = bits(model)
    error = stopped(model, [[-1.0]], [0.0], optimizer=optimizer)
    assert (error.epoch, error.batch, error.layer, dict(error.history)) == (1, 1, 1, {})
    assert bits(model) == before
    assert (optimizer.steps, optimizer.memory) == (0, [(0.0, 0.0)] * 2)


def test_a_loss_without_a_value_stops_training():
    model = net()
    before = bits(model)
    error = stopped(model, X, Y, loss=lambda outputs, targets: (mse(outputs, targets) - 1000.0).log())
    assert re.search(r"epoch 1, batch 1: log\(-99\d\.\d+\) has no value: the logarithm needs", str(error))
    assert (error.layer, error.node) == (None, None)
    assert bits(model) == before


def test_a_rate_that_is_too_large_at_once_changes_nothing():
    model = net()
    before = bits(model)
    error = stopped(model, X, Y, lr=1e308)
    assert re.search(r"epoch 1, batch 1: Parameter w2_1_2 would become -inf: it is 0\.562149, with", str(error))
    assert (error.epoch, error.batch, error.history.epochs) == (1, 1, 0)
    assert bits(model) == before


def test_a_rate_that_diverges_stops_with_the_last_finite_loss():
    model = MLP(2, [1], seed=0)
    watch = Watch(model)
    error = stopped(model, X, Y, loss=watch, lr=1e40, epochs=100)
    assert "the loss is inf" in str(error)
    assert error.history["loss"] == watch.values[:-1]
    assert error.epoch == len(watch.values) > 3
    assert model.state_dict() == watch.states[-2]
    assert all(map(math.isfinite, model.state_dict().values()))
    assert math.isfinite(mse(model.batch(X), Y).data)


@pytest.mark.filterwarnings("ignore")  # a warning of an infinite gradient stops training whether it is shown or not
def test_gradients_without_a_number_stop_training():
    infinite = Scale(0.0)
    error = stopped(infinite, [[2.0]], [1.0], loss=lambda outputs, targets: sqrt(outputs[0]))
    assert re.search(r"batch 1: The gradient of \w+ is infinite: .*sqrt of 0", str(error))
    without = Scale(0.0)
    error = stopped(without, [[2.0]], [1.0], loss=lambda outputs, targets: sqrt(outputs[0] ** 2))
    assert re.search(r"batch 1: The gradient of \w+ has no value \(nan\)", str(error))
    assert infinite.w.data == without.w.data == infinite.w.grad == without.w.grad == 0.0


def test_training_can_go_on_from_the_last_good_step():
    model = net()
    _, loss = overflowing(model, call=3)
    error = stopped(model, X, Y, loss=loss, epochs=9)
    history = fit(model, X, Y, lr=0.01, epochs=5)
    assert history["loss"][0] <= error.history["loss"][0]
    assert history.epochs == 5


# What does not fit together is refused before anything has changed.


def with_nan(rows, row, column=None):
    spoiled = np.array(rows, dtype=float)
    spoiled[row if column is None else (row, column)] = math.nan
    return spoiled


THREE = partial(MLP, 2, [3], output="linear", seed=0)


@pytest.mark.parametrize(
    ("X", "y", "error", "words"),
    [
        ([[1.0, 2.0, 3.0]] * 5, Y, ValueError, "The model takes 2 inputs, and the rows of X have 3"),
        ([1.0, 2.0], Y, ValueError, r"X must have two dimensions, \(examples, inputs\), and its shape is \(2,\)"),
        ([[1.0, 2.0], [3.0]], Y, ValueError, r"The rows of X have different lengths: \[1, 2\]"),
        ([], [], ValueError, "X is empty: it needs at least one example"),
        (np.empty((0, 2)), [], ValueError, "X is empty"),
        (X, [], ValueError, "y is empty"),
        (with_nan(X, 3, 1), Y, ValueError, r"X has a number that is not finite: nan, row 3, column 1 \(counted"),
        ([[0.0, math.inf], *X[1:]], Y, ValueError, "X has a number that is not finite: inf, row 0, column 1"),
        (with_nan(X, slice(2), 1), Y, ValueError, r"nan, row 0, column 1 \(counted from 0\)\. 2 numbers are\. Leave"),
        (X, with_nan(Y, 2), ValueError, r"y has a number that .* nan, row 2 \(counted from 0\)\. Leave such"),
        ([["a", "b"]] * 5, Y, TypeError, "X must hold numbers: 'a' is no real number"),
        ([[None, 1.0]] * 5, Y, ValueError, r"not finite: nan, row 0, column 0 \(counted from 0\)\. 5 numbers are"),
        (X, ["a"] * 5, TypeError, "y must hold numbers"),
        (X, Y[:4], ValueError, "There are 5 examples, and y has 4 targets"),
        (X, [[t, t] for t in Y], ValueError, r"has 1 output, so that y must have the shape \(5,\), and it has \(5, 2"),
    ],
)  # fmt: skip
def test_examples_that_do_not_fit_are_refused(X, y, error, words):
    model = net()
    before = model.state_dict()
    with pytest.raises(error, match=words):
        fit(model, X, y)
    assert model.state_dict() == before


@pytest.mark.parametrize(
    ("make", "loss", "y", "error", "words"),
    [
        (THREE, "cross_entropy", [0, 1, 2, 3, 0], ValueError, "row 3 .*Class 3 is out of range: there are 3, numbered"),
        (THREE, "cross_entropy", [0, -1, 2, 3, 0], ValueError, "row 1 .*Class -1 is out of range"),
        (THREE, "cross_entropy", [0, 1, 0.5, 1, 0], TypeError, "row 2 .*A class is a whole number from 0 to 2"),
        (THREE, "cross_entropy", [[0.5, 0.5, 0]] * 4 + [[1, 1, 0]], ValueError, "row 4 .*must add up to 1"),
        (net, "hinge", [1, 0, 1, 0, 1], ValueError, "row 1 .*hinge takes targets −1 and 1, and one is 0"),
        (net, "binary_cross_entropy_with_logits", [0, 1, 1, 2, 1], ValueError, "row 3 .*from 0 to 1, and one is 2"),
    ],
)
def test_targets_that_a_loss_cannot_take_are_refused_with_their_row(make, loss, y, error, words):
    model = make()
    before = model.state_dict()
    with pytest.raises(error, match=f"^y, {words}"):
        fit(model, X, y, loss=loss)
    fitting = [1] * 5 if loss != "cross_entropy" else [0] * 5
    with pytest.raises(error, match=f"^validation y, {words}"):
        fit(model, X, fitting, loss=loss, validation=(X, y))
    assert model.state_dict() == before


@pytest.mark.parametrize(
    ("loss", "y", "words"),
    [
        ("mse", Y, r"the shape \(5, 3\), and it has \(5,\)\. For classes counted from 0 take the loss cross_entropy"),
        ("mse", [[1.0, 2.0]] * 5, r"the shape \(5, 3\), and it has \(5, 2\)\.$"),
        ("cross_entropy", [[0.5, 0.5]] * 5, r"the shape \(5, 3\), and it has \(5, 2\)\.$"),
    ],
)
def test_targets_of_several_outputs_need_their_shape(loss, y, words):
    model = THREE()
    before = model.state_dict()
    with pytest.raises(ValueError, match=f"The model has 3 outputs, so that y must have {words}"):
        fit(model, X, y, loss=loss)
    assert model.state_dict() == before


OPTIMIZER = Adam(net().parameters())


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"loss": "mes"}, ValueError, r"There is no loss 'mes'\. Did you mean `mse`"),
        ({"loss": "crossentropy"}, ValueError, "Did you mean `cross_entropy`"),
        ({"loss": None}, TypeError, "A loss is a name or a function of outputs and targets, not NoneType"),
        ({"metrics": ["acuracy"]}, ValueError, r"There is no metric 'acuracy'\. Did you mean `accuracy`"),
        ({"metrics": ["mae", "f1"]}, ValueError, r"There is no metric 'f1'\. Known names: accuracy, mse"),
        ({"optimizer": "adam"}, TypeError, r"optimizer must be one such as Adam\(model\.parameters\(\)\), not 'adam'"),
        ({"optimizer": Adam}, TypeError, r"optimizer must be one such as Adam\(model\.parameters\(\)\), not <class"),
        ({"optimizer": OPTIMIZER}, ValueError, "The optimizer updates none of the model's parameters"),
        ({"lr": 0.0}, ValueError, r"lr must be above 0 and finite, and it is 0\.0"),
        ({"lr": -0.1}, ValueError, r"lr must be above 0 and finite, and it is -0\.1"),
        ({"lr": math.nan}, ValueError, "lr must be above 0 and finite, and it is nan"),
        ({"lr": "fast"}, TypeError, "lr must be a number, not str 'fast'"),
        ({"lr": lambda step: -1.0}, ValueError, r"lr at step 0 \(counted from 0\) must be above 0 and finite, and it"),
        ({"lr": lambda step: 0.9 - 0.1 * step}, ValueError, "lr at step 9 .* must be above 0 and finite"),
        ({"metrics": [mse, "mse"]}, ValueError, "Two metrics are called 'mse': give one of them a name"),
        ({"metrics": [lambda o, t: 1.0, lambda o, t: 2.0]}, ValueError, "Two metrics are called '<lambda>'"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1, and it is 0"),
        ({"epochs": 2.0}, TypeError, r"epochs must be a whole number, not float 2\.0"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, and it is 0"),
        ({"batch_size": -4}, ValueError, "batch_size must be at least 1, and it is -4"),
        ({"batch_size": 2.5}, TypeError, r"batch_size must be a whole number, not float 2\.5"),
        ({"patience": 0}, ValueError, "patience must be at least 1, and it is 0"),
        ({"patience": -1}, ValueError, "patience must be at least 1, and it is -1"),
        ({"clip_norm": 0.0}, ValueError, r"clip_norm must be above 0 and finite, and it is 0\.0"),
        ({"clip_norm": -1.0}, ValueError, r"clip_norm must be above 0 and finite, and it is -1\.0"),
        ({"validation_split": 1.0}, ValueError, r"validation_split must be from 0 to below 1, and it is 1\.0"),
        ({"validation_split": -0.1}, ValueError, r"validation_split must be from 0 to below 1, and it is -0\.1"),
        ({"validation_split": math.nan}, ValueError, "validation_split must be from 0 to below 1, and it is nan"),
        ({"validation_split": 0.01}, ValueError, "of 5 examples leaves 5 to learn from and 0 to validate with"),
        ({"validation_split": 0.99}, ValueError, "of 5 examples leaves 0 to learn from and 5 to validate with"),
        ({"validation_split": 0.4, "validation": (X, Y)}, ValueError, "Give validation examples, or a validation_"),
        ({"validation": ([[1.0]], [1.0])}, ValueError, "takes 2 inputs, and the rows of validation X have 1"),
        ({"validation": (X, Y[:3])}, ValueError, "There are 5 examples, and validation y has 3 targets"),
        ({"validation": (with_nan(X, 1, 0), Y)}, ValueError, "validation X has a number .* nan, row 1, column 0"),
        ({"seed": -1}, TypeError, "A seed is a whole number from 0 on"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(options, error, words):
    model = net()
    before = model.state_dict()
    with pytest.raises(error, match=words):
        fit(model, X, Y, **options)
    assert model.state_dict() == before


def test_a_schedule_must_last_to_the_last_batch():
    def falling(step):
        return 0.62 - 0.1 * step

    model = net()
    optimizer = SGD(model.parameters(), falling)
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"lr at step 8 \(counted from 0\) must be above 0"):
        fit(model, X, Y, optimizer=optimizer, epochs=3, batch_size=2)
    assert model.state_dict() == before
    assert fit(model, X, Y, optimizer=optimizer, epochs=2, batch_size=2, clip_norm=0.1).epochs == 2
    with pytest.raises(ValueError, match="lr at step 8 "):  # six steps are done
        fit(model, X, Y, optimizer=optimizer, epochs=1, batch_size=2)


def test_a_rate_is_given_once():
    model = net()
    with pytest.raises(ValueError, match="Give the learning rate to the optimizer, or to fit where there is none"):
        fit(model, X, Y, optimizer=Adam(model.parameters()), lr=0.1)


def test_a_model_without_parameters_is_refused():
    class Fixed(Module):
        def __call__(self, x):
            return Value(1.0)

    with pytest.raises(ValueError, match=r"There are no parameters to update"):
        fit(Fixed(), X, Y)


# The progress bar.


def test_the_progress_bar_goes_to_stderr(capsys):
    history = fit(net(), X, Y, epochs=3, batch_size=2, seed=0, progress=True)
    output, bar = capsys.readouterr()
    assert output == ""
    assert "epoch 3/3" in bar
    assert f"loss {history['loss'][-1]:.4g}" in bar
    assert "0:00:00" in bar  # nothing remains
    assert "examples/s" in bar


@pytest.mark.parametrize("progress", [None, False])
def test_nothing_is_written_where_there_is_no_terminal(progress, capsys):
    fit(net(), X, Y, epochs=2, progress=progress)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_the_progress_bar_unless_told_otherwise(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(net(), X, Y, epochs=2)
    assert "epoch" in capsys.readouterr().err
    fit(net(), X, Y, epochs=2, progress=False)
    assert capsys.readouterr().err == ""


def test_progress_changes_nothing(capsys):
    model, other = net(), net()
    assert dict(fit(model, X, Y, seed=0, progress=True)) == dict(fit(other, X, Y, seed=0))
    assert model.state_dict() == other.state_dict()


# The history.


def halving(**options):
    """The weight goes to 1 by halves: 0, 0.5, 0.75, …"""
    history = fit(Scale(), [[1.0], [1.0]], [1.0, 1.0], lr=0.25, **options)
    history.seconds = 0.25
    return history


PRINTED = """
 epoch     loss    mae   val_loss   val_mae
 ──────────────────────────────────────────
     1        1      1          1         1
     2     0.25    0.5       2.25       1.5
     3   0.0625   0.25     3.0625      1.75

3 epochs done, in 0.25 s
"""


def test_a_history_prints_as_a_table():
    history = halving(epochs=3, validation=([[2.0], [2.0]], [0.0, 0.0]), metrics=["mae"])
    assert str(history) == repr(history) == PRINTED.strip("\n")


def test_a_long_history_shows_epochs_evenly():
    lines = str(halving(epochs=100)).splitlines()
    assert [line.split()[0] for line in lines[2:-2]] == [str(1 + 9 * i) for i in range(12)]
    assert lines[-1] == "12 of the 100 epochs are shown; 100 epochs done, in 0.25 s"
    assert len(str(halving(epochs=12)).splitlines()) == 2 + 12 + 2
    assert "shown" not in str(halving(epochs=12))


def test_a_history_is_a_mapping_of_lists():
    history = halving(epochs=4)
    assert history["loss"] == [1.0, 0.25, 0.0625, 0.015625]
    assert (list(history), len(history), history.epochs) == (["loss"], 1, 4)
    assert dict(history) == {"loss": history["loss"]}
    assert history.get("val_loss") is None
    assert "loss" in history
    with pytest.raises(KeyError, match=r"the history has no 'los'\. Did you mean `loss`"):
        history["los"]
    assert (History().epochs, len(History())) == (0, 0)


def test_a_history_knows_how_long_it_took(monkeypatch):
    times = iter([10.0, 12.5])
    monkeypatch.setattr(train, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    history = fit(net(), X, Y, epochs=2)
    assert history.seconds == 2.5
    assert str(history).endswith("2 epochs done, in 2.5 s")


def test_one_epoch_is_one():
    assert halving(epochs=1).stopped == "1 epoch done"


def curves_of(axes):
    return {
        line.get_label(): (line.get_linestyle(), line.get_xdata().tolist(), line.get_ydata().tolist())
        for line in axes.get_lines()
    }


def test_a_history_plots_the_losses_and_the_metrics():
    history = halving(epochs=3, validation=([[2.0], [2.0]], [0.0, 0.0]), metrics=["mae"])
    losses, metrics = history.plot().axes
    epochs = [1, 2, 3]
    assert curves_of(losses) == {
        "loss": ("-", epochs, history["loss"]),
        "val_loss": ("--", epochs, history["val_loss"]),
    }
    assert curves_of(metrics) == {"mae": ("-", epochs, history["mae"]), "val_mae": ("--", epochs, history["val_mae"])}
    for axes in (losses, metrics):
        assert axes.get_xlabel() == "epoch"
        assert [text.get_text() for text in axes.get_legend().get_texts()] == list(curves_of(axes))
        solid, dashed = axes.get_lines()
        assert solid.get_color() == dashed.get_color()


def test_a_plot_of_losses_alone_has_one_part_and_one_epoch_is_a_point(tmp_path):
    figure = halving(epochs=1).plot()
    (axes,) = figure.axes
    assert curves_of(axes) == {"loss": ("-", [1], [1.0])}
    assert axes.get_lines()[0].get_marker() == "o"
    figure.savefig(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert halving(epochs=2).plot().axes[0].get_lines()[0].get_marker() in ("", "None")


def test_a_plot_shows_in_a_notebook_and_in_no_window_by_itself():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    figure = halving(epochs=2).plot()
    assert plt.get_fignums() == before
    for one in (figure, pickle.loads(pickle.dumps(figure))):
        assert one._repr_png_().startswith(b"\x89PNG")


def test_an_infinity_of_the_layer_before_is_where_it_began():
    def ones(n_inputs, n_outputs, generator):
        return np.array([[1.0], [1.01]]) if n_inputs == 1 else np.array([[1.0, -1.0]])

    model = MLP(1, [2, 1], "exp", init=ones)
    before = model.state_dict()
    with pytest.raises(NotFinite, match=r"epoch 1, batch 2, layer 1: .*a1_1_ex1 = exp of z1_1_ex1 = 8") as caught:
        fit(model, [[1.0], [800.0]], [0.0, 1.0], shuffle=False, batch_size=1, lr=1e-9)
    assert (caught.value.layer, caught.value.node.label) == (1, "a1_1_ex1")
    assert model.state_dict() == before
    assert caught.value.history.stopped == "stopped at epoch 1, batch 2, layer 1"


@pytest.mark.parametrize("make", [RMSprop, Adam])
def test_a_gradient_too_large_to_be_squared_ends_training(make):
    model = MLP(1, [1], seed=0)
    with pytest.raises(NotFinite, match="which squares it"):
        fit(model, [[1e100]], [0.0], loss=lambda o, t: o[0] * 1e110, optimizer=make(model.parameters()))


@pytest.mark.parametrize("metric", ["hinge", "mse", "mae", "half_squared_error"])
def test_losses_are_metrics_of_a_batch_of_one_too(metric):
    assert len(fit(net(), X, [-1, 1, 1, -1, 1], metrics=[metric], batch_size=2, epochs=1)[metric]) == 1


def test_what_the_loss_learns_beside_the_model_begins_each_batch_from_0():
    model, scale, seen = net(), Value(1.0, "scale"), []

    def loss(outputs, targets):
        seen.append(scale.grad)
        return mse([scale * output for output in outputs], targets)

    fit(model, X, Y, loss=loss, optimizer=SGD([*model.parameters(), scale], 1e-9), epochs=3, batch_size=None)
    assert scale.grad == pytest.approx(seen[1], rel=1e-6)


def test_a_validation_without_a_value_keeps_the_history():
    model = MLP(1, [2, 1], "log", init=lambda n, m, generator: np.ones((m, n)) + np.eye(m, n))
    with pytest.raises(NotFinite, match="epoch 1, the validation, layer 1: a1_1_ex1: log") as caught:
        fit(model, [[1.0], [2.0]], [0.0, 1.0], validation=([[-1.0]], [0.0]), epochs=2, lr=1e-3)
    assert caught.value.batch is None


def test_a_module_may_keep_its_layers_by_name():
    class ByName(Module):
        def __init__(self):
            self.layers = {"hidden": Layer(2, 3, "tanh", seed=0), "output": Layer(3, 1, "linear", seed=1)}

        def __call__(self, x):
            return self.layers["output"](self.layers["hidden"](x))

    assert fit(ByName(), X, Y, epochs=1).epochs == 1


def test_a_batch_that_overflows_its_variance_ends_training():
    with pytest.raises(NotFinite, match="var1_1: the variance over the batch is inf, too large for a float"):
        fit(net(norm="batch"), [[1e200, 0.0], [2e200, 0.0], [1.0, 0.0]], Y[:3], epochs=1)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"loss": lambda outputs, targets: 0.5}, TypeError, "The loss must return a Value, and it returned float 0.5"),
        ({"loss": lambda outputs, targets: Value(0.5)}, ValueError, "no longer knows the net"),
        ({"validation": (X,)}, TypeError, "validation is a pair"),
        ({"validation_split": "a"}, ValueError, "validation_split must be from 0"),
        ({"loss": "cross_entropy"}, ValueError, "at least two. For one output"),
    ],
)
def test_more_that_does_not_fit_is_refused(options, error, words):
    with pytest.raises(error, match=words):
        fit(net(), X, [0, 1, 1, 0, 1], **options)


def test_targets_that_are_one_number_are_refused():
    with pytest.raises(ValueError, match="y must have a target for each of the 5 examples"):
        fit(net(), X, 1.0)
    with pytest.raises(ValueError, match=r"There are 5 examples, and y is 1\.0"):
        fit(net(), X, 1.0, loss=lambda outputs, targets: mse(outputs, targets))


def test_one_metric_may_stand_without_a_list():
    assert "accuracy" in fit(net(), X, [0, 1, 1, 0, 1], metrics=accuracy, epochs=1)


def test_the_node_is_told_where_a_loss_has_no_value():
    """An infinite logit: ∞ − ∞ in the cross-entropy."""

    def large(n_inputs, n_outputs, generator):
        return np.full((n_outputs, n_inputs), 1e308) * np.array([[1.0], [-1.0]])

    model = MLP(2, [2], init=large)
    with pytest.raises(NotFinite) as caught:
        fit(model, [[10.0, 10.0]], [1], loss="cross_entropy")
    assert (caught.value.layer, caught.value.node.label) == (1, "z1_1_ex1")


def test_the_node_is_told_where_a_gradient_has_no_value():
    model = Scale(0.0)
    with pytest.raises(NotFinite, match="has no value") as caught:
        fit(model, [[1.0]], [0.0], loss=lambda outputs, targets: sqrt(outputs[0] * outputs[0]))
    assert caught.value.node is not None


def test_a_validation_that_is_infinite_throws_nothing_away():
    model = net()
    history = fit(model, X, Y, validation=([[1e200, 1e200]], [1e300]), epochs=4, patience=2)
    assert history["val_loss"] == [math.inf] * history.epochs
    assert history.best_epoch == 1
    assert model.state_dict() != net().state_dict()


def test_the_best_parameters_are_restored_where_the_epochs_run_out_too():
    model, history, weights = overtrained(epochs=5, patience=9)
    assert (history.best_epoch, history.stopped) == (2, "5 epochs done, with the parameters of epoch 2, the best")
    assert model.w.data == weights[1]


def test_ctrl_c_twice_in_the_midst_of_an_update_leaves_no_half_of_it():
    model = net()

    class Interrupted(SGD):
        def step(self):
            self.parameters[0].data += 1.0
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    before = model.state_dict()
    with pytest.raises(KeyboardInterrupt):
        fit(model, X, Y, optimizer=Interrupted(model.parameters(), lr=0.1))
    assert model.state_dict() == before


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        history = fit(net(), X, Y, epochs=2, on_epoch=lambda *_: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert history.stopped == "2 epochs done"


def test_threads_leave_the_warnings_as_they_were():
    before = list(warnings.filters)
    threads = [threading.Thread(target=fit, args=(net(), X, Y), kwargs={"epochs": 20}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"metrics": ["mae"], "loss": "cross_entropy"}, ValueError, r"so that y must have the shape \(5, 2\)"),
        ({"metrics": None}, TypeError, "metrics is a list of names and functions"),
        ({"metrics": [lambda outputs, targets: "good"]}, TypeError, "must return a number, and it returned 'good'"),
        ({"on_epoch": 5}, TypeError, "on_epoch is a function of the epoch"),
    ],
)
def test_metrics_that_do_not_fit_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        fit(MLP(2, [2], seed=0), X, [0, 1, 1, 0, 1], **{"loss": "cross_entropy"} | options)


def test_accuracy_needs_targets_that_name_one_class():
    with pytest.raises(ValueError, match=r"that of row 1 \(counted from 0\) is 0\.25"):
        fit(net(), X, [0.0, 0.25, 1.0, 0.0, 1.0], metrics=["accuracy"])
    with pytest.raises(ValueError, match=r"that of row 0 \(counted from 0\) is \[1\.0, 1\.0\]"):
        fit(MLP(2, [2], seed=0), X, [[1.0, 1.0]] * 5, metrics=["accuracy"])


def test_a_loss_function_is_a_metric_that_plots():
    history = fit(net(), X, Y, metrics=[mse], epochs=2)
    assert history["mse"] == pytest.approx(history["loss"])
    assert len(history.plot().axes) == 2


@pytest.mark.parametrize("model", [None, MLP, lambda x: x])
def test_what_is_no_module_is_not_trained(model):
    with pytest.raises(TypeError, match="fit trains a Module, such as an MLP"):
        fit(model, X, Y)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        ([[1j, 0.0]] * 5, TypeError, "1j is no real number"),
        ([["1", "2"]] * 5, TypeError, "'1' is no real number"),
        ([[10**400, 1]] * 5, TypeError, "X must hold numbers"),
        (np.ma.masked_array(X, mask=np.eye(5, 2)), TypeError, "X has masked numbers"),
        (np.full((5, 2), "2020-01-01", dtype="datetime64[D]"), TypeError, "is no real number"),
        (iter(X), TypeError, r"write list\(X\)"),
    ],
)
def test_data_that_are_no_numbers_are_refused(data, error, words):
    with pytest.raises(error, match=words):
        fit(net(), data, Y)


def test_a_loss_that_is_a_sum_is_told_for_one_example():
    """So that training and validation of any size compare."""
    rows = [[1.0], [2.0], [3.0], [4.0]]
    model = Scale(1.0)
    history = fit(
        model, rows, [0.0] * 4, loss="half_squared_error", lr=1e-12, epochs=1, batch_size=3, shuffle=False,
        validation=(rows[:1], [0.0]), metrics=["half_squared_error", partial(mse, reduction="sum")],
    )  # fmt: skip
    assert history["loss"] == pytest.approx([(1 + 4 + 9 + 16) / 8])
    assert history["half_squared_error"] == pytest.approx(history["loss"])
    assert history["mse"] == pytest.approx([(1 + 4 + 9 + 16) / 4])
    assert history["val_loss"] == pytest.approx([0.5])


@pytest.mark.parametrize("targets", [[4, 3], [0, 2]])
def test_accuracy_of_one_output_knows_two_classes(targets):
    with pytest.raises(ValueError, match="needs targets 0 and 1, or −1 and 1"):
        accuracy([0.9, 0.9], targets)


def test_values_are_no_data_to_fit():
    with pytest.raises(TypeError, match=r"it has Values, and numbers are needed: x\.item\(\)"):
        fit(net(), [[Value(1.0), Value(2.0)]] * 5, Y)


def test_a_neuron_takes_a_column_of_targets():
    assert fit(Neuron(2, "sigmoid", seed=0), X, np.array([[0], [1], [1], [0], [1]]), epochs=1).epochs == 1


def test_where_training_stopped_can_be_pickled():
    with pytest.raises(NotFinite) as caught:
        fit(MLP(1, [1, 1], "log", seed=0), [[1.0], [-1.0]], [0.0, 1.0])
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.epoch, again.layer) == (str(caught.value), 1, 1)
