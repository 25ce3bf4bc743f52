"""The script that puts faults in, on a package of a few lines."""

import json

import pytest

from tests import faults

TOY = '''"""A docstring with a + b."""


def difference(a, b):
    """First - second."""
    if a < 0:
        raise ValueError(f"a must be >= 0, got {a + 0}")
    return a - b


def head(values, n):
    return values[:n]


def countdown(n):
    while n > 0:
        n = n - 1
    return n
'''
TESTS = """import pytest
from jaxpbdl.toy import countdown, difference, head


def test_toy():
    assert difference(5, 3) == 2
    assert countdown(3) == 0
    assert head([], 2) == []


@pytest.mark.slow
def test_what_takes_long():
    assert head([1, 2], 1) == [1]
"""
ROOMS = {"toy": faults.Room(("toy.py",), ("tests/test_toy.py",))}


@pytest.fixture
def root(tmp_path):
    for folder in ("jaxpbdl", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "jaxpbdl" / "__init__.py").touch()
    (tmp_path / "jaxpbdl" / "toy.py").write_text(TOY)
    (tmp_path / "tests" / "test_toy.py").write_text(TESTS)
    return tmp_path


def of_head(*arguments, found=faults.candidates):
    return [fault for fault in found(*arguments) if fault.function == "head"]


def by_change(results):
    found = json.loads(results.read_text())["faults"].values()
    return {(fault["function"], fault["kind"]): fault for fault in found}


def test_what_it_finds(root):
    found = faults.candidates(root, "toy", ROOMS["toy"])
    assert [(f.function, f.line, f.kind, f.after) for f in found] == [
        ("difference", 8, "sign", "(a + b)"),
        ("difference", 8, "dropped term", "(a)"),
        ("difference", 8, "factor", "(a - 2 * b)"),
        ("head", 12, "wrong part", "(values[n:])"),
        ("head", 12, "one off", "(values[:n + 1])"),
        ("countdown", 16, "bound included", "(n >= 0)"),
        ("countdown", 17, "sign", "(n + 1)"),
        ("countdown", 17, "dropped term", "(n)"),
    ]
    assert faults.applied(TOY, found[0]) == TOY.replace("a - b\n", "(a + b)\n")
    # A fault has the same name wherever the code moves to.
    moved = faults.faults_in("\n\n" + TOY, "jaxpbdl/toy.py", "toy")
    assert [fault.key for fault in moved] == [fault.key for fault in found]


@pytest.mark.parametrize("source, expected", [
    ("f(x, axis=-1)", [("axis", "axis=-2")]),
    ("jnp.minimum(a, 0)", [("minimum and maximum", "(jnp.maximum(a, 0))")]),
    ("range(1, n)", [("one off", "(range(1, n - 1))")]),
    ("-a", [("sign", "(a)")]),
    ("'text' + a", []),
    ("x[1:2]", []),
])  # fmt: skip
def test_kinds(source, expected):
    found = faults.faults_in(f"def f():\n    return {source}\n", "f.py", "toy")
    assert [(fault.kind, fault.after) for fault in found] == expected


def test_the_choice_is_balanced_and_reproducible(root):
    found = faults.candidates(root, "toy", ROOMS["toy"])
    chosen = faults.choose(found, 6, seed=0)
    assert chosen == faults.choose(found[::-1], 6, seed=0)
    assert {fault.kind for fault in chosen} == {fault.kind for fault in found}
    assert chosen[:3] == faults.choose(found, 3, seed=0)


def test_faults_are_tried_once_and_taken_out(root, monkeypatch, capsys):
    monkeypatch.setattr(faults, "SPARE", 5.0)
    results = root / "faults.json"
    arguments = ["--results", str(results), "--limit", "100"]
    faults.main([*arguments, "--jobs", "2"], root, ROOMS)
    outcomes = {name: fault["outcome"] for name, fault in by_change(results).items()}
    assert outcomes == {
        ("difference", "sign"): "noticed", ("difference", "dropped term"): "noticed",
        ("difference", "factor"): "noticed", ("head", "wrong part"): "survived",
        ("head", "one off"): "survived", ("countdown", "bound included"): "noticed",
        ("countdown", "sign"): "time limit", ("countdown", "dropped term"): "time limit",
    }  # fmt: skip
    assert by_change(results)["difference", "sign"]["test"].endswith("test_toy.py::test_toy")
    assert (root / "jaxpbdl" / "toy.py").read_text() == TOY
    shown = capsys.readouterr().out
    assert (
        "      8       6      0        2" in shown
        and "toy.py:12 head: one off: values[:n]" in shown
    )

    faults.main([*arguments, "--again", "--long"], root, ROOMS)
    assert by_change(results)["head", "one off"]["test"].endswith("::test_what_takes_long")
    assert "      8       8      2        0" in capsys.readouterr().out


def test_what_survived(root, capsys, monkeypatch):
    """It is not tried again unasked; it may be marked as equivalent."""
    results = root / "faults.json"
    arguments = ["--results", str(results), "--limit", "100"]
    monkeypatch.setattr(faults, "candidates", of_head)
    faults.main(arguments, root, ROOMS)
    monkeypatch.setattr(faults.Copy, "passes", lambda *_: pytest.fail("tried again"))
    key = by_change(results)["head", "one off"]["key"]
    faults.main([*arguments, "--equivalent", key, "--reason", "nothing beyond"], root, ROOMS)
    faults.main(arguments, root, ROOMS)
    assert by_change(results)["head", "one off"]["reason"] == "nothing beyond"
    assert "      2       0      0        1          1" in capsys.readouterr().out
    with pytest.raises(pytest.fail.Exception, match="tried again"):
        faults.main([*arguments, "--again"], root, ROOMS)
    assert "survived" not in {fault["outcome"] for fault in by_change(results).values()}
    with pytest.raises(ValueError, match="must be that of a fault that survived, got none"):
        faults.main([*arguments, "--equivalent", "none", "--reason", "x"], root, ROOMS)


def test_a_room_whose_tests_fail_anyway_is_left_out(root, capsys):
    (root / "tests" / "test_toy.py").write_text("def test_toy():\n    assert False\n")
    faults.main(["--results", str(root / "faults.json")], root, ROOMS)
    assert "without a fault its tests: noticed FAILED" in capsys.readouterr().out
    (root / "tests" / "test_toy.py").write_text("def no_test():\n    pass\n")
    faults.main(["--results", str(root / "faults.json")], root, ROOMS)
    assert "without a fault its tests: no tests" in capsys.readouterr().out
    assert not (root / "faults.json").exists()


def test_the_table_of_rooms_names_files_that_exist():
    for name, room in faults.ROOMS.items():
        assert all((faults.ROOT / faults.PACKAGE / file).exists() for file in room.files), name
        assert any((faults.ROOT / test).exists() for test in room.tests), name
    with pytest.raises(ValueError, match="room x: there is no .*absent.py; correct the table"):
        faults.candidates(faults.ROOT, "x", faults.Room(("absent.py",), ()))
