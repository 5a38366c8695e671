"""Matrices of numbers that were rounded: each with how far it may be off, carried along to first order and beyond."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nn.activations import Array


@dataclass(frozen=True, eq=False)
class Rounded:
    """Numbers, and for each its doubt: what it stands for lies within number ± doubt."""

    number: Array
    doubt: Array

    __array_ufunc__: ClassVar[None] = None  # an array on the left leaves the arithmetic to this class

    def __add__(self, other: Rounded | Array | float) -> Rounded:
        other = _rounded(other)
        return Rounded(self.number + other.number, self.doubt + other.doubt)

    def __neg__(self) -> Rounded:
        return Rounded(-self.number, self.doubt)

    def __sub__(self, other: Rounded | Array | float) -> Rounded:
        return self + -_rounded(other)

    def __rsub__(self, other: Array | float) -> Rounded:
        return -self + other

    def __mul__(self, other: Rounded | Array | float) -> Rounded:
        other = _rounded(other)
        doubt = abs(self.number) * other.doubt + self.doubt * abs(other.number) + self.doubt * other.doubt
        return Rounded(self.number * other.number, doubt)

    def __radd__(self, other: Array | float) -> Rounded:
        return self + other

    def __rmul__(self, other: Array | float) -> Rounded:
        return self * other

    def __truediv__(self, other: float) -> Rounded:
        return self * (1.0 / other)

    def __matmul__(self, other: Rounded) -> Rounded:
        doubt = abs(self.number) @ other.doubt + self.doubt @ abs(other.number) + self.doubt @ other.doubt
        return Rounded(self.number @ other.number, doubt)

    def __getitem__(self, place: Any) -> Rounded:
        return Rounded(self.number[place], self.doubt[place])

    @property
    def T(self) -> Rounded:
        """Rows as columns."""
        return Rounded(self.number.T, self.doubt.T)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.number.shape
        return rows, columns

    def total(self, axis: int) -> Rounded:
        """The sum over an axis, which stays as one row or column."""
        return Rounded(self.number.sum(axis, keepdims=True), self.doubt.sum(axis, keepdims=True))

    def mean(self, axis: int) -> Rounded:
        """The mean over an axis, which stays as one row or column."""
        return self.total(axis) * (1.0 / self.shape[axis])

    def apply(self, f: Callable[[Array], Any]) -> Rounded:
        """A function of each number by itself, as far as the ends of the doubt tell, on both sides of a kink."""
        with np.errstate(all="ignore"):
            number = np.asarray(f(self.number), dtype=float)
            ends = [abs(np.asarray(f(self.number + way * self.doubt), dtype=float) - number) for way in (-1.0, 1.0)]
            return Rounded(number, np.fmax(*ends))

    def like(self, shape: tuple[int, int]) -> Rounded:
        """The same numbers for every row or column of a shape."""
        return Rounded(np.broadcast_to(self.number, shape), np.broadcast_to(self.doubt, shape))


def exact(number: Array | float) -> Rounded:
    """Numbers without a doubt."""
    array = np.asarray(number, dtype=float)
    return Rounded(array, np.zeros_like(array))


def _rounded(given: Rounded | Array | float) -> Rounded:
    return given if isinstance(given, Rounded) else exact(given)
