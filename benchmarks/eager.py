"""The engine against its peers, side by side: `python benchmarks/eager.py` prints a table of ratios.

Every figure is taken in a process of its own, so that no engine pays for the garbage of another, and the processes of
one workload take turns. Each engine is measured with Python's garbage collection as it is by default, and with it off.
Micrograd and HIPS autograd come with `pip install '.[benchmarks]'`; PyTorch is measured where it is installed.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import peers, workloads  # noqa: E402

LONG = 1_000_000


def chalkgrad() -> dict[str, Any]:
    from engine import Value, dot

    return {
        "moons": lambda: workloads.moons_step(Value),
        "moons, weighted sums": lambda: workloads.moons_step(Value, dot),
        "gpt": lambda: workloads.gpt_step(Value),
        "chain": lambda: long_step(workloads.chain, Value, LONG),
        "short chain": lambda: long_step(workloads.chain, Value, LONG // 100),
        "wide sum": lambda: long_step(workloads.wide_sum, Value, LONG),
    }


def micrograd() -> dict[str, Any]:
    from micrograd.engine import Value

    return {"moons": lambda: workloads.moons_step(Value)}


def microgpt() -> dict[str, Any]:
    path = os.environ.get("MICROGPT")
    value = peers.value_class_of(Path(path)) if path else peers.TupleValue
    return {"moons": lambda: workloads.moons_step(value), "gpt": lambda: workloads.gpt_step(value)}


def torch() -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)

    def value(number: float) -> Any:
        return torch.tensor(float(number), dtype=torch.float64, requires_grad=True)

    return {
        "moons": lambda: workloads.moons_step(value, cleared=None),
        "chain": lambda: long_step(workloads.chain, value, LONG // 10),
        "wide sum": lambda: long_step(workloads.wide_sum, value, LONG // 10),
    }


def autograd() -> dict[str, Any]:
    return {"moons": peers.autograd_moons_step}


ENGINES: dict[str, Callable[[], dict[str, Any]]] = {
    "chalkgrad": chalkgrad,
    "micrograd": micrograd,
    "microgpt": microgpt,
    "torch": torch,
    "autograd": autograd,
}
# What is timed against what: the workload, its name in either engine, and how many nodes long chains are.
PAIRS = [
    ("moons step, single operations", "moons", "micrograd", "moons"),
    ("moons step, weighted sums", "moons, weighted sums", "micrograd", "moons"),
    ("GPT step, single operations", "gpt", "microgpt", "gpt"),
    ("moons step, single operations", "moons", "microgpt", "moons"),
    ("moons step, single operations", "moons", "torch", "moons"),
    ("moons step, weighted sums", "moons, weighted sums", "torch", "moons"),
    ("moons step, single operations", "moons", "autograd", "moons"),
    ("a node of a long chain", "chain", "torch", "chain"),
    ("a node of a wide sum", "wide sum", "torch", "wide sum"),
]
NODES = {("chalkgrad", "chain"): LONG, ("chalkgrad", "short chain"): LONG // 100, ("chalkgrad", "wide sum"): LONG} | {
    ("torch", name): LONG // 10 for name in ("chain", "wide sum")
}


def long_step(make: Callable[..., Any], value: Callable[[float], Any], length: int) -> Callable[[], None]:
    """Build a graph that long, sweep it, and let it go."""

    def step() -> None:
        leaves, end = make(value, length)
        end.backward()
        del leaves, end

    return step


def worker(engine: str, workload: str, seconds: float, *, collect: bool) -> None:
    """Time one step again and again, and print the median in seconds."""
    step = ENGINES[engine]()[workload]()
    step()
    if not collect:
        gc.disable()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < seconds and len(times) < 100):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    print(json.dumps(statistics.median(times)))


def measured(engine: str, workload: str, seconds: float, *, collect: bool) -> float:
    """The time of a step, or of a node of it, in a process of its own."""
    command = [sys.executable, __file__, "--worker", engine, workload, str(seconds), str(int(collect))]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{engine} failed at {workload}: {ran.stderr[-600:]}")
    return float(json.loads(ran.stdout)) / NODES.get((engine, workload), 1)


def startup(code: str, cache: str) -> float:
    """Seconds of a Python process that runs `code`, at best, with its bytecode compiled before."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    times = []
    for _ in range(15):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={**environment, "PYTHONPYCACHEPREFIX": cache}, check=True
        )
        times.append(time.perf_counter() - start)
    return min(times)


def bytes_a_node(length: int = 200_000) -> tuple[float, float]:
    """Bytes a node of a chain, after the forward pass and at the peak of the backward pass."""
    from engine import Value

    tracemalloc.start()
    start = tracemalloc.get_traced_memory()[0]
    leaf, end = workloads.chain(Value, length)
    forward = tracemalloc.get_traced_memory()[0] - start
    tracemalloc.reset_peak()
    end.backward()
    peak = tracemalloc.get_traced_memory()[1] - start
    tracemalloc.stop()
    del leaf, end
    return forward / length, peak / length


def main() -> None:
    """Measure what is installed, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], epilog=__doc__.split("\n\n")[1])
    parser.add_argument("--rounds", type=int, default=5, help="processes for each figure (5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each of them measures (2)")
    parser.add_argument("--microgpt", type=Path, help="a copy of microgpt, whose Value then stands for its design")
    arguments = parser.parse_args()
    if arguments.microgpt:
        os.environ["MICROGPT"] = str(arguments.microgpt.resolve())
    needed = {"micrograd": "micrograd", "torch": "torch", "autograd": "autograd"}
    installed = {engine for engine in ENGINES if engine not in needed or importlib.util.find_spec(needed[engine])}
    print(f"Python {platform.python_version()}, {processor()}, {os.cpu_count()} cores; medians of {arguments.rounds}")
    print(f"microgpt: {arguments.microgpt or 'its design, written anew in peers.py'}")
    print(f"not installed: {', '.join(sorted(set(ENGINES) - installed)) or 'none'}\n")
    row = "{:<41} {:<10} {:>11} {:>11} {:>8} {:>10}"
    print(row.format("", "peer", "peer", "chalkgrad", "ratio", "GC off"))
    for title, workload, peer, its_workload in PAIRS:
        if peer not in installed:
            continue
        ratios = {}
        for collect in (True, False):
            theirs, ours = [], []
            for _ in range(arguments.rounds):
                theirs.append(measured(peer, its_workload, arguments.seconds, collect=collect))
                ours.append(measured("chalkgrad", workload, arguments.seconds, collect=collect))
            ratios[collect] = statistics.median(theirs) / statistics.median(ours)
            if collect:
                shown = [timed(statistics.median(times)) for times in (theirs, ours)]
        print(row.format(title, peer, *shown, f"{ratios[True]:.2f}×", f"{ratios[False]:.2f}×"), flush=True)
    print()
    for collect in (True, False):
        short, long = (
            measured("chalkgrad", name, arguments.seconds, collect=collect) for name in ("short chain", "chain")
        )
        off = "" if collect else ", GC off"
        print(f"a node of a chain{off}: {timed(short)} of 10⁴, {timed(long)} of 10⁶, {long / short:.2f}×")
    forward, peak = bytes_a_node()
    print(f"a node of a chain: {forward:.0f} bytes after the forward pass, {peak:.0f} at the peak of the backward pass")
    with tempfile.TemporaryDirectory() as cache:
        bare = startup("pass", cache)
        ours = startup("import engine", cache) - bare
        line = f"import engine: {1e3 * ours:.1f} ms beyond Python's start of {1e3 * bare:.1f} ms"
        if "micrograd" in installed:
            theirs = startup("import micrograd.engine, micrograd.nn", cache) - bare
            line += f"; micrograd: {1e3 * theirs:.1f} ms, so ours takes {ours / theirs:.1f}×"
    print(line)


def timed(seconds: float) -> str:
    """A time as people read it."""
    return f"{1e3 * seconds:.1f} ms" if seconds > 1e-4 else f"{1e9 * seconds:.0f} ns"


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], sys.argv[3], float(sys.argv[4]), collect=sys.argv[5] == "1")
    else:
        main()
