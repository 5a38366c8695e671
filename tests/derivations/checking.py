"""What the checker makes of the cases."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from engine import build, compare
from tests.derivations.problems import Case
from tests.derivations.tables import Table


@dataclass
class Outcome:
    """What was said of a case. `first`: a mistake that gives the answer is named first, with its node; `named`: the
    planted one, or one that is the same function, is named; `strictly`: the planted one first, and no tie of it.
    """

    key: str
    caught: bool  # the verdict is the expected one
    first: bool = False
    named: bool = False
    strictly: bool = False
    any_key: bool = False
    seconds: float = 0.0
    said: str = ""
    case: dict[str, Any] = field(default_factory=dict)


def _row(case: Case, answer: str) -> tuple[Any, float]:
    graph = build(case.text, case.values)
    start = time.perf_counter()
    row = compare(graph.loss, {case.wrt: answer}, lr=case.lr)[case.wrt]
    return row, time.perf_counter() - start


def _judged(case: Case, answer: str, verdict: str, accepted: list[tuple[str, str]]) -> Outcome:
    row, seconds = _row(case, answer)
    given = [(mistake.key, mistake.node) for mistake in row.mistakes]
    nodes = [node for _, node in accepted]
    planted = (case.key, case.first_wrong_node)
    planted_keys = {key for key, _ in case.accepted or []}
    return Outcome(
        case.key or case.shape.partition(",")[0] or case.style,
        row.verdict == verdict,
        first=row.verdict == "wrong" and given[:1] != [] and given[0] in accepted and row.node in nodes,
        named=any(key in planted_keys for key, _ in given),
        strictly=given[:1] == [planted] and row.node == case.first_wrong_node,
        any_key=bool(given),
        seconds=seconds,
        said=f"{row.verdict} at {row.node}: {given[:4]} {row.message}",
        case=case.as_dict(),
    )


def wrong_formula(case: Case) -> Outcome:
    """A planted mistake in a formula."""
    return _judged(case, case.answer, "wrong", case.accepted or [])


def wrong_number(case: Case) -> Outcome:
    """The same at one point, to the digits given, where several mistakes may give the number."""
    return _judged(case, case.number, "wrong", case.accepted_number or [])


def unknown_formula(case: Case) -> Outcome:
    """A formula that is wrong in a way of its own."""
    return _judged(case, case.answer, "wrong", [])


def right_formula(case: Case) -> Outcome:
    """A rewriting of the right answer."""
    return _judged(case, case.answer, "right", [])


def judge_table(case: Table) -> Outcome:
    """A table of numbers: `caught` where exactly the slipped rows are flagged."""
    graph = build(case.text, case.values)
    start = time.perf_counter()
    report = compare(graph.loss, case.rows, lr=case.lr)
    seconds = time.perf_counter() - start
    flagged = [name for name in case.rows if report[name].verdict == "wrong"]
    other = {name: report[name].verdict for name in case.rows if report[name].verdict not in ("right", "wrong")}
    named = all(case.key == "" or case.key in [mistake.key for mistake in report[name].mistakes] for name in case.wrong)
    return Outcome(
        case.key or case.kind,
        sorted(flagged) == sorted(case.wrong) and not other,
        first=named,
        named=named,
        seconds=seconds,
        said=f"flagged {flagged}, to flag {case.wrong} {other or ''}",
        case=case.as_dict(),
    )
