"""Two moons: micrograd's demo, a 2-16-16-1 net with a max-margin loss."""

import argparse

import numpy as np

from engine import total
from nn import MLP, accuracy, fit, hinge
from nn.plots import COLOURS, figure

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=100)
epochs = parser.parse_args().epochs
if epochs < 1:
    parser.error("--epochs takes a number from 1 on")

# Two half circles that reach into each other, with some noise.
generator = np.random.default_rng(0)
angle = np.linspace(0, np.pi, 50)
upper = np.column_stack([np.cos(angle), np.sin(angle)])
X = np.concatenate([upper, [1.0, 0.5] - upper]) + generator.normal(0, 0.1, (100, 2))
y = np.repeat([-1, 1], 50)

model = MLP(2, [16, 16, 1], seed=0)
print(model)


def max_margin(outputs, targets):
    return hinge(outputs, targets) + 1e-4 * total([p * p for p in model.parameters()])


def right(outputs, targets):
    return accuracy(outputs, targets, threshold=0.0)


def rate(step):
    return 1.0 - 0.9 * step / epochs


history = fit(model, X, y, loss=max_margin, lr=rate, epochs=epochs, batch_size=None, metrics=[right], engine="replay")
print(history)
print(f"\nafter training: {right(model.predict(X), y):.0%} of the points are right")

# The decision boundary is where the output is 0.
x1, x2 = np.meshgrid(np.linspace(-1.6, 2.6, 80), np.linspace(-1.2, 1.7, 60))
outputs = model.predict(np.column_stack([x1.ravel(), x2.ravel()])).reshape(x1.shape)
picture, [axes] = figure(size=(7.0, 5.0))
axes.contourf(x1, x2, outputs, levels=[-np.inf, 0, np.inf], colors=COLOURS[:2], alpha=0.15)
for level, style in zip([-1, 0, 1], ["dotted", "solid", "dashed"], strict=True):
    axes.contour(x1, x2, outputs, levels=[level], colors="#333333", linestyles=style, linewidths=1)
    axes.plot([], [], color="#333333", linestyle=style, linewidth=1, label=f"output {level}".replace("-", "−"))
for sign, marker, colour in zip([-1, 1], "os", COLOURS[:2], strict=True):
    name = f"target {sign}".replace("-", "−")
    axes.scatter(*X[y == sign].T, marker=marker, color=colour, edgecolor="white", label=name, zorder=3)
axes.set(xlabel="x1", ylabel="x2", title=f"What the net says after {history.epochs} epochs")
axes.legend(loc="lower right")
picture.savefig("moons.svg")
print("wrote moons.svg")
