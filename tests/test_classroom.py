"""A class at a time: every student is graded, whatever the others handed in."""

import csv
import dataclasses
import io
import os
import random
import subprocess
import sys
import time

import pytest

import engine
from engine import Grades, Report, Value, build, compare, grade
from engine.classroom import files_of
from engine.cli import main
from engine.compare import Comparison
from engine.report import Mistake
from tests.strategies import worked

NEURON = "w = 0.3\nx = 1.5\nb = -0.2\ny = 1\nz = w*x + b\na = sigmoid(z)\nL = 0.5*(y - a)**2\n"
ANNA = "w = -0.16164493\nb = -0.10776329\nz = -(y - a)*a*(1 - a)\n"
BEN = "dL/dw: 0,16164493\nb = ?\n"


@pytest.fixture
def loss():
    return build(NEURON).loss


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command among the files of a class; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "neuron.txt").write_text(NEURON)

    def run(*arguments):
        status = main(["grade", "neuron.txt", *map(str, arguments)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


@pytest.fixture
def handed_in(tmp_path):
    """Write the files of a class."""

    def handed_in(**texts):
        for name, text in texts.items():
            path = tmp_path / "answers" / f"{name}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return handed_in


def read_csv(text):
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


# In Python


def test_a_class_is_graded_question_by_question(loss):
    grades = grade(loss, {"Anna": ANNA, "Ben": BEN})
    assert list(grades) == ["Anna", "Ben"]
    assert grades.questions == ("w", "b", "z")
    assert {name: row.verdict for name, row in grades["Anna"].items()} == dict.fromkeys(grades.questions, "right")
    assert {name: row.verdict for name, row in grades["Ben"].items()} == {"w": "wrong", "b": "invalid", "z": "invalid"}
    assert [grades.credit(student) for student in grades] == [(3.0, 3), (0.0, 3)]
    assert grades.outcomes["b"] == {"right": 1, "not answered": 1}
    assert grades.readable
    assert not grades.ok
    assert isinstance(grades, Grades)


def test_answers_come_as_text_as_a_path_and_as_a_mapping(loss, tmp_path):
    path = tmp_path / "anna.txt"
    path.write_text(ANNA)
    grades = grade(loss, {"text": ANNA, "path": path, "mapping": {"w": -0.16164492767, "b": "a*(1 - a)*(a - y)"}})
    assert [grades.credit(student) for student in grades] == [(3.0, 3), (3.0, 3), (2.0, 3)]


@pytest.mark.parametrize("error", [ValueError("not a numeric character"), TypeError("no"), OverflowError("too large")])
@pytest.mark.parametrize("where", [(Comparison, "row"), (engine.classroom, "_key")])
def test_what_goes_wrong_with_one_student_is_that_students_error(loss, monkeypatch, where, error):
    whole = getattr(*where)

    def fail(*arguments):
        if "Ben" in str(arguments[1]):
            raise error
        return whole(*arguments)

    monkeypatch.setattr(*where, fail)
    grades = grade(loss, {"Anna": ANNA, "Ben": {"w": "Ben", "Ben": 3}, "Carl": ANNA}, questions=["w"])
    assert [grades.credit(student) for student in grades] == [(1.0, 1), (0, 1), (1.0, 1)]
    assert str(error) in str(grades["Ben"])
    assert not grades.readable


def test_only_regular_files_are_read(loss, tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder").mkdir()
    grades = grade(loss, {"Anna": ANNA, "Ben": tmp_path / "pipe.txt", "Carl": tmp_path / "folder"})
    assert str(grades["Ben"]).endswith("pipe.txt is no regular file.")
    assert "folder is a folder. For the files in it write " in str(grades["Carl"])
    assert str(grades["Carl"]).endswith("folder/*.txt.")
    assert grades["Anna"].ok


def test_what_to_write_is_kept_in_the_summary(loss):
    grades = grade(loss, {"Anna": ANNA + "dL/dy -4\n"})
    said = "line 4, column 1: This line answers nothing. Write `dL/dw = number or formula`."
    assert said in str(grades)
    assert said in read_csv(grades.as_csv())[0]["error"]


def test_a_student_without_answers_is_that_students_error(loss):
    grades = grade(loss, {"Anna": ANNA, "Ben": None})
    assert str(grades["Ben"]) == "The answers of a student are text, a path or a mapping, not NoneType."
    assert grades["Anna"].ok


def test_each_student_is_judged_as_alone(loss):
    texts = {"Anna": ANNA, "Ben": "w = 0.2\nz = 0.1\nb = 0.1\n", "Carl": "w = -0.2\nz = -0.10776\nb = -0.10776\n"}
    questions = ["w", "b", "z"]
    together = grade(loss, texts, questions=questions)
    for student, text in texts.items():
        assert str(together[student]) == str(grade(loss, {student: text}, questions=questions)[student])
    given = dict(line.split(" = ") for line in texts["Carl"].splitlines())
    assert {name: row.node for name, row in together["Carl"].items()} == {
        name: row.node for name, row in compare(loss, given).items()
    }


def test_the_questions_are_those_given_or_all_in_the_order_of_first_appearance(loss):
    students = {"Anna": "∂L/∂b = -0.108\n", "Ben": "w = -0.162\nb = -0.108\ndL/da = -0.438\n"}
    assert grade(loss, students).questions == ("∂L/∂b", "w", "dL/da")
    grades = grade(loss, students, questions=["dL/dw", "b", "w", "y"])
    assert grades.questions == ("dL/dw", "b", "y")
    assert [grades.credit(student) for student in grades] == [(1.0, 3), (2.0, 3)]
    assert grades.readable  # what was not asked is passed over


def test_a_question_answered_twice_in_other_words_is_told(loss):
    grades = grade(loss, {"Anna": "w = -0.162\ndL/dw = 7\n"})
    assert grades.credit("Anna") == (1.0, 1)
    assert grades.unread["Anna"][0].message == ("line 2: The same is answered as `w` before. Take out one of the two.")
    assert not grades.readable


def test_what_can_not_be_read_of_one_student_is_no_end_for_the_others(loss, tmp_path):
    (tmp_path / "latin.txt").write_bytes("w = 0.1 # größer".encode("latin-1"))
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)))
    (tmp_path / "empty.txt").write_text("\n\n")
    (tmp_path / "comment.txt").write_text("# nothing\n")
    (tmp_path / "folder.txt").mkdir()
    names = ["latin", "binary", "empty", "comment", "folder", "missing"]
    grades = grade(loss, {**{name: tmp_path / f"{name}.txt" for name in names}, "none": {}, "Anna": ANNA})
    said = ["is not UTF-8 text", "is not UTF-8 text", "is empty", "no answers", "is a folder", "there is no file"]
    for name, part in zip([*names, "none"], [*said, "no answers"], strict=True):
        assert isinstance(grades[name], ValueError)
        assert part in str(grades[name])
        assert grades.credit(name) == (0.0, 3)
    assert grades.credit("Anna") == (3.0, 3)
    assert not grades.readable
    assert len(read_csv(grades.as_csv())) == 8


def test_lines_that_ask_for_nothing_are_told_and_the_rest_is_graded(loss):
    grades = grade(loss, {"Anna": "Name: Anna\nw 0.3\nb = -0.108\nb = 3\nq = 1\nz = a(1-a)\n"})
    assert [row.name for row in grades.unread["Anna"]] == ["Name", " (line 2)", "b (line 4)", "q"]
    assert grades.outcomes == {"b": {"right": 1}, "z": {"unreadable": 1}}
    assert "Anna, Name: line 1: No node is called 'Name'." in grades.summary()
    assert not grades.readable


def test_arguments_without_meaning_are_refused(loss):
    with pytest.raises(TypeError, match="grade needs a loss that is a Value, not float"):
        grade(3.0, {"Anna": ANNA})
    with pytest.raises(TypeError, match="a mapping from students to their answers, not list"):
        grade(loss, [ANNA])
    with pytest.raises(ValueError, match="no students"):
        grade(loss, {})
    with pytest.raises(ValueError, match="no questions"):
        grade(loss, {"Anna": ANNA}, questions=[])
    with pytest.raises(ValueError, match=r"The question 'q' can't be read\. No node is called 'q'"):
        grade(loss, {"Anna": ANNA}, questions=["q"])
    with pytest.raises(ValueError, match="negative_gradient"):
        grade(loss, {"Anna": ANNA}, convention="delta")
    loss.parents[0].data = 7.0
    with pytest.raises(ValueError, match="edited after the forward pass"):
        grade(loss, {"Anna": ANNA})


def test_grading_touches_neither_values_nor_gradients(loss):
    loss.backward()
    before = [(node.data, node.grad) for node in engine.nodes(loss)]
    grade(loss, {"Anna": ANNA, "Ben": BEN})
    assert [(node.data, node.grad) for node in engine.nodes(loss)] == before


# What the class got wrong


def test_what_follows_from_a_slip_earns_credit():
    graph = build("x = -2\ny = 5\nz = -4\nq = x + y\nf = q*z\n")
    grades = grade(graph.loss, {"Ben": "df/dq = 4\ndf/dz = 3\ndf/dx = 4\ndf/dy = 4\n"})
    assert grades.credit("Ben") == (3, 4)
    assert grades.mistakes == {"sign_flipped": {"df/dq": 1}}
    assert read_csv(grades.as_csv())[0]["mistakes"] == "df/dq: sign_flipped"


def with_mistakes(monkeypatch):
    """Let the comparison name mistakes: a wrong sign by its number, and one follow-through."""
    report = Comparison.report

    def naming(self, answers):
        rows = {}
        for name, row in report(self, answers).items():
            keys = ["sign_flipped"] if row.verdict == "wrong" and row.obtained and row.obtained > 0 else []
            keys = ["follow_through"] if row.verdict == "right" and name == "b" else keys
            rows[name] = dataclasses.replace(
                row, mistakes=tuple(Mistake(key, name, f"At {name}: {key}.") for key in keys)
            )
        return Report(rows)

    monkeypatch.setattr(Comparison, "report", naming)


def test_the_commonest_mistakes_come_first_with_who_made_them_where(loss, monkeypatch):
    with_mistakes(monkeypatch)
    students = {"A": "w = 0.2\nb = 0.1\n", "B": "w = 0.2\nb = -0.108\n", "C": "w = -0.3\n", "D": "b = -0.4\n"}
    grades = grade(loss, students)
    assert grades.mistakes == {"sign_flipped": {"w": 2, "b": 1}, "not recognised": {"w": 1, "b": 1}}
    assert list(grades.mistakes) == ["sign_flipped", "not recognised"]
    shown = [line.split() for line in grades.summary().splitlines()]
    assert shown.index(["sign_flipped", "2", "w", "(2),", "b", "(1)"]) == 4
    rows = read_csv(grades.as_csv())
    assert [row["mistakes"] for row in rows] == [
        "w: sign_flipped; b: sign_flipped", "w: sign_flipped", "w: not recognised", "b: not recognised"
    ]  # fmt: skip


def test_the_summary_shows_the_hardest_questions_first(loss):
    grades = grade(loss, {"A": "w = -0.162\nb = -0.108", "B": "w = -0.162\nb = 0.1", "C": "w = -0.162"})
    first, *tables = grades.summary().split("\n\n")
    assert first == "3 students, 2 questions, mean credit 1.33 of 2"
    assert tables[-1] == (
        " question   right   wrong   undecided   not answered   unreadable\n"
        " ────────────────────────────────────────────────────────────────\n"
        " b              1       1                          1\n"
        " w              3"
    )
    assert str(grades).startswith(" student   credit   right   wrong   undecided   not answered   unreadable\n")
    assert "\n B         1 of 2       1       1\n" in str(grades)


def test_a_long_summary_is_cut_and_counted(loss):
    graph = worked("mazur_2_2_2")
    names = [f"d{root}/d{name}" for root in ("E", "E_o1", "net_o1") for name in list(graph)[:20]]
    summary = grade(graph["E"], {"A": "\n".join(f"{name} = ?" for name in names)}).summary()
    assert f"  and {len(names) - 40} more" in summary


def test_an_assertion_says_who_and_which_and_why_in_a_few_lines(loss, monkeypatch):
    with_mistakes(monkeypatch)
    students = {"Anna": ANNA, "Ben": "w = 0.2\nb = -0.108\nz = a(1-a)\n", "Carl": "w w"}
    with pytest.raises(AssertionError) as error:
        grade(loss, students).raise_if_wrong()
    assert str(error.value).splitlines() == [
        "not every answer of the class is right",
        "1 of 3 students have every answer right",
        "Ben: 1 of 3",
        "  w is wrong: yours gives 0.2, the engine −0.161644928, difference 0.362",
        "    At w: sign_flipped.",
        "  z is invalid",
        "    line 3, column 5: `a` is not a function.",
        "        z = a(1-a)",
        "            ^",
        "      did you mean `a*(1-a)`?",
        "Carl: 0 of 3",
        *[line for name in "wbz" for line in (f"  {name} is invalid", "    This is not answered.",
          "      Write a number or a formula: 0.25, or (a - y)*x.")],
    ]  # fmt: skip
    grade(loss, {"Anna": ANNA}).raise_if_wrong()
    with pytest.raises(AssertionError, match="and 15 more"):
        grade(loss, {f"s{i}": "w = 1" for i in range(25)}).raise_if_wrong()


def test_a_reports_assertion_has_the_wrong_answers_alone_and_no_derivation(loss):
    with pytest.raises(AssertionError) as error:
        compare(loss, {"w": "0.5", "b": "-0.1078"}).raise_if_wrong()
    head, count, row, *reason = str(error.value).splitlines()
    assert (head, count) == ("not every answer is right", "1 right, 1 wrong of 2")
    assert row == "w is wrong: yours gives 0.5, the engine −0.161644928, difference 0.662"
    assert len(reason) <= 2


def test_pytest_shows_the_line_of_the_test_and_not_the_inside(shown_by_pytest):
    shown = shown_by_pytest("from engine import build, compare\n\ndef test_mine():\n    "
                          "compare(build('L = w*x', w=2, x=3).loss, {'w': '4'}).raise_if_wrong()\n")  # fmt: skip
    assert "raise AssertionError" not in shown
    assert "w is wrong: yours gives 4, the engine 3, difference 1" in shown


@pytest.fixture
def shown_by_pytest(tmp_path):
    """Run a file of tests by itself; returns what pytest prints."""

    def run(text):
        path = tmp_path / "test_one.py"
        path.write_text(text)
        root = os.path.dirname(os.path.dirname(engine.__file__))
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
            str(path),
        ]
        environment = {**os.environ, "PYTHONPATH": root}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False
        ).stdout

    return run


# The table


def test_the_table_has_a_row_a_student_and_a_column_a_question(loss, tmp_path):
    path = grade(loss, {"Anna": ANNA, "Ben": BEN, "Carl": "", "Dora": "w = -0.16\nw = 1"}).to_csv(
        tmp_path / "grades.csv"
    )
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbfstudent,credit,possible,w,b,z,mistakes,notes,error\r\n")
    rows = read_csv(data.decode())
    assert [row["student"] for row in rows] == ["Anna", "Ben", "Carl", "Dora"]
    assert [(row["w"], row["b"], row["z"]) for row in rows] == [
        ("right", "right", "right"), ("wrong", "not answered", "not answered"), ("", "", ""),
        ("undecided", "not answered", "not answered"),
    ]  # fmt: skip
    assert [(row["credit"], row["possible"]) for row in rows] == [("3", "3"), ("0", "3"), ("0", "3"), ("0", "3")]
    assert rows[2]["error"] == "The file has no answers. Write one a line, such as `dL/dw = 0.25`."
    assert (
        rows[3]["error"]
        == "w (line 2): line 2, column 1: `w` is answered twice, first on line 1. Take out one of the two."
    )


def test_no_cell_is_a_formula_for_a_spreadsheet(tmp_path):
    bad = ["=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1", 'a"b,c\nd']
    loss = Value(2.0, label="=w") * Value(3.0, label="@x")
    loss.label = "L"
    grades = grade(loss, {name: {"=w": "3.00", "@x": name} for name in bad})
    text = grades.to_csv(tmp_path / "g.csv").read_bytes().decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) == 1 + len(bad)
    for cell in [cell for row in rows for cell in row if cell]:
        assert cell.lstrip()[0] not in "=+-@＝"
        assert cell[0] not in "\t\r"
    assert [row[0] for row in rows[1:]] == [f"'{name}" for name in bad[:-1]] + [bad[-1]]


def test_a_table_is_written_whole_or_not_at_all(loss, tmp_path, monkeypatch):
    grades = grade(loss, {"Anna": ANNA})
    path = tmp_path / "grades.csv"
    path.write_text("before")

    def fails(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="disk full"):
        grades.to_csv(path)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["grades.csv"]
    monkeypatch.undo()
    grades.to_csv(path)
    assert path.read_text(encoding="utf-8-sig").startswith("student,")
    with pytest.raises(ValueError, match=r"saved as \.csv"):
        grades.to_csv(tmp_path / "grades.txt")
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        grades.to_csv(tmp_path / "no" / "grades.csv")


def test_two_processes_write_the_same_table(loss):
    students = {"Anna": ANNA, "Ben": BEN, "Carl": "w = 3\nq = 1"}
    assert grade(loss, students).as_csv() == grade(build(NEURON).loss, students).as_csv()


# Many at once


def test_the_same_answers_of_a_class_are_judged_once(monkeypatch):
    judged = []
    judge = Comparison.judge_formula
    monkeypatch.setattr(Comparison, "judge_formula", lambda *given: judged.append(given) or judge(*given))
    loss = build(NEURON).loss
    grades = grade(loss, {f"s{i}": f"w = (a - y)*a*(1 - a)*x\nb = a*{i % 3}\n" for i in range(60)})
    assert all(grades.credit(student)[0] == 1.0 for student in grades)
    assert len(judged) == 1 + 3


def test_300_students_with_20_answers_take_seconds():
    graph = worked("mazur_2_2_2")
    graph["E"].backward()
    names = [name for name in graph if name not in ("i1", "i2", "t1", "t2")][:20]
    rng = random.Random(0)

    def answer(name):
        if name == "w5":
            return f"(out_o1 - t1)*out_o1*(1 - out_o1)*out_h1*{rng.choice([1, 1, 1, 2, rng.randint(3, 50)])}"
        slip = rng.choice([-1.0, 2.0, 0.5, rng.uniform(0.5, 2.0)]) if rng.random() < 0.15 else 1.0
        return f"{graph[name].grad * slip:.{rng.randint(3, 5)}g}"

    students = {f"s{i}": "".join(f"{name} = {answer(name)}\n" for name in names) for i in range(300)}
    start = time.process_time()  # whatever else the machine does
    grades = grade(graph["E"], students)
    assert str(grades)
    assert grades.as_csv()
    assert time.process_time() - start < 20.0


# The command


def test_the_command_grades_a_folder(run, handed_in, tmp_path):
    handed_in(anna=ANNA, ben=BEN)
    status, out, err = run("answers/*.txt", "--csv", "grades.csv")  # the pattern as a shell of Windows leaves it
    assert (status, err) == (0, "")
    assert out.startswith("2 students, 3 questions, mean credit 1.5 of 3\n")
    assert out.endswith("wrote grades.csv\n")
    rows = read_csv((tmp_path / "grades.csv").read_text(encoding="utf-8"))
    assert [row["student"] for row in rows] == ["anna", "ben"]
    status, out, _ = run("answers/anna.txt", "answers/ben.txt")
    assert status == 0
    assert " anna      3 of 3       3\n" in out


def test_one_file_that_can_not_be_read_is_one_row_and_status_2(run, handed_in, tmp_path):
    handed_in(anna=ANNA, ben=b"\x00\xff\xfe", carl="")
    status, out, _ = run("answers/*.txt", "answers/nobody.txt", "answers", "--csv", "grades.csv")
    assert status == 2
    rows = read_csv((tmp_path / "grades.csv").read_text(encoding="utf-8"))
    assert [row["student"] for row in rows] == ["anna", "ben", "carl", "nobody", "answers"]
    assert [bool(row["error"]) for row in rows] == [False, True, True, True, True]
    assert rows[0]["credit"] == "3"
    assert "5 students (4 not read), 3 questions, mean credit 3 of 3" in out
    assert "answers is a folder. For the files in it write answers/*.txt." in out


def test_an_answer_that_can_not_be_read_is_status_2_as_in_check(run, handed_in):
    handed_in(anna="w = a(1-a)\n")
    assert run("answers/anna.txt")[0] == 2
    handed_in(anna="w = keine Ahnung\nb = 0.1\n")
    assert run("answers/anna.txt")[0] == 0


def test_the_questions_come_from_a_key(run, handed_in, tmp_path):
    handed_in(anna=ANNA, ben=BEN)
    (tmp_path / "key.txt").write_text("# the key\ndL/db = -0.1078\nz\n")
    status, out, _ = run("answers/*.txt", "--questions", "key.txt")
    assert status == 0
    assert out.count("dL/db") == 1
    assert "2 students, 2 questions, mean credit 1 of 2" in out
    for text, said in [
        ("# nothing\n", "The file has no questions."),
        ("q = 3\n", "The question 'q' can't be read."),
        ("", "empty"),
    ]:
        (tmp_path / "key.txt").write_text(text)
        status, out, err = run("answers/*.txt", "--questions", "key.txt")
        assert (status, out) == (2, "")
        assert said in err


def test_options_reach_the_comparison(run, handed_in):
    handed_in(anna="w = 0.16\nnew(b) = -0.1461\n")
    status, out, _ = run("answers/*.txt", "--lr", "0.5", "--digits", "2", "--convention", "negative_gradient")
    assert status == 0
    assert "mean credit 2 of 2" in out


def test_no_file_that_is_read_is_replaced(run, handed_in, tmp_path, monkeypatch):
    handed_in(anna=ANNA)
    for path in ("neuron.txt", "answers/anna.txt", tmp_path / "answers" / "anna.txt"):
        status, out, err = run("answers/*.txt", "--csv", path)
        assert (status, out) == (2, "")
        assert "would replace a file that is read" in err
    assert (tmp_path / "answers" / "anna.txt").read_text() == ANNA
    status, _, err = run("answers/*.txt", "--csv", "grades.txt")
    assert status == 2
    assert "saved as .csv" in err
    with monkeypatch.context() as patched:
        patched.setattr("engine.cli.grade", lambda *_, **__: pytest.fail("the class was graded for nothing"))
        status, _, err = run("answers/*.txt", "--csv", "no/grades.csv")
    assert status == 2
    assert err.endswith("no: make it first.\n")
    (tmp_path / "grades.csv").write_text("before")
    assert run("answers/*.txt", "--csv", "grades.csv")[0] == 0
    assert "before" not in (tmp_path / "grades.csv").read_text(encoding="utf-8")


def test_files_of_one_name_are_kept_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("a/anna.txt", "b/anna.txt", "b/ben.txt", "b/ben.md", "c.txt", "c.txt.txt", "b/[x].txt"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("")
    assert list(files_of(["a/anna.txt", "b/ben.txt"])) == ["anna", "ben"]
    assert list(files_of(["?/anna.txt", "b/ben.txt", "a/anna.txt"])) == ["a/anna.txt", "b/anna.txt", "ben"]
    assert list(files_of(["b/ben.*"])) == ["b/ben.md", "b/ben.txt"]
    assert list(files_of(["c.txt", "a/c.txt", "c.txt.txt"])) == ["c.txt", "a/c.txt", "c.txt.txt"]
    assert list(files_of(["b/[x].txt"])) == ["[x]"]
    assert list(files_of(["nobody*.txt"])) == ["nobody*"]
    assert list(files_of(["**/anna.txt"])) == ["a/anna.txt", "b/anna.txt"]


def test_a_bar_shows_on_a_terminal_alone(loss, capsys, monkeypatch):
    grade(loss, {"Anna": ANNA})
    assert capsys.readouterr().err == ""
    grade(loss, {"Anna": ANNA}, progress=True)
    assert "grading" in capsys.readouterr().err
    grade(loss, {"Anna": ANNA}, progress=False)
    assert capsys.readouterr().err == ""
