"""What `import jaxpbdl` loads and says of itself, and what its rooms import from each other."""

import ast
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import jaxpbdl as jp

HEAVY = ("e3nn_jax", "flax", "h5py", "matplotlib", "scipy", "sympy")
LOADED = f"import sys, jaxpbdl; print([name for name in {HEAVY} if name in sys.modules])"


def test_heavy_libraries_wait_for_their_first_use():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_what_waits_is_there():
    for package in (jp.data, jp.networks):
        assert [name for name in package.__all__ if not hasattr(package, name)] == []
        assert not hasattr(package, "no_such_name")


def test_the_version_is_that_of_the_project():
    project = Path(__file__).resolve().parents[1] / "pyproject.toml"
    assert jp.__version__ == tomllib.loads(project.read_text())["project"]["version"]


def test_types_are_announced():
    assert resources.files(jp).joinpath("py.typed").is_file()


FLOORS = (
    ("checks", "files", "quantities", "step", "trainable"),
    ("grids", "shapes", "distributed"),
    ("fields", "equations"),
    (
        "solvers",
        "networks",
        "rollouts",
        "molecules",
        "relaxations",
        "initial_states",
        "diagnostics",
    ),
    ("learning", "inference", "data", "clustering", "soft_clustering"),
    ("uncertainty", "generative", "plotting", "environments"),
    ("experiments",),
    ("cli",),
)
"""Rooms of the package; one imports from its own floor and those below."""


def test_rooms_import_from_below():
    floor = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
    package = Path(jp.__file__).parent
    wrong = []
    for path in package.rglob("*.py"):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            if (
                module
                and module.startswith("jaxpbdl.")
                and floor[module.split(".")[1]] > floor[room]
            ):
                wrong.append(f"{path.relative_to(package)} imports {module}")
    assert not wrong
