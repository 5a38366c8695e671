"""chalkgrad's nets: what trains, built from the engine's Values."""

from nn.optim import gradient_descent_step

__all__ = ["gradient_descent_step"]
