"""How well mistakes are named: generated hand derivations, right and wrong, against the checker.

`python benchmarks/naming.py` runs everything and prints the rates by key; `--show KEY` prints the failures of one key
or section, `--cases N` scales everything to N formulas with a planted mistake, `--only SECTION` runs one section.
The generator, in `tests/derivations`, shares no code with the checker; it needs `pip install '.[test]'`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: E402
from rich.table import Table  # noqa: E402

from tests.derivations import checking, differing, outside, planted, rewriting, tables  # noqa: E402
from tests.derivations.checking import Outcome  # noqa: E402

CHUNK = 74  # cases of one seed: each key twice


@dataclass(frozen=True)
class Section:
    """One kind of case: how many at full size, where they come from, how they are judged, and what counts."""

    name: str
    full: int
    cases: Callable[[str, int], Iterator[Any]]
    judge: Callable[[Any], Outcome]
    counts: tuple[str, ...]


SECTIONS = [
    Section("mistakes", 3700, planted.planted, checking.wrong_formula, ("caught", "first", "named", "strictly")),
    Section("numbers", 3700, planted.numbers, checking.wrong_number, ("caught", "first", "named")),
    Section("outside", 1000, outside.outside, checking.unknown_formula, ("caught", "any_key")),
    Section("rewritings", 1000, rewriting.rewritings, checking.right_formula, ("caught",)),
    Section("wrong", 10000, differing.differing, checking.unknown_formula, ("caught",)),
    Section("one slip", 1000, tables.one_slip, checking.judge_table, ("caught",)),
    Section("two slips", 1000, tables.two_slips, checking.judge_table, ("caught",)),
    Section("rounded", 500, tables.no_slip, checking.judge_table, ("caught",)),
    Section("steps", 500, tables.steps, checking.judge_table, ("caught", "named")),
]
TOLD = {
    "caught": "judged right", "first": "named first, with node", "named": "named", "strictly": "exactly as planted",
    "any_key": "given any key",
}  # fmt: skip


def run(job: tuple[str, str, int]) -> list[Outcome]:
    """The outcomes of a chunk."""
    name, seed, count = job
    section = next(section for section in SECTIONS if section.name == name)
    return [section.judge(case) for case in section.cases(seed, count)]


def jobs(section: Section, seed: str, count: int) -> list[tuple[str, str, int]]:
    """Chunks with seeds of their own."""
    starts = range(0, count, CHUNK)
    return [(section.name, f"{seed}/{start // CHUNK}", min(CHUNK, count - start)) for start in starts]


def share(part: int, whole: int) -> str:
    return f"{100.0 * part / whole:.1f} %" if whole else ""


def summary(section: Section, outcomes: list[Outcome]) -> Table:
    """The rates by key, and of all."""
    shown = Table(title=f"{section.name}: {len(outcomes):,}", title_justify="left")
    shown.add_column("", no_wrap=True)
    for column in ("cases", *(TOLD[count] for count in section.counts), "median ms", "longest ms"):
        shown.add_column(column, justify="right")
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.key if section.name != "rewritings" else "all", []).append(outcome)
    for key, group in [*sorted(groups.items()), *([("all", outcomes)] if len(groups) > 1 else [])]:
        rates = [share(sum(getattr(outcome, count) for outcome in group), len(group)) for count in section.counts]
        times = sorted(1000.0 * outcome.seconds for outcome in group)
        shown.add_row(key, str(len(group)), *rates, f"{statistics.median(times):.1f}", f"{times[-1]:.0f}")
    return shown


def failed(section: Section, outcome: Outcome) -> bool:
    """Whether an outcome is not what is hoped for."""
    if not outcome.caught:
        return True
    if section.name == "outside":
        return outcome.any_key
    if section.name == "mistakes":
        return not outcome.first
    return "named" in section.counts and not outcome.named


def told(outcome: Outcome) -> str:
    case = outcome.case
    lines = [textwrap.indent(case["text"], "    "), f"  at {json.dumps(case['values'])}"]
    if "wrt" in case:
        lines += [
            f"  ∂{case['loss']}/∂{case['wrt']} = {case['correct']}",
            f"  answered {case['answer']}" + (f" = {case['number']}" if case["number"] else ""),
            f"  planted {case['key']} at {case['first_wrong_node']} ({case['shape']} {case['style']})",
            f"  accepted {case['accepted']}",
        ]
    else:
        lines += [f"  rows {json.dumps(case['rows'])}"]
    return "\n".join([f"{outcome.key}", *lines, f"  said: {outcome.said}", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--cases", type=int, default=SECTIONS[0].full, help="formulas with a planted mistake")
    parser.add_argument("--only", choices=[section.name for section in SECTIONS], action="append")
    parser.add_argument("--show", metavar="KEY", help="print the failures of a key or section, or of all")
    parser.add_argument("--most", type=int, default=20, help="failures to print")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    chosen = [section for section in SECTIONS if not options.only or section.name in options.only]
    counts = {section.name: max(1, round(section.full * options.cases / SECTIONS[0].full)) for section in chosen}
    columns = [
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    ]  # fmt: skip
    with (
        multiprocessing.get_context("spawn").Pool(options.processes) as pool,
        Progress(*columns, console=Console(stderr=True)) as bar,
    ):
        for section in chosen:
            task = bar.add_task(section.name, total=counts[section.name])
            outcomes = []
            for some in pool.imap(run, jobs(section, options.seed, counts[section.name])):
                outcomes += some
                bar.advance(task, len(some))
            console.print(summary(section, outcomes))
            if options.show:
                failures = [o for o in outcomes if failed(section, o) and options.show in (o.key, section.name, "all")]
                for outcome in failures[: options.most]:
                    console.print(told(outcome), markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
