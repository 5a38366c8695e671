"""`Module`: what holds parameters, and finds them by their place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np

from engine import Value
from engine.text import nearest, shorten
from nn.activations import Array
from nn.data import as_examples

Output: TypeAlias = "Value | list[Value]"
"""A Value where there is one output, else a list of them."""


class Module:
    """A part of a net. Its parameters are the leaf Values among its attributes, those of its parts included.

    Lists, tuples and dicts of them count too, so that a class of your own needs `__init__` and `__call__` alone.
    Numbers that belong to its state but don't train are named in `buffers`.
    """

    buffers: ClassVar[tuple[str, ...]] = ()
    training = True

    def __call__(self, x: Any) -> Output:
        """The output for one example."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__: write what it does with one example.")

    def batch(self, X: Any) -> Sequence[Output]:
        """The outputs for a list of examples."""
        return [self(x) for x in X]

    def predict(self, X: Any) -> Array:
        """The outputs as numbers in evaluation mode: shape (n,) for one output, else (n, outputs)."""
        examples = as_examples(X, getattr(self, "n_inputs", None))
        was_training = self.training
        try:
            self.eval()
            outputs = [numbers_of(self.batch([example])[0]) for example in examples]
        finally:
            self.train(was_training)
        return np.array(outputs)

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """Each parameter once with its place, such as `layers.0.neurons.3.weights.1`."""
        seen = set()
        for name, value in _leaves("", self):
            if value not in seen:
                seen.add(value)
                yield name, value

    def parameters(self) -> list[Value]:
        """All parameters, in the order of `named_parameters`."""
        return [value for _, value in self.named_parameters()]

    def modules(self) -> Iterator[Module]:
        """The module and all its parts."""
        for _, module in _modules("", self):
            yield module

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0: backward passes would add to what is there."""
        for parameter in self.parameters():
            parameter.grad = 0.0

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode, or out of it: batch normalization takes the statistics of the batch then."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation mode: batch normalization takes its running statistics then."""
        return self.train(False)

    def state_dict(self) -> dict[str, float]:
        """Every parameter and buffer as a number, by its place."""
        return {name: value.data for name, value in self.named_parameters()} | {
            f"{name}.{i}": number for name, numbers in self.named_buffers() for i, number in enumerate(numbers)
        }

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take every parameter and buffer from a `state_dict`. Raises, with nothing changed, unless all of it fits.

        ValueError for names that are missing or unknown and for a number that is not finite, TypeError for what is
        no number.
        """
        own = self.state_dict()
        missing, unknown = [n for n in own if n not in state], [n for n in state if n not in own]
        if missing or unknown:
            told = [f"{len(missing)} missing, such as {missing[0]}"] if missing else []
            if unknown:
                told.append(f"{len(unknown)} unknown, such as {shorten(str(unknown[0]))}")
            hint = nearest(str(unknown[0]), missing) if missing and unknown else ""
            raise ValueError(
                f"The state is not that of this {type(self).__name__}: {' and '.join(told)}. {hint}".strip()
            )
        for name, number in state.items():
            if isinstance(number, bool | str) or not isinstance(number, int | float | np.floating | np.integer):
                raise TypeError(f"{name} must be a number, and it is {type(number).__name__} {number!r:.60}.")
            if not math.isfinite(number):
                raise ValueError(f"{name} must be finite, and it is {number}.")
        for name, value in self.named_parameters():
            value.data = float(state[name])
        for name, numbers in self.named_buffers():
            numbers[:] = [float(state[f"{name}.{i}"]) for i in range(len(numbers))]

    def named_buffers(self) -> Iterator[tuple[str, list[float]]]:
        """Each buffer with its place, such as `layers.0.norm.running_mean`."""
        for prefix, module in _modules("", self):
            for name in module.buffers:
                yield f"{prefix}{name}", getattr(module, name)


@contextmanager
def undisturbed(model: Module) -> Iterator[None]:
    """Afterwards the gradients, the numbers and the mode of the model are as they were."""
    gradients, state, training = [(p, p.grad) for p in model.parameters()], model.state_dict(), model.training
    try:
        yield
    finally:
        model.load_state_dict(state)
        model.train(training)
        for parameter, grad in gradients:
            parameter.grad = grad


def numbers_of(output: Output) -> Any:
    """An output as a number or a list of them."""
    return [value.data for value in output] if isinstance(output, list) else output.data


def _parts(prefix: str, thing: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(thing, Module):
        yield from ((f"{prefix}{name}", part) for name, part in vars(thing).items())
    elif isinstance(thing, Mapping):
        yield from ((f"{prefix}{name}", part) for name, part in thing.items())
    elif isinstance(thing, Sequence) and not isinstance(thing, str | bytes):
        yield from ((f"{prefix}{number}", part) for number, part in enumerate(thing))


def _leaves(prefix: str, thing: Any) -> Iterator[tuple[str, Value]]:
    for name, part in _parts(prefix, thing):
        if isinstance(part, Value):
            if not (part.op or part.is_constant):
                yield name, part
        else:
            yield from _leaves(f"{name}.", part)


def _modules(prefix: str, thing: Any) -> Iterator[tuple[str, Module]]:
    if isinstance(thing, Module):
        yield prefix, thing
    for name, part in _parts(prefix, thing):
        if not isinstance(part, Value):
            yield from _modules(f"{name}.", part)
