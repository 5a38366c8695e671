"""A rolled-up graph as NumPy computes it: values forward, adjoints backward, for many examples at once.

Two arrays hold all numbers, a row each: one those that vary, a column an example, and one those that all share. What a
group does is written once, as steps: calls of NumPy on views of these arrays, bound for one width of a batch and then
repeated.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from engine import ops
from engine.arrays import FORMS, Array, derivatives, quiet
from engine.rolled import Group, MatrixProduct, Quantity, Rolled

Step: TypeAlias = Callable[[], Any]
Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

WIDEST = 640  # examples at a time: beyond it, nothing is gained
FITTING = 2**17  # numbers that stay in a processor's cache
ENOUGH, AFFORDED = 32, 2**21  # examples of a large graph, whose steps cost more than memory; numbers even so
KEPT = 6  # widths of batches, and questions, whose steps are kept

_WITHOUT_DOMAIN = (ops.MEAN, ops.LOGSUMEXP)  # theirs is that there are operands


class Rows:
    """Rows of an array in some order: a run of them, one row again and again, or any."""

    def __init__(self, places: Sequence[int]) -> None:
        self.places = np.array(places, dtype=np.intp)
        first, size = int(self.places[0]), len(self.places)
        self.run = slice(first, first + size) if np.array_equal(self.places, np.arange(first, first + size)) else None
        self.one = slice(first, first + 1) if size > 1 and (self.places == first).all() else None

    def __len__(self) -> int:
        return len(self.places)

    def read(self, array: Numbers, steps: list[Step], *, whole: bool = False) -> Numbers:
        """The rows: a view of the array where that can be, else a copy that a step brings up to date.

        One row again and again is that row alone, unless the `whole` is wanted.
        """
        if self.run:
            return array[self.run]
        if self.one and not whole:
            return array[self.one]
        copy = np.empty((len(self), array.shape[1]))
        steps.append(partial(array.take, self.places, 0, copy, "clip"))
        return copy


class Sink:
    """Rows whose adjoints receive something: they are set by what comes `first`, and added to by what follows."""

    def __init__(self, rows: Rows, ledger: _Ledger) -> None:
        self.rows = rows
        self.first = ledger.first(rows.places)

    def view(self, adjoints: Numbers) -> Numbers | None:
        """Where the amount may be computed in place, if it may."""
        return adjoints[self.rows.run] if self.first and self.rows.run else None

    def put(self, adjoints: Numbers, amount: Numbers) -> list[Step]:
        """The steps that deliver an amount to each row; what is in place already needs none."""
        if self.rows.one and self.first:
            return [partial(np.add.reduce, amount, 0, None, adjoints[self.rows.one], True)]
        if self.rows.run:
            view = adjoints[self.rows.run]
            if not self.first:
                return [partial(np.add, view, amount, out=view)]
            return [] if np.may_share_memory(view, amount) else [partial(np.copyto, view, amount)]
        steps: list[Step] = []
        places, amount = _gathered(self.rows, amount, steps)
        if self.first:
            return [*steps, partial(adjoints.__setitem__, places, amount)]

        def add() -> None:
            adjoints[places] += amount

        return [*steps, add]


def _gathered(rows: Rows, amount: Numbers, steps: list[Step]) -> tuple[Any, Numbers]:
    """Each row once, and the sum of what is meant for it: `adjoints[rows] += …` would lose what comes twice."""
    if rows.one:
        total = np.empty((1, amount.shape[1]))
        steps.append(partial(np.add.reduce, amount, 0, None, total, True))
        return rows.one, total
    places, counts = np.unique(rows.places, return_counts=True)
    if len(places) == len(rows):
        return rows.places, amount
    total = np.empty((len(places), amount.shape[1]))
    times, again = divmod(len(rows), len(places))
    if not again and np.array_equal(rows.places, np.tile(rows.places[: len(places)], times)):
        stacked = amount.reshape(times, len(places), -1)
        steps.append(partial(np.add.reduce, stacked, 0, None, total))
        return rows.places[: len(places)], total
    order = np.argsort(rows.places, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    if not np.array_equal(order, np.arange(len(rows))):
        ordered = np.empty_like(amount)
        steps.append(partial(amount.take, order, 0, ordered, "clip"))
        amount = ordered
    steps.append(partial(np.add.reduceat, amount, starts, 0, None, total))
    return places, total


class _Ledger:
    """Which rows have received something, and which must start from 0 since they receive it in parts."""

    def __init__(self, size: int) -> None:
        self.written = np.zeros(size, dtype=bool)
        self.from_zero = np.zeros(size, dtype=bool)

    def first(self, places: np.ndarray[Any, Any]) -> bool:
        """Whether these rows have received nothing so far; they have from now on."""
        written = self.written[places]
        if written.any():
            self.from_zero[places[~written]] = True
        self.written[places] = True
        return not written.any()


class Program:
    """A rolled-up graph, ready to run; its first target is what the backward pass starts from."""

    def __init__(self, structure: Rolled, *, backward: bool = True) -> None:
        self.structure = structure
        self.target = structure.targets[0]
        self.backward = backward and self.target.active
        self.shared = np.zeros((structure.shared_rows, 1))
        self.shared_adjoints = np.zeros((structure.shared_rows, 1))
        for one in structure.constants:
            self.shared[one.place] = one.constant
        self.input_runs = _input_runs(structure)
        varying, shared = _Ledger(structure.varying_rows), _Ledger(structure.shared_rows)
        (shared if self.target.shared else varying).written[self.target.place] = True
        self._acts = {group: _act(group) for group in structure.groups}
        if self.backward:
            self.backward_groups = [group for group in reversed(structure.groups) if _is_active(group)]
            for group in self.backward_groups:
                self._acts[group].open(varying, shared)
        self._varying = varying
        copied = sum([act.copied for group, act in self._acts.items() if not group.shared])
        numbers = 1 + structure.varying_rows + copied
        self.widest = min(WIDEST, max(1, FITTING // numbers, min(ENOUGH, AFFORDED // numbers)))
        self._bound: OrderedDict[int, _Bound] = OrderedDict()
        self._once = _Bound(self, 1, shared=True)

    def run(self, batch: Numbers, parameters: Numbers) -> tuple[Numbers, Numbers, bool]:
        """The targets for each example, a row each, the parameters' gradients, and whether all went well.

        The batch has an example in each row. The gradients are those of the first target, summed over the batch.
        """
        count, known = len(batch), len(parameters)
        targets = np.empty((len(self.structure.targets), count))
        if not count:
            return targets, np.zeros(known), True
        adjoints, summed = self.shared_adjoints, None
        chunks = math.ceil(count / self.widest)
        with quiet():
            self.shared[:known, 0] = parameters
            for step in self._once.forward:
                step()
            fine = self._once.is_fine()
            for chunk in range(chunks):
                start, end = chunk * count // chunks, (chunk + 1) * count // chunks
                bound = self._bound_to(end - start)
                for inputs, columns in bound.inputs:
                    inputs[:] = batch[start:end, columns].T
                    fine = fine and surely_finite(inputs)
                for step in bound.forward:
                    step()
                fine = fine and bound.is_fine()
                for row, one in zip(targets, self.structure.targets, strict=True):
                    row[start:end] = (self.shared if one.shared else bound.values)[one.place]
                if self.backward:
                    adjoints.fill(0.0)
                    for step in bound.backward:
                        step()
                    if chunks > 1:
                        summed = adjoints.copy() if summed is None else summed + adjoints
            fine = fine and surely_finite(targets)
            if not self.backward:
                return targets, np.zeros(known), fine
            if summed is not None:
                adjoints[:] = summed
            if self.target.shared:
                adjoints[self.target.place] = count
            for step in self._once.backward:
                step()
            gradient = adjoints[:known, 0].copy()
            return targets, gradient, fine and surely_finite(gradient)

    def _bound_to(self, width: int) -> _Bound:
        bound = self._bound.get(width)
        if bound is None:
            bound = self._bound[width] = _Bound(self, width)
            if len(self._bound) > KEPT:
                self._bound.popitem(last=False)
        self._bound.move_to_end(width)
        return bound

    def act_of(self, group: Group) -> _Act:
        """What the group does."""
        return self._acts[group]


class _Bound:
    """The steps of a program for batches of one width, or those of what all examples share."""

    def __init__(self, program: Program, width: int, *, shared: bool = False) -> None:
        structure = program.structure
        self.shared, self.shared_adjoints = program.shared, program.shared_adjoints
        if shared:
            self.values, self.adjoints = self.shared, self.shared_adjoints
        else:
            self.values = np.zeros((structure.varying_rows, width))
            self.values[structure.ones] = 1.0
            self.adjoints = np.zeros((structure.varying_rows if program.backward else 1, width))
        self.inputs = [] if shared else [(self.values[rows], columns) for rows, columns in program.input_runs]
        self.selects = structure.selects
        self.forward: list[Step] = []
        self.backward: list[Step] = []
        self.kept: dict[_Act, Any] = {}  # what a group has read or computed, for its backward pass
        self._doubtful: list[Numbers] = []
        for group in structure.groups:
            if group.shared == shared:
                program.act_of(group).bind_forward(self)
                if group.row.inside is not None and group.row not in _WITHOUT_DOMAIN:
                    self._doubtful.append(self.values[group.rows])
        if self.selects:
            self._doubtful = [self.values]
        if program.backward:
            if not shared:
                if not program.target.shared:
                    self.adjoints[program.target.place] = 1.0
                for run in _runs(np.flatnonzero(program._varying.from_zero)):
                    self.backward.append(partial(self.adjoints[run].fill, 0.0))
            for group in program.backward_groups:
                if group.shared == shared:
                    program.act_of(group).bind_backward(self)

    def is_fine(self) -> bool:
        """Whether no operation has left its domain. Sums tell: a number that is not finite makes them so."""
        return not self._doubtful or all([surely_finite(values) for values in self._doubtful])

    def read(self, rows: Rows, kind: str, steps: list[Step], *, whole: bool = False) -> Numbers:
        """The values of operands of one kind."""
        return rows.read(self.shared if kind in "SC" else self.values, steps, whole=whole)

    def deliver(self, sink: Sink, kind: str, amount: Numbers) -> None:
        """Pass an amount on to operands of one kind; what all examples share receives the sum over them."""
        if kind in "SC" and self.values is not self.shared:
            summed = np.empty((len(amount), 1))
            self.backward.append(partial(np.add.reduce, amount, 1, None, summed, True))
            amount = summed
        self.backward += sink.put(self.shared_adjoints if kind in "SC" else self.adjoints, amount)

    def place_for(self, sink: Sink, kind: str, rows: int) -> Numbers:
        """An array for an amount: the adjoints themselves, where they may be computed in place."""
        view = sink.view(self.adjoints) if kind in "VX" or self.values is self.shared else None
        return np.empty((rows, self.values.shape[1])) if view is None else view


def surely_finite(numbers: Numbers) -> bool:
    """Whether all numbers are finite, as the sum of their squares tells; that of large ones may not tell it."""
    flat = numbers.ravel("K")
    return math.isfinite(np.vdot(flat, flat))  # which, unlike dot, never warns


def _input_runs(structure: Rolled) -> list[tuple[slice, Any]]:
    """Which rows hold which columns of a batch: runs of both, or of rows alone where those are many."""
    columns = {one.place: column for column, one in enumerate(structure.inputs)}
    runs: list[tuple[slice, slice]] = []
    for place in sorted(columns):
        column = columns[place]
        if runs and runs[-1][0].stop == place and runs[-1][1].stop == column:
            runs[-1] = slice(runs[-1][0].start, place + 1), slice(runs[-1][1].start, column + 1)
        else:
            runs.append((slice(place, place + 1), slice(column, column + 1)))
    if len(runs) <= 4:
        return list(runs)
    places = np.array(sorted(columns), dtype=np.intp)
    return [(run, [columns[place] for place in range(run.start, run.stop)]) for run in _runs(places)]


def _runs(places: np.ndarray[Any, Any]) -> list[slice]:
    parts = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1) if len(places) else []
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]


def _is_active(group: Group) -> bool:
    return any([one.active for one in group.members])


def _act(group: Group) -> _Act:
    if isinstance(group, MatrixProduct):
        return _MatrixProduct(group)
    return _MANY.get(group.row, _Elementwise)(group)


class _Act:
    """What a group does: read its operands, compute forward, and pass adjoints back to the operands that are active."""

    copied = 0
    """How many numbers it copies for each example, about."""

    def __init__(self, group: Group) -> None:
        self.group = group

    def open(self, varying: _Ledger, shared: _Ledger) -> None:
        """Settle who receives first, in the order of the backward pass."""
        raise NotImplementedError

    def bind_forward(self, bound: _Bound) -> None:
        """Add the steps of the forward pass."""
        raise NotImplementedError

    def bind_backward(self, bound: _Bound) -> None:
        """Add the steps of the backward pass."""
        raise NotImplementedError


class _Elementwise(_Act):
    """One row of the table on operands of the same kinds."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        columns = list(zip(*[one.operands for one in group.members], strict=True))
        self.kinds = [column[0].kind for column in columns]
        self.rows = [Rows([one.place for one in column]) for column in columns]
        self.numbers = [_number(column) for column in columns]
        self.receives = [kind in "SV" and not (group.row.selects and i < 2) for i, kind in enumerate(self.kinds)]
        self.copied = sum([len(rows) for rows in self.rows if not (rows.run or rows.one)])

    def open(self, varying: _Ledger, shared: _Ledger) -> None:
        self.sinks = {
            place: Sink(rows, shared if kind == "S" else varying)
            for place, (rows, kind) in enumerate(zip(self.rows, self.kinds, strict=True))
            if self.receives[place]
        }

    def _read(self, bound: _Bound, steps: list[Step]) -> list[Any]:
        return [
            bound.read(rows, kind, steps) if number is None else number
            for rows, kind, number in zip(self.rows, self.kinds, self.numbers, strict=True)
        ]

    def bind_forward(self, bound: _Bound) -> None:
        operands = bound.kept[self] = self._read(bound, bound.forward)
        out, row, x = bound.values[self.group.rows], self.group.row, operands[0]
        form = FORMS[row]
        if row is ops.IDENTITY:
            bound.forward.append(partial(np.copyto, out, x))
        elif row is ops.RELU:
            bound.forward.append(partial(np.maximum, x, 0.0, out=out))
        elif row is ops.POWER and self.numbers[1] in _POWERS:
            bound.forward.append(partial(_POWERS[self.numbers[1]], x, out=out))
        elif isinstance(form, np.ufunc):
            bound.forward.append(partial(form, *operands, out=out))
        else:
            arrays = _as_arrays(operands)
            bound.forward.append(lambda: np.copyto(out, form(*arrays)))

    def bind_backward(self, bound: _Bound) -> None:
        out, grad = bound.values[self.group.rows], bound.adjoints[self.group.rows]
        operands = bound.kept[self]
        amounts = None if bound.selects else _AMOUNTS.get(self.group.row)
        if amounts is None or (self.group.row is ops.POWER and not self.numbers[1]):
            self._by_the_table(bound, out, grad, operands)
            return
        for place, sink in self.sinks.items():
            amount = bound.place_for(sink, self.kinds[place], len(grad))
            steps = amounts(place, grad, out, operands, amount)
            bound.backward += steps
            bound.deliver(sink, self.kinds[place], amount if steps else grad)

    def _by_the_table(self, bound: _Bound, out: Numbers, grad: Numbers, operands: list[Any]) -> None:
        """The partials of the row itself. Where a condition is in the program, what is not taken receives 0."""
        row, arrays, value = self.group.row, _as_arrays(operands), out.view(Array)
        wanted = [place in self.sinks for place in range(len(operands))]
        amounts = {place: bound.place_for(sink, self.kinds[place], len(grad)) for place, sink in self.sinks.items()}

        def compute() -> None:
            partials = derivatives(row, value, arrays, wanted=wanted)
            for place, amount in amounts.items():
                np.multiply(grad, partials[place], out=amount)
                if bound.selects:
                    amount[(grad == 0.0) | (np.asarray(partials[place]) == 0.0)] = 0.0

        bound.backward.append(compute)
        for place, sink in self.sinks.items():
            bound.deliver(sink, self.kinds[place], amounts[place])


def _number(column: Sequence[Quantity]) -> float | None:
    """The number that is the same constant for all members, if it is."""
    numbers = {one.constant for one in column}
    return numbers.pop() if len(numbers) == 1 else None


def _as_arrays(operands: Sequence[Any]) -> tuple[Any, ...]:
    return tuple([one.view(Array) if isinstance(one, np.ndarray) else one for one in operands])


# Forms that take fewer passes over memory than those of the table, and give the same.

_POWERS: dict[float, np.ufunc] = {1.0: np.positive, 2.0: np.square, -1.0: np.reciprocal, 0.5: np.sqrt}

Amounts: TypeAlias = Callable[[int, Numbers, Numbers, Sequence[Any], Numbers], list[Step]]
"""The steps that compute what operand `place` receives, given adjoint, value and operands; none where it is all."""


def _times_number(*slopes: float) -> Amounts:
    def steps(place: int, grad: Numbers, out: Numbers, operands: Sequence[Any], amount: Numbers) -> list[Step]:
        return [] if slopes[place] == 1.0 else [partial(np.negative, grad, out=amount)]

    return steps


def _of_product(place: int, grad: Numbers, out: Numbers, operands: Sequence[Any], amount: Numbers) -> list[Step]:
    return [partial(np.multiply, grad, operands[1 - place], out=amount)]


def _of_quotient(place: int, grad: Numbers, out: Numbers, operands: Sequence[Any], amount: Numbers) -> list[Step]:
    steps: list[Step] = [partial(np.divide, grad, operands[1], out=amount)]
    if place:
        steps += [partial(np.multiply, amount, out, out=amount), partial(np.negative, amount, out=amount)]
    return steps


def _of_power(place: int, grad: Numbers, out: Numbers, operands: Sequence[Any], amount: Numbers) -> list[Step]:
    """c·x^(c−1) for a number c that is not 0."""
    x, c = operands
    slope: Step = (
        partial(_POWERS[c - 1.0], x, out=amount) if c - 1.0 in _POWERS else partial(np.power, x, c - 1.0, amount)
    )
    return [slope, partial(np.multiply, amount, c, out=amount), partial(np.multiply, amount, grad, out=amount)]


def _of_exp(place: int, grad: Numbers, out: Numbers, operands: Sequence[Any], amount: Numbers) -> list[Step]:
    return [partial(np.multiply, grad, out, out=amount)]


def _of_log(place: int, grad: Numbers, out: Numbers, operands: Sequence[Any], amount: Numbers) -> list[Step]:
    return [partial(np.divide, grad, operands[0], out=amount)]


def _of_relu(place: int, grad: Numbers, out: Numbers, operands: Sequence[Any], amount: Numbers) -> list[Step]:
    above = np.empty(np.shape(operands[0]), dtype=bool)
    return [partial(np.greater, operands[0], 0.0, out=above), partial(np.multiply, grad, above, out=amount)]


def _of_tanh(place: int, grad: Numbers, out: Numbers, operands: Sequence[Any], amount: Numbers) -> list[Step]:
    """1 − tanh² as 4e/(1 + e)² with e = exp(−2|x|), which keeps its digits."""
    small, other = np.empty_like(operands[0]), np.empty_like(operands[0])
    return [
        partial(np.abs, operands[0], out=small),
        partial(np.multiply, small, -2.0, out=small),
        partial(np.exp, small, out=small),
        partial(np.add, small, 1.0, out=other),
        partial(np.multiply, other, other, out=other),
        partial(np.divide, small, other, out=small),
        partial(np.multiply, small, 4.0, out=small),
        partial(np.multiply, grad, small, out=amount),
    ]


_AMOUNTS: dict[ops.Primitive, Amounts] = {
    ops.ADD: _times_number(1.0, 1.0),
    ops.SUBTRACT: _times_number(1.0, -1.0),
    ops.NEGATE: _times_number(-1.0),
    ops.IDENTITY: _times_number(1.0),
    ops.MULTIPLY: _of_product,
    ops.DIVIDE: _of_quotient,
    ops.POWER: _of_power,
    ops.EXP: _of_exp,
    ops.LOG: _of_log,
    ops.RELU: _of_relu,
    ops.TANH: _of_tanh,
}


class _Many(_Act):
    """A row of many operands, member after member: in segments of one length, or of several."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        lists = [self._listed(one) for one in group.members]
        self.kind = "S" if group.shared else "V"
        self.sizes = [len(one) for one in lists]
        self.size = self.sizes[0] if len(set(self.sizes)) == 1 else 0  # 0: of several lengths
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.intp)
        self.owner = np.repeat(np.arange(len(lists)), self.sizes)
        self.operands = [one for listed in lists for one in listed]
        self.rows = Rows([one.place for one in self.operands])
        self.copied = 2 * len(self.rows)

    def _listed(self, one: Quantity) -> Sequence[Quantity]:
        return one.operands

    def open(self, varying: _Ledger, shared: _Ledger) -> None:
        ledger = shared if self.group.shared else varying
        self.sinks = [Sink(self.rows, ledger)]

    def read(self, bound: _Bound, rows: Rows) -> Numbers:
        """The operands, all of them in rows."""
        return rows.read(bound.values, bound.forward, whole=True)

    def reduce(self, ufunc: np.ufunc, numbers: Numbers, out: Numbers) -> Step:
        """The step that takes the sum, or the largest, of each member's numbers."""
        if self.size:
            return partial(ufunc.reduce, self.segments(numbers), 1, None, out)
        return partial(ufunc.reduceat, numbers, self.starts, 0, None, out)

    def segments(self, numbers: Numbers) -> Numbers:
        """Numbers of all operands, by member."""
        return numbers.reshape(len(self.group.members), self.size, -1)

    def spread(self, numbers: Numbers, steps: list[Step]) -> Numbers:
        """A number of each member, to be combined with those of its operands as `by_operand` shows them."""
        if self.size:
            return numbers[:, np.newaxis, :]
        copy = np.empty((len(self.rows), numbers.shape[1]))
        steps.append(partial(numbers.take, self.owner, 0, copy, "clip"))
        return copy

    def by_operand(self, numbers: Numbers) -> Numbers:
        """Numbers of all operands, in the shape that goes with `spread`."""
        return self.segments(numbers) if self.size else numbers

    def bind_backward(self, bound: _Bound) -> None:
        spread = self.spread(bound.adjoints[self.group.rows], bound.backward)
        for number, sink in enumerate(self.sinks):
            amount = bound.place_for(sink, self.kind, len(sink.rows))
            bound.backward += self.amounts(bound, number, spread, self.by_operand(amount))
            if bound.selects:  # what is not taken receives 0, whatever its derivative
                bound.backward.append(partial(_clear, self.by_operand(amount), spread))
            bound.deliver(sink, self.kind, amount)

    def amounts(self, bound: _Bound, number: int, grad: Numbers, amount: Numbers) -> list[Step]:
        """The steps that compute what the operands receive."""
        raise NotImplementedError


def _clear(amount: Numbers, grad: Numbers) -> None:
    np.copyto(amount, 0.0, where=grad == 0.0)


class _Total(_Many):
    """Σ x."""

    def bind_forward(self, bound: _Bound) -> None:
        bound.forward.append(self.reduce(np.add, self.read(bound, self.rows), bound.values[self.group.rows]))

    def amounts(self, bound: _Bound, number: int, grad: Numbers, amount: Numbers) -> list[Step]:
        return [partial(np.copyto, amount, grad)]


class _Mean(_Total):
    """Σ x/n."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        self._counts = np.array(self.sizes, dtype=float)[:, np.newaxis]

    def bind_forward(self, bound: _Bound) -> None:
        super().bind_forward(bound)
        out = bound.values[self.group.rows]
        bound.forward.append(partial(np.divide, out, self._counts, out=out))

    def amounts(self, bound: _Bound, number: int, grad: Numbers, amount: Numbers) -> list[Step]:
        counts = self._counts[:, np.newaxis] if self.size else self._counts[self.owner]
        return [partial(np.divide, grad, counts, out=amount)]


class _Dot(_Many):
    """Σ x·y of numbers that all vary, or that all are shared."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        self.others = [one for member in group.members for one in member.operands[len(member.operands) // 2 :]]
        self.other_rows = Rows([one.place for one in self.others])

    def _listed(self, one: Quantity) -> Sequence[Quantity]:
        return one.operands[: len(one.operands) // 2]

    def open(self, varying: _Ledger, shared: _Ledger) -> None:
        ledger = shared if self.group.shared else varying
        self._sides = [
            (rows, other)
            for rows, other, side in ((self.rows, 1, self.operands), (self.other_rows, 0, self.others))
            if any(one.active for one in side)
        ]
        self.sinks = [Sink(rows, ledger) for rows, _ in self._sides]

    def bind_forward(self, bound: _Bound) -> None:
        x, y = bound.kept[self] = self.read(bound, self.rows), self.read(bound, self.other_rows)
        products = np.empty(x.shape)
        bound.forward += [
            partial(np.multiply, x, y, out=products),
            self.reduce(np.add, products, bound.values[self.group.rows]),
        ]

    def amounts(self, bound: _Bound, number: int, grad: Numbers, amount: Numbers) -> list[Step]:
        other = bound.kept[self][self._sides[number][1]]
        return [partial(np.multiply, grad, self.by_operand(other), out=amount)]


class _LogSumExp(_Many):
    """The logarithm of Σ e^x, with the largest taken out."""

    def powers(self, bound: _Bound) -> tuple[Numbers, Numbers, Numbers]:
        """For each operand e^(x − largest), and for each member the largest and the sum of the powers."""
        x = self.read(bound, self.rows)
        largest, whole = (np.empty((len(self.group.members), x.shape[1])) for _ in range(2))
        powers = np.empty(x.shape)
        bound.forward.append(self.reduce(np.maximum, x, largest))
        away = self.spread(largest, bound.forward)
        bound.forward += [
            partial(np.subtract, self.by_operand(x), away, out=self.by_operand(powers)),
            partial(np.exp, powers, out=powers),
            self.reduce(np.add, powers, whole),
        ]
        return powers, largest, whole

    def bind_forward(self, bound: _Bound) -> None:
        powers, largest, whole = self.powers(bound)
        bound.kept[self] = powers, whole
        out = bound.values[self.group.rows]
        bound.forward += [partial(np.log, whole, out=out), partial(np.add, out, largest, out=out)]

    def amounts(self, bound: _Bound, number: int, grad: Numbers, amount: Numbers) -> list[Step]:
        powers, whole = bound.kept[self]
        share = np.empty_like(whole)  # of one operand with e^0
        steps: list[Step] = [partial(np.divide, bound.adjoints[self.group.rows], whole, out=share)]
        spread = self.spread(share, steps)
        return [*steps, partial(np.multiply, self.by_operand(powers), spread, out=amount)]


class _Softmax(_LogSumExp):
    """The share of the first operand in Σ e^x; all members have the same number of operands."""

    def bind_forward(self, bound: _Bound) -> None:
        powers, _, whole = self.powers(bound)
        shares = bound.kept[self] = self.segments(powers)
        out = bound.values[self.group.rows]
        bound.forward += [
            partial(np.divide, shares, whole[:, np.newaxis, :], out=shares),
            partial(np.copyto, out, shares[:, 0, :]),
        ]

    def amounts(self, bound: _Bound, number: int, grad: Numbers, amount: Numbers) -> list[Step]:
        shares, out = bound.kept[self], bound.values[self.group.rows]

        def compute() -> None:
            np.multiply(shares, -out[:, np.newaxis, :], out=amount)
            np.multiply(shares[:, 1:].sum(axis=1), out, out=amount[:, 0])  # 1 − p without losing digits
            np.multiply(amount, grad, out=amount)

        return [compute]


_MANY: dict[ops.Primitive, type[_Act]] = {
    ops.TOTAL: _Total,
    ops.MEAN: _Mean,
    ops.DOT: _Dot,
    ops.LOGSUMEXP: _LogSumExp,
    ops.SOFTMAX: _Softmax,
}


class _MatrixProduct(_Act):
    """Z = W @ X + b; ∂L/∂W = δ @ Xᵀ, ∂L/∂b = Σ δ and ∂L/∂X = Wᵀ @ δ, with all examples as columns of X."""

    group: MatrixProduct

    def __init__(self, group: MatrixProduct) -> None:
        super().__init__(group)
        self.inputs = Rows([one.place for one in group.inputs])
        self.with_ones = group.bias_of_a_unit and (group.ones or not self.inputs.run)
        weights = [[*row, *bias[:1]] for row, bias in zip(group.W, group.biases, strict=True)]
        if not self.with_ones:
            weights = [list(row) for row in group.W]
        self.shape = len(weights), len(weights[0])
        self.W = Rows([one.place for row in weights for one in row])
        self.bias = None
        if group.has_bias and not self.with_ones:
            biases = [unit[:1] if group.bias_of_a_unit else unit for unit in group.biases]
            self.bias = Rows([one.place for unit in biases for one in unit])
        self.learns = any([one.active for row in weights for one in row])
        self.bias_learns = bool(self.bias) and any([one.active for unit in group.biases for one in unit])
        self.passes = any([one.active for one in group.inputs])
        self.copied = 0 if self.inputs.run else len(self.inputs)

    def open(self, varying: _Ledger, shared: _Ledger) -> None:
        self.weight_sink = Sink(self.W, shared) if self.learns else None
        self.bias_sink = Sink(self.bias, shared) if self.bias and self.bias_learns else None
        self.input_sink = Sink(self.inputs, varying) if self.passes else None

    def _flat(self, numbers: Numbers) -> Numbers:
        """Rows for each unit and column, as a matrix with all columns of all examples side by side."""
        return numbers.reshape(len(numbers) // self.group.columns, -1)

    def bind_forward(self, bound: _Bound) -> None:
        W = self._matrix(bound)
        if self.inputs.run:
            ones = self.group.columns * self.with_ones
            X = bound.values[self.inputs.run.start : self.inputs.run.stop + ones]
        else:
            X = np.ones((len(self.inputs) + self.group.columns * self.with_ones, bound.values.shape[1]))
            copy = X[: len(self.inputs)]
            bound.forward.append(partial(bound.values.take, self.inputs.places, 0, copy, "clip"))
        X = self._flat(X)
        out = bound.values[self.group.rows]
        bound.kept[self] = W, X
        bound.forward.append(partial(np.matmul, W, X, out=self._flat(out)))
        if self.bias:
            b = self.bias.read(bound.shared, bound.forward, whole=True)
            out = self._flat(out) if self.group.bias_of_a_unit else out
            bound.forward.append(partial(np.add, out, b, out=out))

    def _matrix(self, bound: _Bound) -> Numbers:
        """W: a view of the shared numbers where they stand row by row, or column by column."""
        places = self.W.places.reshape(self.shape)
        down, along = ((int(places[1, 0] - places[0, 0]) if len(places) > 1 else self.shape[1]), 1)
        if self.shape[1] > 1:
            along = int(places[0, 1] - places[0, 0])
        regular = places[0, 0] + down * np.arange(self.shape[0])[:, np.newaxis] + along * np.arange(self.shape[1])
        if np.array_equal(places, regular) and 1 in (down, along) and min(down, along) > 0:
            item = bound.shared.itemsize
            first = bound.shared[places[0, 0] :]
            return np.lib.stride_tricks.as_strided(first, self.shape, (down * item, along * item), writeable=False)
        copy = np.empty((len(self.W), 1))
        bound.forward.append(partial(bound.shared.take, self.W.places, 0, copy, "clip"))
        return copy.reshape(self.shape)

    def bind_backward(self, bound: _Bound) -> None:
        W, X = bound.kept[self]
        rows = bound.adjoints[self.group.rows]
        delta = self._flat(rows)
        if bound.selects:
            W, X = self._used(bound, delta, W, X)
        if self.weight_sink:
            view = self.weight_sink.view(bound.shared_adjoints)
            amount = np.empty((len(self.W), 1)) if view is None else view
            bound.backward.append(partial(np.matmul, delta, X.T, out=amount.reshape(self.shape)))
            bound.backward += self.weight_sink.put(bound.shared_adjoints, amount)
        if self.bias_sink:
            each = delta if self.group.bias_of_a_unit else rows
            amount = np.empty((len(each), 1))
            bound.backward.append(partial(np.add.reduce, each, 1, None, amount, True))
            bound.backward += self.bias_sink.put(bound.shared_adjoints, amount)
        if self.input_sink:
            amount = bound.place_for(self.input_sink, "V", len(self.inputs))
            W = W[:, : len(self.group.X)]
            bound.backward.append(partial(np.matmul, W.T, delta, out=self._flat(amount)))
            bound.backward += self.input_sink.put(bound.adjoints, amount)

    def _used(self, bound: _Bound, delta: Numbers, W: Numbers, X: Numbers) -> tuple[Numbers, Numbers]:
        """W and X with 0 for what passes nothing on: a branch that is not taken need not have a value."""
        used_W, used_X = np.empty_like(W), np.empty_like(X)

        def copy() -> None:
            np.copyto(used_W, np.where(delta.any(axis=1, keepdims=True), W, 0.0))
            np.copyto(used_X, np.where(delta.any(axis=0), X, 0.0))

        bound.backward.append(copy)
        return used_W, used_X
