"""Initializations: the first weights of a layer, as an array of shape (n_outputs, n_inputs)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator

from engine.text import nearest, shorten
from nn.activations import Array

Init = Callable[[int, int, Generator], Any]
"""A function of n_inputs, n_outputs and a generator of random numbers."""


def uniform(n_inputs: int, n_outputs: int, generator: Generator) -> Array:
    """Uniform from −1 to 1, as in micrograd."""
    return generator.uniform(-1.0, 1.0, (n_outputs, n_inputs))


def xavier_uniform(n_inputs: int, n_outputs: int, generator: Generator) -> Array:
    """Uniform of variance 2/(n_inputs + n_outputs): keeps signals and gradients alike. Glorot and Bengio 2010, (16)."""
    limit = math.sqrt(6.0 / (n_inputs + n_outputs))
    return generator.uniform(-limit, limit, (n_outputs, n_inputs))


def xavier_normal(n_inputs: int, n_outputs: int, generator: Generator) -> Array:
    """Normal of variance 2/(n_inputs + n_outputs). Glorot and Bengio 2010, (12)."""
    return generator.normal(0.0, math.sqrt(2.0 / (n_inputs + n_outputs)), (n_outputs, n_inputs))


def he_uniform(n_inputs: int, n_outputs: int, generator: Generator) -> Array:
    """Uniform of variance 2/n_inputs, since a ReLU lets half of the variance through. He and others 2015, (10)."""
    limit = math.sqrt(6.0 / n_inputs)
    return generator.uniform(-limit, limit, (n_outputs, n_inputs))


def he_normal(n_inputs: int, n_outputs: int, generator: Generator) -> Array:
    """Normal of variance 2/n_inputs. He and others 2015, (10)."""
    return generator.normal(0.0, math.sqrt(2.0 / n_inputs), (n_outputs, n_inputs))


def zeros(n_inputs: int, n_outputs: int, generator: Generator) -> Array:
    """All 0: a hidden layer of such units never learns, since they stay alike."""
    return np.zeros((n_outputs, n_inputs))


INITS: dict[str, Init] = {
    function.__name__: function for function in (uniform, xavier_uniform, xavier_normal, he_uniform, he_normal, zeros)
}


def as_init(given: str | Init) -> Init:
    """The initialization of that name, or the function itself. Raises ValueError or TypeError where there is none."""
    if isinstance(given, str):
        if given not in INITS:
            raise ValueError(f"There is no initialization {shorten(given)!r}. {nearest(given, INITS)}")
        return INITS[given]
    if callable(given):
        return given
    raise TypeError(f"An initialization is a name or a function, not {type(given).__name__} {given!r:.60}.")


def as_generator(seed: int | Generator | None) -> Generator:
    """The generator itself, one of that seed, or a fresh one. Raises TypeError for what is no seed."""
    if isinstance(seed, Generator) or seed is None or (isinstance(seed, int | np.integer) and seed >= 0):
        return np.random.default_rng(seed)
    raise TypeError(f"A seed is a whole number from 0 on, a numpy.random.Generator or None, not {seed!r:.60}.")


def first_weights(init: str | Init, n_inputs: int, n_outputs: int, generator: Generator) -> Array:
    """The weights that an initialization gives. Raises ValueError for another shape, or for numbers not finite."""
    weights = np.asarray(as_init(init)(n_inputs, n_outputs, generator), dtype=float)
    if weights.shape != (n_outputs, n_inputs):
        raise ValueError(
            f"The initialization gave weights of shape {weights.shape}, and the layer of {n_outputs} units with "
            f"{n_inputs} inputs each needs {(n_outputs, n_inputs)}."
        )
    if not np.isfinite(weights).all():
        raise ValueError("The initialization gave weights that are not finite.")
    return weights
