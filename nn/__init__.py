"""chalkgrad's nets: what trains, built from the engine's Values."""

from nn.health import Health, gradient_health, plot_healths
from nn.history import History
from nn.init import he_normal, he_uniform, uniform, xavier_normal, xavier_uniform, zeros
from nn.layers import MLP, Layer, Neuron
from nn.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    half_squared_error,
    hinge,
    mae,
    mse,
)
from nn.metrics import accuracy
from nn.module import Module
from nn.norm import BatchNorm
from nn.optim import SGD, Adam, Optimizer, RMSprop, clip_gradients, gradient_descent_step
from nn.recorded import RecordingError
from nn.saving import load, save
from nn.sheet_report import SheetReport
from nn.train import NotFinite, fit
from nn.worksheet import Worksheet, worksheet

__all__ = [
    "MLP",
    "SGD",
    "Adam",
    "BatchNorm",
    "Health",
    "History",
    "Layer",
    "Module",
    "Neuron",
    "NotFinite",
    "Optimizer",
    "RMSprop",
    "RecordingError",
    "SheetReport",
    "Worksheet",
    "accuracy",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "clip_gradients",
    "cross_entropy",
    "fit",
    "gradient_descent_step",
    "gradient_health",
    "half_squared_error",
    "he_normal",
    "he_uniform",
    "hinge",
    "load",
    "mae",
    "mse",
    "plot_healths",
    "save",
    "uniform",
    "worksheet",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]
