"""Pictures of training. They need matplotlib, which the extra `plots` brings."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
"""Okabe and Ito's palette, which people with any colour vision tell apart."""


def figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (7.0, 4.0)) -> tuple[Figure, list[Any]]:
    """A figure and its axes, which a notebook shows and no window. Raises ImportError, and says what to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Pictures of training need matplotlib: pip install 'chalkgrad[plots]'.") from error

    made = Figure(figsize=size, layout="constrained")
    vars(made)["_repr_png_"] = partial(_png, made)  # by itself a notebook shows those of pyplot only
    axes = made.subplots(rows, columns, squeeze=False).ravel().tolist()
    for one in axes:
        one.grid(color="#DDDDDD", linewidth=0.5)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
        one.set_prop_cycle(color=COLOURS)
    return made, axes


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def curves(columns: Mapping[str, Sequence[float]]) -> Figure:
    """The losses over epochs, and below them the metrics, those of the validation dashed."""
    losses = [name for name in columns if name.removeprefix("val_") == "loss"]
    groups = [group for group in (losses, [name for name in columns if name not in losses]) if group]
    made, axes = figure(rows=max(1, len(groups)), size=(7.0, 3.0 * max(1, len(groups))))
    for one, names in zip(axes, groups, strict=False):
        colours = dict(zip(dict.fromkeys(name.removeprefix("val_") for name in names), COLOURS, strict=False))
        for name in names:
            numbers = columns[name]
            style = "--" if name.startswith("val_") else "-"
            mark = "o" if len(numbers) < 2 else ""
            one.plot(
                range(1, len(numbers) + 1), numbers, style, marker=mark, label=name,
                color=colours.get(name.removeprefix("val_")),
            )  # fmt: skip
        one.legend(frameon=False)
        _count(one, "epoch")
    return made


def _count(axes: Any, name: str) -> None:
    """Label the x axis, whose ticks are whole numbers."""
    axes.set_xlabel(name)
    axes.xaxis.get_major_locator().set_params(integer=True)


def by_layer(columns: Mapping[str, Sequence[float]]) -> Figure:
    """Numbers by layer, on a logarithmic axis."""
    made, (one,) = figure()
    for (name, numbers), mark in zip(columns.items(), "os^v", strict=False):
        one.plot(range(1, len(numbers) + 1), numbers, marker=mark, label=name)
    one.set_yscale("log")
    _count(one, "layer")
    one.legend(frameon=False)
    return made


def over_epochs(epochs: Sequence[Sequence[float]]) -> Figure:
    """A line for each layer over epochs, on a logarithmic axis; the first layers are darker."""
    made, (one,) = figure()
    layers = len(epochs[0])
    for layer in range(layers):
        shade = 0.8 * layer / max(1, layers - 1)
        numbers = [deltas[layer] for deltas in epochs]
        one.plot(
            range(1, len(epochs) + 1), numbers, marker=".", color=(shade, shade, shade), label=f"layer {layer + 1}"
        )
    one.set_yscale("log")
    _count(one, "epoch")
    one.set_ylabel("δ, root mean square")
    one.legend(frameon=False, fontsize="small", ncols=max(1, layers // 10))
    return made
