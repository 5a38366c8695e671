"""The command, as a shell sees it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli import main

ROOT = Path(__file__).parents[1]
MAZUR = "demos/mazur.txt"


@pytest.fixture
def run(capsys, monkeypatch):
    """Run the command in the root of the project; returns status, output and errors."""
    monkeypatch.chdir(ROOT)

    def run(*arguments, **files):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


@pytest.fixture
def file(tmp_path):
    """Write a file and return its path."""

    def file(text, name="file.txt"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return path

    return file


def test_step_all_prints_the_chapter_in_its_order(run):
    status, out, err = run("step", MAZUR, "--all", "--lr", "0.5")
    assert (status, err) == (0, "")
    parts = ["Forward pass", "  net_h1 = w1·i1 + w2·i2 + b1 = 0.15·0.05 + 0.2·0.1 + 0.35 = 0.3775", "Loss",
             "  E = E_o1 + E_o2 = 0.274811 + 0.02356 = 0.298371", "Backward pass", "step 12 of 15 · out_h1 = σ(net_h1)",
             "Gradients", "  ∂E/∂w5     = 0.082167", "Updates, learning rate 0.5",
             "  new w5 = w5 − lr·∂E/∂w5 = 0.4 − 0.5·0.082167 = 0.358916"]  # fmt: skip
    places = [out.index(part) for part in parts]
    assert places == sorted(places)
    assert "new b1" not in out
    assert "= 0.35891648\n" in run("step", MAZUR, "--all", "--lr", "0.5", "--digits", "9")[1]
    assert "step 1 of 27" in run("step", MAZUR, "--all", "--atomic")[1]


def test_markdown_prints_the_sheet_of_the_parameters(run, file):
    status, out, err = run("step", MAZUR, "--markdown", "--lr", "0.5", "--digits", "9")
    assert (status, err) == (0, "")
    assert out.startswith("# Backpropagation of $E$\n")
    assert r"0.4 - 0.5 \cdot 0.0821670406 = 0.35891648" in out
    assert "w_ {5}} &=" in out
    assert "b_ {1}} &=" not in out
    path = file("w = 2\nx = 3\nunused = 4\nL = w*x\nparameters: w unused\n")
    status, out, err = run("step", path, "--markdown", "--lr", "0.5")
    assert (status, err) == (0, "note: L does not depend on unused\n")
    assert "unused" not in out
    assert r"\frac{\partial f}{\partial z} &= q = 3" in run("step", "demos/circuit.txt", "--markdown")[1]


def test_a_sheet_is_no_chapter_and_no_script(run, capsys):
    for other in (["--all"], ["--script", "x"]):
        with pytest.raises(SystemExit, match="2"):
            run("step", MAZUR, "--markdown", *other)
        assert "not allowed with" in capsys.readouterr().err


def test_updates_ask_for_the_parameters(run, file):
    assert "write --all or --markdown with it" in run("step", MAZUR, "--lr", "0.5")[2]
    assert "such as `parameters: x y z`" in run("step", "demos/circuit.txt", "--markdown", "--lr", "0.5")[2]
    status, out, err = run("step", "demos/circuit.txt", "--all", "--lr", "0.5")
    assert (status, out) == (2, "")
    assert "such as `parameters: x y z`" in err


def test_draw_writes_a_picture_with_gradients(run, tmp_path):
    status, out, _ = run("draw", MAZUR, "-o", tmp_path / "m.svg")
    assert (status, out) == (0, f"wrote {tmp_path / 'm.svg'}\n")
    assert "grad 0.082167" in (tmp_path / "m.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(("graph", "options"), [("mazur", ["--lr", "0.5"]), ("neuron", []), ("circuit", [])])
def test_the_hand_answers_of_the_demos_are_right(run, graph, options):
    status, out, _ = run("check", f"demos/{graph}.txt", f"demos/{graph}_answers.txt", *options)
    assert status == 0
    assert "wrong" not in out


def test_the_planted_slip_is_found(run):
    status, out, _ = run("check", MAZUR, "demos/mazur_slip.txt")
    assert status == 1
    assert "7 right (2 follow from a slip), 1 wrong of 8" in out
    assert out.count("went wrong first at: out_h1") == 1
    assert "∂E/∂out_h1  = ∂E/∂net_o1·w5 + ∂E/∂net_o2·w7 = 0.0363503" in out


def test_an_undecided_answer_is_status_1(run, file):
    assert run("check", MAZUR, file("w5 = 0.08"))[0] == 1


def test_a_formula_that_does_not_parse_is_status_2_and_the_others_are_checked(run, file):
    status, out, _ = run("check", MAZUR, file("# by hand\nw5 = 0.0822\nw6 = 0.1*(2 +\nout_h1 = a(1-a)\nw7 = 0.5\n"))
    assert status == 2
    assert "✓ right" in out
    assert "✗ wrong" in out
    assert "  line 3, column 10: '(' was never closed.\n      w6 = 0.1*(2 +\n               ^\n" in out
    assert "line 4, column 10: `a` is not a function." in out


def test_lines_that_answer_nothing_or_again_are_named_and_the_others_checked(run, file):
    status, out, _ = run("check", MAZUR, file("w5 0.08\nw6 = 0.0827\nw6 = 0.0827\n"))
    assert status == 2
    assert "line 1, column 1: This line answers nothing." in out
    assert "line 3, column 1: `w6` is answered twice, first on line 2." in out
    assert "✓ right" in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is empty"),
        (b"  \n\n", "is empty"),
        (b"w = 1\nz = \xff\xfe", "is not UTF-8 text: line 2 has the byte 0xff"),
        ("a = b\nb = a", "in a circle: a needs b needs a"),
        ("p = -1\nL = log(p)", "log(-1) has no value (with p = -1)"),
        ("z = 0\nL = 1/z", "1 / 0 has no value (with z = 0)"),
        ("L = 3", "gives L a number, so there is nothing to differentiate"),
        ("x = 2\nL = x(x-1)", "did you mean `x*(x-1)`?"),
        ("z = 1\x002", "invisible character here, U+0000"),
    ],
)
def test_bad_files_are_told_in_words_with_status_2(run, file, text, said):
    path = file(text)
    for command in (["step", path, "--all"], ["draw", path, "-o", path.with_suffix(".svg")], ["check", path, path]):
        status, out, err = run(*command)
        assert (status, out) == (2, "")
        assert said in err
        assert path.name in err
    assert not path.with_suffix(".svg").exists()


def test_missing_files_and_places_are_told(run, tmp_path):
    assert "there is no file nothere.txt" in run("step", "nothere.txt")[2]
    assert "Is a directory" in run("step", "demos")[2]
    status, _, err = run("draw", MAZUR, "-o", tmp_path / "no" / "m.svg")
    assert status == 2
    assert "can't be written" in err
    assert "saved as .svg" in run("draw", MAZUR, "-o", tmp_path / "m.png")[2]


def test_names_the_loss_does_not_depend_on_are_noted(run, file):
    status, out, err = run("step", file("x = 2\ny = x*3\nL = x*x"), "--all")
    assert status == 0
    assert err == "note: L does not depend on y\n"
    assert "y" not in out.replace("by itself", "")


def test_the_gradient_of_what_the_loss_does_not_depend_on_is_0(run, file):
    graph = file("x = 2\nu = 3\nL = x*x", "graph.txt")
    assert run("check", graph, file("u = 0"))[0] == 0
    assert run("check", graph, file("dL/du = 0"))[0] == 0
    status, out, _ = run("check", graph, file("u = 1"))
    assert status == 1
    assert "L does not depend on u: its gradient is 0." in out
    assert "L does not depend on u: leave it out." in run("check", graph, file("x = 2*x + 0*u"))[1]


def test_a_gradient_without_a_value_is_told_after_the_forward_pass(run, file):
    status, out, err = run("step", file("x = 0\nr = sqrt(x)\nL = 0*r", "lost.txt"), "--all")
    assert status == 2
    assert "r = sqrt(x) = sqrt(0) = 0" in out
    assert "lost.txt: The gradient of x has no value (nan): at r" in err


@pytest.mark.parametrize("option", [["--lr", "x"], ["--lr", "nan"], ["--digits", "0"], ["--digits", "many"]])
def test_options_without_meaning_are_refused(run, option, capsys):
    with pytest.raises(SystemExit) as ended:
        run("step", MAZUR, "--all", *option)
    assert ended.value.code == 2
    assert "not '" in capsys.readouterr().err


def shell(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "engine", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False, **options
    )


def test_commands_come_from_a_pipe_without_a_prompt():
    ran = shell("step", MAZUR, input="n\np out_o1\nq\n")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("step 1 of 15 · E = E_o1 + E_o2\n")
    assert ran.stdout.endswith("∂E/∂out_o1 = 0 (so far)\n")
    assert "(chalk)" not in ran.stdout


def test_a_command_that_failed_in_a_pipe_is_status_2():
    ran = shell("step", MAZUR, input="n\nfly\ngoto 3\n")
    assert ran.returncode == 2
    assert "*** There is no command 'fly'" in ran.stdout
    assert "at step 3 of 15" in ran.stdout


def test_a_script_runs_the_same_commands(tmp_path):
    script = tmp_path / "commands"
    script.write_text("# to the hidden layer\ngoto out_h1\nn\n\n")
    ran = shell("step", MAZUR, "--script", str(script), input="")
    assert ran.returncode == 0
    assert ran.stdout.count("step 12 of 15 ·") == 1


def test_a_reader_that_stops_early_gets_no_traceback():
    command = f'"{sys.executable}" -m engine step {MAZUR} --all | head -n 1'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, shell=True, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_a_terminal_without_greek_letters_still_gets_an_answer():
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "engine", "step", MAZUR, "--all"]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"step 12 of 15" in ran.stdout
    assert b"dout_h1/dnet_h1  = out_h1*(1 - out_h1) = 0.241301" in ran.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_output_that_can_not_be_written_is_told_in_a_line():
    command = [sys.executable, "-m", "engine", "step", "demos/circuit.txt", "--all"]
    with open("/dev/full", "w") as full:
        ran = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, encoding="utf-8", check=False)
    assert (ran.returncode, ran.stderr) == (2, "chalkgrad: the output can't be written: No space left on device.\n")


def test_a_page_typesets_no_latex(run, tmp_path):
    status, _, said = run("step", "demos/circuit.txt", "--html", tmp_path / "c.html", "--notation", "latex")
    assert status == 2
    assert "A page typesets no LaTeX: its notation is 'plain' or 'unicode'. to_markdown() writes LaTeX." in said
