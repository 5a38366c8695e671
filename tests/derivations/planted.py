"""Wrong derivations with one planted mistake, of every key."""

from __future__ import annotations

import itertools
import random
import zlib
from collections import Counter
from collections.abc import Iterator

from tests.derivations.problems import Case, Found, problem, usable

KEYS = (
    "sign_flipped", "factor_2_missing", "factor_half_ignored", "activation_derivative_missing",
    "activation_derivative_twice", "derivative_at_a_not_z", "derivative_at_z_not_a", "wrong_activation_derivative",
    "path_missing", "paths_multiplied_not_added", "updated_weights", "transposed_index", "bias_chain",
    "input_factor_missing", "weight_for_input", "weight_factor_missing", "stopped_early", "sum_for_mean", "mean_twice",
    "one_example_only", "product_of_means", "log10_for_ln", "softmax_diagonal_only", "softmax_sign",
    "softmax_label_everywhere", "ce_double_derivative", "ce_treated_as_squared", "ce_one_term_only",
    "chain_inner_missing", "chain_inner_at_derivative", "power_exponent_kept", "power_rule_on_exponential",
    "quotient_rule", "integrated_instead", "abs_sign_missing", "wrong_variable", "threshold_sign",
)  # fmt: skip

KINDS_OF = {
    "updated_weights": ["chain", "net"],
    "transposed_index": ["net", "net", "softmax", "batch"],
    "bias_chain": ["neuron", "chain", "net"],
    "sum_for_mean": ["batch"],
    "mean_twice": ["batch"],
    "one_example_only": ["batch"],
    "product_of_means": ["batch"],
    "log10_for_ln": ["formulas", "softmax", "neuron"],
    "softmax_diagonal_only": ["softmax"],
    "softmax_sign": ["softmax"],
    "softmax_label_everywhere": ["softmax"],
    "ce_double_derivative": ["neuron", "chain", "softmax", "batch", "net"],
    "ce_treated_as_squared": ["neuron", "chain", "softmax", "batch", "net"],
    "ce_one_term_only": ["neuron", "chain", "batch", "net"],
    "chain_inner_missing": ["formulas", "tangle"],
    "chain_inner_at_derivative": ["formulas"],
    "power_rule_on_exponential": ["formulas"],
    "quotient_rule": ["formulas", "tangle", "softmax"],
    "integrated_instead": ["formulas"],
    "abs_sign_missing": ["neuron", "formulas"],
    "threshold_sign": ["neuron"],
}
ANY = ["net", "net", "chain", "neuron", "softmax", "batch", "recurrent", "skip", "gated", "formulas", "tangle"]
PER_PROBLEM = 2
MOST_TRIES = 400


def planted(seed: int | str, count: int) -> Iterator[Case]:
    """Wrong derivations, of every key about as many."""
    rng = random.Random(f"planted {seed}")
    made: Counter[str] = Counter()
    while sum(made.values()) < count:
        wanted = min(KEYS, key=lambda key: (made[key], zlib.crc32(f"{seed} {key}".encode())))
        for _ in range(MOST_TRIES):
            drawn = problem(rng, KINDS_OF.get(wanted, ANY))
            by_key: dict[str, list[Found]] = {}
            for found in drawn.found:
                if found.mistake.planted and usable(found.answer):
                    by_key.setdefault(found.mistake.key, []).append(found)
            if wanted in by_key:
                break
        else:
            raise RuntimeError(f"no graph was found for {wanted}")
        behind = [key for key in KEYS if key in by_key and key != wanted and made[key] <= made[wanted]]
        keys = [wanted, *rng.sample(behind, min(len(behind), PER_PROBLEM - 1))]
        for key in keys[: count - sum(made.values())]:
            made[key] += 1
            shape = rng.choice(sorted({found.mistake.shape for found in by_key[key]}))
            chosen = rng.choice([found for found in by_key[key] if found.mistake.shape == shape])
            yield drawn.planted(chosen, rng)


def numbers(seed: int | str, count: int) -> Iterator[Case]:
    """Those of such cases whose answer at the graph's own values is a wrong number."""
    made = 0
    for attempt in itertools.count():
        for case in planted(f"{seed} number {attempt}", 2 * len(KEYS)):
            if case.number:
                yield case
                made += 1
                if made == count:
                    return
