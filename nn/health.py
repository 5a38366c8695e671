"""Health: whether the gradients reach every layer, and the units still work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import DomainError
from engine.text import number, table
from nn.activations import Activation, Array
from nn.data import as_examples
from nn.layers import MLP, Activity, Layer, layers_of, outputs_of, refuse_output, unpacked
from nn.losses import Loss, as_loss, as_targets, pass_back, refuse_no_graph
from nn.module import undisturbed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VANISHING, EXPLODING = 1e-3, 1e3
"""How the first layer's δ may compare with the last one's, per unit, before it is called vanishing or exploding."""
DEAD, SATURATED = 0.4, 0.5
"""The share of units, and of outputs, above which they are what ails a layer."""
FLAT = 0.05
"""A unit is saturated where its slope is below this share of the steepest."""


@dataclass(frozen=True)
class LayerHealth:
    """One layer: the root mean square of δ per unit and example, the norms of ∂L/∂W and ∂L/∂B together, and its units.

    `dead` is the share of ReLUs that are 0 for every example, `saturated` the share of outputs where the slope of a
    squashing function is below a twentieth of its steepest; None for other activations.
    """

    layer: int
    activation: str
    delta: float
    gradient: float
    dead: float | None
    saturated: float | None


@dataclass(frozen=True)
class Health:
    """The layers, the first one first, and the verdict: `"vanishing"`, `"exploding"` or `"fine"`.

    There are no layers, and the loss is infinite, where the numbers leave the floats on the way.
    """

    layers: tuple[LayerHealth, ...]
    loss: float
    verdict: str
    message: str

    def __str__(self) -> str:
        rows = [
            [str(one.layer), one.activation, number(one.delta, 3), number(one.gradient, 3), _share(one.dead),
             _share(one.saturated)]
            for one in self.layers
        ]  # fmt: skip
        body = table(["layer", "activation", "δ", "gradient", "dead", "saturated"], rows, justify="llrrrr")
        return f"{body}\n\n{self.message}" if self.layers else self.message

    __repr__ = __str__

    def plot(self) -> Figure:
        """δ and gradient by layer, on a logarithmic axis. Needs matplotlib, from the extra `plots`."""
        from nn.plots import by_layer

        return by_layer({"δ": [one.delta for one in self.layers], "gradient": [one.gradient for one in self.layers]})


def plot_healths(healths: Sequence[Health]) -> Figure:
    """δ of every layer over epochs, from a health for each. Needs matplotlib, from the extra `plots`."""
    from nn.plots import over_epochs

    if not healths:
        raise ValueError("There is no health to plot: collect gradient_health(…) after each epoch.")
    if len({len(health.layers) for health in healths}) > 1:
        raise ValueError(
            "The healths are of nets of different depth, or one is of a net whose numbers left the floats."
        )
    return over_epochs([[one.delta for one in health.layers] for health in healths])


def gradient_health(model: MLP | Layer, X: Any, y: Any, loss: str | Loss) -> Health:
    """A forward and a backward pass of its own, and what they say: vanishing, exploding or fine, with the remedy.

    The verdict compares δ = ∂L/∂Z of the first and the last layer, root mean square. The model is left as it was.
    Raises as `fit` does for what does not fit together.
    """
    if not isinstance(model, MLP | Layer):
        raise TypeError(f"gradient_health looks at the layers of an MLP, and {type(model).__name__} has none.")
    name, function = as_loss(loss)
    refuse_output(model, name)
    rows = as_examples(X, model.n_inputs)
    targets = as_targets(name, y, len(rows), outputs_of(model))
    with undisturbed(model):
        model.zero_grad()
        try:
            activities = model.activities(rows)
            value = function([unpacked(row) for row in activities[-1].A], targets)
            refuse_no_graph(value)
            pass_back(value, infinite="ignore")  # it is what is told here
        except (DomainError, FloatingPointError) as error:
            return Health((), math.inf, "exploding", f"Exploding: {error} {_remedy('exploding', ())}")
        layers = tuple(
            _of_layer(place, layer, activity)
            for place, (layer, activity) in enumerate(zip(layers_of(model), activities, strict=True), 1)
        )
    return Health(layers, value.data, *_verdict(layers))


def _of_layer(place: int, layer: Layer, activity: Activity) -> LayerHealth:
    delta = np.array([[z.grad for z in row] for row in activity.Z])
    inner = np.array([[z.data for z in row] for row in activity.N or activity.Z])
    gradients = [parameter.grad for row in [*layer.weights, layer.biases] for parameter in row]
    return LayerHealth(
        place,
        layer.activation.name,
        float(np.sqrt(np.mean(delta**2))),
        math.hypot(*gradients),
        _dead(layer.activation, inner),
        _saturated(layer.activation, inner),
    )


def _dead(activation: Activation, inner: Array) -> float | None:
    return float(np.mean((inner <= 0.0).all(axis=0))) if activation.name == "relu" else None


def _saturated(activation: Activation, inner: Array) -> float | None:
    if activation.saturates is None or activation.derivative is None or activation.on_arrays is None:
        return None
    slope = np.abs(activation.derivative(inner, activation.on_arrays(inner)))
    return float(np.mean(slope < FLAT * activation.saturates))


def _verdict(layers: Sequence[LayerHealth]) -> tuple[str, str]:
    first, last = layers[0], layers[-1]
    if not all(math.isfinite(one.delta) for one in layers):
        return "exploding", f"Exploding: a gradient is no longer finite. {_remedy('exploding', ())}"
    if last.delta == 0.0:
        return "fine", "Nothing to learn here: the loss does not change with the output on these examples."
    ails = _ailing(layers)
    if len(layers) == 1:
        return "fine", f"Fine: one layer, whose δ is the loss's own. {ails}".rstrip()
    if first.delta == 0.0:
        return "vanishing", f"Vanishing: no gradient reaches layer {first.layer}. " + (
            ails or "Are its weights, or those behind it, all 0? Take random ones, such as init=None."
        )
    ratio = first.delta / last.delta
    verdict = "fine" if VANISHING <= ratio <= EXPLODING else "vanishing" if ratio < VANISHING else "exploding"
    compared = f"δ of layer {first.layer} is {number(ratio, 2)} times that of layer {last.layer}."
    said = [
        f"{verdict.capitalize()}: {compared}",
        f"But {ails[0].lower()}{ails[1:]}" if ails else "",
        _remedy(verdict, layers),
    ]
    return verdict, " ".join(filter(None, said))


def _remedy(verdict: str, layers: Sequence[LayerHealth]) -> str:
    if verdict == "vanishing":
        instead = "relu or tanh rather than sigmoid, " * any(one.activation == "sigmoid" for one in layers)
        return (
            f"The first layers hardly learn: take {instead}weights that fit the activation (init=None), "
            'norm="batch", or fewer layers.'
        )
    if verdict == "exploding":
        return (
            "A step would throw the first layers far off: take weights that fit the activation (init=None), "
            "clip_norm=1.0 in fit, a smaller lr, or fewer layers."
        )
    return ""


def _ailing(layers: Sequence[LayerHealth]) -> str:
    dead = max((one for one in layers if one.dead is not None), key=lambda one: one.dead or 0.0, default=None)
    if dead is not None and (dead.dead or 0.0) > DEAD:
        return (
            f"In layer {dead.layer} {_share(dead.dead)} of the ReLUs are dead, 0 for every example: take leaky_relu or "
            "a smaller lr."
        )
    flat = max((one for one in layers if one.saturated is not None), key=lambda one: one.saturated or 0.0, default=None)
    if flat is not None and (flat.saturated or 0.0) > SATURATED:
        return (
            f"In layer {flat.layer} {_share(flat.saturated)} of the outputs are saturated, where f′(Z) is about 0: "
            "scale the inputs to about 1, or begin with smaller weights."
        )
    return ""


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"
