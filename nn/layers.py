"""Neurons, layers of them, and nets of layers: Z_j = Σ W_ji·A_i + B_j and A_j = f(Z_j)."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.random import Generator

from engine import DomainError, Value, dot, nodes
from engine.text import nearest, shorten
from nn.activations import Activation, as_activation
from nn.data import as_leaves, refuse_count
from nn.init import Init, as_generator, first_weights
from nn.losses import refuse_activation
from nn.module import Module, Output
from nn.norm import BatchNorm


class ForwardError(DomainError):
    """An operation of a layer has no value.

    `layer`, which counts from 1, is where that began, and `node` what was infinite there first, if anything was.
    """

    def __init__(self, message: str, layer: int, node: Value | None = None) -> None:
        super().__init__(f"Layer {layer}: {message}", node)
        self.layer = layer


Function: TypeAlias = str | Callable[[Value], Value] | Activation
Rows: TypeAlias = list[list[Value]]


@dataclass(frozen=True)
class Activity:
    """What one layer has computed for a batch, a row an example: Z, N where it is normalized, and A."""

    Z: Rows
    N: Rows | None
    A: Rows


class Neuron(Module):
    """A = f(Z) with Z = Σ W_i·A_i + B, one node; `atomic` leaves single products and sums, to be stepped through.

    The weights are those of `init` (a name, or a function of n_inputs, n_outputs and a generator), by default one
    that fits the activation; the bias is 0 at first.
    """

    def __init__(
        self,
        n_inputs: int,
        activation: Function = "relu",
        *,
        init: str | Init | None = None,
        bias: bool = True,
        atomic: bool = False,
        seed: int | Generator | None = None,
    ) -> None:
        refuse_count(n_inputs=n_inputs)
        self.n_inputs = int(n_inputs)
        self.activation = as_activation(activation)
        self.atomic = atomic
        (row,) = first_weights(self.activation.init if init is None else init, n_inputs, 1, as_generator(seed)).tolist()
        self.weights = [Value(weight) for weight in row]
        self.bias = Value(0.0) if bias else None
        self.labelled("")

    def labelled(self, place: str) -> None:
        """Label the parameters and what is computed by the neuron's place, as `w2_1_3`, `b2_1`, `z2_1` and `a2_1`."""
        for number, weight in enumerate(self.weights, 1):
            weight.label = f"w{place}_{number}" if place else f"w{number}"
        if self.bias is not None:
            self.bias.label = f"b{place}"
        self._z, self._n, self._a = f"z{place}", f"n{place}", f"a{place}"

    @property
    def labels(self) -> tuple[str, str, str]:
        """The labels of its Z, N and A, without that of an example."""
        return self._z, self._n, self._a

    def __call__(self, x: Any) -> Value:
        """A for a list of inputs, numbers or Values."""
        return self.activated(self.weighted_sum(as_leaves(x, self.n_inputs)))

    def weighted_sum(self, inputs: Sequence[Value], example: str = "") -> Value:
        """Z = Σ W_i·A_i + B."""
        try:
            z = self._atomic_sum(inputs) if self.atomic else dot(self.weights, inputs, self.bias)
        except DomainError as error:
            raise DomainError(f"{self._z}{example}: {error}") from error
        z.label = self._z + example
        return z

    def _atomic_sum(self, inputs: Sequence[Value]) -> Value:
        z = self.weights[0] * inputs[0]
        for weight, a in zip(self.weights[1:], inputs[1:], strict=True):
            z = z + weight * a
        return z if self.bias is None else z + self.bias

    def activated(self, z: Value, example: str = "") -> Value:
        """A = f(Z); a linear unit's A is its Z."""
        try:
            a = self.activation.function(z)
        except DomainError as error:
            raise DomainError(f"{self._a}{example}: {error}") from error
        if not isinstance(a, Value):
            raise TypeError(
                f"The activation {self.activation.name} must return a Value, and it gave {type(a).__name__} {a!r:.60}."
            )
        if not a.label:
            a.label = self._a + example
        return a

    def __repr__(self) -> str:
        return f"Neuron({self.n_inputs} → 1 {self.activation.name})"


class _Layered(Module):
    """What is fed forward through layers, one or more."""

    n_inputs: int

    def __call__(self, x: Any) -> Output:
        """The output for one example: a Value where there is one, else a list."""
        return unpacked(self._activities([as_leaves(x, self.n_inputs)], [""])[-1].A[0])

    def batch(self, X: Any) -> list[Output]:
        """The outputs for a list of examples."""
        return [unpacked(row) for row in self.activities(X)[-1].A]

    def activities(self, X: Any) -> list[Activity]:
        """Z and A of every layer for a list of examples."""
        return self._activities(*_numbered(X, self.n_inputs))

    def _activities(self, rows: Rows, examples: Sequence[str]) -> list[Activity]:
        raise NotImplementedError


class Layer(_Layered):
    """Neurons that read the same inputs; with `norm="batch"`, Z is normalized over the batch before f.

    A normalized layer has no biases: the mean takes them away again, and β stands in for them.
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        activation: Function = "relu",
        *,
        init: str | Init | None = None,
        norm: str | Callable[[int], BatchNorm] | None = None,
        atomic: bool = False,
        seed: int | Generator | None = None,
    ) -> None:
        refuse_count(n_inputs=n_inputs, n_outputs=n_outputs)
        self.n_inputs = int(n_inputs)
        self.activation = as_activation(activation)
        W = first_weights(self.activation.init if init is None else init, n_inputs, n_outputs, as_generator(seed))
        self.neurons = [
            Neuron(n_inputs, self.activation, init=_given(row), bias=norm is None, atomic=atomic) for row in W
        ]
        self.norm = None if norm is None else _as_norm(norm)(n_outputs)
        self.labelled("")

    def labelled(self, place: str) -> None:
        """Label the parameters by the number of the layer, as `w2_1_3`."""
        for number, neuron in enumerate(self.neurons, 1):
            neuron.labelled(f"{place}_{number}")
        if self.norm is not None:
            self.norm.labelled(place)

    @property
    def weights(self) -> Rows:
        """W, a row of weights for each neuron."""
        return [neuron.weights for neuron in self.neurons]

    @property
    def biases(self) -> list[Value]:
        """The biases of the neurons; none in a normalized layer."""
        return [neuron.bias for neuron in self.neurons if neuron.bias is not None]

    @property
    def alike(self) -> bool:
        """Whether its neurons are as they were made, so that one formula holds for all of them."""
        return all(neuron.activation is self.activation for neuron in self.neurons)

    def _activities(self, rows: Rows, examples: Sequence[str]) -> list[Activity]:
        return [self.activity(rows, examples)]

    def activity(self, rows: Rows, examples: Sequence[str]) -> Activity:
        """Z, N and A for rows of Values; `examples` ends the labels of each row."""
        Z = [
            [neuron.weighted_sum(row, example) for neuron in self.neurons]
            for row, example in zip(rows, examples, strict=True)
        ]
        N = None if self.norm is None else self._normalized(self.norm, Z, examples)
        A = [
            [neuron.activated(value, example) for neuron, value in zip(self.neurons, row, strict=True)]
            for row, example in zip(Z if N is None else N, examples, strict=True)
        ]
        return Activity(Z, N, A)

    def _normalized(self, norm: BatchNorm, Z: Rows, examples: Sequence[str]) -> Rows:
        N = norm.batch(Z)
        for row, example in zip(N, examples, strict=True):
            for neuron, n in zip(self.neurons, row, strict=True):
                n.label = neuron._n + example
        return N

    def __repr__(self) -> str:
        return f"Layer({self.n_inputs} → {_size(self)})"


class MLP(_Layered):
    """A multilayer perceptron: layers of `sizes` units on `n_inputs` inputs, the last with the `output` activation.

    `init` is a name or function of `nn.init`, by default the one that fits each activation; `norm="batch"` normalizes
    the hidden layers; `atomic` leaves single products and sums. Layers and units count from 1 in labels: `w2_1_3` is
    layer 2's weight to unit 1 from unit 3, `z2_1` and `a2_1` its Z and A, with `_ex4` for example 4 of a batch. The A
    of a linear unit is its Z, one node.
    """

    def __init__(
        self,
        n_inputs: int,
        sizes: Iterable[int],
        activation: Function = "relu",
        output: Function = "linear",
        *,
        init: str | Init | None = None,
        norm: str | Callable[[int], BatchNorm] | None = None,
        atomic: bool = False,
        seed: int | Generator | None = None,
    ) -> None:
        if not isinstance(sizes, Iterable) or not (sizes := list(sizes)):
            raise TypeError(f"sizes lists the units of each layer, such as [16, 16, 1]; {sizes!r:.60} does not.")
        refuse_count(n_inputs=n_inputs)
        as_activation(activation)  # also where there is no hidden layer
        generator = as_generator(seed)
        self.n_inputs = int(n_inputs)
        self.layers: list[Layer] = []
        for number, size in enumerate(sizes, 1):
            last = number == len(sizes)
            layer = Layer(
                n_inputs,
                size,
                output if last else activation,
                init=init,
                norm=None if last else norm,
                atomic=atomic,
                seed=generator,
            )
            layer.labelled(str(number))
            if not last:
                _warn_if_alike(layer, number)
            self.layers.append(layer)
            n_inputs = size

    def _activities(self, rows: Rows, examples: Sequence[str]) -> list[Activity]:
        found: list[Activity] = []
        for number, layer in enumerate(self.layers, 1):
            try:
                found.append(layer.activity(rows, examples))
            except DomainError as error:
                raise _located(error, number, rows) from error
            rows = found[-1].A
        return found

    def __repr__(self) -> str:
        sizes = " → ".join(_size(layer) for layer in self.layers)
        return f"MLP({self.n_inputs} → {sizes}, {len(self.parameters())} parameters)"


def _located(error: DomainError, number: int, rows: Rows) -> ForwardError:
    """The error of layer `number`, or of the layer before it in which one of its inputs became infinite."""
    infinite = (node for row in rows for a in row for node in nodes(a) if not math.isfinite(node.data))
    first = next(infinite, None)
    return ForwardError(str(error), (layer_of(first) if first is not None else None) or number, first)


def layer_of(node: Value) -> int | None:
    """The number of the layer that a node belongs to, or the last one that it is computed from; by the labels.

    None where no label tells of one.
    """
    labels = [node.label, *(one.label for one in reversed(nodes(node)) if one.op)]
    found = next(filter(None, (re.match(r"[a-z]+(\d+)_\d", label) for label in labels)), None)
    return int(found[1]) if found else None


def last_layer(model: Module) -> Layer | None:
    """The layer that a net ends in; None where that is not known."""
    return model.layers[-1] if isinstance(model, MLP) else model if isinstance(model, Layer) else None


def layers_of(model: MLP | Layer) -> list[Layer]:
    """The layers of a net, or the one layer."""
    return model.layers if isinstance(model, MLP) else [model]


def outputs_of(model: Module) -> int | None:
    """How many outputs a net or a layer has; None where that is not known."""
    last = last_layer(model)
    return 1 if isinstance(model, Neuron) else None if last is None else len(last.neurons)


def refuse_output(model: Module, loss: str) -> None:
    """Raise ValueError where the output's activation does not fit the loss of that name."""
    last = last_layer(model)
    activation = last.activation if last is not None else getattr(model, "activation", None)
    if isinstance(activation, Activation) and not activation.is_own:
        refuse_activation(activation.name, loss)


def _size(layer: Layer) -> str:
    return f"{len(layer.neurons)} {layer.activation.name}" + (" normalized" if layer.norm else "")


def unpacked(row: list[Value]) -> Output:
    """The outputs as a person has them: one alone without its list."""
    return row[0] if len(row) == 1 else row


def _numbered(X: Any, n_inputs: int) -> tuple[Rows, list[str]]:
    """The examples as rows of Values, and the end of each one's labels."""
    X = list(X)
    examples = [f"_ex{number}" for number, _ in enumerate(X, 1)]
    if not examples:
        raise ValueError("The batch is empty: it needs at least one example.")
    return [as_leaves(x, n_inputs, example) for x, example in zip(X, examples, strict=True)], examples


def without_example(label: str) -> tuple[str, str]:
    """A label without its end, and the number of the example that the end tells: `a2_1` and `3` for `a2_1_ex3`.

    The number is empty where a label tells of none.
    """
    stem, end, number = label.rpartition("_ex")
    return (stem, number) if end and number.isdecimal() else (label, "")


def _given(row: Any) -> Init:
    return lambda n_inputs, n_outputs, generator: np.array([row])


def _as_norm(given: str | Callable[[int], BatchNorm]) -> Callable[[int], BatchNorm]:
    if isinstance(given, str):
        if given != "batch":
            raise ValueError(f"There is no normalization {shorten(given)!r}. {nearest(given, ['batch'])}")
        return BatchNorm
    if not callable(given) or isinstance(given, BatchNorm):
        raise TypeError(f'norm is None, "batch" or a function of the number of units, not {given!r:.60}.')

    def made(units: int) -> BatchNorm:
        norm = given(units)
        if not isinstance(norm, BatchNorm):
            raise TypeError(f"norm must give a BatchNorm, and it gave {type(norm).__name__} {norm!r:.60}.")
        return norm

    return made


def _warn_if_alike(layer: Layer, number: int) -> None:
    """Hidden units that begin alike get the same gradient, and stay alike."""
    rows = {tuple(weight.data for weight in row) for row in layer.weights}
    zero = rows == {(0.0,) * layer.n_inputs}
    if zero or (len(layer.neurons) > 1 and len(rows) == 1):
        what = "are all 0" if zero else "are the same in every unit"
        warnings.warn(
            f"The weights of hidden layer {number} {what}: its units compute the same, receive the same gradient, and "
            "stay alike for ever, so that the layer never learns more than one unit could"
            + (", and with 0 behind it no gradient reaches it at all" if zero else "")
            + f". Take random weights, such as init={layer.activation.init!r}.",
            UserWarning,
            stacklevel=3,
        )
