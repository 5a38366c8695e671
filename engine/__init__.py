"""chalkgrad's engine: scalar reverse-mode automatic differentiation, open at every step."""

from __future__ import annotations

import sys
from types import ModuleType

from engine.backprop import Contribution
from engine.forward import DomainError
from engine.functions import (
    abs as abs,  # not in __all__, where it would hide the builtin, which does the same for a Value
)
from engine.functions import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cbrt,
    clamp,
    cos,
    cosh,
    dot,
    elu,
    erf,
    erfc,
    exp,
    expm1,
    gelu,
    grad,
    hypot,
    leaky_relu,
    log,
    log1p,
    log2,
    log10,
    log_softmax,
    logaddexp,
    logsigmoid,
    logsumexp,
    maximum,
    mean,
    minimum,
    relu,
    sigmoid,
    sign,
    silu,
    sin,
    sinh,
    softmax,
    softplus,
    softsign,
    sqrt,
    step,
    tan,
    tanh,
    total,
)
from engine.graph import nodes
from engine.value import Comparisons, Value, label_all

TYPE_CHECKING = False  # as `typing` has it, without the milliseconds of importing that
if TYPE_CHECKING:
    from typing import Any

    from engine.classroom import Grades, grade
    from engine.compare import compare
    from engine.drawing import Drawing, draw
    from engine.exercise import Exercise, exercise
    from engine.formula import FormulaError, Graph, build
    from engine.gradcheck import gradcheck
    from engine.layout import LayoutError
    from engine.prediction import Prediction, Score
    from engine.replay import Gradients, Replay
    from engine.report import Mistake, Report, Row
    from engine.walk import Backprop, Step, Steps, Why

_ROOMS = {
    "Backprop": "walk",
    "Drawing": "drawing",
    "Exercise": "exercise",
    "FormulaError": "formula",
    "Grades": "classroom",
    "Gradients": "replay",
    "Graph": "formula",
    "LayoutError": "layout",
    "Mistake": "report",
    "Prediction": "prediction",
    "Replay": "replay",
    "Report": "report",
    "Row": "report",
    "Score": "prediction",
    "Step": "walk",
    "Steps": "walk",
    "Why": "walk",
    "build": "formula",
    "compare": "compare",
    "draw": "drawing",
    "exercise": "exercise",
    "grade": "classroom",
    "gradcheck": "gradcheck",
}
"""Where the names are that need more than the engine itself, and so are loaded when they are first used."""

__all__ = [
    "Backprop",
    "Comparisons",
    "Contribution",
    "DomainError",
    "Drawing",
    "Exercise",
    "FormulaError",
    "Grades",
    "Gradients",
    "Graph",
    "LayoutError",
    "Mistake",
    "Prediction",
    "Replay",
    "Report",
    "Row",
    "Score",
    "Step",
    "Steps",
    "Value",
    "Why",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "build",
    "cbrt",
    "clamp",
    "compare",
    "cos",
    "cosh",
    "dot",
    "draw",
    "elu",
    "erf",
    "erfc",
    "exercise",
    "exp",
    "expm1",
    "gelu",
    "grad",
    "gradcheck",
    "grade",
    "hypot",
    "label_all",
    "leaky_relu",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_softmax",
    "logaddexp",
    "logsigmoid",
    "logsumexp",
    "maximum",
    "mean",
    "minimum",
    "nodes",
    "relu",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "sinh",
    "softmax",
    "softplus",
    "softsign",
    "sqrt",
    "step",
    "tan",
    "tanh",
    "total",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"engine.{_ROOMS[name]}"), name)
    setattr(sys.modules[__name__], name, found)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Engine(ModuleType):
    """The package: `engine.compare` is the function, also once the file of that name has been imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _ROOMS.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Engine
