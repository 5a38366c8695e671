"""Rows of arrays: how a group reads those of its operands, and delivers to them what they receive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

Step: TypeAlias = Callable[[], Any]
"""A call of NumPy on arrays that stay where they are, to be repeated."""
Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Truths: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


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

    def __init__(self, rows: Rows, ledger: Ledger) -> None:
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


class Ledger:
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


class Space:
    """The numbers of one width of a batch, or those that all examples share, and the steps that compute them.

    `values` and `adjoints` have a row for each number and a column for each example; `shared` and `shared_adjoints` are
    those of what all examples share, with one column. `reached` tells where the backward pass reaches a number,
    if there are conditions. `kept` has what a group has read or computed for its backward pass.
    """

    def __init__(
        self, values: Numbers, adjoints: Numbers, shared: Numbers, shared_adjoints: Numbers, reached: Truths
    ) -> None:
        self.values, self.adjoints = values, adjoints
        self.shared, self.shared_adjoints = shared, shared_adjoints
        self.reached = reached
        self.forward: list[Step] = []
        self.backward: list[Step] = []
        self.kept: dict[Any, Any] = {}

    def _of_all(self, kind: str) -> bool:
        """Whether operands of that kind are shared by all examples, and these numbers are not."""
        return kind in "SC" and self.values is not self.shared

    def read(self, rows: Rows, kind: str) -> Numbers:
        """The values of operands of one kind."""
        return rows.read(self.shared if self._of_all(kind) else self.values, self.forward)

    def deliver(self, sink: Sink, kind: str, amount: Numbers) -> None:
        """Pass an amount on to operands of one kind; what all examples share receives the sum over them."""
        if self._of_all(kind):
            summed = np.empty((len(amount), 1))
            self.backward.append(partial(np.add.reduce, amount, 1, None, summed, True))
            self.backward += sink.put(self.shared_adjoints, summed)
        else:
            self.backward += sink.put(self.adjoints, amount)

    def place_for(self, sink: Sink, kind: str, rows: int) -> Numbers:
        """An array for an amount: the adjoints themselves, where they may be computed in place."""
        view = None if self._of_all(kind) else sink.view(self.adjoints)
        return np.empty((rows, self.values.shape[1])) if view is None else view
