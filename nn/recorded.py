"""A model and its loss, recorded from one example and replayed for whole batches."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from engine import Comparisons, DomainError, Replay, Value, nodes
from engine.text import shorten
from nn.activations import Array
from nn.data import rate_at
from nn.layers import last_layer
from nn.losses import LOSSES, Loss, is_sum, pass_back, refuse_no_graph
from nn.module import Module, kept, numbers_of
from nn.norm import BatchNorm
from nn.optim import SGD, Adam, GradientDescent, Optimizer, RMSprop, clipped

AGREEMENT = 1e-9
"""How far, relative to the largest, gradients may be from those computed anew; a choice of Python moves them far."""
NOISE = 1e-12
"""The same, relative to the largest in this training: near its end loss and gradient may be nothing but rounding."""
OF_ONE_EXAMPLE = "and a recording knows only the answer of one example"


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
            with kept(parameters, self._buffers), Comparisons() as asked:
                (output,) = model.batch([x])
                numbers_of(output)
                changed = before != [list(numbers) for numbers in self._buffers]
                self.outputs: list[Value] = list(output) if isinstance(output, list | tuple) else [output]
                self._alone = not isinstance(output, list | tuple)
                self._classes = len(self.outputs) if self._name == "cross_entropy" and np.ndim(target) == 0 else 0
                wanted = self._leaves(self._numbers_of(target))
                self._recorded = self._loss([output], [wanted if self._classes or np.ndim(target) else wanted[0]])
                refuse_no_graph(self._recorded)
        except Exception as error:  # whatever a person's own model or loss makes of Values
            said = f"{type(error).__name__}: {shorten(str(error).rstrip('.'), 200)}".removesuffix(": ")
            raise RecordingError(f"computed with Values in place of numbers it fails ({said})") from error
        if asked:
            raise RecordingError(f"it asks whether {asked[0]}, {OF_ONE_EXAMPLE}")
        if changed:
            raise RecordingError("the model changes its buffers")
        leaves = [*x, *wanted]
        under = set(nodes(self._recorded))
        if not under.issuperset(self.outputs):
            raise RecordingError("the loss does not use all outputs")
        self._columns = [place for place, leaf in enumerate(leaves) if leaf in under]
        self.replay = Replay(self._recorded, [leaves[place] for place in self._columns], parameters)
        self.is_mean = not is_sum(self._loss)
        """Whether the loss of a batch is the mean over its examples, and not their sum."""
        self._largest = np.zeros(2)  # loss and gradient that were compared so far

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
        share = self._share(batch)
        return float(losses.sum()) * share, gradients.array * share

    def judged(self, batch: Array, numbers: Array) -> tuple[float, list[Any]]:
        """The loss of a batch and the outputs, each a number or a list of them. Raises as the replay does."""
        found = self.replay.values([self._recorded, *self.outputs], batch, parameters=numbers)
        outputs = found[:, 1] if self._alone else found[:, 1:]
        return float(found[:, 0].sum()) * self._share(batch), outputs.tolist()

    def _share(self, batch: Array) -> float:
        """How much of an example's loss is that of the batch."""
        return 1.0 / len(batch) if self.is_mean else 1.0

    def agrees(self, rows: Sequence[Any], targets: Sequence[Any], numbers: Array, *, first: bool = False) -> bool:
        """Whether the engine, which computes these examples anew, comes to the same loss and gradients.

        With a loss of one's own the `first` batch settles whether it is the mean over the examples or their sum. Raises
        what the model and the loss raise.
        """
        loss, eager = self._computed_anew(rows, targets)
        batch = self.batch(rows, targets)
        for is_mean in [True, False] if first and self._name not in LOSSES else [self.is_mean]:
            self.is_mean = is_mean
            try:
                found, gradient = self.loss_and_gradient(batch, numbers)
            except (FloatingPointError, DomainError):
                return False
            sizes = np.array([max(abs(loss), abs(found)), max(np.abs(eager).max(), np.abs(gradient).max())])
            largest = np.maximum(sizes, self._largest)
            differences = np.array([abs(found - loss), np.abs(gradient - eager).max()])
            if (differences <= AGREEMENT * sizes + NOISE * largest).all():
                self._largest = largest
                return True
        return False

    def _computed_anew(self, rows: Sequence[Any], targets: Sequence[Any]) -> tuple[float, Array]:
        """The loss of these examples and its gradients by a graph of their own; what the parameters have is kept."""
        with kept(self._parameters, self._buffers):
            loss = self._loss(self.model.batch(rows), targets)
            refuse_no_graph(loss)
            for parameter in self._parameters:
                parameter.grad = 0.0
            pass_back(loss, infinite="error")
            return loss.data, np.array([parameter.grad for parameter in self._parameters])


class Arrays:
    """The parameters, and what an optimizer remembers of those that it moves, as arrays between two looks at them.

    An optimizer of a person's own updates the Values themselves, step by step.
    """

    def __init__(self, optimizer: Optimizer, parameters: Sequence[Value]) -> None:
        self._optimizer, self._parameters = optimizer, parameters
        self._places = {parameter: place for place, parameter in enumerate(parameters)}
        self._moved = np.array([], dtype=np.intp)
        self.gradient = np.array([parameter.grad for parameter in parameters])
        self._now = self._before = self._read()  # numbers, memory and steps: together, lest Ctrl-C part them

    @property
    def numbers(self) -> Array:
        """The parameters."""
        return self._now[0]

    @property
    def _is_known(self) -> bool:
        optimizer = self._optimizer
        return type(optimizer) in KNOWN and vars(optimizer).keys().isdisjoint(("step", "update"))

    def _read(self) -> tuple[Array, Any, int]:
        optimizer = self._optimizer
        if not self._places.keys() >= set(optimizer.parameters):
            raise RecordingError("the optimizer has other parameters than at the start")
        self._moved = np.array([self._places[parameter] for parameter in optimizer.parameters], dtype=np.intp)
        memory: Any = list(np.array(optimizer.memory, dtype=float).T) if self._is_known else optimizer.memory
        return np.array([parameter.data for parameter in self._parameters]), memory, optimizer.steps

    def read(self) -> None:
        """Take the numbers from the Values and the optimizer, where they may have been changed."""
        self._now = self._read()
        self.gradient = np.array([parameter.grad for parameter in self._parameters])

    def write_back(self, *, before: bool = False) -> None:
        """Give the numbers to the Values and the optimizer, for whoever looks.

        Those `before` the last update are those with which a loss was last known to be finite.
        """
        numbers, memory, steps = self._before if before else self._now
        for parameter, data, grad in zip(self._parameters, numbers.tolist(), self.gradient.tolist(), strict=True):
            parameter.data, parameter.grad = data, grad
        if self._is_known:
            columns = [remembered.tolist() for remembered in memory]
            memory = list(zip(*columns, strict=True)) if columns else [()] * len(self._moved)
        self._optimizer.memory, self._optimizer.steps = memory, steps

    def step(self, gradient: Array, clip_norm: float | None) -> None:
        """Update the parameters as the optimizer does. Raises FloatingPointError, with nothing changed, for ∞ and nan.

        The update rules are formulas, which hold for arrays as for numbers.
        """
        optimizer, before = self._optimizer, self._now
        numbers, memory, steps = before
        if clip_norm is not None:
            gradient[self._moved], _ = clipped(gradient[self._moved], clip_norm)
        self.gradient = gradient
        if not self._is_known:
            self.write_back()
            optimizer.step()
            self._now, self._before = self._read(), before
            return
        if callable(optimizer.lr):
            self.write_back()
        lr = rate_at(optimizer.lr, steps)
        w, g = numbers[self._moved], gradient[self._moved]
        update: Callable[..., Any] = optimizer.update
        optimizer.steps = steps  # which Adam's rule asks for
        with np.errstate(all="ignore"):
            moved, *remembered = update(w, g + optimizer.weight_decay * w, *memory, lr=lr)
        if not all(np.isfinite(found).all() for found in (moved, *remembered)):
            raise FloatingPointError("a parameter would no longer be finite")
        numbers = numbers.copy()
        numbers[self._moved] = moved
        self._now, self._before = (numbers, remembered, steps + 1), before


KNOWN = (GradientDescent, SGD, RMSprop, Adam)
"""The optimizers whose rules are known to be formulas; one of a person's own updates the Values themselves."""


def random_states(model: Module) -> list[tuple[Callable[[Any], None], Any]]:
    """The states of Python's and NumPy's random numbers, and of the model's own generators, with how to set them."""
    states: list[tuple[Callable[[Any], None], Any]] = [
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),
    ]
    for module in model.modules():
        for member in vars(module).values():
            if isinstance(member, np.random.Generator):
                states.append((partial(setattr, member.bit_generator, "state"), member.bit_generator.state))
            elif isinstance(member, random.Random):
                states.append((member.setstate, member.getstate()))
    return states
