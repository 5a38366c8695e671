"""A model and its loss, recorded from one example and replayed for whole batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine import Replay, Value, nodes
from engine.text import shorten
from nn.activations import Array
from nn.data import rate_at
from nn.layers import last_layer
from nn.losses import LOSSES, Loss, is_sum, pass_back, refuse_no_graph
from nn.module import Module, numbers_of, undisturbed
from nn.norm import BatchNorm
from nn.optim import SGD, Adam, GradientDescent, Optimizer, RMSprop, clip_gradients

AGREEMENT = 1e-9
"""How far, relative to the largest, gradients may be from those computed anew; a choice of Python moves them far."""


class RecordingError(ValueError):
    """A model that can't be replayed, and why."""

    history: Any = None


class Recording:
    """The graph of one example's loss, with the example's inputs and its target as leaves.

    A class is recorded as one input for each class, 0 or 1, so that no choice of Python is part of the graph. Raises
    RecordingError, which says why, where a model or its loss can't be recorded.
    """

    def __init__(
        self,
        model: Module,
        loss: tuple[str, Loss],
        example: tuple[Sequence[float], Any],
        parameters: Sequence[Value],
    ) -> None:
        self.model, (self._name, self._loss), self._parameters = model, loss, parameters
        if any(isinstance(part, BatchNorm) for part in model.modules()):
            raise RecordingError("batch normalization mixes the examples of a batch")
        self._refuse_what_is_checked()
        row, target = example
        x = [Value(number, f"x{place}") for place, number in enumerate(row, 1)]
        self._buffers = [numbers for _, numbers in model.named_buffers()]
        before = [list(numbers) for numbers in self._buffers]
        try:
            with undisturbed(model):
                (output,) = model.batch([x])
                numbers_of(output)
                changed = before != [list(numbers) for numbers in self._buffers]
                self.outputs: list[Value] = list(output) if isinstance(output, list | tuple) else [output]
                self._alone = not isinstance(output, list | tuple)
                self._classes = len(self.outputs) if self._name == "cross_entropy" and np.ndim(target) == 0 else 0
                wanted = self._leaves(self._numbers_of(target))
                recorded = self._loss([output], [wanted if self._classes or np.ndim(target) else wanted[0]])
                refuse_no_graph(recorded)
        except Exception as error:  # whatever a person's own model or loss makes of Values
            raise RecordingError(f"it could not be recorded from Values: {shorten(str(error), 200)}") from error
        if changed:
            raise RecordingError("the model changes its buffers")
        leaves = [*x, *wanted]
        under = set(nodes(recorded))
        if not under.issuperset(self.outputs):
            raise RecordingError("the loss does not use all outputs")
        self._columns = [place for place, leaf in enumerate(leaves) if leaf in under]
        self.replay = Replay(recorded, [leaves[place] for place in self._columns], parameters)
        self.is_mean = not is_sum(self._loss)
        """Whether the loss of a batch is the mean over its examples, and not their sum."""

    def _refuse_what_is_checked(self) -> None:
        """Binary cross-entropy refuses what is no probability, example by example; a recording would not."""
        last = last_layer(self.model)
        activation = last.activation if last is not None else getattr(self.model, "activation", None)
        if self._name == "binary_cross_entropy" and getattr(activation, "name", "") != "sigmoid":
            raise RecordingError("binary_cross_entropy looks at every output, whether it is a probability")

    def _leaves(self, numbers: Sequence[float]) -> list[Value]:
        return [Value(number, f"y{place}") for place, number in enumerate(numbers, 1)]

    def _numbers_of(self, target: Any) -> list[float]:
        if self._classes:
            return [float(place == target) for place in range(self._classes)]
        return np.asarray(target, dtype=float).reshape(-1).tolist()

    def batch(self, rows: Sequence[Sequence[float]], targets: Sequence[Any]) -> Array:
        """Examples and their targets as a batch for the replay."""
        try:
            numbers = np.array([[*row, *self._numbers_of(t)] for row, t in zip(rows, targets, strict=True)])
            return numbers[:, self._columns]
        except (TypeError, ValueError, IndexError) as error:
            raise RecordingError(f"its targets are not numbers of one shape: {shorten(str(error), 200)}") from error

    def loss_and_gradient(self, batch: Array, numbers: Array) -> tuple[float, Array]:
        """The loss of a batch and its gradients, where the parameters are these numbers. Raises as the replay does."""
        losses, gradients = self.replay(batch, parameters=numbers)
        share = 1.0 / len(batch) if self.is_mean else 1.0
        return float(losses.sum()) * share, gradients.array * share

    def outputs_of(self, batch: Array, numbers: Array) -> list[Any]:
        """What the model gives for each example: a number, or a list of them."""
        found = self.replay.values(self.outputs, batch, parameters=numbers)
        return found[:, 0].tolist() if self._alone else found.tolist()  # type: ignore[no-any-return]

    def agrees(self, rows: Sequence[Any], targets: Sequence[Any], numbers: Array, *, first: bool = False) -> bool:
        """Whether the engine, which computes these examples anew, comes to the same loss and gradients.

        With a loss of one's own the `first` batch settles whether it is the mean over the examples or their sum. Raises
        what the model and the loss raise.
        """
        loss, eager = self._computed_anew(rows, targets)
        batch = self.batch(rows, targets)
        for is_mean in [True, False] if first and self._name not in LOSSES else [self.is_mean]:
            self.is_mean = is_mean
            found, gradient = self.loss_and_gradient(batch, numbers)
            size = max(float(np.abs(eager).max()), float(np.abs(gradient).max()))
            near = abs(found - loss) <= AGREEMENT * max(abs(loss), abs(found))
            if near and float(np.abs(gradient - eager).max()) <= AGREEMENT * size:
                return True
        return False

    def _computed_anew(self, rows: Sequence[Any], targets: Sequence[Any]) -> tuple[float, Array]:
        """The loss of these examples and its gradients by a graph of their own; what the parameters have is kept."""
        kept = [parameter.grad for parameter in self._parameters]
        buffers = [list(numbers) for numbers in self._buffers]
        try:
            loss = self._loss(self.model.batch(rows), targets)
            refuse_no_graph(loss)
            for parameter in self._parameters:
                parameter.grad = 0.0
            pass_back(loss, infinite="error")
            return loss.data, np.array([parameter.grad for parameter in self._parameters])
        finally:
            for parameter, grad in zip(self._parameters, kept, strict=True):
                parameter.grad = grad
            for numbers, were in zip(self._buffers, buffers, strict=True):
                numbers[:] = were


class Arrays:
    """The parameters, and what an optimizer remembers of those that it moves, as arrays between two looks at them."""

    def __init__(self, optimizer: Optimizer, parameters: Sequence[Value]) -> None:
        self._optimizer, self._parameters = optimizer, parameters
        places = {parameter: place for place, parameter in enumerate(parameters)}
        self._moved = np.array([places[parameter] for parameter in optimizer.parameters], dtype=np.intp)
        self.numbers: Array = np.array([])
        self.read()

    def read(self) -> None:
        """Take the numbers from the Values and the optimizer, where they may have been changed."""
        known = self.numbers
        self.numbers = np.array([parameter.data for parameter in self._parameters])
        self.gradient: Array = np.array([parameter.grad for parameter in self._parameters])
        self._memory: list[Array] = list(np.array(self._optimizer.memory, dtype=float).T)
        if not np.array_equal(known, self.numbers):
            self._before = self.numbers, self._memory, self._optimizer.steps

    def write_back(self) -> None:
        """Give the numbers to the Values and the optimizer, for whoever looks."""
        for parameter, data, grad in zip(self._parameters, self.numbers.tolist(), self.gradient.tolist(), strict=True):
            parameter.data, parameter.grad = data, grad
        columns = [remembered.tolist() for remembered in self._memory]
        self._optimizer.memory = list(zip(*columns, strict=True)) if columns else [()] * len(self._moved)

    def step(self, gradient: Array, clip_norm: float | None) -> None:
        """Update the parameters as the optimizer does. Raises FloatingPointError, with nothing changed, for ∞ and nan.

        The update rules are formulas, which hold for arrays as for numbers.
        """
        optimizer = self._optimizer
        self.gradient = gradient
        before = self.numbers, self._memory, optimizer.steps
        if callable(optimizer.lr) or type(optimizer) not in KNOWN:
            self.write_back()
        if type(optimizer) not in KNOWN:
            if clip_norm is not None:
                clip_gradients(optimizer.parameters, clip_norm)
            optimizer.step()
            self.read()
            self._before = before
            return
        update: Callable[..., Any] = optimizer.update
        lr = rate_at(optimizer.lr, optimizer.steps)
        w, g = self.numbers[self._moved], gradient[self._moved]
        if clip_norm is not None:
            g = _clipped(g, clip_norm)
            self.gradient[self._moved] = g
        with np.errstate(all="ignore"):
            moved, *memory = update(w, g + optimizer.weight_decay * w, *self._memory, lr=lr)
        if not all(np.isfinite(found).all() for found in (moved, *memory)):
            raise FloatingPointError("a parameter would no longer be finite")
        self._before = before
        self.numbers = self.numbers.copy()
        self.numbers[self._moved] = moved
        self._memory = memory
        optimizer.steps += 1

    def step_back(self) -> None:
        """Give back the numbers before the last update, with which a loss was last known to be finite."""
        self.numbers, self._memory, self._optimizer.steps = self._before
        self.write_back()


KNOWN = (GradientDescent, SGD, RMSprop, Adam)
"""The optimizers whose rules are known to be formulas; one of a person's own updates the Values themselves."""


def _clipped(gradient: Array, max_norm: float) -> Array:
    """As `clip_gradients`."""
    largest = float(np.abs(gradient).max())
    direction = float(np.linalg.norm(gradient / largest)) if largest else 0.0
    return gradient / largest / direction * max_norm if largest * direction > max_norm else gradient
