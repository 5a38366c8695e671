"""A rolled-up graph as NumPy computes it: values forward, adjoints backward, for many examples at once.

Two arrays hold all numbers, a row each: one those that vary, a column an example, and one those that all share. The
steps of all groups are bound to them once for each width of a batch, and then repeated.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import partial
from typing import Any

import numpy as np

from engine import ops
from engine.acts import act_of
from engine.arrays import quiet
from engine.rolled import ALWAYS, NEVER, SOMETIMES, Group, MatrixProduct, Rolled
from engine.rows import Ledger, Numbers, Space, Truths

WIDEST = 640  # examples at a time: beyond it, nothing is gained
FITTING = 2**17  # numbers that stay in a processor's cache
ENOUGH, AFFORDED = 32, 2**21  # examples of a large graph, whose steps cost more than memory; numbers even so
FEW = 8000  # numbers that a BLAS sums up by itself
VECTORS = 8  # examples up to which a product may be computed as one of vectors
KEPT = 6  # widths of batches, and questions, whose steps are kept

_WITHOUT_DOMAIN = (ops.MEAN, ops.LOGSUMEXP)  # theirs is that there are operands


class Program:
    """A rolled-up graph, ready to run; its first target is what the backward pass starts from."""

    def __init__(self, structure: Rolled, *, backward: bool = True) -> None:
        self.structure = structure
        self.target = structure.targets[0]
        self.backward = backward and self.target.active
        self.shared = np.zeros((structure.shared_rows, 1))
        self.shared_adjoints = np.zeros((structure.shared_rows, 1))
        self.shared_reached = np.zeros((structure.shared_rows, 1), dtype=bool)
        for one in structure.constants:
            self.shared[one.place] = one.constant
        told = _told_by_gradients(structure) if self.backward else set()
        self.input_runs = [(rows, columns, told >= _places(rows)) for rows, columns in _input_runs(structure)]
        """Rows of inputs, their columns of a batch, and whether the gradient tells of what is not finite there."""
        varying, shared = Ledger(structure.varying_rows), Ledger(structure.shared_rows)
        (shared if self.target.shared else varying).written[self.target.place] = True
        self.acts = {group: act_of(group) for group in structure.groups}
        for group in reversed(structure.groups if self.backward else []):
            if group.active:
                self.acts[group].open(varying, shared)
        self.branching = [group for group in reversed(structure.groups) if _branches(group)]
        """The groups from which the backward pass goes on sometimes."""
        self.cleared = _runs(np.flatnonzero(varying.from_zero))
        """The rows whose adjoints start from 0."""
        copied = sum([act.copied for group, act in self.acts.items() if not group.shared])
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
            self.shared_reached.fill(False)
            for step in self._once.forward:
                step()
            fine = self._once.is_fine()
            for chunk in range(chunks):
                start, end = chunk * count // chunks, (chunk + 1) * count // chunks
                bound = self._bound_to(end - start)
                for inputs, columns, told in bound.inputs:
                    inputs[:] = batch[start:end, columns].T
                    fine = fine and (told or surely_finite(inputs))
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

    def led_to(self, space: Space, *, compared: bool) -> tuple[Truths, Truths]:
        """Where one is led from the targets, to numbers that vary and to shared ones, by the branches taken.

        With what conditions `compared` all is told that values rest on; without it, under branches, what the backward
        pass reaches.
        """
        varying, shared = (np.zeros(values.shape, dtype=bool) for values in (space.values, self.shared))
        for target in self.structure.targets:
            (shared if target.shared else varying)[target.place] = True
        for group in reversed(self.structure.groups) if compared else self.branching:
            here = (shared if group.shared else varying)[group.rows]
            if group.reach == ALWAYS and not compared:
                here = np.ones_like(here)
            home = self._once if group.shared else space
            for is_shared, places, led in self.acts[group].leads_to(home, here, compared=compared):
                if is_shared:
                    np.logical_or.at(shared, places, led.any(axis=1, keepdims=True))
                else:
                    np.logical_or.at(varying, places, led)
        return varying, shared

    def _bound_to(self, width: int) -> _Bound:
        bound = self._bound.get(width)
        if bound is None:
            bound = self._bound[width] = _Bound(self, width)
            if len(self._bound) > KEPT:
                self._bound.popitem(last=False)
        self._bound.move_to_end(width)
        return bound


class _Bound(Space):
    """The steps of a program for batches of one width, or those of what all examples share."""

    def __init__(self, program: Program, width: int, *, shared: bool = False) -> None:
        structure, values, adjoints = program.structure, program.shared, program.shared_adjoints
        if not shared:
            values = np.zeros((structure.varying_rows, width))
            values[structure.ones] = 1.0
            adjoints = np.zeros((structure.varying_rows if program.backward else 1, width))
        reached = program.shared_reached if shared else np.zeros(values.shape, dtype=bool)
        super().__init__(values, adjoints, program.shared, program.shared_adjoints, reached)
        self.inputs = (
            []
            if shared
            else [(values[rows], columns, told and width > VECTORS) for rows, columns, told in program.input_runs]
        )
        groups = [group for group in structure.groups if group.shared == shared]
        for group in groups:
            program.acts[group].bind_forward(self)
        self._program = program
        if structure.selects:  # what all examples share is looked at with each of them, which may need it
            self._doubtful = [] if shared else [values, program.shared]
        elif any([_hides(group) for group in groups]):
            self._doubtful = [values]
        else:
            self._doubtful = [values[group.rows] for group in groups if _has_domain(group)]
        if not program.backward:
            return
        if not shared and not program.target.shared:
            adjoints[program.target.place] = 1.0
        if program.branching and not shared:
            self.backward.append(self._find_reached)
        self.backward += [partial(adjoints[rows].fill, 0.0) for rows in program.cleared if not shared]
        for group in reversed(groups):
            if group.active:
                program.acts[group].bind_backward(self)

    def _find_reached(self) -> None:
        varying, shared = self._program.led_to(self, compared=False)
        np.copyto(self.reached, varying)
        self._program.shared_reached |= shared

    def is_fine(self) -> bool:
        """Whether no operation that is needed has left its domain, surely."""
        if all([surely_finite(values) for values in self._doubtful]):
            return True
        if not self._program.structure.selects:
            return False
        varying, shared = self._program.led_to(self, compared=True)
        return not ((varying & ~np.isfinite(self.values)).any() or (shared & ~np.isfinite(self.shared)).any())


def surely_finite(numbers: Numbers) -> bool:
    """Whether all numbers are finite, as the sum of their squares tells; that of large ones may not tell it."""
    flat = numbers.ravel("K")
    if flat.size <= FEW:
        return math.isfinite(np.vdot(flat, flat))  # which, unlike dot, never warns
    with quiet():
        return math.isfinite(np.add.reduce(flat))  # and which, unlike this, may wait for other threads


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


def _places(rows: slice) -> set[int]:
    return set(range(rows.start, rows.stop))


def _told_by_gradients(structure: Rolled) -> set[int]:
    """The rows of inputs that weights are learned for: where X is not finite, Z is not, or else ∂L/∂W = δ·Xᵀ.

    Of a matrix product that is: one with a vector may skip what is multiplied by 0.
    """
    products = [group for group in structure.groups if isinstance(group, MatrixProduct) and group.reach == ALWAYS]
    learned = [group for group in products if any([one.active for one in group.weights])]
    return {one.place for group in learned for one in group.inputs}


def _runs(places: np.ndarray[Any, Any]) -> list[slice]:
    parts = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1) if len(places) else []
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]


def _branches(group: Group) -> bool:
    """Whether the backward pass goes on from it to some operands sometimes."""
    return group.reach > NEVER and any(
        [operand.reach == SOMETIMES for one in group.members for operand in (*one.operands, *one.weights)]
    )


def _hides(group: Group) -> bool:
    """Whether it may make a number of nan: x⁰ is 1, and hypot(∞, nan) is ∞."""
    return group.row is ops.HYPOT or (
        group.row is ops.POWER and not all(one.operands[1].constant for one in group.members)
    )


def _has_domain(group: Group) -> bool:
    return group.row.inside is not None and group.row not in _WITHOUT_DOMAIN
