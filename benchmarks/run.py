"""All benchmarks, one after another: `python benchmarks/run.py` rewrites the table in
benchmarks/README.md.

Each part runs in a process of its own, since the ensembles need several CPU devices and PhiFlow
switches the process to float64. Parts can be named: `python benchmarks/run.py flows accuracy`.
"""

import json
import platform
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS = (
    "flows", "walls", "accuracy", "ensembles", "operators", "phiflow", "pinn", "potentials", "sets"
)  # fmt: skip
BEGIN, END = "<!-- table -->", "<!-- end of table -->"


def flows() -> list[list[str]]:
    import flows

    lines = []
    for points, steps in ((128, 200), (256, 50), (512, 15)):
        lines += flows.navier_stokes_2d(points, steps)
    return [line.cells() for line in [*lines, *flows.gradient(), *flows.other_dimensions()]]


def accuracy() -> list[list[str]]:
    import accuracy
    import jax

    with jax.enable_x64(True):
        rows = [line.cells() for line in accuracy.work_precision()]
    return [*rows, [accuracy.taylor_green_3d(), "", "", "", "", "", ""]]


def phiflow() -> list[list[str]]:
    import flows
    from timing import Line, in_own_process, side_by_side

    import jaxpbdl as jp

    lines = []
    for points in (128, 256):
        call = flows.loop(*flows.ours(points, 0.005, jp.solvers.time.etdrk2), 20)
        ours = side_by_side({"ours": call})["ours"] / 20
        peer = in_own_process("phiflow_peer.py", points, 0.005, 10)
        work = f"2D Navier-Stokes step {points}² (PhiFlow: semi-Lagrangian, CG pressure)"
        lines.append(Line(work, ours, "PhiFlow", peer, "ms"))
    return [line.cells() for line in lines]


def rows(part: str) -> list[list[str]]:
    """Of the function above that has this name, else of the lines of the module."""
    own = {"flows": flows, "accuracy": accuracy, "phiflow": phiflow}
    if part in own:
        return own[part]()
    return [line.cells() for line in import_module(part).lines()]


def main(parts: list[str]) -> None:
    if parts[:1] == ["--part"]:
        print(json.dumps(rows(parts[1])))
        return
    kept = HERE / "last.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    for part in parts or PARTS:
        print(part, flush=True)
        command = [sys.executable, str(HERE / "run.py"), "--part", part]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[part] = json.loads(done.stdout.strip().splitlines()[-1])
    kept.write_text(json.dumps(results, indent=1) + "\n")
    readme = HERE / "README.md"
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    readme.write_text(before + BEGIN + "\n" + table(results) + END + rest.split(END)[1])


def table(results: dict[str, list[list[str]]]) -> str:
    names = ("python", "jax", "exponax", "jax-cfd", "pdequinox", "phiflow")
    versions = [f"{n} {platform.python_version() if n == 'python' else version(n)}" for n in names]
    head = [
        "work",
        "ours (minimum / median)",
        "peer",
        "its time",
        "ratio (minimum / median)",
        "bar",
        "",
    ]
    rows = [head, ["---"] * len(head), *(row for part in PARTS for row in results.get(part, []))]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return f"\n{machine()}; {', '.join(versions)}; float32.\n\n" + "\n".join(lines) + "\n\n"


def machine() -> str:
    try:
        cpu = next(
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        )
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    import os

    return f"{os.cpu_count()} cores, {cpu}"


if __name__ == "__main__":
    main(sys.argv[1:])
