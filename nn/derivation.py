"""Backpropagation by the matrix formulas of the chapter, on NumPy, without a look at the engine's derivatives.

A matrix has a row for each unit and a column for each example: Z = W·A + B, δ = ∂L/∂A ∘ f′(Z) at the output,
δ = (Wᵀ·δ of the next layer) ∘ f′(Z) before it, ∂L/∂W = δ·Aᵀ, and ∂L/∂B = δ summed over the examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine import Value, gradcheck
from nn.activations import Activation, Array
from nn.layers import MLP, Layer
from nn.losses import SMALLEST_LOGARITHM

NUDGE = 1e-6


@dataclass(frozen=True)
class LossRule:
    """A loss on arrays: its mean over the examples, its slope ∂L/∂A, and that as people write it, `{}` being /n."""

    value: Callable[[Array, Array], Any]
    slope: Callable[[Array, Array], Array]
    rule: str


@dataclass
class Normalization:
    """Batch normalization in a layer: N = γ·X̂ + β with X̂ = (Z − μ)/√(σ² + ε), δ_N = ∂L/∂N, and that one's `size`."""

    mean: Array
    var: Array
    gamma: Array
    beta: Array
    X_hat: Array
    N: Array
    from_batch: bool
    eps: float
    delta_N: Array = None  # type: ignore[assignment]
    size: Array = None  # type: ignore[assignment]
    dgamma: Array = None  # type: ignore[assignment]
    dbeta: Array = None  # type: ignore[assignment]
    new_gamma: Array | None = None
    new_beta: Array | None = None


@dataclass
class Softmax:
    """What stands between Z and cross-entropy: p, y, ∂L/∂p = −y/p, and that through the Jacobian, Σ ∂L/∂p·∂p/∂Z."""

    p: Array
    y: Array
    dp: Array
    through: Array


@dataclass
class LayerSheet:
    """One layer's numbers. W and dW have the shape (units, inputs), B and dB (units,), the others (units, examples).

    `f_prime` is f′(Z), or f′(N) where the layer is normalized; `dA` is ∂L/∂A and `delta` δ = ∂L/∂Z. `B` is None in a
    normalized layer, and the new parameters are where there is no lr. `size` is that of the terms of which δ is the
    sum, by which its rounding is to be measured.
    """

    activation: Activation
    W: Array
    B: Array | None
    A_in: Array
    Z: Array
    A: Array
    f_prime: Array
    norm: Normalization | None = None
    softmax: Softmax | None = None
    dA: Array = None  # type: ignore[assignment]
    delta: Array = None  # type: ignore[assignment]
    size: Array = None  # type: ignore[assignment]
    dW: Array = None  # type: ignore[assignment]
    dB: Array | None = None
    new_W: Array | None = None
    new_B: Array | None = None


def _softplus(z: Array) -> Array:
    return np.logaddexp(0.0, z)


def _log(p: Array) -> Array:
    return np.log(np.maximum(p, np.exp(SMALLEST_LOGARITHM)))


def _reciprocal(p: Array) -> Array:
    """1/p, and 0 where the logarithm ends."""
    return np.where(p > np.exp(SMALLEST_LOGARITHM), 1.0, 0.0) / np.maximum(p, np.exp(SMALLEST_LOGARITHM))


LOSS_RULES: dict[str, LossRule] = {
    "mse": LossRule(lambda A, T: np.mean((A - T) ** 2), lambda A, T: 2.0 * (A - T) / A.size, "2·(A − t){}"),
    "half_squared_error": LossRule(
        lambda A, T: 0.5 * np.sum((A - T) ** 2) / A.shape[1], lambda A, T: (A - T) / A.shape[1], "(A − t){}"
    ),
    "mae": LossRule(lambda A, T: np.mean(np.abs(A - T)), lambda A, T: np.sign(A - T) / A.size, "sign(A − t){}"),
    "binary_cross_entropy": LossRule(
        lambda A, T: -np.mean(T * _log(A) + (1.0 - T) * _log(1.0 - A)),
        lambda A, T: ((1.0 - T) * _reciprocal(1.0 - A) - T * _reciprocal(A)) / A.size,
        "((1 − t)/(1 − A) − t/A){}",
    ),
    "binary_cross_entropy_with_logits": LossRule(
        lambda A, T: np.mean(T * _softplus(-A) + (1.0 - T) * _softplus(A)),
        lambda A, T: ((1.0 - T) / (1.0 + np.exp(-A)) - T / (1.0 + np.exp(A))) / A.size,
        "(σ(A) − t){}",
    ),
    "hinge": LossRule(
        lambda A, T: np.mean(np.maximum(0.0, 1.0 - T * A)),
        lambda A, T: -T * np.heaviside(1.0 - T * A, 0.0) / A.size,
        "(−t if t·A < 1 else 0){}",
    ),
}
"""Every loss whose slope is one per output; cross-entropy has the softmax between."""


def derive(model: MLP | Layer, X: Array, T: Array, loss: str, lr: float | None) -> tuple[list[LayerSheet], float]:
    """The numbers of every layer, and the loss, for examples X and targets T, both as columns."""
    layers = model.layers if isinstance(model, MLP) else [model]
    sheets: list[LayerSheet] = []
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        A = X
        for layer in layers:
            sheets.append(_forward(layer, A))
            A = sheets[-1].A
        value = _output(sheets[-1], T, loss)
        for sheet, after in zip(reversed(sheets[:-1]), reversed(sheets[1:]), strict=True):
            _pass_back(sheet, after.W.T @ after.delta, np.abs(after.W.T) @ after.size)
        for sheet in sheets:
            sheet.dW = sheet.delta @ sheet.A_in.T
            sheet.dB = None if sheet.B is None else sheet.delta.sum(axis=1)
            if lr is not None:
                _update(sheet, lr)
    return sheets, float(value)


def _numbers(values: Sequence[Value]) -> Array:
    return np.array([value.data for value in values])


def _forward(layer: Layer, A: Array) -> LayerSheet:
    W = np.array([[weight.data for weight in row] for row in layer.weights])
    B = _numbers(layer.biases) if layer.biases else None
    Z = W @ A if B is None else W @ A + B[:, None]
    norm = None if layer.norm is None else _normalized(layer, Z)
    inner = Z if norm is None else norm.N
    f, slope = _on_arrays(layer.activation)
    A_out = f(inner)
    return LayerSheet(layer.activation, W, B, A, Z, A_out, slope(inner, A_out), norm)


def _normalized(layer: Layer, Z: Array) -> Normalization:
    norm = layer.norm
    assert norm is not None
    from_batch = norm.training
    mean = Z.mean(axis=1) if from_batch else np.array(norm.running_mean)
    var = Z.var(axis=1) if from_batch else np.array(norm.running_var)
    gamma, beta = _numbers(norm.gamma), _numbers(norm.beta)
    X_hat = (Z - mean[:, None]) / np.sqrt(var + norm.eps)[:, None]
    N = gamma[:, None] * X_hat + beta[:, None]
    return Normalization(mean, var, gamma, beta, X_hat, N, from_batch, norm.eps)


def _on_arrays(activation: Activation) -> tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]:
    """F and f′ on arrays; for a function of one's own f number by number, and f′ numerically, by the complex step."""
    if activation.on_arrays is not None and activation.derivative is not None:
        return activation.on_arrays, activation.derivative

    def f(z: float) -> float:
        return activation.function(Value(z)).data

    def slope(z: float) -> float:
        found = next(iter(gradcheck(activation.function, z).values()))
        if found.reason:
            raise ValueError(
                f"{activation.name} has no numeric derivative at Z = {z:.6g}, {found.reason}: the worksheet can't "
                "derive it there."
            )
        return found.numeric

    return np.vectorize(f, otypes=[float]), lambda z, a: np.vectorize(slope, otypes=[float])(z)


def _output(sheet: LayerSheet, T: Array, loss: str) -> Any:
    """δ of the last layer; returns the loss."""
    if loss != "cross_entropy":
        rule = LOSS_RULES[loss]
        slope = rule.slope(sheet.A, T)
        nudged = rule.slope(sheet.A + NUDGE * np.abs(sheet.A), T)  # A − t loses digits where A is close to t
        _pass_back(sheet, slope, np.abs(slope) + np.abs(nudged - slope) / NUDGE)
        return rule.value(sheet.A, T)
    examples = T.shape[1]
    shifted = sheet.A - sheet.A.max(axis=0)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=0))
    p = np.exp(log_p)
    dp = np.where(T > 0.0, -T / p, 0.0) / examples
    through = p * (dp - (dp * p).sum(axis=0))  # Σ_k ∂L/∂p_k · p_k·(1[j = k] − p_j)
    sheet.softmax = Softmax(p, T, dp, through)
    sheet.dA = sheet.delta = (p - T) / examples
    sheet.size = (p + T) / examples
    return -(T * log_p).sum() / examples


def _pass_back(sheet: LayerSheet, upstream: Array, size: Array) -> None:
    """δ from ∂L/∂A. Through batch normalization as in Ioffe and Szegedy 2015, section 3."""
    sheet.dA = upstream
    delta, size = upstream * sheet.f_prime, size * np.abs(sheet.f_prime)
    norm = sheet.norm
    if norm is not None:
        norm.delta_N, norm.size = delta, size
        norm.dgamma, norm.dbeta = (delta * norm.X_hat).sum(axis=1), delta.sum(axis=1)
        if norm.from_batch:
            delta = delta - delta.mean(axis=1)[:, None] - norm.X_hat * (delta * norm.X_hat).mean(axis=1)[:, None]
            sizes = size * np.abs(norm.X_hat)
            size = size + size.mean(axis=1)[:, None] + np.abs(norm.X_hat) * sizes.mean(axis=1)[:, None]
        scale = (norm.gamma / np.sqrt(norm.var + norm.eps))[:, None]
        delta, size = delta * scale, size * np.abs(scale)
    sheet.delta, sheet.size = delta, size


def _update(sheet: LayerSheet, lr: float) -> None:
    sheet.new_W = sheet.W - lr * sheet.dW
    if sheet.B is not None and sheet.dB is not None:
        sheet.new_B = sheet.B - lr * sheet.dB
    if sheet.norm is not None:
        sheet.norm.new_gamma = sheet.norm.gamma - lr * sheet.norm.dgamma
        sheet.norm.new_beta = sheet.norm.beta - lr * sheet.norm.dbeta
