"""Handwritten digits: a 64-32-10 net with softmax and cross-entropy reads 8×8 pixels."""

import argparse

import numpy as np
from sklearn.datasets import load_digits

from engine import softmax
from nn import MLP, Adam, accuracy, fit
from nn.plots import figure

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=20)
epochs = parser.parse_args().epochs
if epochs < 1:
    parser.error("--epochs takes a number from 1 on")

# 1,797 digits with pixels from 0 to 16. A fifth, drawn at random, is held out: by the same 13 hands as the others.
images, digits = load_digits(return_X_y=True)
images = images / 16
order = np.random.default_rng(0).permutation(len(images))
held_out, known = order[: len(order) // 5], order[len(order) // 5 :]

model = MLP(64, [32, 10], seed=0)
print(f"{model}, {len(known):,} digits to learn from and {len(held_out)} held out")
history = fit(
    model,
    images[known],
    digits[known],
    loss="cross_entropy",
    optimizer=Adam(model.parameters(), lr=0.005),
    epochs=epochs,
    batch_size=32,
    seed=0,
    metrics=["accuracy"],
    validation=(images[held_out], digits[held_out]),
)
print(history)

outputs, truth = model.predict(images[held_out]), digits[held_out]
read = outputs.argmax(axis=1)
print(f"\nheld-out accuracy: {accuracy(outputs, truth):.1%}, {sum(read != truth)} of {len(truth)} read wrongly")

confusion = np.zeros((10, 10), int)
np.add.at(confusion, (truth, read), 1)
print("\n      read as\n      " + "".join(f"{digit:4}" for digit in range(10)))
for digit, row in enumerate(confusion):
    print(f"{'true' if digit == 0 else '':5}{digit}" + "".join(f"{count or '·':>4}" for count in row))

# The mistakes it is most certain of, by the probability of what was read.
shares = np.array([[p.data for p in softmax(row)] for row in outputs])
wrong = np.flatnonzero(read != truth)
wrong = wrong[np.argsort(-shares[wrong, read[wrong]])]
picture, axes = figure(rows=2, columns=5, size=(8.0, 4.0))
for one, i in zip(axes, wrong, strict=False):
    one.grid(False)
    one.spines[:].set_visible(True)
    one.imshow(images[held_out[i]].reshape(8, 8), cmap="gray_r")
    one.set(xticks=[], yticks=[])
    one.set_title(f"a {truth[i]}, read as {read[i]}\nwith {shares[i, read[i]]:.0%}", fontsize=10)
for one in axes[len(wrong) :]:
    one.remove()
picture.suptitle(f"The {min(len(axes), len(wrong))} surest mistakes among {len(truth)} held-out digits")
picture.savefig("digits.svg")
print("\nwrote digits.svg")

history.plot().savefig("digits_learning.svg")
print("wrote digits_learning.svg")
