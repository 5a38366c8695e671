"""Vanishing and exploding gradients: the gradient of the first layer against the depth of the net."""

import argparse
import math

import numpy as np

from nn import MLP, mse
from nn.plots import COLOURS, figure

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--depths", type=int, nargs="+", default=range(2, 31, 2))
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
depths, seed = sorted(set(options.depths)), options.seed
if len(depths) < 2 or depths[0] < 2:
    parser.error("--depths takes at least two numbers from 2 on")

WIDTH, EXAMPLES = 16, 32


def small(n_inputs, n_outputs, generator):
    return generator.normal(0.0, 0.1, (n_outputs, n_inputs))


# None takes what fits the activation: Xavier's for sigmoid and tanh, He's for ReLU.
STARTS = {
    "normal(0, 0.1)": {"init": small},
    "uniform(−1, 1)": {"init": "uniform"},
    "Xavier, He": {"init": None},
    "batch norm": {"init": None, "norm": "batch"},
}
ACTIVATIONS = ["sigmoid", "tanh", "relu"]
generator = np.random.default_rng(seed)
X, y = generator.normal(size=(EXAMPLES, WIDTH)), generator.normal(size=EXAMPLES)


def gradient_norms(activation, start, depth):
    """The norm of ∂L/∂W of every layer, after one forward and one backward pass."""
    model = MLP(WIDTH, [WIDTH] * (depth - 1) + [1], activation, seed=seed, **start)
    mse(model.batch(X), y).backward()
    return [math.hypot(*[w.grad for row in layer.weights for w in row]) for layer in model.layers]


norms = {
    (activation, name): [gradient_norms(activation, start, depth) for depth in depths]
    for activation in ACTIVATIONS
    for name, start in STARTS.items()
}

# What a layer more makes of the first layer's gradient, on average: 15 % less for each of 28 layers is a hundredth.
LEAST, MOST = 0.85, 1.15


def verdict(factor):
    return "vanishing" if factor < LEAST else "exploding" if factor > MOST else "fine"


print(f"|∂L/∂W| of the first layer, in nets of width {WIDTH}, for {EXAMPLES} random examples and targets")
print(f"(vanishing: below × {LEAST} a layer, exploding: above × {MOST} a layer)\n")
print(f"activation  start           depth {depths[0]:2}  depth {depths[-1]:2}  a layer  verdict")
factors = {}
for (activation, name), nets in norms.items():
    first, last = nets[0][0], nets[-1][0]
    factor = factors[activation, name] = (last / first) ** (1 / (depths[-1] - depths[0]))
    print(f"{activation:10}  {name:14}  {first:8.1e}  {last:8.1e}   × {factor:.2f}  {verdict(factor)}")


def growth(activation, start="batch norm"):
    return f"× {factors[activation, start]:.2f}"


if depths[-1] >= 20:  # shallow nets differ too much from draw to draw to say this of them
    first, *_, last = norms["relu", "normal(0, 0.1)"][-1]
    print(f"""
The slope of a sigmoid is at most 1/4, and Xavier does not make up for it: {growth("sigmoid", "Xavier, He")} a layer.
Batch norm does, {growth("sigmoid")}, but is no cure for all: before any training it lets gradients grow with depth,
{growth("tanh")} with tanh and {growth("relu")} with ReLU. For ReLU theory has √(π/(π − 1)) = 1.21, in wide nets with
large batches, whatever the size of the weights (Yang and others 2019).
Small weights let the signal vanish too, on its way forward: at depth {depths[-1]} with ReLU even the last layer's
gradient is {last:.0e}, and the first's is {first:.0e}.""")

picture, axes = figure(rows=2, columns=3, size=(12.0, 7.0))
for number, activation in enumerate(ACTIVATIONS):
    above, below = axes[number], axes[number + 3]
    for name, colour, marker in zip(STARTS, COLOURS, "vs^o", strict=False):
        nets = norms[activation, name]
        style = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1, "label": name}
        above.semilogy(depths, [net[0] for net in nets], **style)
        below.semilogy(range(1, depths[-1] + 1), nets[-1], **style)
    above.set(title=f"{activation}: first layer", xlabel="depth of the net", ylabel="|∂L/∂W| of the first layer")
    below.set(title=f"{activation}: net of depth {depths[-1]}", xlabel="layer", ylabel="|∂L/∂W| of the layer")
for row in (axes[:3], axes[3:]):
    limits = [limit for one in row for limit in one.get_ylim()]
    for one in row:
        one.set(xlim=(0, depths[-1] + 1), ylim=(min(limits), max(limits)))
axes[1].legend(loc="lower left")
picture.savefig("vanishing.svg")
print("\nwrote vanishing.svg")
