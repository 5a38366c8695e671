"""Four optimizers in a ravine that is 36 times as steep across as along, and in the same ravine turned by 45°."""

import argparse
import math

import numpy as np

from engine import Value
from nn import SGD, Adam, RMSprop
from nn.plots import COLOURS, figure

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=50)
steps = parser.parse_args().steps
if steps < 1:
    parser.error("--steps takes a number from 1 on")

OPTIMIZERS = {
    "gradient descent": lambda parameters, lr: SGD(parameters, lr),
    "momentum": lambda parameters, lr: SGD(parameters, lr, momentum=0.9),
    "RMSprop": lambda parameters, lr: RMSprop(parameters, lr, alpha=0.9),
    "Adam": lambda parameters, lr: Adam(parameters, lr),
}
RATES = [1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01]


def turned(x, y, degrees):
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return c * x - s * y, s * x + c * y


def ravine(x, y, degrees):
    along, across = turned(x, y, -degrees)
    return 0.5 * (along**2 + 36 * across**2)


def descend(make, lr, degrees):
    """Every place that is visited, with its loss."""
    x, y = map(Value, turned(-8.0, 2.0, degrees))
    optimizer = make([x, y], lr)
    path = []
    for _ in range(steps):
        L = ravine(x, y, degrees)
        path.append((x.data, y.data, L.data))
        if L.data > 1e6:
            return path  # this rate is too large
        optimizer.zero_grad()
        L.backward()
        optimizer.step()
    return [*path, (x.data, y.data, ravine(x, y, degrees).data)]


def best(make, degrees):
    """The rate of the list that ends lowest, and its path."""
    paths = {lr: descend(make, lr, degrees) for lr in RATES}
    lr = min(paths, key=lambda lr: paths[lr][-1][-1])
    return lr, paths[lr]


ravines = {"along the axes": 0, "turned by 45°": 45}
found = {(name, turn): best(make, turn) for name, make in OPTIMIZERS.items() for turn in ravines.values()}

print(f"The loss after {steps} steps from {ravine(-8.0, 2.0, 0):.0f},")
print(f"each with the best of the rates {', '.join(map(str, RATES))}:\n")
print(" " * 20 + "".join(f"{title:>22}" for title in ravines))
for name in OPTIMIZERS:
    columns = [found[name, turn] for turn in ravines.values()]
    print(f"{name:20}" + "".join(f"{path[-1][-1]:12.2g} (lr {lr:4g})" for lr, path in columns))

ends = {name: [found[name, turn][1][-1][-1] for turn in ravines.values()] for name in OPTIMIZERS}
alike = [name for name, losses in ends.items() if math.isclose(*losses, rel_tol=1e-6)]
print(f"\nThe turn changes nothing for {' and '.join(alike)}: theirs is the same path, turned.")
print(f"It does for {' and '.join(name for name in ends if name not in alike)}, which scale each parameter by itself:")
print("that levels a ravine that lies along the axes, and only such a one.")
print("Who is lowest changes with the number of steps: try --steps 40.")

picture, axes = figure(rows=2, columns=4, size=(12.0, 6.6))
panels = [(title, turn, name) for title, turn in ravines.items() for name in OPTIMIZERS]
xs, ys = np.meshgrid(np.linspace(-9, 5, 200), np.linspace(-8.5, 5.5, 200))
for number, (one, (title, turn, name)) in enumerate(zip(axes, panels, strict=True)):
    lr, path = found[name, turn]
    x, y, losses = zip(*path, strict=True)
    one.contour(xs, ys, ravine(xs, ys, turn), levels=np.geomspace(0.1, 3000, 12), colors="#BBBBBB", linewidths=0.6)
    one.plot(x, y, color=COLOURS[number % 4], marker=".", linewidth=1)
    one.plot(0, 0, "k+", markersize=14)
    one.set_title(f"{name}, {title}\nlr {lr:g}, ends at a loss of {losses[-1]:.2g}", fontsize=10)
    one.set(xlabel="x", ylabel="y", xlim=(-9, 5), ylim=(-8.5, 5.5), aspect="equal")
picture.suptitle(f"{steps} steps towards the lowest point, +")
picture.savefig("optimizers.svg")
print("\nwrote optimizers.svg")
