"""The README tells the truth: its commands run, and print what it prints."""

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [
    (language, README[: match.start()].count("\n") + 2, text)
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    for language, text in [match.groups()]
]
CONSOLE = [(line, text) for language, line, text in BLOCKS if language == "console"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the demos, and a shell environment in which `chalkgrad` is the code under test."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "demos", folder / "demos")
    command = folder / "bin" / "chalkgrad"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m engine "$@"\n')
    command.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONIOENCODING": "utf-8",
    }

    def run(command, typed=""):
        ran = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
        )
        return ran.returncode, ran.stdout

    return run


def sessions(text):
    """Each command of a console block, what is typed at its prompt, and what is printed."""
    found = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], [], []))
        elif line.startswith("(chalk) "):
            found[-1][1].append(line.removeprefix("(chalk) "))
        elif answer := re.fullmatch(r"(  .* \+?= \?) (.+)", line):  # typed after a question, which is printed
            found[-1][1].append(answer[2])
            found[-1][2].append(answer[1])
        else:
            found[-1][2].append(line)
    return [(command, "".join(f"{line}\n" for line in typed), "\n".join(out)) for command, typed, out in found]


@pytest.mark.parametrize(("line", "text"), CONSOLE, ids=[f"line {line}" for line, _ in CONSOLE])
def test_commands_print_what_the_readme_prints(line, text, clone):
    assert sessions(text)
    for command, typed, expected in sessions(text):
        _, printed = clone(command, typed)
        assert doctest.OutputChecker().check_output(f"{expected}\n", printed.rstrip("\n") + "\n", doctest.ELLIPSIS), (
            f"{command}\n--- printed\n{printed}--- README, line {line}\n{expected}"
        )


def test_python_snippets_print_what_the_readme_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "demos", tmp_path / "demos")
    snippets = "\n".join(text for language, _, text in BLOCKS if language == "python")
    examples = doctest.DocTestParser().get_doctest(snippets, {}, "README.md", "README.md", 0)
    said = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(examples, out=said.append)
    assert len(examples.examples) > 20
    assert runner.failures == 0, "".join(said)


def test_the_first_two_commands_install_and_the_first_does_the_main_job(clone):
    commands = [line for _, _, text in BLOCKS for line in text.splitlines() if "pip install" in line]
    assert commands == ["pip install . && chalkgrad step demos/mazur.txt --all", "pip install '.[test]' && pytest"]
    status, printed = clone(commands[0].partition(" && ")[2])
    assert status == 0
    assert "step 12 of 15 · out_h1 = σ(net_h1)" in printed
    assert "∂E/∂w5     = 0.082167" in printed


def test_every_block_is_run_by_a_test():
    assert {language for language, _, _ in BLOCKS} == {"", "console", "python"}
    assert [text.count("pip install") for language, _, text in BLOCKS if language == ""] == [1, 1]


def test_the_files_that_the_readme_names_are_there():
    for path in re.findall(r"(?:demos|tests|\.ci)/[\w./]+", README):
        assert (ROOT / path.rstrip(".")).exists(), path
