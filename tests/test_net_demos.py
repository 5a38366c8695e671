"""The demos of nets run as they stand, and what they print is so."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]


def output_of(demo, *arguments, where):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-W", "error", str(ROOT / "demos" / f"{demo}.py"), *arguments]
    ran = subprocess.run(command, cwd=where, env=environment, capture_output=True, encoding="utf-8", check=False)
    said = [line for line in ran.stderr.splitlines() if "font cache" not in line]  # matplotlib, the first time
    assert (ran.returncode, said) == (0, [])
    pictures = re.findall(r"^wrote (\S+)$", ran.stdout, re.MULTILINE)
    assert sorted(pictures) == sorted(path.name for path in where.iterdir())
    for name in pictures:
        assert ElementTree.parse(where / name).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    return ran.stdout, pictures


def numbers(pattern, text):
    return [float(next(filter(None, found.groups()))) for found in re.finditer(pattern, text, re.MULTILINE)]


def test_xor_needs_a_hidden_layer_and_some_luck(tmp_path):
    text, pictures = output_of("xor", "--seeds", "3", where=tmp_path)
    assert pictures == []
    neuron, net, *stuck = [numbers(r"→ ([\d.]+)", line) for line in text.splitlines() if "→" in line]
    assert neuron == [0.5] * 4
    assert net == pytest.approx([0, 1, 1, 0], abs=0.01)
    assert "The loss is 0.6931, and log 2 = 0.6931" in text
    table = re.findall(r"^ +(\d) +(\d) │.*│ +(\d\.\d+) +(\d)$", text, re.MULTILINE)
    assert [(int(x1) ^ int(x2), round(float(p))) for x1, x2, p, _ in table] == [(int(xor),) * 2 for *_, xor in table]
    assert len(table) == 4
    assert "With 2 hidden units 2 of 3 nets learn XOR." in text
    assert "With 4 hidden units 3 of 3 nets learn XOR." in text
    for outputs in stuck:  # after 500 and after 5,000 epochs
        assert sorted(outputs) == pytest.approx([0, 0.5, 0.5, 1], abs=0.01)
    losses = numbers(r"loss (\d\.\d+) ", text)
    assert losses == pytest.approx([math.log(2) / 2] * 2, abs=1e-3)
    before, after = numbers(r"\|gradient\| (\S+)", text)
    assert after < before < 1e-3


def test_mazurs_net_errs_as_it_must_after_one_round_and_after_ten_thousand(tmp_path):
    text, pictures = output_of("mazur", where=tmp_path)
    assert pictures == []
    assert numbers(r"error [^:]*: +(\S+)", text) == [0.298371109, 0.291027774, 3.5102e-05]
    assert re.search(r"^ w2_1_1 +0\.4 +0\.082167 +0\.358916$", text, re.MULTILINE)


def test_moons_are_parted_without_a_mistake(tmp_path):
    text, pictures = output_of("moons", where=tmp_path)
    assert pictures == ["moons.svg"]
    assert "MLP(2 → 16 relu → 16 relu → 1 linear, 337 parameters)" in text
    rows = re.findall(r"^ +(\d+) +([\d.]+) +([\d.]+)$", text, re.MULTILINE)
    (first, first_loss, _), (last, last_loss, share) = rows[0], rows[-1]
    assert (first, last, share) == ("1", "100", "1")
    assert float(last_loss) < 0.02 < 0.5 < float(first_loss)
    assert "after training: 100% of the points are right" in text


def test_digits_are_read_after_two_epochs(tmp_path):
    text, pictures = output_of("digits", "--epochs", "2", where=tmp_path)
    assert pictures == ["digits.svg", "digits_learning.svg"]
    assert "MLP(64 → 32 relu → 10 linear, 2410 parameters), 1,438 digits to learn from and 359 held out" in text
    assert re.search(r"2 epochs done, in [\d.]+ s", text)
    share, wrong, of = re.search(r"held-out accuracy: ([\d.]+)%, (\d+) of (\d+) read wrongly", text).groups()
    assert float(share) >= 85
    assert float(share) == pytest.approx(100 * (1 - int(wrong) / int(of)), abs=0.05)
    rows = re.findall(r"^(?:true)? +(\d)((?: +[\d·]+){10})$", text, re.MULTILINE)
    confusion = [[int(count) for count in row.replace("·", "0").split()] for _, row in rows]
    assert [int(digit) for digit, _ in rows] == list(range(10))
    assert sum(map(sum, confusion)) == int(of)
    assert sum(confusion[digit][digit] for digit in range(10)) == int(of) - int(wrong)


def test_optimizers_differ_in_a_ravine_and_two_of_them_notice_a_turn(tmp_path):
    text, pictures = output_of("optimizers", where=tmp_path)
    assert pictures == ["optimizers.svg"]
    losses = {
        name: (float(upright), float(turned))
        for name, upright, turned in re.findall(r"^(\S.*?)  +(\S+) \(lr +\S+\) +(\S+) \(lr +\S+\)$", text, re.MULTILINE)
    }
    assert list(losses) == ["gradient descent", "momentum", "RMSprop", "Adam"]
    assert min(losses, key=lambda name: losses[name][0]) == "RMSprop"
    assert min(losses, key=lambda name: losses[name][1]) == "momentum"
    assert max(losses, key=lambda name: losses[name][0]) == "gradient descent"
    # With lr = 0.05 a step leaves 1 − 0.05 of x and 1 − 0.05·36 of y.
    expected = 0.5 * ((8 * 0.95**50) ** 2 + 36 * (2 * 0.8**50) ** 2)
    assert losses["gradient descent"] == pytest.approx((expected, expected), rel=0.03)
    assert "The turn changes nothing for gradient descent and momentum" in text
    assert "It does for RMSprop and Adam" in text


def test_another_number_of_steps_has_another_order_of_optimizers(tmp_path):
    text, _ = output_of("optimizers", "--steps", "40", where=tmp_path)
    turned = {
        name: float(loss) for name, loss in re.findall(r"^(\S.*?)  +\S+ \(lr +\S+\) +(\S+) \(lr", text, re.MULTILINE)
    }
    assert min(turned, key=turned.get) == "Adam"


def test_gradients_vanish_or_explode_with_depth_by_activation_and_start(tmp_path):
    text, pictures = output_of("vanishing", "--depths", "2", "30", where=tmp_path)
    assert pictures == ["vanishing.svg"]
    row = re.compile(r"^(sigmoid|tanh|relu) +(\S.*?)  +(\S+) +(\S+) +× (\S+)  (\w+)$", re.MULTILINE)
    found = {(name, start): (float(a), float(b), float(f), said) for name, start, a, b, f, said in row.findall(text)}
    starts = ["normal(0, 0.1)", "uniform(−1, 1)", "Xavier, He", "batch norm"]
    assert list(found) == [(name, start) for name in ("sigmoid", "tanh", "relu") for start in starts]
    for shallow, deep, a_layer, said in found.values():
        assert (deep / shallow) ** (1 / 28) == pytest.approx(a_layer, abs=0.01)
        assert said == ("vanishing" if a_layer < 0.85 else "exploding" if a_layer > 1.15 else "fine")
    said = {name: [found[name, start][-1] for start in starts] for name in ("sigmoid", "tanh", "relu")}
    assert said["sigmoid"] == ["vanishing", "vanishing", "vanishing", "fine"]
    assert said["tanh"] == ["vanishing", "exploding", "fine", "fine"]
    assert said["relu"] == ["vanishing", "exploding", "fine", "exploding"]
    batch_norm = [found[name, "batch norm"][2] for name in ("sigmoid", "tanh", "relu")]
    assert all(a_layer > 1 for a_layer in batch_norm)
    assert batch_norm[-1] == pytest.approx(math.sqrt(math.pi / (math.pi - 1)), rel=0.05)
    assert "√(π/(π − 1)) = 1.21" in text
    last, first = re.search(r"gradient is (\S+), and the first's is (\S+)\.", text).groups()
    assert float(last) < float(first) < 1e-15


def test_shallow_nets_alone_are_said_nothing_of_in_general(tmp_path):
    text, _ = output_of("vanishing", "--depths", "2", "4", where=tmp_path)
    assert "depth  4" in text
    assert "Yang" not in text


def test_a_gpt_of_scalars_learns_names_and_says_why(tmp_path):
    text, pictures = output_of("scalar_gpt", "--steps", "120", where=tmp_path)
    text = text.replace("−", "-")
    assert pictures == []
    uniform, letters, pairs = numbers(r"(\d\.\d+) (?:where all|by how)", text)
    assert uniform == pytest.approx(math.log(27), abs=1e-3)
    rows = re.findall(r"^ +(\d+) +([\d.]+) +([\d.]+)$", text, re.MULTILINE)
    assert [rows[0][0], rows[-1][0]] == ["1", "120"]
    assert float(rows[-1][2]) < pairs < letters < float(rows[0][2])
    names = re.search(r"^new names: (.*)$", text, re.MULTILINE)[1].split(", ")
    known = (ROOT / "demos" / "names.txt").read_text(encoding="ascii").split()
    assert len(set(names)) == 10
    assert not set(names) & set(known)
    first, share = re.search(r'^after "ma": (.) (\d+)%', text, re.MULTILINE).groups()
    (log_p,) = numbers(rf"log p\({re.escape(first)}\) is (\S+),", text)
    assert math.exp(log_p) == pytest.approx(float(share) / 100, abs=0.01)
    for head in re.findall(r"^head \d +(\d+)% +(\d+)% +(\d+)% ", text, re.MULTILINE):
        assert sum(map(int, head)) == pytest.approx(100, abs=1)
    slope, *products, rest = numbers(r"= (-?[\d.]+), the sum over|= (-?[\d.e-]+)$|together (-?[\d.e-]+)$", text)
    assert sum(products) + rest == pytest.approx(slope, abs=0.01)
