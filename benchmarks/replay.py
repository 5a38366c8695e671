"""Replay against matrix code: `python benchmarks/replay.py` prints what a training step takes, engine by engine.

Every engine trains in a process of its own, on one thread, in float64, from the same start and on the same examples.
Before anything is timed, all must give the loss and the gradient of the first one; then they take turns, round by
round. Micrograd comes with `pip install '.[benchmarks]'` and scikit-learn, for its digits, with `'.[digits]'`; PyTorch,
JAX and CasADi are measured where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from benchmarks import matrix_peers, peers, workloads  # noqa: E402
from benchmarks.eager import processor  # noqa: E402
from benchmarks.matrix_peers import Problem, Training  # noqa: E402

ONE_THREAD = {
    **dict.fromkeys(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"], "1"),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
KEPT_MEMORY = dict.fromkeys(["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"], str(2**28))
"""Else glibc may give the arrays of a step back to the system after each, which doubles the time of plain NumPy."""
Figures = dict[str, dict[str, float]]
"""Seconds of a step, by workload and engine."""


def net(problem: Problem, *, atomic: bool = False) -> Any:
    """Our MLP with the problem's parameters."""
    from nn import MLP

    model = MLP(problem.sizes[0], problem.sizes[1:], atomic=atomic, seed=0)
    for parameter, number in zip(model.parameters(), problem.start.tolist(), strict=True):
        parameter.data = number
    return model


def loss_of(problem: Problem, model: Any, outputs: Any, targets: Any) -> Any:
    """The mean loss over outputs, and L2 regularization."""
    from engine import total
    from nn import cross_entropy, hinge

    loss = (hinge if problem.loss == "hinge" else cross_entropy)(outputs, targets)
    return loss + problem.decay * total([p * p for p in model.parameters()]) if problem.decay else loss


def moons(count: int) -> Problem:
    points, classes = workloads.moons(count)
    sizes = tuple(workloads.SIZES)
    start = np.array(workloads.moons_parameters(float))
    return Problem(sizes, "hinge", np.array(points), np.array(classes, dtype=float), start, decay=1e-4)


def digits(count: int) -> Problem:
    from sklearn.datasets import load_digits

    from nn import MLP

    images, classes = load_digits(return_X_y=True)
    sizes = (64, 32, 10)
    start = np.array([p.data for p in MLP(64, sizes[1:], seed=0).parameters()])
    return Problem(sizes, "cross_entropy", images[:count] / 16.0, classes[:count], start)


def one_example(problem: Problem, *, atomic: bool = False) -> tuple[Any, Any, list[Any]]:
    """The model, the loss of the first example, and the leaves that vary over the batch."""
    from engine import Value

    model = net(problem, atomic=atomic)
    xs = [Value(x, label=f"x{number}") for number, x in enumerate(problem.X[0].tolist(), 1)]
    ys = [Value(y, label=f"y{number}") for number, y in enumerate(targets_of(problem)[0].tolist(), 1)]
    return model, loss_of(problem, model, model(xs), ys if len(ys) > 1 else ys[0]), [*xs, *ys]


def targets_of(problem: Problem) -> np.ndarray[Any, Any]:
    """A row for each example: its target, or 1 for its class and 0 for the others."""
    return problem.y[:, np.newaxis] if problem.loss == "hinge" else np.eye(problem.sizes[-1])[problem.y]


def replayed(problem: Problem, *, atomic: bool = False) -> Training:
    from engine import Replay

    model, loss, inputs = one_example(problem, atomic=atomic)
    replay = Replay(loss, inputs=inputs, parameters=model.parameters())
    batch = np.asfortranarray(np.column_stack([problem.X, targets_of(problem)]))  # the rows of X lie together
    parameters = problem.start.copy()

    def step() -> float:
        nonlocal parameters
        losses, gradients = replay(batch, parameters=parameters)
        parameters -= problem.rate / len(batch) * gradients.array
        return float(losses.mean())

    return Training(step, lambda: parameters)


def eager(problem: Problem) -> Training:
    """One graph of the batch, in scalars."""
    from nn import gradient_descent_step

    model = net(problem)
    parameters = model.parameters()
    X, y = problem.X.tolist(), problem.y.tolist()

    def step() -> float:
        loss = loss_of(problem, model, model.batch(X), y)
        model.zero_grad()
        loss.backward()
        gradient_descent_step(parameters, lr=problem.rate)
        return float(loss.data)

    return Training(step, lambda: np.array([p.data for p in parameters]))


def micrograd_moons(problem: Problem) -> Training:
    from micrograd.engine import Value

    parameters = [Value(number) for number in problem.start.tolist()]

    def step() -> float:
        loss = workloads.moons_loss(parameters, Value, lambda z: z.relu())
        for p in parameters:
            p.grad = 0.0
        loss.backward()
        for p in parameters:
            p.data -= problem.rate * p.grad
        return float(loss.data)

    return Training(step, lambda: np.array([p.data for p in parameters]))


@dataclass(frozen=True)
class Gpt:
    """The GPT of `workloads`, which learns names one after the other with Adam."""

    start: np.ndarray[Any, Any]
    rate: float = 1.0
    noise: float = 1e-9  # what Adam makes of roundings, where gradients are next to nothing


def names(count: int) -> Gpt:
    return Gpt(np.array(workloads.gpt(float)[0]))


def scalar_gpt(value: Callable[[float], Any], problem: Gpt) -> Training:
    step, parameters = workloads.gpt_training(value)
    return Training(step, lambda: np.array([p.data for p in parameters]))


def eager_gpt(problem: Gpt) -> Training:
    from engine import Value

    return scalar_gpt(Value, problem)


def replayed_gpt(problem: Gpt) -> Training:
    """Letters come as one number for each of the alphabet, 0 or 1; names of one length have one recording.

    The largest score would be a number that Python chose, once for all names; `logsumexp` takes it out each time.
    """
    from engine import Replay, Value, logsumexp

    def softmax(scores: list[Any]) -> list[Any]:
        whole = logsumexp(scores)
        return [(score - whole).exp() for score in scores]

    values, loss_of = workloads.gpt(Value, softmax)
    alphabet = np.eye(workloads.END + 1)
    recordings: dict[int, Any] = {}

    def recorded(length: int) -> Any:
        if length not in recordings:
            letters = [[Value(0.1, f"x{i}_{j}") for j, _ in enumerate(alphabet)] for i in range(length)]
            picked = [lambda table, letter: [sum(w * x for w, x in zip(column, letter, strict=True))
                      for column in zip(*table, strict=True)],
                      lambda shares, letter: sum(p * x for p, x in zip(shares, letter, strict=True))]  # fmt: skip
            loss = loss_of(letters[:-1], letters[1:], *picked)
            recordings[length] = Replay(loss, inputs=[x for letter in letters for x in letter], parameters=values)
        return recordings[length]

    parameters = problem.start.copy()
    first, second = np.zeros_like(parameters), np.zeros_like(parameters)
    steps = 0

    def step() -> float:
        nonlocal parameters, first, second, steps
        tokens = workloads.tokens_of(workloads.NAMES[steps % len(workloads.NAMES)])
        losses, gradients = recorded(len(tokens))(alphabet[tokens].reshape(1, -1), parameters=parameters)
        steps += 1
        first = 0.9 * first + 0.1 * gradients.array
        second = 0.95 * second + 0.05 * gradients.array**2
        average, square = first / (1.0 - 0.9**steps), second / (1.0 - 0.95**steps)
        parameters = parameters - 0.01 * average / (np.sqrt(square) + 1e-8)
        return float(losses[0])

    for length in sorted({len(workloads.tokens_of(name)) for name in workloads.NAMES}):
        recorded(length)
    return Training(step, lambda: parameters)


def example(problem: Problem) -> Training:
    """The forward and the backward pass of one example, eagerly: the measure of what recording takes."""
    model = net(problem)
    x, y = problem.X[0].tolist(), problem.y[0].item()

    def step() -> float:
        loss = loss_of(problem, model, model(x), y)
        loss.backward()
        return float(loss.data)

    return Training(step, lambda: problem.start)


def recording(problem: Problem) -> Training:
    """What comes before training: `Replay(…)` of a recorded loss."""
    from engine import Replay

    model, loss, inputs = one_example(problem)
    parameters = model.parameters()

    def step() -> float:
        Replay(loss, inputs=inputs, parameters=parameters)
        return float(loss.data)

    return Training(step, lambda: problem.start)


Maker = Callable[[Any], Training]


@dataclass(frozen=True)
class Workload:
    """What is learned, how many examples a step takes, and who takes part; all must agree with the first of them.

    `problem` makes what the engines are given: it has the parameters at the `start`, and the `rate` of descent.
    """

    name: str
    problem: Callable[[int], Any]
    batch: int
    engines: dict[str, Maker]


REPLAY, EAGER, ATOMIC = "chalkgrad, replay", "chalkgrad, eager", "chalkgrad, replay of + and *"
BY_HAND, VECTOR = "NumPy by hand", "NumPy, one vector"
RECORDING, EXAMPLE = "recording", "an eager example"
PLAIN = "a plain scalar engine"
ENGINES = [REPLAY, BY_HAND, VECTOR, "PyTorch", "JAX", "CasADi", EAGER, "micrograd", PLAIN]
NEEDED = {"PyTorch": "torch", "JAX": "jax", "CasADi": "casadi", "micrograd": "micrograd", "scikit-learn": "sklearn"}
NETS: dict[str, Maker] = {
    "PyTorch": matrix_peers.torch_net,
    "JAX": matrix_peers.jax_net,
    "CasADi": matrix_peers.casadi_net,
    REPLAY: replayed,
    EAGER: eager,
}
MOONS: dict[str, Maker] = {
    BY_HAND: matrix_peers.numpy_moons,
    VECTOR: partial(matrix_peers.numpy_moons, kept=matrix_peers.in_one_vector),
    **NETS,
}
DIGITS: dict[str, Maker] = {
    BY_HAND: matrix_peers.numpy_digits,
    VECTOR: partial(matrix_peers.numpy_digits, kept=matrix_peers.in_one_vector),
    **NETS,
}
WORKLOADS = [
    Workload("moons, 1", moons, 1, MOONS),
    Workload("moons, 100", moons, 100, {**MOONS, ATOMIC: partial(replayed, atomic=True), "micrograd": micrograd_moons}),
    Workload("moons, 1,797", moons, 1797, MOONS),
    Workload("digits, 1", digits, 1, DIGITS),
    Workload("digits, 100", digits, 100, DIGITS),
    Workload("digits, 1,797", digits, 1797, DIGITS),
    Workload(
        "GPT, a name", names, 1, {PLAIN: partial(scalar_gpt, peers.TupleValue), REPLAY: replayed_gpt, EAGER: eager_gpt}
    ),
]
RECORDINGS = [
    Workload("recording moons", moons, 1, {EXAMPLE: example, RECORDING: recording}),
    Workload("recording digits", digits, 1, {EXAMPLE: example, RECORDING: recording}),
]


class Worker:
    """A process that trains with one engine, and waits for its turns."""

    def __init__(self, workload: Workload, engine: str) -> None:
        self.name = f"{engine} at {workload.name}"
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", workload.name, engine],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **ONE_THREAD, **KEPT_MEMORY},
        )  # fmt: skip

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def answer(self, request: str) -> Any:
        """What the worker says to a request."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{request}\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            raise SystemExit(f"{self.name} failed; what it said is above.") from None


def worker(workload: Workload, engine: str) -> None:
    """Answer requests: `agree` with losses and the gradient, a number of seconds with the seconds of a step."""
    if sys.platform == "linux":  # one core, since XLA uses more threads than it was told
        os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
    problem = workload.problem(workload.batch)
    training = workload.engines[engine](problem)
    count = 1
    for request in sys.stdin:
        if request.strip() == "agree":
            losses = [training.step()]
            gradient = (problem.start - training.parameters()) / problem.rate
            print(json.dumps([*losses, training.step(), *gradient.tolist()]), flush=True)
            continue
        seconds, spent = float(request), 0.0
        while True:
            begin = time.perf_counter()
            for _ in range(count):
                training.step()
            spent = time.perf_counter() - begin
            if spent >= 0.7 * seconds:
                break
            count = max(count + 1, int(count * min(10.0, seconds / spent)))
        print(json.dumps(spent / count), flush=True)


def measured(workload: Workload, engines: list[str], rounds: int, seconds: float) -> dict[str, float]:
    """Median seconds of a step by engine, all of which must agree."""
    noise = getattr(workload.problem(workload.batch), "noise", 1e-13)
    with ExitStack() as stack:
        workers = {engine: stack.enter_context(Worker(workload, engine)) for engine in engines}
        expected = workers[engines[0]].answer("agree")
        for one in workers.values():
            if one is not workers[engines[0]]:
                refuse_difference(one.name, one.answer("agree"), expected, noise)
        times: dict[str, list[float]] = {engine: [] for engine in engines}
        for _ in range(rounds):
            for engine, one in workers.items():
                times[engine].append(one.answer(str(seconds)))
    return {engine: statistics.median(taken) for engine, taken in times.items()}


def refuse_difference(name: str, found: list[float], expected: list[float], noise: float) -> None:
    """Raise SystemExit unless two losses and the gradient agree; that is taken from an update, and so loses digits."""
    if not np.allclose(found, expected, rtol=1e-9, atol=noise):
        differences = np.abs(np.subtract(found, expected))
        raise SystemExit(
            f"{name} differs: losses {found[:2]} and not {expected[:2]}, gradients by {differences[2:].max():.1e}."
        )


def timed(seconds: float) -> str:
    """A time as people read it, to two digits at least."""
    unit, scaled = next((u, s * seconds) for u, s in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)) if s * seconds >= 1.0)
    return f"{scaled:.{1 if scaled < 10.0 else 0}f} {unit}"


def ratio(number: float) -> str:
    return f"{number:.2f}×" if number < 10.0 else f"{number:,.0f}×"


def table(figures: Figures) -> list[list[str]]:
    """The times, a row for each engine, and how many times as fast as its peers replay is."""
    rows = [["a training step", *figures]]
    rows += [
        [engine, *(timed(times[engine]) if engine in times else "" for times in figures.values())]
        for engine in ENGINES
        if any(engine in times for times in figures.values())
    ]
    for peer in [BY_HAND, VECTOR, "PyTorch", "JAX", "micrograd", PLAIN]:
        if any(peer in times for times in figures.values()):
            ratios = [ratio(times[peer] / times[REPLAY]) if peer in times else "" for times in figures.values()]
            rows.append([f"{peer} ÷ replay", *ratios])
    return rows


def in_columns(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    )


def in_markdown(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" + "|---:" * (len(rows[0]) - 1) + "|", *lines[1:]])


def picture(figures: Figures, path: Path) -> None:
    """Draw the seconds of a step on a logarithmic axis, a line for each workload and a mark for each engine."""
    import matplotlib

    from nn.plots import COLOURS, figure

    styles = zip("osXD^vP*<", [*COLOURS[1::-1], *COLOURS[2:], "#000000", "#777777", "#000000"], strict=True)
    marks = dict(zip(ENGINES, styles, strict=True))
    made, (axes,) = figure(size=(8.8, 0.9 + 0.45 * len(figures)))
    for engine in ENGINES:
        at = [(times[engine], name) for name, times in figures.items() if engine in times]
        if at:
            marker, colour = marks[engine]
            size = 170 if engine == REPLAY else 36  # behind the others, and still to be seen
            axes.scatter(*zip(*at, strict=True), s=size, c=colour, marker=marker, label=engine)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda seconds, _: timed(seconds).replace(".0", ""))
    axes.set_ylim(len(figures) - 0.5, -0.5)
    axes.set_xlabel("a training step, by workload and batch")
    made.legend(loc="outside upper center", ncols=4, frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": "chalkgrad"}):  # the same figures, the same bytes
        made.savefig(path, format="svg", metadata={"Date": None})


def main() -> None:
    """Measure what is installed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog=__doc__.split("\n\n")[1])
    known = [workload.name for workload in [*WORKLOADS, *RECORDINGS]]
    parser.add_argument("--rounds", type=int, default=15, help="turns of each engine (15)")
    parser.add_argument("--seconds", type=float, default=0.2, help="how long a turn takes (0.2)")
    parser.add_argument("--only", metavar="WORKLOAD", action="append", choices=known, help=" or ".join(known))
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there")
    parser.add_argument("--picture", metavar="FILE.svg", type=Path, help="draw them there, with matplotlib")
    parser.add_argument("--figures", metavar="FILE", type=Path, help="take them from what --json wrote, not measured")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds takes a number from 1 on")
    if arguments.figures:
        told = json.loads(arguments.figures.read_text(encoding="utf-8"))
    else:
        told = everything(arguments.only or known, arguments.rounds, arguments.seconds)
    print(f"{told['machine']}\nnot installed: {', '.join(told['missing']) or 'none'}\n")
    if told["steps"]:
        print((in_markdown if arguments.markdown else in_columns)(table(told["steps"])), end="\n\n")
    for name, times in told["steps"].items():
        if ATOMIC in times:
            slower = ratio(times[ATOMIC] / times[REPLAY])
            print(f"{name}: written with + and *, replay takes {timed(times[ATOMIC])}, {slower} that with dot")
    for name, times in told["before"].items():
        examples = f"{times[RECORDING] / times[EXAMPLE]:.0f}"
        print(f"{name}: {timed(times[RECORDING])}, as long as {examples} examples forward and backward, eagerly")
    if arguments.json:
        arguments.json.write_text(f"{json.dumps(told, indent=1)}\n", encoding="utf-8")
    if arguments.picture:
        picture(told["steps"], arguments.picture)


def everything(wanted: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    """Where it was measured, and the figures of the workloads of those names."""
    missing = [engine for engine, module in NEEDED.items() if not importlib.util.find_spec(module)]
    found: dict[str, Any] = {
        "machine": f"Python {platform.python_version()}, NumPy {np.__version__}, {processor()}; medians of {rounds}",
        "missing": missing,
        "steps": {},
        "before": {},
    }
    for part, workloads_of in (("steps", WORKLOADS), ("before", RECORDINGS)):
        for workload in workloads_of:
            if workload.name in wanted and not (workload.problem is digits and "scikit-learn" in missing):
                print(f"{workload.name} …", file=sys.stderr, flush=True)
                engines = [engine for engine in workload.engines if engine not in missing]
                found[part][workload.name] = measured(workload, engines, rounds, seconds)
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(next(one for one in [*WORKLOADS, *RECORDINGS] if one.name == sys.argv[2]), sys.argv[3])
    else:
        main()
