"""Random graphs as a course writes them: neurons, nets, softmax, batches, penalties, and formulas of one line."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from tests.derivations.tape import Graph, Node, added, call

ACTIVATIONS = ["sigmoid", "tanh", "sigmoid", "tanh", "relu", "leaky_relu", "softplus", "elu"]
NODE_NAMES = [
    ("i", ("net_h", "out_h"), ("net_o", "out_o")),
    ("x", ("z", "h"), ("s", "o")),
    ("x", ("z1_", "a1_"), ("z2_", "a2_")),
]  # inputs; sums and outputs of each layer
DEEP_NAMES = [
    ("i", ("net_g", "out_g"), ("net_h", "out_h"), ("net_o", "out_o")),
    ("x", ("z1_", "a1_"), ("z2_", "a2_"), ("z3_", "a3_")),
]
POSITIVE, UNIT, PROBABILITY = (0.3, 3.0), (0.0, 1.0), (0.05, 0.95)


def squared(rng: random.Random, target: Node, out: Node) -> Node:
    """The squared error in one of its usual forms."""
    difference = target - out if rng.random() < 0.5 else out - target
    return rng.choice([lambda: 0.5 * difference**2, lambda: difference**2, lambda: difference**2 / 2])()


def crossed(y: Node, a: Node) -> Node:
    """The binary cross-entropy."""
    return -(y * call("log", a) + (1 - y) * call("log", 1 - a))


def penalised(rng: random.Random, graph: Graph, loss: Node, weights: list[Node]) -> Node:
    """The loss with a penalty on weights."""
    lam = graph.target("lam", 0.1, 1.0)
    terms = [call("abs", w) for w in weights] if rng.random() < 0.3 else [w**2 for w in weights]
    if len(terms) == 1:
        return loss + lam * terms[0] if rng.random() < 0.7 else loss + 0.5 * lam * terms[0]
    return loss + lam * added(terms)


def neuron(rng: random.Random) -> Graph:
    """One neuron with a loss."""
    graph = Graph()
    count = rng.choice([1, 1, 2, 3])
    numbered = count > 1 or rng.random() < 0.2
    ws = [graph.weight(f"w{k + 1}" if numbered else "w") for k in range(count)]
    xs = [graph.input(f"x{k + 1}" if numbered else "x") for k in range(count)]
    graph.alike += [ws, xs] if count > 1 else []
    sums = added([w * x for w, x in zip(ws, xs, strict=True)])
    if rng.random() < 0.25:
        total = sums - graph.bias("theta")
    elif rng.random() < 0.9:
        total = sums + graph.bias("b")
    else:
        total = sums
    z = graph.let(rng.choice(["z", "net", "s"]), total)
    kind = rng.choice(["squared", "squared", "cross", "absolute", "hinge"])
    activation = "sigmoid" if kind == "cross" else rng.choice(ACTIVATIONS)
    a = graph.let(rng.choice(["a", "o", "out"]), call(activation, z))
    y = graph.target(rng.choice(["y", "t"]), *(PROBABILITY if kind == "cross" else (-2.0, 2.0)))
    if kind == "cross":
        graph.crossed.append((z, a, y))
        loss = crossed(y, a)
    else:
        loss = {
            "squared": lambda: squared(rng, y, a),
            "absolute": lambda: call("abs", a - y),
            "hinge": lambda: call("relu", 1 - y * a),
        }[kind]()
    if rng.random() < 0.25:
        if rng.random() < 0.5:
            loss = graph.let("C", loss)
        loss = penalised(rng, graph, loss, ws)
    graph.let(rng.choice(["L", "E", "J"]), loss)
    return graph


def deep_chain(rng: random.Random) -> Graph:
    """Two or three neurons in a row."""
    graph = Graph()
    signal, depth = graph.input("x"), rng.choice([2, 2, 3])
    cross = rng.random() < 0.3
    hidden = rng.choice(ACTIVATIONS)
    for layer in range(1, depth + 1):
        total = graph.weight(f"w{layer}") * signal + graph.bias(f"b{layer}")
        if rng.random() < 0.2 and layer > 1:
            total = total + signal
        last = layer == depth
        z = graph.let(f"z{layer}", total)
        name = ("a" if depth == 2 else "yhat") if last else (f"h{layer}" if depth > 2 else "h")
        signal = graph.let(name, call("sigmoid" if last and cross else hidden, z))
    graph.alike.append(graph.weights.copy())
    y = graph.target("y", *(PROBABILITY if cross else (-2.0, 2.0)))
    if cross:
        graph.crossed.append((signal.args[0], signal, y))
    graph.let("L", crossed(y, signal) if cross else squared(rng, y, signal))
    return graph


def _weight_names(rng: random.Random, sizes: list[int]) -> list[list[list[str]]]:
    """Names of weights by layer, unit and operand, in one of the styles of books."""
    style = rng.choice(["counted", "layered", "matrix"])
    names, number = [], 0
    for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes), start=1):
        rows = []
        for unit in range(1, n_out + 1):
            row = []
            for operand in range(1, n_in + 1):
                number += 1
                row.append({
                    "counted": f"w{number}",
                    "layered": f"w{layer}_{unit}_{operand}",
                    "matrix": f"{'WVU'[layer - 1]}{unit}{operand}",
                }[style])  # fmt: skip
            rows.append(row)
        names.append(rows)
    return names


def net(rng: random.Random) -> Graph:
    """A net of two layers or three with indexed weights, such as Mazur's."""
    graph = Graph()
    sizes = rng.choice([[2, 2, 2], [2, 2, 2], [2, 3, 2], [3, 2, 1], [2, 2, 1], [2, 3, 1], [3, 3, 2], [2, 2, 2, 1]])
    names = _weight_names(rng, sizes)
    shared = rng.random() < 0.4
    labels = rng.choice(NODE_NAMES if len(sizes) == 3 else DEEP_NAMES)
    activation = rng.choice(ACTIVATIONS[:6])
    signals = [graph.input(f"{labels[0]}{k + 1}") for k in range(sizes[0])]
    graph.alike.append(signals)
    cross = sizes[-1] == 1 and rng.random() < 0.3
    for layer, rows in enumerate(names):
        sums = []
        for unit, row in enumerate(rows, start=1):
            terms = [graph.weight(name) * signal for name, signal in zip(row, signals, strict=True)]
            bias = graph.bias(f"b{layer + 1}" if shared else f"b{layer + 1}_{unit}")
            sums.append(graph.let(f"{labels[layer + 1][0]}{unit}", added([*terms, bias])))
        last = layer == len(names) - 1
        squash = "sigmoid" if last and cross else activation
        outs = [graph.let(f"{labels[layer + 1][1]}{unit}", call(squash, z)) for unit, z in enumerate(sums, start=1)]
        graph.alike += [sums, outs, [graph.leaves[name] for row in rows for name in row]]
        signals = outs
    targets = [graph.target(f"t{k + 1}", *(PROBABILITY if cross else UNIT)) for k in range(sizes[-1])]
    if cross:
        graph.crossed.append((sums[0], signals[0], targets[0]))
        graph.let("E", crossed(targets[0], signals[0]))
        return graph
    one = rng.choice([lambda t, o: 0.5 * (t - o) ** 2, lambda t, o: (o - t) ** 2, lambda t, o: 0.5 * (o - t) ** 2])
    errors = [one(t, o) for t, o in zip(targets, signals, strict=True)]
    if len(errors) > 1 and rng.random() < 0.6:
        errors = [graph.let(f"E_o{k + 1}", error) for k, error in enumerate(errors)]
        graph.alike.append(errors)
    elif len(errors) == 1:
        graph.let("E", errors[0])
        return graph
    graph.let("E", added(errors))
    return graph


def softmax(rng: random.Random) -> Graph:
    """Softmax and cross-entropy in formulas, over scores that are leaves or weighted sums."""
    graph = Graph()
    count = rng.choice([2, 3, 3, 4])
    s, p = rng.choice([("s", "p"), ("z", "a"), ("o", "y")])
    kind = rng.choice(["leaves", "sums", "two inputs"])
    if kind == "leaves":
        scores = [graph.leaf(f"{s}{k + 1}") for k in range(count)]
    else:
        xs = [
            graph.input(f"x{k + 1}" if kind == "two inputs" else "x") for k in range(2 if kind == "two inputs" else 1)
        ]
        rows = [
            [graph.weight(f"w{k + 1}{j + 1}" if len(xs) > 1 else f"w{k + 1}") for j in range(len(xs))]
            for k in range(count)
        ]
        scores = [
            graph.let(
                f"{s}{k + 1}",
                added([*(w * x for w, x in zip(row, xs, strict=True)), graph.bias(f"b{k + 1}")]),
            )
            for k, row in enumerate(rows)
        ]
        graph.alike += [[w for row in rows for w in row], xs, scores]
    powers = [call("exp", score) for score in scores]
    if rng.random() < 0.3:
        powers = [graph.let(f"e{k + 1}", power) for k, power in enumerate(powers)]
        of = powers.__getitem__
    else:
        of = lambda k: call("exp", scores[k])  # noqa: E731
    total = graph.let("S", added(powers))
    probabilities = [graph.let(f"{p}{k + 1}", of(k) / total) for k in range(count)]
    graph.alike.append(probabilities)
    if rng.random() < 0.4:
        chosen = rng.randrange(count)
        labels: list[Node | float] = [1.0 if k == chosen else 0.0 for k in range(count)]
        loss = -call("log", probabilities[chosen])
    else:
        targets = [graph.target(f"t{k + 1}", *PROBABILITY) for k in range(count - 1)]
        rest: Node = 1 - targets[0]
        for target in targets[1:]:
            rest = rest - target
        labels = [*targets, graph.let(f"t{count}", rest)]
        loss = -added([label * call("log", q) for label, q in zip(labels, probabilities, strict=True)])
    graph.softmax += list(zip(scores, probabilities, labels, strict=True))
    graph.let("L", loss)
    return graph


def batch(rng: random.Random) -> Graph:
    """A few examples and the mean of their losses."""
    graph = Graph()
    count = rng.choice([2, 3, 3, 4, 5])
    kind = rng.choice(["residual", "output", "activation", "cross", "two inputs"])
    activation = rng.choice(["sigmoid", "tanh"])
    terms, sums, outs = [], [], []
    for k in range(1, count + 1):
        y = graph.target(f"y{k}", *(PROBABILITY if kind == "cross" else (-2.0, 2.0)))
        if kind == "two inputs":
            total = graph.weight("w1") * graph.input(f"x{k}") + graph.weight("w2") * graph.input(f"v{k}")
        else:
            total = graph.weight("w") * graph.input(f"x{k}")
        total = total + graph.bias("b")
        if kind == "residual":
            e = graph.let(f"e{k}", total - y)
            outs.append(e)
            terms.append(e**2)
            continue
        z = graph.let(f"z{k}" if kind in ("activation", "cross") else f"p{k}", total)
        sums.append(z)
        if kind == "cross":
            a = graph.let(f"a{k}", call("sigmoid", z))
            graph.crossed.append((z, a, y))
            terms.append(crossed(y, a))
        elif kind == "activation":
            a = graph.let(f"a{k}", call(activation, z))
            terms.append((a - y) ** 2)
        else:
            a = z
            terms.append((y - z) ** 2)
        outs.append(a)
    graph.alike += [group for group in (outs, sums, graph.inputs.copy()) if len(group) > 1]
    if rng.random() < 0.5 or kind == "cross":
        terms = [graph.let(f"l{k}", term) for k, term in enumerate(terms, start=1)]
    graph.examples += terms
    form = rng.choice(["divided", "times", "mean", "half"])
    total = added(terms)
    if form == "mean":
        loss = call("mean", *terms)
    elif form == "half" and kind != "cross":
        loss = total / (2 * count)
    elif form == "times" and count in (2, 4, 5):
        loss = (1 / count) * total
    else:
        loss = total / count
    if rng.random() < 0.15:
        loss = penalised(rng, graph, graph.let("C", loss), graph.weights)
    graph.let(rng.choice(["L", "J"]), loss)
    return graph


def recurrent(rng: random.Random) -> Graph:
    """Weights shared over time steps."""
    graph = Graph()
    w, u = graph.weight("w"), graph.weight("u")
    hidden = graph.leaf("h0")
    activation = rng.choice(["tanh", "tanh", "sigmoid", "relu"])
    for step in range(1, rng.choice([2, 2, 3]) + 1):
        total = w * hidden + u * graph.input(f"x{step}")
        if rng.random() < 0.4:
            total = graph.let(f"z{step}", total + graph.bias("b"))
        hidden = graph.let(f"h{step}", call(activation, total))
    graph.alike.append(graph.inputs.copy())
    graph.let("L", squared(rng, graph.target("y"), hidden))
    return graph


def gated(rng: random.Random) -> Graph:
    """A gate between a signal and what was there before."""
    graph = Graph()
    x = graph.input("x")
    g = graph.let("g", call("sigmoid", graph.weight("wg") * x + graph.bias("bg")))
    z = graph.let("z", graph.weight("wc") * x + graph.bias("bc"))
    c = graph.let("c", call("tanh", z))
    before = graph.leaf("h0")
    h = graph.let("h", rng.choice([lambda: g * c, lambda: g * c + (1 - g) * before, lambda: g * c + before])())
    graph.let("L", squared(rng, graph.target("t"), h))
    return graph


def skip(rng: random.Random) -> Graph:
    """A connection past a layer, or a node used again."""
    graph = Graph()
    x = graph.input("x")
    z = graph.let("z", graph.weight("w") * x + graph.bias("b"))
    h = graph.let("h", call(rng.choice(ACTIVATIONS), z))
    y = graph.let("y", rng.choice([lambda: h + x, lambda: graph.weight("v") * h + x, lambda: h * x, lambda: h + z])())
    target = graph.target("t")
    graph.let("L", squared(rng, target, y))
    return graph


def _inner(rng: random.Random, graph: Graph, x: Node) -> Node:
    """Something simple of x."""
    a, b = rng.randint(2, 5), rng.randint(1, 4)
    y = graph.leaf("y")
    return rng.choice([
        lambda: a * x + b, lambda: x**2 + b, lambda: a * x, lambda: x * y, lambda: x**2 * y, lambda: a * x - y,
    ])()  # fmt: skip


def _outer(rng: random.Random, u: Node) -> Node:
    return rng.choice([
        lambda: u ** rng.randint(2, 5), lambda: call("sin", u), lambda: call("cos", u), lambda: call("exp", u),
        lambda: call("abs", u), lambda: rng.choice([2, 3]) ** u, lambda: call("log", 1 + u**2),
        lambda: call("log10", 2 + u**2), lambda: call("sqrt", 1 + u**2), lambda: 1 / (1 + u**2),
        lambda: call("tanh", u), lambda: call("sigmoid", u), lambda: call("exp", -(u**2)),
    ])()  # fmt: skip


def formulas(rng: random.Random) -> Graph:
    """Differentiation exercises: one or two lines of products, quotients, powers, logarithms and chains."""
    graph = Graph()
    x = graph.leaf("x")
    kind = rng.choice(["chain", "product", "quotient", "simple", "two lines", "exponential", "logarithm", "absolute"])
    y = graph.leaf("y")
    if kind == "chain":
        f = _outer(rng, _inner(rng, graph, x))
        f = f * y if rng.random() < 0.3 else f
    elif kind == "product":
        f = rng.choice([_outer, lambda rng, u: u**2])(rng, x) * rng.choice([_outer(rng, x + y), _outer(rng, x), x + y])
    elif kind == "quotient":
        bottom = rng.choice([1 + x**2, 2 + call("cos", x), y**2 + 1, call("exp", x) + 1])
        f = rng.choice([x, _outer(rng, x), x + y, call("sin", x)]) / bottom
    elif kind == "simple":
        f = rng.choice([
            x ** rng.randint(2, 4), x**2 * y, rng.randint(2, 5) * x**3, call("sin", x), x**3 + x * y, x * y**2,
            call("exp", 2 * x), call("cos", 3 * x), (x + y) * call("max", y, graph.leaf("z")), x**2 + y**2,
        ])  # fmt: skip
    elif kind == "exponential":
        f = rng.choice([2**x, 3**x * y, 2 ** (x * y), x * 2**x, call("exp", x) * x, graph.leaf("a", 0.5, 3.0) ** x])
    elif kind == "logarithm":
        graph = Graph()
        x, y = graph.leaf("x", *POSITIVE), graph.leaf("y", *POSITIVE)
        log = rng.choice(["log", "log10"])
        f = rng.choice([
            call(log, x) * y, call(log, x * y), call(log, x) ** 2, x * call(log, x), call(log, x) / x,
            call(log, 2 * x + y), -y * call(log, x) + x,
        ])  # fmt: skip
    elif kind == "absolute":
        f = rng.choice([
            call("abs", x * y), call("abs", x) * y, call("abs", 2 * x - y), call("abs", x) ** 3, call("abs", x - y) * x,
        ])  # fmt: skip
    else:
        u = graph.let("u", _inner(rng, graph, x))
        if rng.random() < 0.5:
            v = graph.let("v", _outer(rng, x) if rng.random() < 0.5 else _inner(rng, graph, y))
            f = rng.choice([u * v, u / (1 + v**2), u * v + x, u + v**2, call("sin", u) * v])
        else:
            f = rng.choice([_outer(rng, u), u * _outer(rng, u), _outer(rng, u) + u])
    graph.let("f", f)
    return graph


def tangle(rng: random.Random) -> Graph:
    """Nodes used again and again, in any way."""
    graph = Graph()
    made = [graph.leaf(name) for name in "abcd"[: rng.randint(2, 4)]]
    for name in "uvpqr"[: rng.randint(2, 5)]:
        one, other = rng.choice(made[-3:]), rng.choice(made)
        made.append(graph.let(name, rng.choice([
            lambda one=one, other=other: one * other,
            lambda one=one, other=other: one + 2 * other,
            lambda one=one, other=other: one - other,
            lambda one=one, other=other: one * other + one,
            lambda one=one, other=other: one / (1 + other**2),
            lambda one=one, other=other: call(rng.choice(["tanh", "sigmoid", "sin", "relu"]), one + other),
            lambda one=one: call(rng.choice(["tanh", "sigmoid", "sin", "cos", "relu"]), one),
            lambda one=one: one**2,
        ])()))  # fmt: skip
    graph.let("L", rng.choice([made[-1] * made[-2], made[-1] + made[-2] ** 2, 0.5 * made[-1] ** 2 + made[-3]]))
    graph.lines = [line for line in graph.lines if line in graph.below]
    return graph


KINDS: dict[str, Callable[[random.Random], Graph]] = {
    "neuron": neuron,
    "chain": deep_chain,
    "net": net,
    "softmax": softmax,
    "batch": batch,
    "recurrent": recurrent,
    "skip": skip,
    "gated": gated,
    "formulas": formulas,
    "tangle": tangle,
}
