"""`Replay`: the recorded graph of one example, computed for a whole batch at the speed of matrices."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from engine.batch import Batch
from engine.forward import DomainError, as_float, data_of, evaluated, refuse_outdated, shown
from engine.graph import backward_order, derivatives_by_parent, names, nodes
from engine.program import KEPT, Program, surely_finite
from engine.program_text import written
from engine.rolled import SUMS, rolled
from engine.rows import Numbers
from engine.text import counted, listed, shorten
from engine.value import Value, clone

TOLERANCE = 1e-12
"""How far, relative to its size, a replayed number may be from the eager one."""
ROUNDING = 2.0**-49  # what a number may lose where terms cancel, relative to their size
AT_A_TIME = 256  # examples that are looked through for what is not finite

Leaves: TypeAlias = Mapping[Value, float]


class Gradients(Mapping[Value, float]):
    """∂(Σ losses)/∂parameter for each parameter; `array` has them in the order of the parameters."""

    def __init__(self, parameters: Mapping[Value, int], array: Numbers) -> None:
        self._places = parameters
        self.array = array

    def __getitem__(self, parameter: Value) -> float:
        place = self._places.get(parameter)
        if place is None:
            asked = _name(parameter) if isinstance(parameter, Value) else shown(parameter)
            raise KeyError(
                f"{asked} is none of the {counted(len(self), 'parameter')}: gradients are asked for by Value"
            )
        return float(self.array[place])

    def __iter__(self) -> Iterator[Value]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        first = [f"{_name(parameter)}: {grad:.6g}" for parameter, grad in list(self.items())[:6]]
        return f"Gradients({', '.join(first + ['…'] * (len(self) > 6))})"


class Replay:
    """The graph under `loss`, recorded for one example and computed for any number of them at once.

    `inputs` are the leaves that vary from example to example, such as x and the target; `parameters` are shared by all
    of them, and are the other leaves with a label if none are given. Every other leaf is a constant and keeps its data.
    A recording knows the operations that were done, not the Python that chose them: what an `if` on data decided, or
    an index, is the same for every example. Weighted sums over the same inputs become one matrix product, whether they
    were written with `dot` or with `+` and `*`; `print(replay)` shows the program.

    The recorded example itself is replayed at once and compared with the engine's own loss and gradients.

    Raises TypeError and ValueError for inputs and parameters that are no leaves under the loss, and for a graph that
    was edited since it was computed; FloatingPointError where the recorded example has no finite loss or gradient.
    """

    def __init__(self, loss: Value, inputs: Iterable[Value], parameters: Iterable[Value] | None = None) -> None:
        if not isinstance(loss, Value):
            raise TypeError(f"Replay records the graph under a Value, not {shown(loss)}.")
        if not loss.op:
            raise ValueError(f"{loss!r} is a leaf: nothing was computed that could be replayed. Give the loss itself.")
        refuse_outdated(loss, "record it")
        self.loss = loss
        every = nodes(loss)
        self.inputs = _leaves(inputs, "inputs", every)
        if parameters is None:
            known = set(self.inputs)
            self.parameters = tuple([n for n in every if not n.op and n.label and n not in known])
        else:
            self.parameters = _leaves(parameters, "parameters", None)
        both = set(self.inputs).intersection(self.parameters)
        if both:
            raise ValueError(
                f"{listed(list(map(_name, both)))} can't be both: inputs vary from example to example, and parameters "
                "are the same for all."
            )
        self._places = {parameter: place for place, parameter in enumerate(self.parameters)}
        free = {*self.inputs, *self.parameters}
        self._constants = {node: data_of(node) for node in every if not node.op and node not in free}
        self._recorded = dict.fromkeys(every)
        self._lock = threading.RLock()
        self._structure = rolled([loss], self.inputs, self.parameters, self._constants)
        self._program = Program(self._structure)
        self._others: dict[tuple[Value, ...], Program] = {}
        self._compare_with_the_recording()

    def __call__(self, batch: Any, parameters: Any = None) -> tuple[Numbers, Gradients]:
        """The loss of every example, shape (n,), and the gradients of their sum by the parameters.

        `batch` has shape (n, inputs), a row for each example in the order of `inputs`; there may be none. With
        `parameters`, an array in the order of `self.parameters`, those numbers are taken and no `.data` is read. No
        node is changed, and no `.grad`.

        Raises TypeError and ValueError for a batch or parameters of another shape or with nan, and for constants that
        were changed since the recording; DomainError and FloatingPointError, with the example and the node, where an
        operation has no value, or a loss or gradient is not finite.
        """
        rows, numbers = self._as_batch(batch), self._as_parameters(parameters)
        losses, gradient = self._run(rows, numbers)
        return losses, Gradients(self._places, gradient)

    def _run(self, rows: Numbers, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """Losses and gradients, or what is wrong with them, raised."""
        with self._lock:
            (losses,), gradient, fine = self._program.run(rows, numbers)
        if not fine:
            self._explain(rows, numbers, self.loss, losses)
            self._explain_gradient(rows, numbers)
        return losses, gradient

    def values(self, node: Any, batch: Any, parameters: Any = None) -> Numbers:
        """What a recorded node is for every example, shape (n,); of a list of nodes, shape (n, nodes).

        `batch` and `parameters` as in a call, with the same errors; ValueError for a node that was not recorded.
        """
        alone = isinstance(node, Value)
        wanted = (node,) if alone else tuple(node) if isinstance(node, Iterable) else ()
        for one in wanted if wanted or isinstance(node, Iterable) else [node]:
            if not isinstance(one, Value):
                raise TypeError(
                    f"values takes a recorded node or a list of them, and then the batch, not {shown(one)} as a node."
                )
            if one not in self._recorded:
                raise ValueError(
                    f"{one!r} was not recorded: it is not under {_name(self.loss)}. Ask for a node of the example that "
                    "was given to Replay."
                )
        rows, numbers = self._as_batch(batch), self._as_parameters(parameters)
        if not wanted:
            return np.empty((len(rows), 0))
        with self._lock:
            if wanted not in self._others:
                structure = rolled(wanted, self.inputs, self.parameters, self._constants)
                self._others[wanted] = Program(structure, backward=False)
                if len(self._others) > KEPT:
                    del self._others[next(iter(self._others))]
            found, _, fine = self._others[wanted].run(rows, numbers)
        if not fine:
            for target, row in zip(wanted, found, strict=True):
                self._explain(rows, numbers, target, row)
        return found[0] if alone else found.T.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, or what was pickled, records its own graph."""
        return Replay, (self.loss, self.inputs, self.parameters)

    def __str__(self) -> str:
        return written(self._structure, self.loss)

    def __repr__(self) -> str:
        sizes = f"{counted(len(self.inputs), 'input')}, {counted(len(self.parameters), 'parameter')}"
        return f"<Replay of {_name(self.loss)}: {sizes}, {counted(len(self._structure.groups), 'array operation')}>"

    # What people give.

    def _as_batch(self, batch: Any) -> Numbers:
        width, rows = len(self.inputs), _as_numbers(batch, "A batch is an array of numbers, (examples, inputs)")
        if rows.shape == (0,):
            rows = rows.reshape(0, width)
        if rows.ndim != 2 or rows.shape[1] != width:
            hint = ""
            if rows.shape == (width,):
                hint = " For one example write [example]."
            elif rows.shape[:1] == (width,):
                hint = f" Examples are rows: is it {rows.shape[::-1]} that was meant?"
            raise ValueError(
                f"A batch has a row for each example, with {counted(width, 'number')}: shape (n, {width}), in the "
                f"order of replay.inputs ({listed(list(map(_name, self.inputs)), 6)}). This one has shape "
                f"{rows.shape}.{hint}"
            )
        return rows

    def _as_parameters(self, parameters: Any) -> Numbers:
        count = len(self.parameters)
        if parameters is None:
            for node, data in self._constants.items():
                if data_of(node) != data:
                    raise ValueError(
                        f"The graph was changed since it was recorded: the constant {_name(node)} was {data:.6g}, and "
                        f"it is {node.data:.6g}. Record it again, or list that leaf among the parameters or the inputs."
                    )
            numbers = np.array([data_of(parameter) for parameter in self.parameters], dtype=np.float64)
        else:
            numbers = _as_numbers(parameters, "parameters is an array of numbers")
        if numbers.shape != (count,):
            raise ValueError(
                f"parameters is an array of {counted(count, 'number')}, one for each of replay.parameters, such as "
                f"np.array([p.data for p in replay.parameters]), and this one has shape {numbers.shape}."
            )
        if not (surely_finite(numbers) or np.isfinite(numbers).all()):
            place = int(np.argmin(np.isfinite(numbers)))
            raise ValueError(f"Parameter number {place}, {_name(self.parameters[place])}, is {numbers[place]}.")
        return numbers

    # The recorded example, replayed.

    def _compare_with_the_recording(self) -> None:
        """Raise ValueError unless loss and gradients are those of the graph, up to rounding."""
        example = np.array([[data_of(node) for node in self.inputs]])
        parameters = np.array([data_of(node) for node in self.parameters])
        losses, gradient = self._run(example, parameters)
        eager = _recorded_gradients(self.loss)
        found = dict(zip(self.parameters, gradient.tolist(), strict=True)) | {self.loss: float(losses[0])}
        far = {
            node: number
            for node, number in found.items()
            for right, noise in [eager.get(node, (0.0, 0.0))]
            if not abs(number - right) <= TOLERANCE * abs(right) + noise
        }
        if not far or self._rounding_explains(far, eager):
            return
        node, number = next(reversed(far.items()))
        what = "the loss" if node is self.loss else f"the gradient of {_name(node)}"
        raise ValueError(
            f"The recorded example does not replay: {what} becomes {number:.17g}, and the graph has "
            f"{eager[node][0]:.17g}. "
            "Where terms cancel until hardly a digit is left, no two ways of computing agree: record another example."
        )

    def _rounding_explains(self, far: Leaves, eager: Mapping[Value, tuple[float, float]]) -> bool:
        """Whether roundings of the leaves move the graph's own numbers that far, as near a kink they do."""
        generator = np.random.default_rng(0)
        moved = clone(self.loss)
        furthest = dict.fromkeys(far, 0.0)
        terms = [one for node in self._recorded if node._row in SUMS for one in node.parents if one.is_constant]
        leaves = list(dict.fromkeys([*self.inputs, *self.parameters, *terms]))
        for _ in range(6):
            for node in leaves:
                if node in moved:
                    moved[node].data = node.data * (1.0 + 4e-16 * float(generator.choice([-1.0, 1.0])))
            try:
                moved[self.loss].refresh()
            except DomainError:  # at the bound of a domain, beyond which it moved
                continue
            now = _recorded_gradients(moved[self.loss])
            for node in far:
                here = now.get(moved.get(node, node), (0.0, 0.0))[0]
                furthest[node] = max(furthest[node], abs(here - eager.get(node, (0.0, 0.0))[0]))
        return all(
            abs(number - eager.get(node, (0.0, 0.0))[0]) <= 100.0 * furthest[node] for node, number in far.items()
        )

    # What is not finite, told by the engine itself.

    def _explain(self, rows: Numbers, parameters: Numbers, root: Value, found: Numbers) -> None:
        """Raise for the first example in which something that is needed has no value, or is not finite.

        `found` has what was replayed for the root. Nothing is raised where only the branch that a condition does not
        take has no value.
        """
        self._refuse_not_finite(rows)
        for start in range(0, len(rows), AT_A_TIME):
            part = rows[start : start + AT_A_TIME]
            columns: dict[Value, Any] = dict(zip(self.inputs, part.T, strict=True))
            columns |= dict(zip(self.parameters, parameters, strict=True)) | self._constants
            doubtful = np.flatnonzero(~Batch(root, columns).valid())
            for number in doubtful.tolist():
                self._explain_values(root, self._example(part[number], parameters), start + number)
        if not np.isfinite(found).all():
            number = int(np.argmin(np.isfinite(found)))
            raise FloatingPointError(
                f"Example {number} (counted from 0): {_name(root)} is {found[number]} as it is replayed, since a sum "
                "on the way is too large for a float. Take smaller parameters or inputs of about 1."
            )

    def _refuse_not_finite(self, rows: Numbers) -> None:
        for row, column in np.argwhere(~np.isfinite(rows))[:1].tolist():
            raise ValueError(
                f"The batch has {rows[row, column]} in row {row}, column {column} ({_name(self.inputs[column])}; both "
                "counted from 0). Leave that example out, or fill in a number."
            )

    def _example(self, row: Numbers, parameters: Numbers) -> dict[Value, float]:
        """The numbers of all leaves in one example."""
        given = zip((*self.inputs, *self.parameters), (*row.tolist(), *parameters.tolist()), strict=True)
        return self._constants | dict(given)

    def _explain_values(self, root: Value, leaves: Leaves, number: int) -> None:
        try:
            values, _ = evaluated(root, leaves)
        except DomainError as error:
            raise DomainError(f"Example {number} (counted from 0): {error}", error.node) from error
        if not math.isfinite(values[root]):
            named = names(root)
            began = next((node for node in values if node.op and not math.isfinite(values[node])), root)
            operands = ", ".join(f"{values.get(one, one.data):.6g}" for one in began.parents[:4])
            raise FloatingPointError(
                f"Example {number} (counted from 0): {shorten(named[root])} is {values[root]}, and it began at "
                f"{shorten(named[began])} = {began.op} of {operands}. Take smaller parameters or inputs of about 1."
            )

    def _explain_gradient(self, rows: Numbers, parameters: Numbers) -> None:
        def goes_wrong(some: Numbers) -> bool:
            with self._lock:
                _, gradient, _ = self._program.run(some, parameters)
            return not np.isfinite(gradient).all()

        if not goes_wrong(rows):
            return
        low, high = 0, len(rows)  # the first `high` examples go wrong, the first `low` do not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if goes_wrong(rows[:middle]) else (middle, high)
        copies = clone(self.loss)
        for node, data in self._example(rows[low], parameters).items():
            if node in copies:
                copies[node].data = data
        loss = copies[self.loss]
        loss.refresh()
        where = f"Example {low} (counted from 0): "
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                loss.backward()
            except (FloatingPointError, RuntimeWarning) as error:
                raise FloatingPointError(f"{where}{error}") from None
        raise FloatingPointError(
            f"{where}with it the sum of the gradients over the batch is too large for a float. Take smaller parameters."
        )


def _recorded_gradients(loss: Value) -> dict[Value, tuple[float, float]]:
    """The loss and ∂loss/∂node for every leaf, by the record, each with what rounding may do to it, about.

    No `.grad` is touched.
    """
    order = backward_order(loss)
    adjoints: dict[Value, float] = {loss: 1.0}
    sizes: dict[Value, float] = {loss: 1.0}
    amounts: list[float] = []  # how far each number moves the loss
    for node in order:
        adjoint, size = adjoints[node], sizes[node]
        largest = max([abs(one.data) for one in (node, *node.parents) if one is node or one.is_constant])
        amounts.append(abs(adjoint) * largest if adjoint and largest else 0.0)
        for parent, derivative in derivatives_by_parent(node):
            adjoints[parent] = adjoints.get(parent, 0.0) + adjoint * derivative
            sizes[parent] = sizes.get(parent, 0.0) + size * abs(derivative)
    amounts += [abs(adjoint * leaf.data) for leaf, adjoint in adjoints.items() if not leaf.op and adjoint and leaf.data]
    noise = ROUNDING * sum(filter(math.isfinite, amounts))
    found = {node: (adjoint, ROUNDING * sizes[node]) for node, adjoint in adjoints.items() if not node.op}
    return found | {loss: (loss.data, noise)}


def _as_numbers(given: Any, what: str) -> Numbers:
    """An array of floats. Raises TypeError, with the first thing that is no number and its place."""
    if np.ma.is_masked(given):
        raise TypeError(f"{what}, and this one has masked ones: leave them out, or fill in numbers.")
    try:
        array = np.asarray(given)
    except ValueError as error:  # ragged
        raise TypeError(f"{what}: {str(error).rstrip('.')}.") from None
    if array.dtype.kind in "fiub" or not array.size:
        return array.astype(np.float64, copy=False)
    numbers = np.empty(array.shape)
    for place, cell in np.ndenumerate(array):
        try:
            numbers[place] = as_float(cell)
        except (TypeError, ValueError) as error:
            where = f" at {place} (counted from 0)" if place else ""
            raise TypeError(f"{what}, and here is {shown(cell)}{where}. {error}") from None
    return numbers


def _leaves(given: Iterable[Value], role: str, recorded: Sequence[Value] | None) -> tuple[Value, ...]:
    """The leaves that a person lists. Raises TypeError and ValueError, naming them, for what can't play that role."""
    if isinstance(given, Value):
        raise TypeError(f"{role} is a list of Values: {role}=[{given.label or 'x'}].")
    try:
        listing = tuple(given)
    except TypeError:
        raise TypeError(f"{role} is a list of Values, not {shown(given)}.") from None
    known = None if recorded is None else set(recorded)
    seen: set[Value] = set()
    for number, node in enumerate(listing):
        if not isinstance(node, Value):
            raise TypeError(f"{role}[{number}] must be a leaf of the graph, a Value, and it is {shown(node)}.")
        if node.op:
            raise ValueError(
                f"{role}[{number}], {_name(node)}, is an inner node ({node.op} of "
                f"{counted(len(node.parents), 'operand')}), and only leaves can be given other numbers. List the "
                "leaves that it is computed from."
            )
        if node.is_constant:
            raise ValueError(
                f"{role}[{number}] is the constant {node.data:.6g} of an expression. Make it a leaf: "
                f"Value({node.data:.6g})."
            )
        if node in seen:
            raise ValueError(f"{role}[{number}], {_name(node)}, is listed twice.")
        if known is not None and node not in known:
            raise ValueError(
                f"The loss does not depend on {role}[{number}], {_name(node)}: leave it out of the {role}, and its "
                "column out of the batch. (Was its number used, `.data`, and not the Value itself?)"
            )
        seen.add(node)
    return listing


def _name(node: Value) -> str:
    return shorten(node.label) if node.label else f"a {'node' if node.op else 'leaf'} without a label ({node.data:.6g})"
