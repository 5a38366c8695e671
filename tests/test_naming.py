"""A seeded fiftieth of what `benchmarks/naming.py` measures: generated hand derivations, right and wrong."""

from collections import defaultdict
from functools import cache

import pytest

from benchmarks.naming import SECTIONS, failed, told
from tests.derivations.planted import KEYS

FRACTION = 50
MANY = 5  # cases, from which on a key is looked at by itself


@cache
def outcomes(name):
    """The section's fiftieth, judged by the checker."""
    section = next(section for section in SECTIONS if section.name == name)
    return [section.judge(case) for case in section.cases("test", section.full // FRACTION)]


def failures(name, most=5):
    """What went wrong in a section, to be read."""
    section = next(section for section in SECTIONS if section.name == name)
    found = [outcome for outcome in outcomes(name) if failed(section, outcome)]
    return "\n".join([f"{len(found)} of {len(outcomes(name))}", *map(told, found[:most])])


def share(name, what):
    return sum(getattr(outcome, what) for outcome in outcomes(name)) / len(outcomes(name))


def test_cases_are_the_same_in_every_run_and_have_what_was_planted_among_what_is_accepted():
    section = SECTIONS[0]
    first, again = (list(section.cases("again", 10)) for _ in range(2))
    assert first == again
    assert all((case.key, case.first_wrong_node) in case.accepted for case in first)


def test_every_planted_mistake_is_caught_and_named_first_with_the_node_where_it_was_made():
    assert share("mistakes", "caught") == 1.0, failures("mistakes")
    assert share("mistakes", "first") >= 0.95, failures("mistakes")
    by_key = defaultdict(list)
    for outcome in outcomes("mistakes"):
        by_key[outcome.key].append(outcome.first)
    assert set(by_key) == set(KEYS)
    rates = {key: sum(found) / len(found) for key, found in by_key.items() if len(found) >= MANY}
    assert all(rate >= 0.8 for rate in rates.values()), rates


def test_a_mistake_in_a_number_is_caught_and_among_those_that_are_shown():
    assert share("numbers", "caught") == 1.0, failures("numbers")
    assert share("numbers", "named") >= 0.95, failures("numbers")


def test_what_is_wrong_in_a_way_of_its_own_is_caught_and_seldom_given_a_name():
    assert share("outside", "caught") == 1.0, failures("outside")
    assert share("outside", "any_key") <= 0.1, failures("outside")


def test_no_rewriting_of_a_right_answer_is_rejected():
    assert share("rewritings", "caught") == 1.0, failures("rewritings")


def test_no_answer_that_is_wrong_somewhere_is_accepted():
    assert share("wrong", "caught") == 1.0, failures("wrong")


@pytest.mark.parametrize("name", ["one slip", "two slips", "rounded"])
def test_exactly_the_slips_of_a_table_are_flagged(name):
    assert share(name, "caught") >= (0.98 if name == "two slips" else 1.0), failures(name)


def test_weights_after_a_step_with_updated_weights_are_recognised():
    assert share("steps", "caught") == 1.0, failures("steps")
    assert share("steps", "named") == 1.0, failures("steps")
