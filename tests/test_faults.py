"""The list of faults in `docs/faults.md` and the tests named after its rows belong together."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "faults.md"


def faults_with_tests():
    """Names of the tests `test_fault_NN_...`, by file."""
    found = set()
    for file in TESTS.rglob("test_*.py"):
        for name in re.findall(r"^def (test_fault_\d\d_\w+)", file.read_text(), re.MULTILINE):
            found.add(f"{file.relative_to(TESTS)}::{name}")
    return found


def test_every_fault_has_a_test():
    covered = {int(re.search(r"test_fault_(\d\d)_", name).group(1)) for name in faults_with_tests()}
    assert covered == set(range(1, 30))


def test_the_page_names_every_row_and_only_tests_that_exist():
    rows = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 30))
    known = faults_with_tests()
    for number, tests in rows:
        named = re.findall(r"`([\w/.]+) (\w+)`", tests)
        assert named, f"row {number} names no test"
        for file, name in named:
            full = f"{file}::test_fault_{int(number):02}_{name}"
            assert full in known, f"row {number}: {full} does not exist"
