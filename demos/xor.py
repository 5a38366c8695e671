"""XOR: what one neuron cannot learn two hidden units can, and why they sometimes don't."""

import argparse
import math

from nn import MLP, SGD, accuracy, binary_cross_entropy, fit

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seeds", type=int, default=20, help="how many nets of each size to train")
seeds = range(parser.parse_args().seeds)
if not seeds:
    parser.error("--seeds takes a number from 1 on")

X = [[0, 0], [0, 1], [1, 0], [1, 1]]
Y = [0, 1, 1, 0]


def trained(sizes, seed, epochs=500):
    model = MLP(2, sizes, "tanh", output="sigmoid", seed=seed)
    optimizer = SGD(model.parameters(), lr=1.0, momentum=0.9)
    fit(model, X, Y, loss="binary_cross_entropy", optimizer=optimizer, epochs=epochs, batch_size=None)
    return model


def loss(model):
    return binary_cross_entropy(model.batch(X), Y)


def steepness(model):
    model.zero_grad()
    loss(model).backward()
    return math.hypot(*[p.grad for p in model.parameters()])


def shown(model):
    return "  ".join(f"{a}{b} → {output:.2f}" for (a, b), output in zip(X, model.predict(X), strict=True))


# One neuron draws one straight line, and no line has 01 and 10 on one side and 00 and 11 on the other. Its loss is
# convex, so that no other training would find anything better.
neuron = trained([1], seed=0)
print(f"One neuron:    {shown(neuron)}")
print(f"  The loss is {loss(neuron):.4f}, and log 2 = {math.log(2):.4f} is that of a coin.")

# Two hidden units draw two lines. What they say of the four examples can be parted by one.
net = trained([2, 1], seed=0)
print(f"\nA 2-2-1 net:   {shown(net)}")
print(f"  The loss is {loss(net):.4f}.\n")
print("   x1   x2 │    h1     h2 │ output   XOR")
hidden, output = net.activities(X)
for (x1, x2), (h1, h2), (p,), y in zip(X, hidden.A, output.A, Y, strict=True):
    print(f"    {x1}    {x2} │ {h1:5.2f}  {h2:5.2f} │  {p:.3f}     {y}".replace("-", "−"))

# But a start is a matter of luck.
stuck = []
print()
for units in (2, 4):
    nets = [trained([units, 1], seed) for seed in seeds]
    learned = [accuracy(model.predict(X), Y) == 1.0 for model in nets]
    print(f"With {units} hidden units {sum(learned)} of {len(nets)} nets learn XOR.")
    stuck += [(units, seed) for seed in seeds if not learned[seed]]

for units, seed in stuck[:1]:
    print(f"\nOne that did not, with {units} hidden units and seed {seed}:")
    for epochs in (500, 5000):
        model = trained([units, 1], seed, epochs)
        print(f"  after {epochs:,} epochs  {shown(model)}   loss {loss(model):.4f}   |gradient| {steepness(model):.0e}")
    print(f"  For two examples it says a half, which costs half of what the coin does, {math.log(2) / 2:.4f}.")
    print("  It is on a plateau: hardly a slope leads away, and more of the same training does not help.")
