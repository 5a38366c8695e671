"""A GPT made of scalars: it learns first names, invents new ones, and is asked why it expects a letter."""

import argparse
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np

from engine import Backprop, Replay, Value, dot, exp, logsumexp, mean, relu, total

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
if options.steps < 1:
    parser.error("--steps takes a number from 1 on")
if options.seed < 0:
    parser.error("--seed takes a number from 0 on")
generator = np.random.default_rng(options.seed)

# 400 first names from many languages, of which 50, drawn at random, are held out. A dot begins and ends each.
LETTERS = ".abcdefghijklmnopqrstuvwxyz"
names = Path(__file__).with_name("names.txt").read_text(encoding="ascii").split()
generator.shuffle(names)
held_out, known = names[:50], names[50:]
longest = max(map(len, names))

# The parameters are matrices of Values, which begin small and at random.
WIDTH, HEADS = 16, 4
SIZE = WIDTH // HEADS


def matrix(rows, columns):
    return [[Value(number) for number in row] for row in generator.normal(0.0, 0.08, (rows, columns))]


what, where = matrix(WIDTH, len(LETTERS)), matrix(longest + 1, WIDTH)
query, key, value, mix = (matrix(WIDTH, WIDTH) for _ in range(4))
up, down = matrix(4 * WIDTH, WIDTH), matrix(WIDTH, 4 * WIDTH)
unembed = matrix(len(LETTERS), WIDTH)
parameters = [p for table in (what, where, query, key, value, mix, up, down, unembed) for row in table for p in row]


# The net. Every number in it is a node, with a label for the day when we ask why.
def labelled(name, nodes):
    for number, node in enumerate(nodes, 1):
        node.label = f"{name}{number}"
    return nodes


def linear(name, matrix, xs, plus=None):
    """A matrix times a vector, plus a vector: each row is one weighted sum."""
    return labelled(name, [dot(row, xs, bias) for row, bias in zip(matrix, plus or [None] * len(matrix), strict=True)])


def normed(name, xs):
    """The vector divided by the root of its mean square."""
    scale = (mean([x**2 for x in xs]) + 1e-5) ** -0.5
    return labelled(name, [x * scale for x in xs])


def attention(asked, keys, values):
    """What each head finds, one after the other, and how much it looks where: weights of the positions, with sum 1.

    A head compares its part of the query with that of every key so far, by their product. The better a key fits, the
    more it takes of the value that goes with it.
    """
    found, looks = [], []
    for head in range(HEADS):
        part = slice(head * SIZE, (head + 1) * SIZE)
        scores = [dot(asked[part], earlier[part]) / SIZE**0.5 for earlier in keys]
        together = logsumexp(scores)
        looks.append([exp(score - together) for score in scores])
        found += [dot(looks[-1], column) for column in zip(*[earlier[part] for earlier in values], strict=True)]
    return labelled("found", found), looks


def gpt(letters):
    """The logits after each of the one-hot letters, and where the heads look from the last."""
    keys, values, logits = [], [], []
    for position, letter in enumerate(letters):
        x = linear("x", what, letter, plus=where[position])
        n = normed("n", x)
        keys.append(linear("k", key, n))
        values.append(linear("v", value, n))
        found, looks = attention(linear("q", query, n), keys, values)
        y = linear("y", mix, found, plus=x)
        hidden = [relu(h) for h in linear("h", up, normed("m", y))]
        z = linear("z", down, labelled("relu", hidden), plus=y)
        logits.append(linear("logit", unembed, normed("out", z)))
    return logits, looks


# Names of one length have one graph. It is recorded once, with letters still to come, all 0, and replayed for many
# names at a time. The loss of a letter is its −log p.
recordings = {}


def recording(length):
    if length not in recordings:
        letters = [[Value(0.0) for _ in LETTERS] for _ in range(length + 2)]
        logits, _ = gpt(letters[:-1])
        loss = total([logsumexp(row) - dot(row, letter) for row, letter in zip(logits, letters[1:], strict=True)])
        recordings[length] = Replay(loss, inputs=[x for letter in letters for x in letter], parameters=parameters)
    return recordings[length]


def one_hot(text):
    return np.eye(len(LETTERS))[[LETTERS.index(letter) for letter in text]]


def replayed(names, p):
    """For names of one length: their loss, its gradient, and the number of letters, with the dots that end them."""
    length = len(names[0])
    losses, gradients = recording(length)(np.array([one_hot(f".{name}.").ravel() for name in names]), parameters=p)
    return losses.sum(), gradients.array, len(names) * (length + 1)


def held_out_loss(p):
    lengths = sorted(set(map(len, held_out)))
    losses, _, letters = zip(*[replayed([n for n in held_out if len(n) == one], p) for one in lengths], strict=True)
    return sum(losses) / sum(letters)


# What is there to beat? Shares that are counted, of each letter, or of each after the one before.
def counted_loss(given):
    def pairs(names):
        return [(given(before), after) for name in names for before, after in pairwise(f".{name}.")]

    seen, begun = Counter(pairs(known)), Counter(before for before, _ in pairs(known))
    shares = [(seen[pair] + 0.5) / (begun[pair[0]] + 0.5 * len(LETTERS)) for pair in pairs(held_out)]
    return -np.mean(np.log(shares))


print(f"{len(parameters):,} parameters, {len(known)} names to learn from and {len(held_out)} held out\n")
print(f"The loss of a letter, held out, is {math.log(len(LETTERS)):.3f} where all {len(LETTERS)} are alike,")
print(f"{counted_loss(lambda before: ''):.3f} by how often each was counted,")
print(f"{counted_loss(lambda before: before):.3f} by how often it was counted after the one before.\n")

# Adam: a step takes names of one length, that of a name drawn at random, and the rate falls to 0. Many more steps,
# such as --steps 1000, learn the known names by heart and do worse on the others.
p = np.array([parameter.data for parameter in parameters])
m, v = np.zeros_like(p), np.zeros_like(p)  # running means of the gradient and of its square
recent = []
print(" step    loss  held out")
for step in range(1, options.steps + 1):
    length = len(generator.choice(known))
    names_alike = [name for name in known if len(name) == length]
    loss, gradient, letters = replayed(generator.permutation(names_alike)[:32], p)
    recent.append(loss / letters)
    g = gradient / letters
    m = 0.9 * m + 0.1 * g
    v = 0.99 * v + 0.01 * g**2
    rate = 0.01 * (1 - (step - 1) / options.steps)
    p = p - rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + 1e-8)
    if step in (1, options.steps) or step % math.ceil(options.steps / 8) == 0:
        print(f"{step:5}   {np.mean(recent):.3f}     {held_out_loss(p):.3f}")
        recent = []

# Back into the Values: from here on the net is the plain function above.
for parameter, number in zip(parameters, p, strict=True):
    parameter.data = number


def after(text):
    """The logits after the text, and where the heads look from its last letter."""
    logits, looks = gpt([list(map(Value, letter)) for letter in one_hot(f".{text}")])
    return logits[-1], looks


def shares(logits, temperature=1.0):
    powers = np.exp([(logit.data - max(logits).data) / temperature for logit in logits])
    return powers / powers.sum()


# Letter by letter, with the likely ones a little likelier than they are. What is in the list is no invention.
invented = []
while len(invented) < 10:
    text = ""
    while not text.endswith(".") and len(text) <= longest:
        text += generator.choice(list(LETTERS), p=shares(after(text)[0], temperature=0.7))
    name = text.rstrip(".")
    if len(name) > 1 and name not in [*names, *invented]:
        invented.append(name)
print("\nnew names:", ", ".join(invented))

# And why? Take the letter that is the likeliest after "ma", and its log p.
TEXT = "ma"
logits, looks = after(TEXT)
likely = sorted(zip(shares(logits), LETTERS, strict=True), reverse=True)[:3]
print(f'\nafter "{TEXT}": ' + ", ".join(f"{letter} {share:.0%}" for share, letter in likely))
first = likely[0][1]


def log_p(logits):
    return logits[LETTERS.index(first)] - logsumexp(logits)


target = log_p(logits)
target.label, logits[LETTERS.index(first)].label = f"log p({first})", f"logit({first})"
print(f"log p({first}) is {target.data:.2f}, and on average it would be".replace("-", "−"))

# What is a letter worth? Put the 25 others in its place.
for place, letter in enumerate(TEXT):
    others = [TEXT[:place] + other + TEXT[place + 1 :] for other in LETTERS[1:] if other != letter]
    without = np.mean([log_p(after(text)[0]).data for text in others])
    print(f"  {without:.2f} with another letter for {letter}".replace("-", "−"))

# Of an earlier letter only the heads know. Where do they look, and what would it do to look there more? A slope tells.
for number, look in enumerate(looks, 1):
    for weight, letter in zip(look, f".{TEXT}", strict=True):
        weight.label = f"head{number}({letter})"
walk = Backprop(target, digits=3).run()
print(f"\n        {'looks at ' + '        '.join(f'.{TEXT}'):>27}   slope at {TEXT[0]}")
for number, look in enumerate(looks, 1):
    weights = "".join(f"{weight.data:9.0%}" for weight in look)
    print(f"head {number}  {weights}   {look[1].grad:+10.3f}".replace("-", "−"))

# Where does a slope come from? It is a sum over paths, of which these are the largest: from log p to the normed vector
# `out`, to z after the hidden layer and y after the heads, and to one of the numbers that the head found.
steepest = max(looks, key=lambda look: abs(look[1].grad))[1]
why = walk.why(steepest)
rest = why.gradient - sum(path.product for path in why.paths[:3])
print("\n" + "\n".join(str(why).splitlines()[:7]))
print(f"  {why.count - 3:,} more paths, together {rest:.3g}".replace("-", "−"))
