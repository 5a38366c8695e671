"""The demos run as they stand, and the committed picture is theirs."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engine import Backprop, build, draw
from nn import gradient_descent_step

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"


def test_first_steps_runs_and_lowers_the_loss(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-W", "error", str(ROOT / "demos" / "first_steps.py")]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "L before the step: 0.095845, after it: 0.078128" in ran.stdout
    assert "2 right of 2" in ran.stdout
    assert (tmp_path / "first_steps.svg").exists()


def test_the_pictures_of_the_readme_are_drawn_from_the_demo():
    loss = build((ROOT / "demos" / "mazur.txt").read_text(encoding="utf-8")).loss

    def texts(svg):
        return sorted(element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text"))

    walk = Backprop(loss)
    walk.run_to("out_h1").step()
    kept = (ROOT / "demos" / "mazur_walk.svg").read_text(encoding="utf-8")
    assert texts(kept) == texts(walk.draw(rankdir="TB").svg())
    walk.run()
    assert texts((ROOT / "demos" / "mazur.svg").read_text(encoding="utf-8")) == texts(draw(loss).svg())


def test_gradient_descent_moves_against_the_gradient():
    graph = build("L = w**2 + b", w=3.0, b=1.0)
    graph.loss.backward()
    gradient_descent_step([graph["w"], graph["b"]], lr=0.1)
    assert (graph["w"].data, graph["b"].data) == (3.0 - 0.1 * 6.0, 1.0 - 0.1)


def test_a_step_that_would_lose_a_parameter_changes_none():
    graph = build("L = w**2 + b", w=3.0, b=1.0)
    graph.loss.backward()
    with pytest.raises(FloatingPointError, match="Parameter w would become -inf"):
        gradient_descent_step([graph["b"], graph["w"]], lr=1e308)
    assert (graph["w"].data, graph["b"].data) == (3.0, 1.0)
    with pytest.raises(ValueError, match="L is computed"):
        gradient_descent_step([graph.loss], lr=0.1)
