"""Matt Mazur's step by step example as a net: its worksheet, one step, and 10,000 rounds."""

import argparse

from nn import MLP, gradient_descent_step, half_squared_error, worksheet

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--rounds", type=int, default=10_000)
rounds = arguments.parse_args().rounds
if rounds < 1:
    arguments.error("--rounds takes a number from 1 on")

# Two inputs, two hidden units, two outputs, all sigmoid; w1 … w8, and two biases in each layer that begin alike.
net = MLP(2, [2, 2], "sigmoid", "sigmoid", seed=0)
first = [
    0.15, 0.20, 0.35,  # w1, w2 and the bias of h1
    0.25, 0.30, 0.35,  # w3, w4 and the bias of h2
    0.40, 0.45, 0.60,  # w5, w6 and the bias of o1
    0.50, 0.55, 0.60,  # w7, w8 and the bias of o2
]  # fmt: skip
for parameter, number in zip(net.parameters(), first, strict=True):
    parameter.data = number
inputs, targets = [0.05, 0.10], [0.01, 0.99]

print(worksheet(net, inputs, targets, loss="half_squared_error", lr=0.5))

# The page updates the weights and leaves the biases as they are.
weights = [parameter for name, parameter in net.named_parameters() if "weights" in name]


def train(rounds):
    """So many rounds of forward pass, backward pass and update; returns the error after them."""
    for _ in range(rounds):
        error = half_squared_error(net(inputs), targets)
        net.zero_grad()
        error.backward()
        gradient_descent_step(weights, lr=0.5)
    return half_squared_error(net(inputs), targets).data


print(f"\nerror before:               {half_squared_error(net(inputs), targets).data:.9f}")
print(f"error after 1 round:        {train(1):.9f}   (the page prints 0.291027924, which comes of updated weights)")
print(f"error after {rounds:,} rounds: {train(rounds - 1):.4e}")
print("outputs:                    " + ", ".join(f"{output.data:.9f}" for output in net(inputs)))
