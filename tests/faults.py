"""Puts faults into the package, one at a time, and looks whether the tests of that room notice.

    python tests/faults.py                      # 6 faults in each room
    python tests/faults.py --room fields --limit 20
    python tests/faults.py --list               # what would be tried
    python tests/faults.py --again              # also those that survived, with the tests of today
    python tests/faults.py --again --long       # the same, and with the long tests (-m slow)
    python tests/faults.py --equivalent KEY --reason "x ** 2 has no sign"

The places are found in the syntax tree: terms of sums (sign, factor, dropped), `axis=`, `<` beside
`<=`, minimum beside maximum, bounds of slices and ranges, and `[:n]` beside `[n:]`. Docstrings,
checks that raise, texts, annotations and pictures are left out. The choice depends on the seed and
on the code alone.

The package and its tests are copied to a temporary folder; the fault goes into the copy. First the
tests of a room run without a fault: they must pass, and their time sets the limit of time. The
results go to a JSON file after each fault, and what stands there is not tried again. A fault that
changes nothing anybody could observe is to be marked by hand as equivalent; it counts neither way.
"""

import argparse
import ast
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "jaxpbdl"
COPIED = (PACKAGE, "tests", "benchmarks", "docs", "pyproject.toml")
SOLVERS = "tests/solvers"
STEPS = [
    f"{SOLVERS}/test_{name}.py"
    for name in ("residual", "exact_solutions", "order", "laws", "declared_laws")
]
NOTICED = ("noticed", "time limit")
QUICK, LONG = "not slow", "slow"
NO_TESTS = 5
"""The exit status of pytest where no test has the mark."""
SPARE = 60.0
"""Seconds beyond four times those of the tests without a fault, after which a run is ended."""


@dataclass(frozen=True)
class Room:
    """Files of the package, and the tests that are to notice their faults."""

    files: tuple[str, ...]
    tests: tuple[str, ...]


ROOMS = {
    "grids": Room(("grids", "initial_states.py"), ("tests/grids", "tests/test_initial_states.py")),
    "equations": Room(("equations",), ("tests/equations", *STEPS)),
    "fields": Room(("fields",), ("tests/fields",)),
    "solvers.time": Room(("solvers/time",), (f"{SOLVERS}/test_time.py", *STEPS[1:])),
    "solvers.spectral": Room(
        ("solvers/spectral",),
        (f"{SOLVERS}/test_walls.py", f"{SOLVERS}/test_semi_lagrangian.py", *STEPS[1:],
         "tests/test_rollout.py"),
    ),
    "solvers.flow": Room(
        ("solvers/flow",), (f"{SOLVERS}/flow", f"{SOLVERS}/test_stable_fluids.py")
    ),
    **{
        f"solvers.{name}": Room((f"solvers/{name}",), (f"{SOLVERS}/{name}",))
        for name in ("compressible", "plasma", "quantum", "sphere", "waves")
    },
    "solvers.elliptic": Room(
        ("solvers/elliptic.py", "solvers/krylov.py"),
        (f"{SOLVERS}/test_elliptic.py", f"{SOLVERS}/test_krylov.py"),
    ),
    "solvers.molecular": Room(("solvers/molecular.py",), (f"{SOLVERS}/test_molecular.py",)),
    "rollout": Room(
        ("rollouts.py", "step.py", "trainable.py", "checks.py"),
        ("tests/test_rollout.py", f"{SOLVERS}/test_time.py", "tests/learning/test_hybrid.py"),
    ),
    "distributed": Room(("distributed",), ("tests/distributed",)),
    "networks": Room(("networks",), ("tests/networks",)),
    "molecules": Room(("molecules",), ("tests/molecules",)),
    "learning": Room(("learning",), ("tests/learning",)),
    "inference": Room(("inference",), ("tests/inference",)),
    "uncertainty": Room(("uncertainty",), ("tests/uncertainty",)),
    "data": Room(("data",), ("tests/data", "tests/test_real_data.py")),
    "diagnostics": Room(("diagnostics.py",), ("tests/test_diagnostics.py",)),
    "shapes": Room(("shapes.py",), ("tests/test_shapes.py",)),
    "quantities": Room(("quantities.py",), ("tests/test_quantities.py",)),
    "generative": Room(("generative",), ("tests/generative",)),
    "relaxations": Room(("relaxations",), ("tests/test_relaxations.py",)),
    "clustering": Room(("clustering.py", "soft_clustering.py"), ("tests/test_clustering.py",)),
    **{
        f"experiments.{name}": Room((f"experiments/{name}",), (f"tests/experiments/{name}",))
        for name in (
            "airfoils", "assimilation", "control", "fitting", "flows", "gas", "generative", "jets",
            "molecules", "motion", "operators", "pinns", "plasma", "pressure", "turbulence",
            "uncertainty", "waves", "wakes", "weather",
        )
    },
}  # fmt: skip


@dataclass
class Fault:
    """One change of the source: the text from `start` to `end` (bytes) becomes `after`."""

    room: str
    file: str
    line: int
    function: str
    kind: str
    before: str
    after: str
    start: int = field(repr=False)
    end: int = field(repr=False)
    key: str = ""

    def __str__(self) -> str:
        return (
            f"{self.file}:{self.line} {self.function}: {self.kind}: {self.before} -> {self.after}"
        )


# Finding places


SWAPPED_ORDER = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
SWAPPED_NAMES = {
    "min": "max", "minimum": "maximum", "argmin": "argmax", "nanmin": "nanmax", "segment_min":
    "segment_max", "floor": "ceil",
}  # fmt: skip
SWAPPED_NAMES |= {new: old for old, new in SWAPPED_NAMES.items()}
SWAPPED_AXES = {0: 1, 1: 0, -1: -2, -2: -1}
NO_NUMBERS = (
    ast.JoinedStr, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp,
    ast.GeneratorExp,
)  # fmt: skip


def faults_in(source: str, file: str, room: str) -> list[Fault]:
    """All faults that a file offers, in its order."""
    found, lines = [], [0]
    for line in source.encode().splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    for function, node in expressions(ast.parse(source)):
        for kind, new in changes(node):
            start = lines[node.lineno - 1] + node.col_offset
            end = lines[node.end_lineno - 1] + node.end_col_offset
            after = ast.unparse(new)
            if isinstance(node, ast.expr):
                after = f"({after})"
            fault = Fault(
                room, file, node.lineno, function, kind, ast.unparse(node), after, start, end
            )
            found.append(fault)
    same = Counter()
    for fault in found:
        name = (file, fault.function, fault.kind, fault.before, fault.after)
        digest = hashlib.sha256(repr((*name, same[name])).encode()).hexdigest()
        fault.key, same[name] = digest[:10], same[name] + 1
    return [fault for fault in found if compiles(applied(source, fault), file)]


def applied(source: str, fault: Fault) -> str:
    """The source with the fault."""
    code = source.encode()
    return (code[: fault.start] + fault.after.encode() + code[fault.end :]).decode()


def compiles(source: str, file: str) -> bool:
    try:
        compile(source, file, "exec")
    except SyntaxError:
        return False
    return True


def expressions(node: ast.AST, function: str = "module") -> Iterator[tuple[str, ast.AST]]:
    """Expressions that compute something, with the function or class they stand in."""
    for child in ast.iter_child_nodes(node):
        if skipped(child):
            continue
        name = function
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            name = child.name if function == "module" else f"{function}.{child.name}"
            for part in child.body:
                if not skipped(part):
                    yield from expressions(ast.Module([part], []), name)
            continue
        if isinstance(child, ast.AnnAssign):
            child = ast.Expr(child.value) if child.value is not None else ast.Pass()
        if isinstance(child, (ast.expr, ast.keyword)) and function != "module":
            yield name, child
        yield from expressions(child, name)


def skipped(node: ast.AST) -> bool:
    """Texts, errors, warnings, annotations, pictures, and tests of what is refused."""
    if isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr, ast.arguments)):
        return True
    if isinstance(node, ast.FunctionDef):
        return any(word in node.name for word in ("picture", "plot", "advice", "warn"))
    if isinstance(node, ast.If):
        return isinstance(node.body[-1], ast.Raise)
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        return name.split(".")[0] in ("plotting", "warnings", "checks", "print")
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """The kinds of faults that an expression offers, with what becomes of it."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        yield from changed_sum(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        if not isinstance(node.operand, ast.Constant):
            yield "sign", node.operand
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED_ORDER:
        order = SWAPPED_ORDER[type(node.ops[0])]()
        yield "bound included", ast.Compare(node.left, [order, *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.keyword) and node.arg == "axis":
        value = literal(node.value)
        if isinstance(value, int) and value in SWAPPED_AXES:
            yield "axis", ast.keyword("axis", ast.Constant(SWAPPED_AXES[value]))
    elif isinstance(node, ast.Call):
        yield from changed_call(node)
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        yield from changed_slice(node)


def changed_sum(node: ast.BinOp) -> Iterator[tuple[str, ast.AST]]:
    sides = (node.left, node.right)
    if any(isinstance(side, NO_NUMBERS) or isinstance(literal(side), str) for side in sides):
        return
    other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
    yield "sign", ast.BinOp(node.left, other, node.right)
    yield "dropped term", node.left
    if not isinstance(node.right, ast.Constant):
        double = ast.BinOp(ast.Constant(2), ast.Mult(), node.right)
        yield "factor", ast.BinOp(node.left, node.op, double)


def changed_call(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
    if name in SWAPPED_NAMES:
        new = SWAPPED_NAMES[name]
        called = (
            ast.Attribute(node.func.value, new) if isinstance(node.func, ast.Attribute)
            else ast.Name(new)
        )  # fmt: skip
        yield "minimum and maximum", ast.Call(called, node.args, node.keywords)
    if name in ("range", "arange") and len(node.args) in (1, 2):
        *before, stop = node.args
        fewer = ast.BinOp(stop, ast.Sub(), ast.Constant(1))
        yield "one off", ast.Call(node.func, [*before, fewer], node.keywords)


def changed_slice(node: ast.Subscript) -> Iterator[tuple[str, ast.AST]]:
    lower, upper = node.slice.lower, node.slice.upper
    if node.slice.step is not None or (lower is None) == (upper is None):
        return
    bound = lower if upper is None else upper
    if literal(bound) not in (1, -1):
        yield "wrong part", ast.Subscript(node.value, ast.Slice(upper, lower))
    more = ast.BinOp(bound, ast.Add(), ast.Constant(1))
    moved = ast.Slice(more, None) if upper is None else ast.Slice(None, more)
    yield "one off", ast.Subscript(node.value, moved)


def literal(node: ast.AST) -> object:
    """The value of a constant, None for all else."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return None


# Choosing


def candidates(root: Path, name: str, room: Room) -> list[Fault]:
    """All faults of a room. Raises ValueError where the table names files that do not exist."""
    found = []
    for entry in room.files:
        path = root / PACKAGE / entry
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        if not path.exists():
            raise ValueError(f"room {name}: there is no {path}; correct the table ROOMS")
        for file in files:
            relative = str(file.relative_to(root))
            found += faults_in(file.read_text(), relative, name)
    return found


def choose(faults: list[Fault], number: int, seed: int) -> list[Fault]:
    """Of each kind and each file as equally many as there are."""
    left = sorted(faults, key=lambda fault: fault.key)
    random.Random(seed).shuffle(left)
    kinds, files, chosen = Counter(), Counter(), []
    while left and len(chosen) < number:
        best = min(left, key=lambda fault: (kinds[fault.kind], files[fault.file]))
        left.remove(best)
        chosen.append(best)
        kinds[best.kind] += 1
        files[best.file] += 1
    return chosen


# Trying


class Copy:
    """A copy of the repository in which a fault is put, tested and taken out."""

    def __init__(self, root: Path, folder: Path):
        self.root, self.folder = root, folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in COPIED:
            source, target = root / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, target)

    def passes(
        self, tests: tuple[str, ...], limit: float, marked: str = QUICK
    ) -> tuple[str, float, str]:
        """(survived, noticed, time limit or no tests; seconds; the first test that failed)."""
        known = [test for test in tests if (self.folder / test).exists()]
        if not known:
            raise ValueError(f"none of the tests {tests} exists; correct the table ROOMS")
        command = [sys.executable, "-m", "pytest", "-x", "-n0", "-m", marked]
        command += ["-p", "no:cacheprovider", "--no-header", *known]
        data = os.environ.get("JAXPBDL_DATA", str(self.root.parent / "shared" / "data"))
        cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(self.folder / "cache"))
        settings = {
            "PYTHONPATH": str(self.folder), "JAXPBDL_DATA": data, "PYTHONDONTWRITEBYTECODE": "1",
            "JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        }  # fmt: skip
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=self.folder, env={**os.environ, **settings}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return "time limit", time.perf_counter() - began, ""
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        seconds = time.perf_counter() - began
        if process.returncode not in (0, 1, 2, NO_TESTS):
            raise RuntimeError(f"pytest ended with {process.returncode}:\n{output[-2000:]}")
        outcome = {0: "survived", NO_TESTS: "no tests"}.get(process.returncode, "noticed")
        failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return outcome, seconds, failed[0].split(" - ")[0] if failed else output[-300:]

    def attempt(self, fault: Fault, tests: tuple[str, ...], limits: dict[str, float]) -> dict:
        """The tests of one mark after those of another, until a fault is noticed."""
        path = self.folder / fault.file
        original = path.read_text()
        path.write_text(applied(original, fault))
        taken = 0.0
        try:
            for marked, limit in limits.items():
                outcome, seconds, test = self.passes(tests, limit, marked)
                taken += seconds
                if outcome != "survived":
                    break
        finally:
            path.write_text(original)
        record = {
            name: value for name, value in asdict(fault).items() if name not in ("start", "end")
        }
        found = {"outcome": outcome, "seconds": round(taken, 1), "test": test}
        return {**record, **found, "long": marked == LONG}


def try_room(
    copies: list[Copy], name: str, room: Room, faults: list[Fault], results: Path, long: bool
) -> None:
    """Try what the results do not hold yet, as many at a time as there are copies."""
    known = load(results)["faults"]
    faults = [fault for fault in faults if fault.key not in known]
    if not faults:
        return
    limits, taken_without = {}, 0.0
    for marked in (QUICK, LONG) if long else (QUICK,):
        outcome, seconds, test = copies[0].passes(room.tests, 3600, marked)
        if outcome == "no tests" and marked == LONG:
            continue
        if outcome != "survived":
            print(f"{name}: without a fault its tests: {outcome} {test}; room left out", flush=True)
            return
        limits[marked] = SPARE + 4 * seconds
        taken_without += seconds
        print(f"{name}: tests ({marked}) pass without a fault in {seconds:.0f} s", flush=True)
    free: Queue[Copy] = Queue()
    for copy in copies:
        free.put(copy)

    def attempt(fault: Fault) -> dict:
        copy = free.get()
        try:
            return copy.attempt(fault, room.tests, limits)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        for fault, record in zip(faults, pool.map(attempt, faults), strict=True):
            known = load(results)
            known["faults"][fault.key] = record
            known["seconds"][name] = round(taken_without, 1)
            save(results, known)
            outcome, taken = record["outcome"], record["seconds"]
            print(f"  {fault.key} {outcome:10} {taken:5.0f} s  {fault}", flush=True)


def load(results: Path) -> dict:
    return json.loads(results.read_text()) if results.exists() else {"faults": {}, "seconds": {}}


def save(results: Path, known: dict) -> None:
    temporary = results.with_suffix(".part")
    temporary.write_text(json.dumps(known, indent=1))
    temporary.replace(results)


def mark_equivalent(results: Path, key: str, reason: str) -> None:
    """Raises ValueError for a key that is none of a survivor, and without a reason."""
    known = load(results)
    record = known["faults"].get(key, {})
    if record.get("outcome") not in ("survived", "equivalent"):
        raise ValueError(f"key must be that of a fault that survived, got {key}")
    if not reason:
        raise ValueError("give a --reason why nobody could observe the fault")
    record |= {"outcome": "equivalent", "reason": reason}
    save(results, known)


def forget_survivors(results: Path, rooms: list[str]) -> None:
    """So that they are tried with the tests of today."""
    known = load(results)
    known["faults"] = {
        key: record
        for key, record in known["faults"].items()
        if record["outcome"] != "survived" or record["room"] not in rooms
    }
    save(results, known)


def table(known: dict) -> str:
    """A line for each room, and the survivors."""
    rows = [f"{'room':24} tried noticed (long) survived equivalent"]
    records = list(known["faults"].values())
    rooms = sorted({record["room"] for record in records})
    for room in [*rooms, "all"]:
        found = Counter(r["outcome"] for r in records if room in (r["room"], "all"))
        noticed = sum(found[name] for name in NOTICED)
        long = sum(
            r["outcome"] in NOTICED and r.get("long", False)
            for r in records
            if room in (r["room"], "all")
        )
        counted = noticed + found["survived"]
        share = f"{noticed / counted:8.0%}" if counted else ""
        rows.append(
            f"{room:24} {sum(found.values()):5} {noticed:7} {long:6} {found['survived']:8} "
            f"{found['equivalent']:10} {share}"
        )
    for record in records:
        if record["outcome"] == "survived":
            place = f"{record['file']}:{record['line']} {record['function']}"
            change = f"{record['before']} -> {record['after']}"
            rows.append(f"survived {record['key']} {place}: {record['kind']}: {change}")
    return "\n".join(rows)


def main(arguments: list[str] | None = None, root: Path = ROOT, rooms: dict = ROOMS) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--room", action="append", choices=sorted(rooms), help="these rooms only")
    parser.add_argument("--limit", type=int, default=6, help="faults in each room")
    parser.add_argument("--seed", type=int, default=0, help="of the choice")
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time")
    parser.add_argument("--list", action="store_true", help="show the faults, try none")
    parser.add_argument("--results", type=Path, default=root / "faults.json")
    parser.add_argument("--again", action="store_true", help="try those that survived again")
    parser.add_argument("--long", action="store_true", help="try survivors with the long tests too")
    parser.add_argument("--equivalent", metavar="KEY", help="mark a survivor as equivalent")
    parser.add_argument("--reason", default="", help="why it is equivalent")
    given = parser.parse_args(arguments)
    if given.equivalent:
        mark_equivalent(given.results, given.equivalent, given.reason)
        return
    if given.again:
        forget_survivors(given.results, given.room or list(rooms))
    wanted = given.room or list(rooms)
    chosen = {
        name: choose(candidates(root, name, rooms[name]), given.limit, given.seed)
        for name in wanted
    }
    if given.list:
        for name, faults in chosen.items():
            print(f"{name}: {len(faults)}")
            print("\n".join(f"  {fault.key} {fault}" for fault in faults))
        print(sum(map(len, chosen.values())), "faults")
        return
    with tempfile.TemporaryDirectory() as folder:
        copies = [Copy(root, Path(folder) / str(number)) for number in range(given.jobs)]
        for name, faults in chosen.items():
            try_room(copies, name, rooms[name], faults, given.results, given.long)
    print(table(load(given.results)))


if __name__ == "__main__":
    main()
