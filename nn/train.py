"""`fit`: epochs of shuffled mini-batches, each a forward pass, a loss, a backward pass and an update."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias

from numpy.random import Generator

from engine import DomainError, Value, nodes
from engine.text import number, shorten
from nn.data import as_examples, rate_at, refuse_count, refuse_not_positive
from nn.history import History
from nn.init import as_generator
from nn.layers import ForwardError, layer_of, outputs_of, refuse_output
from nn.losses import LOSSES, Loss, as_loss, as_targets, pass_back, per_example, refuse_no_graph
from nn.metrics import Metric, as_metrics
from nn.module import Module, modes_kept, numbers_of
from nn.norm import BatchNorm
from nn.optim import GradientDescent, Optimizer, Rate, clip_gradients
from nn.recorded import OF_ONE_EXAMPLE, Arrays, Recording, RecordingError, random_states

Engine: TypeAlias = Literal["auto", "replay", "eager"]
ENGINES = ("auto", "replay", "eager")

_Data: TypeAlias = tuple[list[Any], list[Any]]
_Told: TypeAlias = Callable[[int, int, float], None]


class NotFinite(FloatingPointError):
    """Training came to a number that is not finite; the parameters are those of the last good step.

    `epoch` and `batch` count from 1; `batch` is None in the validation, `layer` and `node` where none is to be told.
    `history` has the epochs before.
    """

    def __init__(
        self, message: str, *, epoch: int, batch: int | None, layer: int | None, node: Value | None, history: History
    ) -> None:
        super().__init__(message)
        self.epoch, self.batch, self.layer, self.node, self.history = epoch, batch, layer, node, history

    def __reduce__(self) -> Any:
        """Pickled, as by multiprocessing, it keeps what it tells."""
        told: dict[str, Any] = {name: vars(self)[name] for name in ("epoch", "batch", "layer", "node", "history")}
        return partial(NotFinite, **told), (str(self),)


def fit(
    model: Module,
    X: Any,
    y: Any,
    *,
    loss: str | Loss = "mse",
    optimizer: Optimizer | None = None,
    lr: Rate | None = None,
    epochs: int = 10,
    batch_size: int | None = 32,
    shuffle: bool = True,
    seed: int | Generator | None = None,
    metrics: Sequence[str | Metric] = (),
    validation: tuple[Any, Any] | None = None,
    validation_split: float = 0.0,
    patience: int | None = None,
    clip_norm: float | None = None,
    on_epoch: Callable[[int, Module, History], None] | None = None,
    progress: bool | None = None,
    engine: Engine = "auto",
) -> History:
    """Train a model on examples X, of shape (n, inputs), and targets y; returns the history.

    Without an `optimizer` each update is `gradient_descent_step` with `lr` (0.1 if none is given), a number or a
    function of the step. `loss` is a name or a function of outputs and targets, `metrics` names (`"accuracy"`, or
    that of a loss) or functions of numbers. `batch_size=None` takes all examples at once. `seed` settles the order of
    the examples and what `validation_split` sets aside; `validation` gives such examples instead. With `patience`
    training ends after so many epochs without a lower loss (of the validation, where there is one), and the model has
    the parameters of the best epoch. `clip_norm` bounds the norm of the gradient. `on_epoch(epoch, model, history)` is
    called after each epoch. The progress bar shows on a terminal, or as `progress` says.

    With the `engine` `"replay"` the graph of one example is recorded once, with its inputs and its target as leaves,
    and replayed for whole batches at the speed of matrices, with the same results to rounding; model and loss are
    called for the recording and for checks alone: the first batch, and an example of every further epoch, are compared
    with the engine's own gradients. `"eager"` builds the graph of every batch anew. `"auto"` replays with the losses of
    the table where the model can be recorded; `history.engine` says what was done, and why.

    Ctrl-C ends training after the batch, and the history is returned all the same.

    Raises TypeError and ValueError for what does not fit together, before anything is changed; NotFinite where the
    loss or a gradient is not finite, with the parameters of the last good step; RecordingError where the `"replay"`
    that was asked for can't be, or where an example later differs from the recording, as with an `if` on data.
    """
    if engine not in ENGINES:
        raise ValueError(f"There is no engine {engine!r:.60}: take 'auto', 'replay' or 'eager'.")
    if not isinstance(model, Module):
        raise TypeError(f"fit trains a Module, such as an MLP, not {shorten(repr(model))}.")
    if on_epoch is not None and not callable(on_epoch):
        raise TypeError(f"on_epoch is a function of the epoch, the model and the history, not {on_epoch!r:.60}.")
    name, function = as_loss(loss)
    refuse_output(model, name)
    _refuse_settings(model, optimizer, lr, clip_norm, epochs=epochs, patience=patience, batch_size=batch_size)
    generator = as_generator(seed)
    data = _as_data(model, X, y, name)
    if validation is not None:
        if not isinstance(validation, tuple | list) or len(validation) != 2:
            raise TypeError("validation is a pair of examples and targets, (X, y).")
        if validation_split:
            raise ValueError("Give validation examples, or a validation_split to set some aside: not both.")
        held_out: _Data | None = _as_data(model, *validation, name, "validation ")
    else:
        data, held_out = _set_aside(data, validation_split, generator)
    training = _Training(
        model,
        function,
        as_metrics(metrics, name, data[1], outputs_of(model)),
        optimizer or GradientDescent(model.parameters(), 0.1 if lr is None else lr),
        clip_norm,
        name,
        data,
        held_out,
        engine,
        looks=any(callable(metric) for metric in ([metrics] if callable(metrics) else metrics)),
        interferes=on_epoch is not None,
    )
    cuts = _cuts(len(data[0]), batch_size, model)
    rate_at(training.optimizer.lr, training.optimizer.steps + epochs * len(cuts) - 1)  # a schedule that ends too soon
    started = time.perf_counter()
    try:
        with modes_kept(model), _interruptible() as interrupted, _progress(progress, epochs, len(data[0])) as told:
            for epoch in range(1, epochs + 1):
                order = generator.permutation(len(data[0])).tolist() if shuffle else range(len(data[0]))
                training.epoch(epoch, [order[start:end] for start, end in cuts], interrupted, told)
                if on_epoch is not None:
                    on_epoch(epoch, model, training.history)
                if interrupted or training.ends(epoch, patience):
                    break
            training.end(epochs, patience, interrupted)
    except KeyboardInterrupt:  # Ctrl-C pressed twice, perhaps in the midst of an update
        if training.updating:
            training.good.restore()
        elif training.replayed:
            training.replayed.arrays.write_back()
        raise
    finally:
        training.history.seconds = time.perf_counter() - started
    return training.history


@dataclass
class _Training:
    """One call of `fit`: the steps, and what is known of them."""

    model: Module
    loss: Loss
    metrics: dict[str, Metric]
    optimizer: Optimizer
    clip_norm: float | None
    name: str  # of the loss
    data: _Data
    held_out: _Data | None
    engine: Engine
    looks: bool  # whether a metric is a function of a person's own, which may look at the model
    interferes: bool  # whether a function is called between epochs, which may change the model
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        self.parameters = list(dict.fromkeys([*self.model.parameters(), *self.optimizer.parameters]))
        self.modules = list(self.model.modules())
        self.buffers = [numbers for _, numbers in self.model.named_buffers()]
        self.per_example = per_example(self.loss)
        self.good = self.best = self.state()  # the last with a finite loss; the lowest loss
        self.lowest, self.best_epoch = math.inf, 0
        self.updating = False
        self.replayed: _Replayed | None = None
        self.unchecked = 0  # examples done since one was computed anew
        self.history.engine = "eager"

    def epoch(self, epoch: int, batches: Sequence[Sequence[int]], interrupted: list[int], told: _Told) -> None:
        """One pass over the examples, and a row of the history; ends early when interrupted."""
        for module in self.modules:
            module.training = True
        if epoch == 1 and self.engine != "eager":
            self.record(batches[0])
        elif epoch > 1:
            self.resume(epoch, batches)
        sums, examples = dict.fromkeys(["loss", *self.metrics], 0.0), 0
        try:
            for batch, order in enumerate(batches, 1):
                loss, outputs = self.step(epoch, batch, order)
                found = {"loss": self.per_example(loss, len(order))}
                if self.metrics:
                    targets = [self.data[1][i] for i in order]
                    found |= {name: metric(outputs, targets) for name, metric in self.metrics.items()}
                sums = {name: sums[name] + len(order) * value for name, value in found.items()}
                examples += len(order)
                told(epoch, len(order), sums["loss"] / examples)
                if interrupted:
                    break
        finally:
            if self.replayed:
                self.replayed.arrays.write_back()
        self.unchecked += examples
        if self.interferes and not self.still_agrees(batches[0][0]):
            raise self._changed(epoch, epoch)
        row = {name: value / examples for name, value in sums.items()}
        if self.held_out is not None:
            try:
                row |= {f"val_{name}": value for name, value in self.judged(*self.held_out).items()}
            except DomainError as error:
                raise self._not_finite(epoch, None, [], error) from error
        for name, value in row.items():
            self.history.columns.setdefault(name, []).append(value)
        watched = row["loss" if self.held_out is None else "val_loss"]
        if watched < self.lowest or not self.best_epoch:
            self.lowest, self.best_epoch, self.best = watched, epoch, self.state()

    def record(self, order: Sequence[int]) -> None:
        """Record the first example and replay the first batch, if that gives what the engine itself does.

        A few examples more are compared where the batch is small, and not all where it is large. Of itself this leaves
        a loss of a person's own alone, which may count its calls or change as training goes on.
        """
        self.replayed = None
        first = list(dict.fromkeys([*order, *range(len(self.data[0]))]))[: max(_FEW, min(len(order), _MANY))]
        rows, targets = _taken(self.data, first)
        states = random_states(self.model)
        try:
            if self.engine == "auto" and self.name not in LOSSES:
                raise RecordingError('the loss is a function of your own, which engine="replay" would record')
            recording = Recording(self.model, (self.name, self.loss), (rows[0], targets[0]), self.parameters)
            if any(
                [repr(now) != repr(then) for (_, now), (_, then) in zip(random_states(self.model), states, strict=True)]
            ):
                raise RecordingError(f"it draws random numbers, {OF_ONE_EXAMPLE}")
            batch, arrays = recording.batch(*self.data), Arrays(self.optimizer, self.parameters)
            if not recording.agrees(rows, targets, arrays.numbers, first=True):
                raise RecordingError(
                    f"its first examples differ from their replay, as with an `if` on data, {OF_ONE_EXAMPLE}"
                )
            self.replayed = _Replayed(recording, batch, arrays)
            self.history.engine = "replay"
        except (FloatingPointError, DomainError, RuntimeWarning):  # the first step itself will tell
            self.history.engine = "eager: an example has no value"
        except (RecordingError, ValueError, TypeError) as error:
            if self.engine == "replay":
                raise RecordingError(
                    f"This training can't be replayed: {str(error).rstrip('.')}. Train with "
                    'engine="eager", which builds every graph anew.'
                ) from error
            self.history.engine = f"eager: {str(error).rstrip('.')}"
        finally:
            for restore, state in states:
                restore(state)

    def resume(self, epoch: int, batches: Sequence[Sequence[int]]) -> None:
        """Take what was changed between epochs, and see whether an example still gives what its replay does.

        What `on_epoch` has changed in the model is recorded anew, unless a replay was asked for. Raises RecordingError
        for what changed otherwise.
        """
        replayed = self.replayed
        if replayed is None:
            return
        try:
            replayed.arrays.read()
        except (RecordingError, ValueError, TypeError) as error:
            self.replayed, self.history.engine = None, f"eager from epoch {epoch}: {error}"
            return
        if self.unchecked < _FEW and epoch > _EARLY:
            return
        self.unchecked = 0
        if not self.still_agrees(batches[epoch % len(batches)][0]):
            if not self.interferes or self.engine == "replay":
                raise self._changed(epoch, epoch - 1)
            self.record(batches[0])

    def still_agrees(self, example: int) -> bool:
        """Whether an example gives what its replay does, or has no value, which a step will tell."""
        if self.replayed is None:
            return True
        try:
            return self.replayed.recording.agrees(*_taken(self.data, [example]), self.replayed.arrays.numbers)
        except (FloatingPointError, DomainError, RuntimeWarning):
            return True

    def _changed(self, epoch: int, done: int) -> RecordingError:
        self.replayed = None
        self.history.stopped = f"stopped at epoch {epoch}"
        error = RecordingError(
            f"Training stopped at epoch {epoch}: an example, computed anew, differs from its replay. A recording knows "
            "the operations of one example, not the Python that chose them: what an `if` on data decided, an index, or "
            'a number that changes is the same for every example, and for ever. Train with engine="eager", which '
            f"builds every graph anew. The parameters are those after epoch {done}, to which such examples may have "
            "led, and the history is in this error's `history`."
        )
        error.history = self.history
        return error

    def step(self, epoch: int, batch: int, order: Sequence[int]) -> tuple[float, list[Any]]:
        """Forward pass, loss, backward pass, update; returns the loss and the outputs as numbers."""
        replayed = self.replayed
        if replayed is None:
            return self.eager_step(epoch, batch, *_taken(self.data, order))
        try:
            loss, outputs = replayed.step(order, self.clip_norm, wanted=bool(self.metrics))
        except (FloatingPointError, DomainError):
            self.replayed = None
            replayed.arrays.write_back(before=True)
            self.good = self.state()
            replayed.arrays.write_back()
            found = self.eager_step(epoch, batch, *_taken(self.data, order))  # raises and tells, or goes on
            replayed.arrays.read()
            self.replayed = replayed
            return found
        if self.looks:
            replayed.arrays.write_back()
        return loss, outputs

    def eager_step(self, epoch: int, batch: int, rows: list[Any], targets: list[Any]) -> tuple[float, list[Any]]:
        """A step by the graph of the whole batch, built for it."""
        outputs: Sequence[Any] = []
        loss = None
        try:
            outputs = self.model.batch(rows)
            loss = self.loss(outputs, targets)
            refuse_no_graph(loss)
            if not math.isfinite(loss.data):
                raise FloatingPointError(f"the loss is {loss.data}")
            for parameter in self.parameters:  # what earlier batches left would be added to
                parameter.grad = 0.0
            pass_back(loss, infinite="error")
            self.good = self.state()
            if self.clip_norm is not None:
                clip_gradients(self.optimizer.parameters, self.clip_norm)
            self.updating = True
            self.optimizer.step()
            self.updating = False
        except (FloatingPointError, DomainError, RuntimeWarning) as error:
            self.good.restore()
            raise self._not_finite(epoch, batch, [*outputs, *([] if loss is None else [loss])], error) from error
        return loss.data, [numbers_of(output) for output in outputs]

    def _not_finite(self, epoch: int, batch: int | None, computed: Sequence[Any], error: Exception) -> NotFinite:
        node: Value | None
        layer: int | None
        if isinstance(error, ForwardError):
            node, layer, what = error.node, error.layer, str(error.__cause__)
        else:
            node, what = _where_it_began(computed), str(error)
            layer = layer_of(node) if node is not None else None
        place = (
            f"epoch {epoch}, "
            + ("the validation" if batch is None else f"batch {batch}")
            + (f", layer {layer}" if layer else "")
        )
        began = ""
        if node is not None and not math.isfinite(node.data):
            operands = ", ".join(f"{shorten(p.label)} = {p.data:.6g}".removeprefix(" = ") for p in node.parents[:4])
            name = shorten(node.label) or ("a constant" if node.is_constant else "a node without a name")
            began = f", and it began at {name} = " + (f"{node.op} of {operands}" if node.op else f"{node.data}")
        self.history.stopped = f"stopped at {place}"
        return NotFinite(
            f"Training stopped at {place}: {what.rstrip('.')}{began}. The parameters are those of the last good step, "
            "and the history is in this error's `history`. Take a smaller lr, clip_norm=1.0, or inputs of about 1.",
            epoch=epoch,
            batch=batch,
            layer=layer,
            node=node,
            history=self.history,
        )

    def state(self) -> _State:
        """The numbers of model and optimizer as they are now."""
        return _State(self.parameters, self.buffers, self.optimizer)

    def judged(self, rows: list[Any], targets: list[Any]) -> dict[str, float]:
        """The loss and the metrics on examples that are not learned from."""
        loss, outputs = self._judged_by_replay(rows, targets) or self._judged(rows, targets)
        return {"loss": loss} | {name: metric(outputs, targets) for name, metric in self.metrics.items()}

    def _judged(self, rows: list[Any], targets: list[Any]) -> tuple[float, list[Any]]:
        outputs = self.model.predict(rows).tolist()
        values = [[Value(o) for o in output] if isinstance(output, list) else Value(output) for output in outputs]
        return self.per_example(self.loss(values, targets).data, len(rows)), outputs

    def _judged_by_replay(self, rows: list[Any], targets: list[Any]) -> tuple[float, list[Any]] | None:
        """The same from a recording in evaluation mode; None where training is not replayed, or this can't be.

        An example of every further validation is computed anew, and where it differs, all are from then on.
        """
        replayed = self.replayed
        if replayed is None or replayed.judge is False:
            return None
        numbers, validations = replayed.arrays.numbers, len(self.history.get("val_loss", ()))
        try:
            with modes_kept(self.model):
                self.model.eval()
                if replayed.judge is None:
                    judge = Recording(self.model, (self.name, self.loss), (rows[0], targets[0]), self.parameters)
                    replayed.judge, replayed.judged = judge, judge.batch(rows, targets)
                    seen, first = slice(0, _FEW), True
                else:
                    seen, first = slice(validations % len(rows), validations % len(rows) + 1), False
                if not replayed.judge.agrees(rows[seen], targets[seen], numbers, first=first):
                    raise RecordingError("the examples of the validation differ from their replay")
            loss, outputs = replayed.judge.judged(replayed.judged, numbers)
            return self.per_example(loss, len(rows)), outputs
        except (FloatingPointError, RuntimeWarning, ValueError, TypeError):
            replayed.judge = False
            return None

    def ends(self, epoch: int, patience: int | None) -> bool:
        """Whether so many epochs were no better."""
        return patience is not None and epoch - self.best_epoch >= patience

    def end(self, epochs: int, patience: int | None, interrupted: list[int]) -> None:
        """Note why training has ended; with patience the parameters of the best epoch are restored."""
        done = self.history.epochs
        if interrupted:
            self.history.stopped = f"stopped by Ctrl-C in epoch {done} of {epochs}"
        elif done < epochs:
            self.history.stopped = f"stopped after epoch {done}"
        else:
            self.history.stopped = f"{done} epoch{'s' * (done > 1)} done"
        if patience is not None:
            self.history.best_epoch = self.best_epoch
            if self.best_epoch < done:
                self.best.restore()
                self.history.stopped += f", with the parameters of epoch {self.best_epoch}, the best"


_FEW, _MANY = 32, 256  # examples that are computed anew before a replay is believed, at least and at most
_EARLY = 10  # epochs, each of which computes an example anew; later ones as many as one in _FEW


@dataclass
class _Replayed:
    """A training by replay: the recording, all examples as its batch, and the parameters as arrays."""

    recording: Recording
    batch: Any
    arrays: Arrays
    judge: Recording | Literal[False] | None = None  # that of the validation; False where it can't be
    judged: Any = None

    def step(self, order: Sequence[int], clip_norm: float | None, *, wanted: bool) -> tuple[float, list[Any]]:
        """The loss of a batch, its outputs where they are wanted, and an update."""
        batch = self.batch[order]
        loss, gradient = self.recording.loss_and_gradient(batch, self.arrays.numbers)
        outputs = self.recording.judged(batch, self.arrays.numbers)[1] if wanted else []
        self.arrays.step(gradient, clip_norm)
        return loss, outputs


class _State:
    """The numbers of a model and its optimizer at one moment."""

    def __init__(self, parameters: Sequence[Value], buffers: Sequence[list[float]], optimizer: Optimizer) -> None:
        self._parameters, self._buffers, self._optimizer = parameters, buffers, optimizer
        self._data, self._kept = [p.data for p in parameters], [list(numbers) for numbers in buffers]
        self._steps, self._memory = optimizer.steps, optimizer.memory

    def restore(self) -> None:
        """Make everything as it was."""
        for parameter, data in zip(self._parameters, self._data, strict=True):
            parameter.data = data
        for numbers, kept in zip(self._buffers, self._kept, strict=True):
            numbers[:] = kept
        self._optimizer.steps, self._optimizer.memory = self._steps, self._memory


def _where_it_began(computed: Sequence[Any]) -> Value | None:
    """The first node of a forward pass that is not finite, or the first of its backward pass whose gradient is not."""
    values = [value for output in computed for value in (output if isinstance(output, list | tuple) else [output])]
    under = list(dict.fromkeys(node for value in values if isinstance(value, Value) for node in nodes(value)))
    beginnings = [node for node in under if not math.isfinite(node.data)]
    beginnings += [node for node in reversed(under) if not math.isfinite(node.grad)]
    return beginnings[0] if beginnings else None


def _refuse_settings(
    model: Module, optimizer: Any, lr: Rate | None, clip_norm: float | None, **counts: int | None
) -> None:
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be one such as Adam(model.parameters()), not {shorten(repr(optimizer))}.")
    if optimizer is not None and lr is not None:
        raise ValueError("Give the learning rate to the optimizer, or to fit where there is none: not to both.")
    if optimizer is not None and not set(optimizer.parameters) & set(model.parameters()):
        raise ValueError("The optimizer updates none of the model's parameters: make it of this model.parameters().")
    refuse_count(**{name: count for name, count in counts.items() if count is not None})
    if clip_norm is not None:
        refuse_not_positive(clip_norm=clip_norm)


def _as_data(model: Module, X: Any, y: Any, loss: str, which: str = "") -> _Data:
    rows = as_examples(X, getattr(model, "n_inputs", None), f"{which}X")
    return rows, as_targets(loss, y, len(rows), outputs_of(model), f"{which}y")


def _set_aside(data: _Data, share: float, generator: Generator) -> tuple[_Data, _Data | None]:
    """The examples to learn from, and those to validate with."""
    if not isinstance(share, int | float) or not 0.0 <= share < 1.0:
        raise ValueError(f"validation_split must be from 0 to below 1, and it is {share}.")
    if share == 0.0:
        return data, None
    count = len(data[0])
    aside = round(share * count)
    if not 0 < aside < count:
        raise ValueError(
            f"validation_split = {share} of {count} examples leaves {count - aside} to learn from and {aside} to "
            "validate with."
        )
    order = generator.permutation(count).tolist()
    return _taken(data, order[aside:]), _taken(data, order[:aside])


def _taken(data: _Data, order: Sequence[int]) -> _Data:
    rows, targets = data
    return [rows[i] for i in order], [targets[i] for i in order]


def _cuts(count: int, size: int | None, model: Module) -> list[tuple[int, int]]:
    """Where the batches begin and end; one example left over joins the last batch where a batch is normalized."""
    size = size or count
    starts = list(range(0, count, size))
    if any(isinstance(part, BatchNorm) for part in model.modules()):
        if min(size, count) == 1:
            raise ValueError("Batch normalization needs at least two examples a batch: take a larger batch_size.")
        if count - starts[-1] == 1:
            starts.pop()
    return list(zip(starts, [*starts[1:], count], strict=True))


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """A list that is no longer empty once Ctrl-C was pressed; pressed again, it raises as ever."""
    pressed: list[int] = []
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as under nohup
    if ignored or threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def note(number: int, frame: Any) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(wanted: bool | None, epochs: int, examples: int) -> Iterator[_Told]:
    """A function to tell of each batch: its epoch, its examples and the loss so far."""
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield lambda epoch, done, loss: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [
        TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("{task.fields[speed]} examples/s"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=epochs * examples, epoch=1, epochs=epochs, loss="", speed="")

        def told(epoch: int, done: int, loss: float) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, advance=done, epoch=epoch, loss=number(loss, 4), speed=f"{speed or 0.0:,.0f}")

        yield told
