"""What a group of numbers does: the steps of NumPy that compute it, and that pass its adjoints on to its operands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from engine import ops
from engine.arrays import FORMS, Array, derivatives
from engine.rolled import ALWAYS, Group, MatrixProduct, Quantity
from engine.rows import Ledger, Numbers, Rows, Sink, Space, Step, Truths

Places: TypeAlias = np.ndarray[Any, np.dtype[np.intp]]


def act_of(group: Group) -> Act:
    """What the group does."""
    if isinstance(group, MatrixProduct):
        return _MatrixProduct(group)
    return _MANY.get(group.row, _Elementwise)(group)


class Act:
    """What a group does: read its operands, compute forward, and pass adjoints back to the operands that are active."""

    copied = 0
    """How many numbers it copies for each example, about."""

    def __init__(self, group: Group) -> None:
        self.group = group

    def open(self, varying: Ledger, shared: Ledger) -> None:
        """Settle who receives first, in the order of the backward pass."""
        raise NotImplementedError

    def bind_forward(self, space: Space) -> None:
        """Add the steps of the forward pass."""
        raise NotImplementedError

    def bind_backward(self, space: Space) -> None:
        """Add the steps of the backward pass."""
        raise NotImplementedError

    def leads_to(self, space: Space, here: Truths, *, compared: bool) -> Iterator[tuple[bool, Places, Truths]]:
        """Where one is led to the operands of members to which one is led `here`; also by what a condition `compared`.

        For operands that are shared or vary, their rows, and for each row the examples.
        """
        raise NotImplementedError


class _Elementwise(Act):
    """One row of the table on operands of the same kinds."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        self.kinds = [column[0].kind for column in group.operands]
        self.rows = [Rows([one.place for one in column]) for column in group.operands]
        self.numbers = [_number(column) for column in group.operands]
        self.copied = sum([len(rows) for rows in self.rows if not (rows.run or rows.one)])

    def open(self, varying: Ledger, shared: Ledger) -> None:
        self.sinks = {
            place: Sink(rows, shared if kind == "S" else varying)
            for place, (rows, kind) in enumerate(zip(self.rows, self.kinds, strict=True))
            if kind in "SV" and not (self.group.row.selects and place < 2)
        }

    def bind_forward(self, space: Space) -> None:
        operands = space.kept[self] = [
            space.read(rows, kind) if number is None else number
            for rows, kind, number in zip(self.rows, self.kinds, self.numbers, strict=True)
        ]
        out, row, x = space.values[self.group.rows], self.group.row, operands[0]
        form = FORMS[row]
        if row is ops.IDENTITY:
            space.forward.append(partial(np.copyto, out, x))
        elif row is ops.RELU:
            space.forward.append(partial(np.maximum, x, 0.0, out=out))
        elif row is ops.POWER and self.numbers[1] in _POWERS:
            space.forward.append(partial(_POWERS[self.numbers[1]], x, out=out))
        elif isinstance(form, np.ufunc):
            space.forward.append(partial(form, *operands, out=out))
        else:
            arrays = _as_arrays(operands)
            space.forward.append(lambda: np.copyto(out, form(*arrays)))

    def bind_backward(self, space: Space) -> None:
        out, grad = space.values[self.group.rows], space.adjoints[self.group.rows]
        operands = space.kept[self]
        amounts = _AMOUNTS.get(self.group.row) if self.group.reach == ALWAYS else None
        if amounts is None or (self.group.row is ops.POWER and not self.numbers[1]):
            self._by_the_table(space, out, grad, operands)
            return
        for place, sink in self.sinks.items():
            amount = space.place_for(sink, self.kinds[place], len(grad))
            steps = amounts(place, grad, out, operands, amount)
            space.backward += steps
            space.deliver(sink, self.kinds[place], amount if steps else grad)

    def _by_the_table(self, space: Space, out: Numbers, grad: Numbers, operands: list[Any]) -> None:
        """The partials of the row itself. What a condition does not take receives 0, whatever its derivative."""
        row, arrays, value = self.group.row, _as_arrays(operands), out.view(Array)
        wanted = [place in self.sinks for place in range(len(operands))]
        amounts = {place: space.place_for(sink, self.kinds[place], len(grad)) for place, sink in self.sinks.items()}
        away = None if self.group.reach == ALWAYS else np.empty(grad.shape, dtype=bool)

        def compute() -> None:
            partials = derivatives(row, value, arrays, wanted=wanted)
            for place, amount in amounts.items():
                if row.selects:
                    np.copyto(amount, np.where(partials[place], grad, 0.0))
                else:
                    np.multiply(grad, partials[place], out=amount)
                if away is not None:
                    np.copyto(amount, 0.0, where=np.logical_not(space.reached[self.group.rows], out=away))

        space.backward.append(compute)
        for place, sink in self.sinks.items():
            space.deliver(sink, self.kinds[place], amounts[place])

    def leads_to(self, space: Space, here: Truths, *, compared: bool) -> Iterator[tuple[bool, Places, Truths]]:
        row, operands = self.group.row, space.kept[self]
        taken = np.asarray(FORMS[row](*operands[:2], 1.0, 0.0)) != 0.0 if row.selects else True
        for place, (rows, kind) in enumerate(zip(self.rows, self.kinds, strict=True)):
            if row.selects and place < 2:
                if compared:
                    yield kind in "SC", rows.places, here
            else:
                led = here & (taken if place < 3 else np.logical_not(taken)) if row.selects else here
                yield kind in "SC", rows.places, led


def _number(column: Sequence[Quantity]) -> float | None:
    """The number that is the same constant for all members, if it is."""
    first = column[0].constant
    alike = all([one.constant == first and repr(one.constant) == repr(first) for one in column])  # 0 is not −0
    return first if alike else None


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


class _Many(Act):
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

    def open(self, varying: Ledger, shared: Ledger) -> None:
        ledger = shared if self.group.shared else varying
        self.sinks = [Sink(self.rows, ledger)]

    def read(self, space: Space, rows: Rows) -> Numbers:
        """The operands, all of them in rows."""
        return rows.read(space.values, space.forward, whole=True)

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

    def bind_backward(self, space: Space) -> None:
        spread = self.spread(space.adjoints[self.group.rows], space.backward)
        for number, sink in enumerate(self.sinks):
            amount = space.place_for(sink, self.kind, len(sink.rows))
            space.backward += self.amounts(space, number, spread, self.by_operand(amount))
            if self.group.reach != ALWAYS:  # what is not taken receives 0, whatever its derivative
                space.backward.append(partial(self._clear, space, amount))
            space.deliver(sink, self.kind, amount)

    def _clear(self, space: Space, amount: Numbers) -> None:
        np.copyto(amount, 0.0, where=~space.reached[self.group.rows][self.owner])

    def leads_to(self, space: Space, here: Truths, *, compared: bool) -> Iterator[tuple[bool, Places, Truths]]:
        yield self.group.shared, self.rows.places, here[self.owner]

    def amounts(self, space: Space, number: int, grad: Numbers, amount: Numbers) -> list[Step]:
        """The steps that compute what the operands receive."""
        raise NotImplementedError


class _Total(_Many):
    """Σ x."""

    def bind_forward(self, space: Space) -> None:
        space.forward.append(self.reduce(np.add, self.read(space, self.rows), space.values[self.group.rows]))

    def amounts(self, space: Space, number: int, grad: Numbers, amount: Numbers) -> list[Step]:
        return [partial(np.copyto, amount, grad)]


class _Mean(_Total):
    """Σ x/n."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        self._counts = np.array(self.sizes, dtype=float)[:, np.newaxis]

    def bind_forward(self, space: Space) -> None:
        super().bind_forward(space)
        out = space.values[self.group.rows]
        space.forward.append(partial(np.divide, out, self._counts, out=out))

    def amounts(self, space: Space, number: int, grad: Numbers, amount: Numbers) -> list[Step]:
        counts = self._counts[:, np.newaxis] if self.size else self._counts[self.owner]
        return [partial(np.divide, grad, counts, out=amount)]


class _Dot(_Many):
    """Σ x·y of numbers that all vary, or that all are shared."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        self.others = [one for member in group.members for one in ops.halves(member.operands)[1]]
        self.other_rows = Rows([one.place for one in self.others])

    def _listed(self, one: Quantity) -> Sequence[Quantity]:
        return ops.halves(one.operands)[0]

    def open(self, varying: Ledger, shared: Ledger) -> None:
        ledger = shared if self.group.shared else varying
        self._sides = [
            (rows, other)
            for rows, other, side in ((self.rows, 1, self.operands), (self.other_rows, 0, self.others))
            if any(one.active for one in side)
        ]
        self.sinks = [Sink(rows, ledger) for rows, _ in self._sides]

    def leads_to(self, space: Space, here: Truths, *, compared: bool) -> Iterator[tuple[bool, Places, Truths]]:
        yield from super().leads_to(space, here, compared=compared)
        yield self.group.shared, self.other_rows.places, here[self.owner]

    def bind_forward(self, space: Space) -> None:
        x, y = space.kept[self] = self.read(space, self.rows), self.read(space, self.other_rows)
        products = np.empty(x.shape)
        space.forward += [
            partial(np.multiply, x, y, out=products),
            self.reduce(np.add, products, space.values[self.group.rows]),
        ]

    def amounts(self, space: Space, number: int, grad: Numbers, amount: Numbers) -> list[Step]:
        other = space.kept[self][self._sides[number][1]]
        return [partial(np.multiply, grad, self.by_operand(other), out=amount)]


class _LogSumExp(_Many):
    """The logarithm of Σ e^x, with the largest taken out."""

    def powers(self, space: Space) -> tuple[Numbers, Numbers, Numbers]:
        """For each operand e^(x − largest), and for each member the largest and the sum of the powers."""
        x = self.read(space, self.rows)
        largest, whole = (np.empty((len(self.group.members), x.shape[1])) for _ in range(2))
        powers = np.empty(x.shape)
        space.forward.append(self.reduce(np.maximum, x, largest))
        away = self.spread(largest, space.forward)
        space.forward += [
            partial(np.subtract, self.by_operand(x), away, out=self.by_operand(powers)),
            partial(np.exp, powers, out=powers),
            self.reduce(np.add, powers, whole),
        ]
        return powers, largest, whole

    def bind_forward(self, space: Space) -> None:
        powers, largest, whole = self.powers(space)
        space.kept[self] = powers, whole
        out = space.values[self.group.rows]
        space.forward += [partial(np.log, whole, out=out), partial(np.add, out, largest, out=out)]

    def amounts(self, space: Space, number: int, grad: Numbers, amount: Numbers) -> list[Step]:
        powers, whole = space.kept[self]
        share = np.empty_like(whole)  # of one operand with e^0
        steps: list[Step] = [partial(np.divide, space.adjoints[self.group.rows], whole, out=share)]
        spread = self.spread(share, steps)
        return [*steps, partial(np.multiply, self.by_operand(powers), spread, out=amount)]


class _Softmax(_LogSumExp):
    """The share of the first operand in Σ e^x; all members have the same number of operands."""

    def bind_forward(self, space: Space) -> None:
        powers, _, whole = self.powers(space)
        shares = space.kept[self] = self.segments(powers)
        out = space.values[self.group.rows]
        space.forward += [
            partial(np.divide, shares, whole[:, np.newaxis, :], out=shares),
            partial(np.copyto, out, shares[:, 0, :]),
        ]

    def amounts(self, space: Space, number: int, grad: Numbers, amount: Numbers) -> list[Step]:
        shares, out = space.kept[self], space.values[self.group.rows]

        def compute() -> None:
            np.multiply(shares, -out[:, np.newaxis, :], out=amount)
            np.multiply(shares[:, 1:].sum(axis=1), out, out=amount[:, 0])  # 1 − p without losing digits
            np.multiply(amount, grad, out=amount)

        return [compute]


_MANY: dict[ops.Primitive, type[Act]] = {
    ops.TOTAL: _Total,
    ops.MEAN: _Mean,
    ops.DOT: _Dot,
    ops.LOGSUMEXP: _LogSumExp,
    ops.SOFTMAX: _Softmax,
}


class _MatrixProduct(Act):
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

    def open(self, varying: Ledger, shared: Ledger) -> None:
        self.weight_sink = Sink(self.W, shared) if self.learns else None
        self.bias_sink = Sink(self.bias, shared) if self.bias and self.bias_learns else None
        self.input_sink = Sink(self.inputs, varying) if self.passes else None

    def _flat(self, numbers: Numbers) -> Numbers:
        """Rows for each unit and column, as a matrix with all columns of all examples side by side."""
        return numbers.reshape(len(numbers) // self.group.columns, -1)

    def bind_forward(self, space: Space) -> None:
        W = self._matrix(space)
        if self.inputs.run:
            ones = self.group.columns * self.with_ones
            X = space.values[self.inputs.run.start : self.inputs.run.stop + ones]
        else:
            X = np.ones((len(self.inputs) + self.group.columns * self.with_ones, space.values.shape[1]))
            copy = X[: len(self.inputs)]
            space.forward.append(partial(space.values.take, self.inputs.places, 0, copy, "clip"))
        X = self._flat(X)
        out = space.values[self.group.rows]
        space.kept[self] = W, X
        space.forward.append(partial(np.matmul, W, X, out=self._flat(out)))
        if self.bias:
            b = self.bias.read(space.shared, space.forward, whole=True)
            out = self._flat(out) if self.group.bias_of_a_unit else out
            space.forward.append(partial(np.add, out, b, out=out))

    def _matrix(self, space: Space) -> Numbers:
        """W: a view of the shared numbers where they stand row by row, or column by column."""
        places = self.W.places.reshape(self.shape)
        down, along = ((int(places[1, 0] - places[0, 0]) if len(places) > 1 else self.shape[1]), 1)
        if self.shape[1] > 1:
            along = int(places[0, 1] - places[0, 0])
        regular = places[0, 0] + down * np.arange(self.shape[0])[:, np.newaxis] + along * np.arange(self.shape[1])
        if np.array_equal(places, regular) and 1 in (down, along) and min(down, along) > 0:
            item = space.shared.itemsize
            first = space.shared[places[0, 0] :]
            return np.lib.stride_tricks.as_strided(first, self.shape, (down * item, along * item), writeable=False)
        copy = np.empty((len(self.W), 1))
        space.forward.append(partial(space.shared.take, self.W.places, 0, copy, "clip"))
        return copy.reshape(self.shape)

    def bind_backward(self, space: Space) -> None:
        W, X = space.kept[self]
        rows = space.adjoints[self.group.rows]
        delta = self._flat(rows)
        if self.group.reach != ALWAYS:
            W, X = self._used(space, W, X)
        if self.weight_sink:
            view = self.weight_sink.view(space.shared_adjoints)
            amount = np.empty((len(self.W), 1)) if view is None else view
            space.backward.append(partial(np.matmul, delta, X.T, out=amount.reshape(self.shape)))
            space.backward += self.weight_sink.put(space.shared_adjoints, amount)
        if self.bias_sink:
            each = delta if self.group.bias_of_a_unit else rows
            amount = np.empty((len(each), 1))
            space.backward.append(partial(np.add.reduce, each, 1, None, amount, True))
            space.backward += self.bias_sink.put(space.shared_adjoints, amount)
        if self.input_sink:
            amount = space.place_for(self.input_sink, "V", len(self.inputs))
            W = W[:, : len(self.group.X)]
            space.backward.append(partial(np.matmul, W.T, delta, out=self._flat(amount)))
            space.backward += self.input_sink.put(space.adjoints, amount)

    def _used(self, space: Space, W: Numbers, X: Numbers) -> tuple[Numbers, Numbers]:
        """W and X with 0 for what passes nothing on: a branch that is not taken need not have a value."""
        used_W, used_X = np.empty_like(W), np.empty_like(X)

        def copy() -> None:
            here = space.reached[self.group.rows].reshape(len(W), -1)
            np.copyto(used_W, np.where(here.any(axis=1, keepdims=True), W, 0.0))
            np.copyto(used_X, np.where(here.any(axis=0), X, 0.0))

        space.backward.append(copy)
        return used_W, used_X

    def leads_to(self, space: Space, here: Truths, *, compared: bool) -> Iterator[tuple[bool, Places, Truths]]:
        units = here.reshape(self.shape[0], self.group.columns, -1)
        columns: Truths = np.logical_or.reduce(units, axis=0)
        yield False, self.inputs.places, np.tile(columns, (len(self.group.X), 1))
        of_a_unit: Truths = np.logical_or.reduce(units, axis=(1, 2), keepdims=True).reshape(-1, 1)
        yield True, self.W.places, np.repeat(of_a_unit, self.shape[1], axis=0)
        if self.bias:
            each: Truths = np.logical_or.reduce(here, axis=1, keepdims=True)
            each = of_a_unit if self.group.bias_of_a_unit else each
            yield True, self.bias.places, each
