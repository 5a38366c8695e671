"""Numbers that people bring: examples and targets, checked before anything is computed with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from engine import Value
from engine.text import shorten


def as_array(data: Any, name: str) -> np.ndarray[Any, Any]:
    """`data` as an array of floats. Raises TypeError for what is none, ValueError for ragged rows and no numbers."""
    if hasattr(data, "__next__"):
        raise TypeError(f"{name} is an iterator, which can be gone through once only: write list({name}).")
    if np.ma.is_masked(data):
        raise TypeError(f"{name} has masked numbers: leave such examples out, or fill in a number.")
    try:
        array = np.asarray(data)
        if array.dtype == object and any(isinstance(one, Value) for one in array.flat):
            raise TypeError("it has Values, and numbers are needed: x.item() is that of x")
        if array.size and array.dtype.kind not in "fiubO":
            raise TypeError(f"{shorten(repr(array.flat[0].item()))} is no real number")
        array = array.astype(float)
    except (TypeError, ValueError, OverflowError) as error:
        lengths = {len(row) for row in data if hasattr(row, "__len__")} if hasattr(data, "__iter__") else set()
        if len(lengths) > 1:
            raise ValueError(f"The rows of {name} have different lengths: {sorted(lengths)}.") from None
        raise TypeError(f"{name} must hold numbers: {str(error).rstrip('.')}.") from None
    if array.size == 0:
        raise ValueError(f"{name} is empty: it needs at least one example.")
    return array


def as_examples(X: Any, n_inputs: int | None = None, name: str = "X") -> list[list[float]]:
    """X as a list of rows. Raises ValueError unless it is finite, of shape (n, n_inputs), and has an example."""
    array = as_array(X, name)
    if array.ndim != 2:
        hint = f" For one example write [{name}]; for examples of one input, {name}.reshape(-1, 1)." * (array.ndim == 1)
        raise ValueError(f"{name} must have two dimensions, (examples, inputs), and its shape is {array.shape}.{hint}")
    if n_inputs is not None and array.shape[1] != n_inputs:
        raise ValueError(f"The model takes {n_inputs} inputs, and the rows of {name} have {array.shape[1]}.")
    refuse_not_finite(array, name)
    return array.tolist()  # type: ignore[no-any-return]


def refuse_not_finite(array: np.ndarray[Any, Any], name: str) -> None:
    """Raise ValueError, with row and column, where a number is nan or infinite."""
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        place = "".join(f", {axis} {index}" for axis, index in zip(("row", "column"), bad[0].tolist(), strict=False))
        more = f" {len(bad)} numbers are." if len(bad) > 1 else ""
        raise ValueError(
            f"{name} has a number that is not finite: {array[tuple(bad[0])]}{place} (counted from 0).{more} "
            "Leave such examples out, or fill in a number."
        )


def as_leaves(x: Any, n_inputs: int, example: str = "") -> list[Value]:
    """One example as Values: numbers become leaves `x1`, `x2`, …, Values stay. Raises for another count or nan."""
    try:
        if isinstance(x, str | set | dict):
            raise TypeError
        row = list(x)
    except TypeError:
        raise TypeError(f"One example is a list of {n_inputs} numbers or Values, not {shorten(repr(x))}.") from None
    if len(row) != n_inputs:
        raise ValueError(f"The model takes {n_inputs} inputs, and the example has {len(row)}.")
    return [
        given if isinstance(given, Value) else _leaf(given, f"x{number}{example}")
        for number, given in enumerate(row, 1)
    ]


def _leaf(given: Any, label: str) -> Value:
    try:
        return Value(given, label)
    except (TypeError, ValueError) as error:
        raise type(error)(f"Input {label}: {error}") from None


def is_number(given: Any) -> bool:
    """Whether it is a number of Python or NumPy; True and False are none."""
    return isinstance(given, int | float | np.floating | np.integer) and not isinstance(given, bool)


def refuse_not_positive(**rates: Any) -> None:
    """Raise TypeError or ValueError for the first of the named numbers that is not above 0 and finite."""
    for name, rate in rates.items():
        if not is_number(rate):
            raise TypeError(f"{name} must be a number, not {type(rate).__name__} {rate!r:.60}.")
        if not (rate > 0.0 and math.isfinite(rate)):
            raise ValueError(f"{name} must be above 0 and finite, and it is {rate}.")


def refuse_count(**counts: Any) -> None:
    """Raise TypeError or ValueError for the first of the named numbers that is no whole number from 1 on."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int | np.integer):
            raise TypeError(f"{name} must be a whole number, not {type(count).__name__} {count!r:.60}.")
        if count < 1:
            raise ValueError(f"{name} must be at least 1, and it is {count}.")


def rate_at(lr: float | Callable[[int], float], step: int) -> float:
    """The learning rate at a step, counted from 0. Raises unless it is above 0 and finite."""
    if not callable(lr):
        refuse_not_positive(lr=lr)
        return float(lr)
    rate = lr(step)
    refuse_not_positive(**{f"lr at step {step} (counted from 0)": rate})
    return float(rate)
