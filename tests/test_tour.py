"""The tour runs from a clean kernel, shows what it says, and its exercises can be solved."""

import ast
import html
import json
import os
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
TOUR = ROOT / "demos" / "tour.ipynb"
SECONDS = 60  # for one cell

SOLUTIONS = {  # of each exercise, what to replace by what
    "circuit": [('"x": ..., "y": ..., "z": ...', '"x": -4, "y": -4, "z": 3')],
    "fan-out-formulas": [('"x": ..., "y": ...', '"x": "y + 1", "y": "x"')],
    "tanh-neuron": [('"w": ..., "b": ...', '"w": "-(y - a)*(1 - a**2)*x", "b": "-(y - a)*(1 - a**2)"')],
    "mend-the-loop": [('    swing["L"].backward()', '    swing["L"].zero_grad()\n    swing["L"].backward()')],
    "learn-or": [("targets = [0, 0, 0, 1]", "targets = [0, 1, 1, 1]")],
}
XOR = [("targets = [0, 0, 0, 1]", "targets = [0, 1, 1, 0]")]
WHERE = "import sys, engine, nn\nprint(sys.executable, engine.__file__, nn.__file__, sep='\\n')"


def read():
    return nbformat.read(TOUR, as_version=4)


def changed(cell, replacements, name):
    """A copy of a cell in which a student has replaced something."""
    source = cell.source
    for old, new in replacements:
        assert source.count(old) == 1
        source = source.replace(old, new)
    return nbformat.v4.new_code_cell(source, id=name)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The cells of the tour by their ids, run in a clean kernel, each exercise followed by its solution."""
    folder = tmp_path_factory.mktemp("tour")
    environment = {name: value for name, value in os.environ.items() if name not in ("MPLBACKEND", "PYTHONWARNINGS")}
    environment |= {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / "ipython")}
    homes = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    tour = read()
    listed = [nbformat.v4.new_code_cell(WHERE, id="location")]
    for cell in tour.cells:
        listed.append(cell)
        if cell.id in SOLUTIONS:
            listed.append(changed(cell, SOLUTIONS[cell.id], f"{cell.id}-solved"))
        if cell.id == "learn-or":
            listed.append(changed(cell, XOR, "learn-xor"))
    tour.cells = listed
    with pytest.MonkeyPatch.context() as patch:
        for name, home in homes.items():
            patch.setenv(name, home)
        client = NotebookClient(tour, timeout=SECONDS, resources={"metadata": {"path": str(folder)}}, allow_errors=True)
        client.execute(env=environment | homes)
    return {cell.id: cell for cell in tour.cells}


def outputs(cell):
    return cell.get("outputs", [])


def text_of(cell):
    """What a reader sees of a cell's outputs, with the words in its pictures."""
    parts = []
    for output in outputs(cell):
        parts.append(output.get("text", ""))  # what is printed may come in pieces
        if data := output.get("data"):
            parts += [f"{text}\n" for text in [data.get("text/plain", ""), *svg_texts(data.get("image/svg+xml"))]]
    return "".join(parts)


def svg_texts(svg):
    return [element.text or "" for element in ElementTree.fromstring(svg).iter()] if svg else []


def kinds(cell):
    return {kind for output in outputs(cell) for kind in output.get("data", {})}


def last_expression(cell):
    """The source of what a cell shows, or nothing."""
    last = ast.parse(cell.source).body[-1]
    return ast.unparse(last.value) if isinstance(last, ast.Expr) else ""


def test_the_tour_is_stored_without_outputs_in_the_form_that_its_tools_write():
    text = TOUR.read_text(encoding="utf-8")
    tour = read()
    nbformat.validate(tour)
    assert nbformat.writes(tour).rstrip("\n") + "\n" == text
    for cell in tour.cells:
        assert cell.metadata == {}
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
    assert tour.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert not re.search(r"/home/|/Users/|/root/|/tmp/|[A-Z]:\\", text)


def test_each_cell_is_short_and_has_a_name_of_its_own():
    cells = read().cells
    names = [cell.id for cell in cells]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", name) for name in names)
    assert max(len(cell.source.splitlines()) for cell in cells) <= 12


def test_it_runs_in_a_clean_kernel_without_an_error_or_a_warning(cells):
    python, *packages = text_of(cells["location"]).split()
    assert Path(python).samefile(sys.executable)
    assert packages == [str(ROOT / name / "__init__.py") for name in ("engine", "nn")]
    for cell in cells.values():
        for output in outputs(cell):
            assert output.output_type != "error", f"{cell.id}: {output.ename}: {output.evalue}"
            if output.get("name") == "stderr":  # matplotlib, the first time on a machine
                assert "font cache" in output.text, f"{cell.id}: {output.text}"


def test_every_code_cell_shows_something(cells):
    assert [cell.id for cell in cells.values() if cell.cell_type == "code" and not outputs(cell)] == []


def test_a_drawing_shows_as_svg(cells):
    drawn = [cell for cell in cells.values() if cell.cell_type == "code" and "draw(" in last_expression(cell)]
    assert len(drawn) >= 7
    for cell in drawn:
        (output,) = [output for output in outputs(cell) if "data" in output]
        assert set(output.data) == {"image/svg+xml", "text/plain"}
        assert ElementTree.fromstring(output.data["image/svg+xml"]).tag == "{http://www.w3.org/2000/svg}svg"


def test_a_walk_shows_as_a_player_that_opens_where_the_walk_is(cells):
    opened = {}
    for cell in cells.values():
        if cell.cell_type != "code" or last_expression(cell) != "walk":
            continue
        (shown,) = [output.data["text/html"] for output in outputs(cell) if "data" in output]
        assert 'sandbox="allow-scripts"' in shown
        assert '<img alt="&lt;Backprop of L' in shown
        (page,) = [html.unescape(found) for found in re.findall(r'srcdoc="([^"]*)"', shown)]
        assert page.count('<section class="player" id=') == 1
        (data,) = re.findall(r'<script type="application/json" class="walk">(.*?)</script>', page)
        opened[cell.id] = json.loads(data)["opens"]
    assert opened == {"begin-walk": 0, "back": 2, "player-neuron": 0}


def test_tables_are_text_and_curves_are_pictures(cells):
    for name, words in {
        "compare-right": "2 right of 2",
        "compare-wrong": "At a = σ(z) you left out σ′(z) = a·(1 − a)",
        "check-engine": "right",
        "show-score": "bias_chain 1×",
        "fit": "200 epochs done",
    }.items():
        assert kinds(cells[name]) == {"text/plain"}
        assert words in text_of(cells[name])
    assert "✓ right" in text_of(cells["compare-right"])
    for name in ("curve", "history"):
        assert "image/png" in kinds(cells[name])


def test_predictions_are_judged(cells):
    assert text_of(cells["predict-right"]).strip() == "∂L/∂w = -0.107763 * 1.5 is right."
    assert "∂L/∂b = -0.107763 * 1.5 is wrong." in text_of(cells["predict-wrong"])
    assert "Perhaps you multiplied by x, and b stands alone in the sum." in text_of(cells["predict-wrong"])


def test_every_number_in_the_prose_stands_in_the_code_or_the_output_beside_it(cells):
    def numbers(text):
        return {float(found.replace("−", "-")) for found in re.findall(r"(?<![\w.])[-−]?\d+(?:\.\d+)?(?!\w)", text)}

    groups = []  # runs of prose and of code, in turn
    for cell in cells.values():
        if cell.id == "location" or cell.id.endswith(("-solved", "-xor")):
            continue
        if not groups or groups[-1][0] != cell.cell_type:
            groups.append((cell.cell_type, []))
        groups[-1][1].append(cell)
    checked = 0
    for place, (kind, group) in enumerate(groups):
        if kind != "markdown":
            continue
        prose = "\n".join(cell.source for cell in group)
        prose = re.sub(r"^#.*$|\bpart \d+|Exercise \d+|`[^`]*`", "", prose, flags=re.MULTILINE)
        beside = [cell for _, near in groups[max(0, place - 1) : place + 2 : 2] for cell in near]
        shown = numbers("\n".join(f"{cell.source}\n{text_of(cell)}" for cell in beside))
        assert numbers(prose) <= shown, f"{prose}\n{sorted(numbers(prose) - shown)}"
        checked += len(numbers(prose))
    assert checked > 15


def test_an_exercise_is_open_until_it_is_solved(cells):
    for name, unsolved, solved in [
        ("circuit", "'invalid'", "'right'"),
        ("fan-out-formulas", "'invalid'", "'right'"),
        ("tanh-neuron", "'invalid'", "'right'"),
        ("mend-the-loop", "w = 0.645: not yet", "w = 1.500: mended"),
        ("learn-or", "not OR yet", "this is OR"),
    ]:
        before, after = text_of(cells[name]), text_of(cells[f"{name}-solved"])
        assert unsolved in before
        assert solved not in before
        assert solved in after
        assert unsolved not in after
    assert "[0.5, 0.5, 0.5, 0.5] this is not OR yet" in text_of(cells["learn-xor"])
