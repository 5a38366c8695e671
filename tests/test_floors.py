"""A file imports only from floors below its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import engine

ROOT = Path(__file__).parents[1]

FLOORS = {
    "engine.ops": 0,
    "engine.graph": 0.5,
    "engine.text": 0,  # what every floor says to people
    "engine.files": 1,
    "engine.backprop": 1,
    "engine.forward": 1,  # the forward pass of a recorded graph, as backprop is its backward pass
    "engine.methods": 1,
    "engine.value": 2,
    "engine.functions": 3,
    "engine.formula": 4,
    "engine.symbols": 2,  # the table, read by text: of no Value
    "engine.explain": 3,  # lower than its readers on floor 4, since it needs `Value` alone
    "engine.layout": 0.5,  # DOT to SVG, whatever it is of
    "engine.themes": 0,
    "engine.picture": 1,  # an SVG, whatever it is of
    "engine.folding": 3,
    "engine.drawing": 4,
    "engine.solution": 4,
    "engine.report": 4,
    "engine.printed": 5,
    "engine.walk": 5,
    "engine.sampling": 5,
    "engine.arrays": 0.5,  # the table over NumPy arrays
    "engine.batch": 3,  # a recorded graph at many points
    "engine.answers": 5,
    "engine.points": 3.5,  # the same, with gradients that have digits or not
    "engine.rolled": 3,  # a recorded graph as arrays would compute it
    "engine.rows": 0.5,  # of arrays, whatever they are of
    "engine.acts": 3.2,  # what each group of it does
    "engine.program": 3.5,  # all of them, for one width of a batch after the other
    "engine.program_text": 3.5,  # and a person reading it
    "engine.replay": 4,
    "engine.rounded": 1,  # constants that make two arrays agree
    "engine.agreement": 5.8,  # formulas against the engine, at many points
    "engine.blanks": 5.1,  # what can be asked at a step of a walk
    "engine.rules": 5,  # mistaken rules for a local derivative
    "engine.mistakes": 5.2,  # at one step
    "engine.situation": 5.2,  # what a mistake in a whole graph may use
    "engine.hypotheses": 5.3,
    "engine.cross_entropy": 5.3,
    "engine.throughout": 5.3,
    "engine.repair": 5.1,  # a student's formula as a graph
    "engine.follow": 5.4,
    "engine.habits": 5.45,
    "engine.catalogue": 5.4,
    "engine.naming": 5.5,
    "engine.expression": 5.5,
    "engine.stops": 5.6,
    "engine.terminal": 1,  # lines and colours alone
    "engine.session": 6,  # a loop of commands, whatever they do
    "engine.gradcheck": 5,
    "engine.compare": 6,
    "engine.prediction": 6.5,
    "engine.quiz": 6.6,
    "engine.classroom": 7,
    "engine.exercise": 7,
    "engine.debugger": 7,
    "engine.player": 7,
    "engine.cli": 8,
    "engine.__main__": 8,
    "engine": 8.5,  # the public face gathers all floors below it
    "nn.activations": 9,
    "nn.data": 9,
    "nn.init": 9.1,
    "nn.optim": 9.1,
    "nn.module": 9.1,
    "nn.norm": 9.2,
    "nn.losses": 9.2,
    "nn.layers": 9.3,
    "nn.groups": 9.4,
    "nn.plots": 9,
    "nn.recorded": 9.4,
    "nn.train": 9.45,
    "nn.history": 9.1,
    "nn.metrics": 9.3,
    "nn.sheets": 9,
    "nn.derivation": 9.4,
    "nn.agreement": 9.45,
    "nn.rounded": 9.1,
    "nn.matrices": 9.41,
    "nn.following": 9.42,
    "nn.slips": 9.43,
    "nn.written_out": 9.43,
    "nn.filled": 9.43,
    "nn.sheet_report": 9.43,
    "nn.marking": 9.46,
    "nn.worksheet": 9.5,
    "nn.health": 9.5,
    "nn.saving": 9.5,
    "nn": 9.9,  # the public face gathers them
}
EXCEPTIONS = {
    ("engine.methods", "engine.value"),  # types alone: what its methods return
    ("engine.walk", "engine.debugger"),  # lazy, behind walk.interact()
    ("engine.walk", "engine.prediction"),  # lazy, behind walk.predict() and walk.score
    ("engine.walk", "engine.player"),  # lazy, behind walk.save_html() and a notebook
    ("nn.module", "nn.groups"),  # lazy, behind model.groups(loss)
    ("engine.__main__", "engine.cli"),  # the same command by another door
}
COMPUTE_WITH_ARRAYS = {  # loaded late
    *("arrays", "batch", "points", "sampling", "rounded", "agreement", "compare"),
    *("rows", "acts", "program", "replay"),
    *("situation", "hypotheses", "cross_entropy", "throughout", "repair", "catalogue", "naming"),
}
MODULES = sorted(path for package in ("engine", "nn") for path in (ROOT / package).glob("*.py"))


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path):
    """The modules of the project that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            public = engine.__all__ if node.module == "engine" else []  # the function `gradcheck`, not its file
            inner = {node.module if alias.name in public else f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FLOORS else node.module for name in inner}
    return {name for name in found if name.split(".")[0] in ("engine", "nn")}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path):
    name = name_of(path)
    for imported in imports_of(path):
        allowed = FLOORS[imported] < FLOORS[name] or (name, imported) in EXCEPTIONS
        assert allowed, f"{name} (floor {FLOORS[name]}) imports {imported} (floor {FLOORS[imported]})"


def test_every_exception_is_used_and_every_file_has_a_floor():
    used = {(name_of(path), imported) for path in MODULES for imported in imports_of(path)}
    assert used >= EXCEPTIONS
    assert {name_of(path) for path in MODULES} == set(FLOORS)


def test_the_nets_use_the_public_engine_only():
    public = {"engine", "engine.text", "engine.files"}  # and what is said and written to people
    for path in (ROOT / "nn").glob("*.py"):
        known = {name for name in imports_of(path) if name.startswith("engine")}
        # What a comparison says, what printed digits claim and how an answer reads is one thing for graphs and sheets.
        vocabulary = {"engine.report", "engine.printed"} if path.stem in ("marking", "sheet_report") else set()
        vocabulary |= {"engine.answers", "engine.formula"} if path.stem == "filled" else set()
        assert known <= public | vocabulary, path


def test_the_engine_starts_without_its_heavy_dependencies():
    for path in (ROOT / "engine").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in top if isinstance(node, ast.ImportFrom)}
        heavy = {"graphviz", "rich"} if path.stem in COMPUTE_WITH_ARRAYS else {"graphviz", "rich", "numpy"}
        assert not {name.split(".")[0] for name in names} & heavy, path


def test_the_engine_starts_without_the_slow_modules_of_the_standard_library():
    """What `import engine` loads in a Python without its site packages: the core, and little beside."""
    code = (
        "import sys; before = set(sys.modules); import engine; "
        "print(sorted(name for name in set(sys.modules) - before if not name.startswith('engine')))"
    )
    loaded = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(ast.literal_eval(loaded.stdout)) <= {
        "__future__", "_operator", "cmath", "itertools", "math", "operator", "types", "warnings"
    }  # fmt: skip


def test_names_that_load_late_are_the_public_ones_also_where_a_file_has_the_name():
    code = (
        "import engine.gradcheck, engine.compare, engine; from engine import *; "
        "assert callable(compare) and callable(gradcheck) and callable(engine.compare) and engine.draw is draw; "
        "assert set(engine.__all__) <= set(dir(engine)); engine.nothing"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stderr.endswith("AttributeError: module 'engine' has no attribute 'nothing'\n"), ran.stderr
