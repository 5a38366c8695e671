"""chalkgrad's engine: scalar reverse-mode automatic differentiation, open at every step."""

from engine.backprop import Contribution
from engine.compare import compare
from engine.drawing import Drawing, LayoutError, draw
from engine.formula import FormulaError, Graph, build
from engine.functions import (
    cos,
    dot,
    exp,
    log,
    log10,
    maximum,
    minimum,
    relu,
    sigmoid,
    sign,
    sin,
    sqrt,
    step,
    tan,
    tanh,
    total,
)
from engine.report import Mistake, Report, Row
from engine.value import DomainError, Value, label_all
from engine.walk import Backprop, Step, Steps, Why

__all__ = [
    "Backprop",
    "Contribution",
    "DomainError",
    "Drawing",
    "FormulaError",
    "Graph",
    "LayoutError",
    "Mistake",
    "Report",
    "Row",
    "Step",
    "Steps",
    "Value",
    "Why",
    "build",
    "compare",
    "cos",
    "dot",
    "draw",
    "exp",
    "label_all",
    "log",
    "log10",
    "maximum",
    "minimum",
    "relu",
    "sigmoid",
    "sign",
    "sin",
    "sqrt",
    "step",
    "tan",
    "tanh",
    "total",
]
