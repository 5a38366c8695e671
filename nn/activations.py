"""Activations A = f(Z), each by its name: on Values for nets, and f and f′ on arrays for derivations on NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import engine
from engine import Value
from engine.text import nearest, shorten

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Activation:
    """An activation: `function` on Values; `on_arrays` is f(Z) and `derivative` f′(Z), given Z and A = f(Z).

    `rule` is f′ as people write it, over Z and A. `init` names the initialization that fits it. `saturates` is the
    largest slope of a function that flattens on both sides. The arrays' forms are None for a function of one's own.
    """

    name: str
    function: Callable[[Value], Value]
    on_arrays: Callable[[Array], Array] | None = None
    derivative: Callable[[Array, Array], Array] | None = None
    rule: str = "numeric, by the complex step"
    init: str = "xavier_uniform"
    saturates: float | None = None

    @property
    def is_own(self) -> bool:
        """Whether it is a function of one's own, and not one of the table."""
        return self.on_arrays is None

    def __reduce__(self) -> Any:
        """Copies and pickles of a row of the table are that row."""
        return (as_activation, (self.name,)) if ACTIVATIONS.get(self.name) is self else super().__reduce__()


def _linear(z: Value) -> Value:
    return z


def sigmoid_of(z: Array) -> Array:
    """σ(z), which does not overflow."""
    small = np.exp(-np.abs(z))
    return np.where(z >= 0.0, 1.0, small) / (1.0 + small)


def _tanh_slope(z: Array, a: Array) -> Array:
    """1/cosh²(z), which keeps the digits that 1 − a² loses."""
    small = np.exp(-np.abs(z))
    return (2.0 * small / (1.0 + small * small)) ** 2


_erf = np.vectorize(math.erf, otypes=[float])
_erfc = np.vectorize(math.erfc, otypes=[float])
_bell = 2.0 / math.sqrt(math.pi)


def _normal(z: Array) -> Array:
    """Φ(z), the normal distribution."""
    return np.asarray(0.5 * _erfc(-z * math.sqrt(0.5)))


def _density(z: Array) -> Array:
    return np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


def _row(
    name: str, f: Callable[[Array], Any], slope: Callable[[Array, Array], Any], rule: str, **more: Any
) -> Activation:
    function = _linear if name == "linear" else getattr(engine, name)
    return Activation(name, function, f, slope, rule, **more)


_HE: dict[str, Any] = {"init": "he_normal"}

ACTIVATIONS: dict[str, Activation] = {
    row.name: row
    for row in [
        _row("linear", lambda z: z, lambda z, a: np.ones_like(z), "1"),
        _row("sigmoid", sigmoid_of, lambda z, a: sigmoid_of(z) * sigmoid_of(-z), "A·(1 − A)", saturates=0.25),
        _row("tanh", np.tanh, _tanh_slope, "1 − A²", saturates=1.0),
        _row("relu", lambda z: np.maximum(z, 0.0), lambda z, a: np.heaviside(z, 0.0), "1 if Z > 0 else 0", **_HE),
        _row(
            "leaky_relu",
            lambda z: np.where(z > 0.0, z, 0.01 * z),
            lambda z, a: np.where(z > 0.0, 1.0, 0.01),
            "1 if Z > 0 else 0.01",
            **_HE,
        ),
        _row(
            "elu",
            lambda z: np.where(z > 0.0, z, np.expm1(np.minimum(z, 0.0))),
            lambda z, a: np.where(z > 0.0, 1.0, np.exp(np.minimum(z, 0.0))),
            "1 if Z > 0 else A + 1",
            **_HE,
        ),
        _row("gelu", lambda z: z * _normal(z), lambda z, a: _normal(z) + z * _density(z), "Φ(Z) + Z·φ(Z)", **_HE),
        _row(
            "silu",
            lambda z: z * sigmoid_of(z),
            lambda z, a: sigmoid_of(z) * (1.0 + z * sigmoid_of(-z)),
            "σ(Z)·(1 + Z·(1 − σ(Z)))",
            **_HE,
        ),
        _row("softplus", lambda z: np.logaddexp(0.0, z), lambda z, a: sigmoid_of(z), "σ(Z)", **_HE),
        _row("logsigmoid", lambda z: -np.logaddexp(0.0, -z), lambda z, a: sigmoid_of(-z), "1 − σ(Z)"),
        _row(
            "softsign",
            lambda z: z / (1.0 + np.abs(z)),
            lambda z, a: (1.0 + np.abs(z)) ** -2.0,
            "1/(1 + |Z|)²",
            saturates=1.0,
        ),
        _row("erf", _erf, lambda z, a: _bell * np.exp(-z * z), "2·exp(−Z²)/√π", saturates=_bell),
        _row("erfc", _erfc, lambda z, a: -_bell * np.exp(-z * z), "−2·exp(−Z²)/√π", saturates=_bell),
        _row("exp", np.exp, lambda z, a: a, "A"),
        _row("expm1", np.expm1, lambda z, a: np.exp(z), "A + 1"),
        _row("log", np.log, lambda z, a: 1.0 / z, "1/Z"),
        _row("log1p", np.log1p, lambda z, a: 1.0 / (1.0 + z), "1/(1 + Z)"),
        _row("log10", np.log10, lambda z, a: 1.0 / (z * math.log(10.0)), "1/(Z·ln 10)"),
        _row("log2", np.log2, lambda z, a: 1.0 / (z * math.log(2.0)), "1/(Z·ln 2)"),
        _row("sqrt", np.sqrt, lambda z, a: 0.5 / a, "1/(2·A)"),
        _row("cbrt", np.cbrt, lambda z, a: 1.0 / (3.0 * a * a), "1/(3·A²)"),
        _row("abs", np.abs, lambda z, a: np.sign(z), "sign(Z)"),
        _row("sign", np.sign, lambda z, a: np.zeros_like(z), "0"),
        _row("step", lambda z: np.heaviside(z, 0.0), lambda z, a: np.zeros_like(z), "0"),
        _row("sin", np.sin, lambda z, a: np.cos(z), "cos(Z)"),
        _row("cos", np.cos, lambda z, a: -np.sin(z), "−sin(Z)"),
        _row("tan", np.tan, lambda z, a: 1.0 / np.cos(z) ** 2, "1 + A²"),
        _row("asin", np.arcsin, lambda z, a: 1.0 / np.sqrt((1.0 - z) * (1.0 + z)), "1/√(1 − Z²)"),
        _row("acos", np.arccos, lambda z, a: -1.0 / np.sqrt((1.0 - z) * (1.0 + z)), "−1/√(1 − Z²)"),
        _row("atan", np.arctan, lambda z, a: 1.0 / (1.0 + z * z), "1/(1 + Z²)", saturates=1.0),
        _row("sinh", np.sinh, lambda z, a: np.cosh(z), "cosh(Z)"),
        _row("cosh", np.cosh, lambda z, a: np.sinh(z), "sinh(Z)"),
        _row("asinh", np.arcsinh, lambda z, a: 1.0 / np.hypot(1.0, z), "1/√(1 + Z²)"),
        _row("acosh", np.arccosh, lambda z, a: 1.0 / np.sqrt((z - 1.0) * (z + 1.0)), "1/√(Z² − 1)"),
        _row("atanh", np.arctanh, lambda z, a: 1.0 / ((1.0 - z) * (1.0 + z)), "1/(1 − Z²)"),
    ]
}
"""Every function of one number in the engine's table, and `linear`."""

_BY_FUNCTION = {row.function: row for row in ACTIVATIONS.values()} | {
    getattr(Value, name): row
    for name, row in ACTIVATIONS.items()
    if hasattr(Value, name)  # Value.tanh
}


def as_activation(given: str | Callable[[Value], Value] | Activation) -> Activation:
    """The activation of that name, or the function itself. Raises ValueError for an unknown name, TypeError else."""
    if isinstance(given, Activation):
        return given
    if isinstance(given, str):
        if given in ACTIVATIONS:
            return ACTIVATIONS[given]
        if given == "softmax":
            raise ValueError(
                "softmax is no activation of one unit: it mixes all of them. Take a linear output with the loss "
                "cross_entropy, which has the softmax in it; for probabilities, engine.softmax(model(x))."
            )
        raise ValueError(f"There is no activation {shorten(given)!r}. {nearest(given, ACTIVATIONS)}")
    if callable(given):
        name = getattr(given, "__name__", type(given).__name__)
        return _BY_FUNCTION.get(given) or Activation(name if name.isidentifier() else "f", given)  # <lambda>
    raise TypeError(f"An activation is a name or a function of a Value, not {type(given).__name__} {given!r:.60}.")
