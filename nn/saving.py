"""Nets in files: JSON with every float to the last bit, written whole or not at all, and read with suspicion."""

from __future__ import annotations

import json
import math
import os
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from engine.files import write_whole
from engine.text import shorten
from nn.layers import MLP, Layer
from nn.norm import BatchNorm

FORMAT = "chalkgrad net"
VERSION = 1
_SETTINGS: dict[str, Any] = {
    "n_inputs": int, "sizes": list, "activation": str, "output": str, "norm": dict | None, "atomic": bool,
}  # fmt: skip
_PARTS: dict[str, Any] = {"format": str, "version": int, "net": dict, "state": dict}


def save(model: MLP, path: str | os.PathLike[str]) -> Path:
    """Write a net with its numbers as JSON; `load` gives it back, bit for bit.

    The file is complete or as it was before. Raises TypeError for what is no MLP, ValueError for activations and
    normalizations of one's own, which a file can't hold (`model.state_dict()` has the numbers), and for numbers that
    are not finite; OSError where the file can't be written.
    """
    if type(model) is not MLP:
        raise TypeError(f"save writes an MLP, not {type(model).__name__}; its state_dict() can be written as JSON.")
    text = json.dumps({"format": FORMAT, "version": VERSION, "net": _settings(model), "state": _state(model)}, indent=1)
    _refuse_another(model, text)
    write_whole(path, text + "\n")
    return Path(path)


def _refuse_another(model: MLP, text: str) -> None:
    """Raise ValueError where the file would not give back this net, because it was changed after it was made."""
    try:
        same = _checked(json.loads(text)).state_dict() == model.state_dict()
    except ValueError:
        same = False
    alike = all(layer.alike for layer in model.layers)
    if not (same and alike) or len({neuron.atomic for layer in model.layers for neuron in layer.neurons}) > 1:
        raise ValueError(
            "A file holds a net as MLP(…) makes it, and this one was changed: parameters or activations were shared, "
            "taken away or replaced. Write model.state_dict() as JSON instead."
        )


def _settings(model: MLP) -> dict[str, Any]:
    """The arguments that make the net again. Raises ValueError where a file can't hold them."""
    *hidden, last = model.layers
    kinds = {_kind(layer) for layer in hidden}
    if len(kinds) > 1:
        raise ValueError(f"A file holds hidden layers of one kind, and here are {len(kinds)}: write state_dict().")
    activation, norm = kinds.pop() if kinds else (last.activation.name, None)
    return {
        "n_inputs": model.n_inputs,
        "sizes": [len(layer.neurons) for layer in model.layers],
        "activation": activation,
        "output": _kind(last)[0],
        "norm": None if norm is None else {"eps": norm[0], "momentum": norm[1]},
        "atomic": last.neurons[0].atomic,
    }


def _kind(layer: Layer) -> tuple[str, tuple[float, float] | None]:
    """A layer's activation and normalization."""
    if layer.activation.is_own:
        raise ValueError(
            f"The activation {layer.activation.name} is a function of your own, and a file can't hold it. Write "
            "model.state_dict() as JSON, and load_state_dict it into a net that you make again."
        )
    return layer.activation.name, None if layer.norm is None else (layer.norm.eps, layer.norm.momentum)


def _state(model: MLP) -> dict[str, float]:
    state = model.state_dict()
    for name, number in state.items():
        if not math.isfinite(number):
            raise ValueError(f"{name} is {number}: a net that is no longer finite is not worth a file. Train it again.")
    return state


def load(path: str | os.PathLike[str]) -> MLP:
    """The net that `save` has written, in evaluation mode; `fit` trains it further all the same.

    Raises ValueError, with what was expected and what was found, for a file that is cut off, of another kind or
    version, or whose numbers are missing, too many, not finite or no numbers; OSError where it can't be read.
    """
    name = Path(path).name
    try:
        content = json.loads(
            Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=_once, parse_constant=_refuse_constant
        )
        net = _checked(content)
    except UnicodeDecodeError:
        raise ValueError(f"{name} is no text file, and a net is one of JSON. Was it written by pickle?") from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{name} is no complete JSON: {error.msg} at line {error.lineno}, column {error.colno}. Was it cut off?"
        ) from None
    except RecursionError:
        raise ValueError(f"{name} is nested too deep to be a net.") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} can't be loaded: {error}") from None
    return net


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise ValueError(f"{shorten(twice)!r} stands there twice.")
    return found


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not finite, and every number of a net must be.")


def _checked(content: Any) -> MLP:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else content
        raise ValueError(f'it must begin with "format": "{FORMAT}", and that is {shorten(repr(found))}.')
    if content.get("version") != VERSION:
        found = shorten(repr(content.get("version")))
        raise ValueError(f"its version must be {VERSION}, and it is {found}. A newer chalkgrad may read it.")
    _refuse_keys(content, _PARTS, "the file")
    settings, state = content["net"], content["state"]
    _refuse_keys(settings, _SETTINGS, '"net"')
    sizes = [settings["n_inputs"], *settings["sizes"]]
    if not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
        raise ValueError(f"its sizes must be whole numbers from 1 on, and they are {shorten(str(sizes))}.")
    expected = sum(inputs * outputs for inputs, outputs in pairwise(sizes))
    if expected > len(state):  # before anything of that size is made
        raise ValueError(f"a net of sizes {shorten(str(sizes))} has more than the {len(state):,} numbers of the file.")
    norm = settings["norm"]
    if norm is not None:
        _refuse_keys(norm, {"eps": float, "momentum": float}, '"norm"')
    model = MLP(
        settings["n_inputs"],
        settings["sizes"],
        settings["activation"],
        settings["output"],
        init="uniform",  # to be overwritten
        norm=None if norm is None else partial(BatchNorm, **norm),
        atomic=settings["atomic"],
        seed=0,
    )
    model.load_state_dict(state)
    return model.eval()


def _refuse_keys(given: Any, kinds: dict[str, Any], where: str) -> None:
    """Raise ValueError unless it is a dict of these keys, each of its kind."""
    if not isinstance(given, dict) or set(given) != set(kinds):
        found = sorted(given) if isinstance(given, dict) else given
        raise ValueError(f"{where} must have {', '.join(kinds)}, and it has {shorten(str(found))}.")
    for key, kind in kinds.items():
        if not isinstance(given[key], kind) or (kind is int and isinstance(given[key], bool)):
            wanted = getattr(kind, "__name__", str(kind))
            raise ValueError(f"{key!r} in {where} must be {wanted}, and it is {shorten(repr(given[key]))}.")
