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
from nn.data import as_examples, is_number

Output: TypeAlias = "Value | list[Value]"
"""A Value where there is one output, else a list of them."""
Steps: TypeAlias = tuple[tuple[Any, str], ...]
"""The way to a part: what holds it, from the model inwards, each with the attribute, key or number that leads on."""


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
        with modes_kept(self):
            self.eval()
            return np.array([numbers_of(self.batch([example])[0]) for example in examples])

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """Each parameter once with its place, such as `layers.0.neurons.3.weights.1`."""
        return ((_place(steps), value) for steps, value in ways_to_parameters(self))

    def parameters(self) -> list[Value]:
        """All parameters, in the order of `named_parameters`."""
        return [value for _, value in ways_to_parameters(self)]

    def groups(self, loss: Value) -> dict[Value, str]:
        """Where every node under `loss` but the loss itself is at home, as a dotted path whose numbers count from 1.

        A parameter is at home in the module that holds it: unit 1 of an MLP's layer 2 is `layer2.unit1`, and its batch
        normalization `layer2.unit1.norm`. In a class of your own the module at `self.blocks[0].attention` is
        `blocks1.attention`; what the model holds itself goes by the name of its class in small letters.

        A computed node is at home, by the first of these that tells,

        - in the module whose parameters it puts to use (p² of a penalty does not), and Z, N and A in their unit;
        - in the module of all its operands, if nothing else uses them, as a sum or an activation does; but nothing
          stays with a unit behind its A;
        - in the loss, if it leads to no module;
        - in the module that it leads to first, if that is one alone;
        - in the last of the modules that it is computed from, in the order of `named_parameters`, or in the inputs.

        Leaves that lead to a module are `inputs`, others `loss`. Constants are where they are used. What belongs to one
        example of a batch has the end `.ex3`, as far as labels such as `x1_ex3` tell; in the inputs and the loss, what
        is computed with something that the examples share is shared too.

        Raises TypeError for what is no Value and ValueError for one that is computed from none of the parameters.
        """
        from nn.groups import groups

        return groups(self, loss)

    def modules(self) -> Iterator[Module]:
        """The module and all its parts."""
        yield self
        yield from (part for _, part in _under(self, (), set()) if isinstance(part, Module))

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
        found = [(name, value.data) for name, value in self.named_parameters()]
        found += [(f"{name}.{i}", n) for name, numbers in self.named_buffers() for i, n in enumerate(numbers)]
        state = dict(found)
        if len(state) < len(found):
            raise ValueError("Two parameters have the same place: give the parts of the module names without dots.")
        return state

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take every parameter and buffer from a `state_dict`. Raises, with nothing changed, unless all of it fits.

        ValueError for names that are missing or unknown and for a number that is not finite, TypeError for what is
        no number.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"A state is a dict of numbers by their names, not {type(state).__name__}.")
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
            if not is_number(number):
                raise TypeError(f"{name} must be a number, and it is {type(number).__name__} {number!r:.60}.")
            if not _is_finite(number):
                raise ValueError(f"{name} must be finite, and it is {shorten(str(number))}.")
            if number < 0.0 and ".running_var." in f".{name}":
                raise ValueError(f"{name} is a variance and can't be negative, and it is {number}.")
        for name, value in self.named_parameters():
            value.data = float(state[name])
        for name, numbers in self.named_buffers():
            numbers[:] = [float(state[f"{name}.{i}"]) for i in range(len(numbers))]

    def named_buffers(self) -> Iterator[tuple[str, list[float]]]:
        """Each buffer with its place, such as `layers.0.norm.running_mean`."""
        for steps, module in [((), self), *_under(self, (), set())]:
            if isinstance(module, Module):
                for name in module.buffers:
                    yield _place((*steps, (module, name))), getattr(module, name)


@contextmanager
def modes_kept(model: Module) -> Iterator[None]:
    """Afterwards every part of the model is in the mode in which it was."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def undisturbed(model: Module) -> Iterator[None]:
    """Afterwards the gradients and the buffers of the model are as they were."""
    with kept(model.parameters(), [numbers for _, numbers in model.named_buffers()]):
        yield


@contextmanager
def kept(parameters: Sequence[Value], buffers: Sequence[list[float]]) -> Iterator[None]:
    """Afterwards the gradients of these parameters, and these buffers, are as they were."""
    gradients = [parameter.grad for parameter in parameters]
    numbers_before = [list(numbers) for numbers in buffers]
    try:
        yield
    finally:
        for parameter, grad in zip(parameters, gradients, strict=True):
            parameter.grad = grad
        for numbers, before in zip(buffers, numbers_before, strict=True):
            numbers[:] = before


def _is_finite(number: Any) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number beyond the floats
        return False


def numbers_of(output: Output) -> Any:
    """An output as a number or a list of them. Raises TypeError for what is neither a Value nor a list of them."""
    for value in output if isinstance(output, list | tuple) else [output]:
        if not isinstance(value, Value):
            raise TypeError(f"A model returns a Value or a list of them, and this one returned {value!r:.60}.")
    return [value.data for value in output] if isinstance(output, list | tuple) else output.data


def _members(thing: Any) -> Iterator[tuple[str, Any]]:
    """What a module or a container holds, by attribute, key or number."""
    if isinstance(thing, Module):
        yield from vars(thing).items()
    elif isinstance(thing, Mapping):
        yield from ((str(name), part) for name, part in thing.items())
    elif isinstance(thing, set | frozenset) and any(isinstance(part, Value | Module) for part in thing):
        raise TypeError("A set has no order, and its parameters no place: keep them in a list.")
    elif isinstance(thing, np.ndarray) and thing.dtype == object:
        yield from ((".".join(map(str, place)), part) for place, part in np.ndenumerate(thing))
    elif isinstance(thing, Sequence) and not isinstance(thing, str | bytes):
        yield from ((str(number), part) for number, part in enumerate(thing))


def _under(thing: Any, steps: Steps, seen: set[int]) -> Iterator[tuple[Steps, Any]]:
    """Everything that a module holds, with the way to it; what is shared, or holds itself, once."""
    seen.add(id(thing))
    for name, part in _members(thing):
        further = (*steps, (thing, name))
        if isinstance(part, Value):
            yield further, part
        elif id(part) not in seen:
            yield further, part
            yield from _under(part, further, seen)


def _place(steps: Steps) -> str:
    return ".".join([name for _, name in steps])


def ways_to_parameters(model: Module) -> Iterator[tuple[Steps, Value]]:
    """Each parameter of the model once, with the way to it."""
    seen: set[Value] = set()
    for steps, value in _under(model, (), set()):
        if isinstance(value, Value) and not (value.op or value.is_constant or value in seen):
            seen.add(value)
            yield steps, value
