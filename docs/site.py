"""A hook of MkDocs: the pages that are made from the code, and links that lead out of the site.

The start page is the README; each package has a page of its public names, each experiment an entry
in the gallery, each example its program.
"""

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from jaxpbdl.experiments import EXPERIMENTS

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "grids": "Where values live",
    "equations": "The physics",
    "fields": "Functions of a point",
    "solvers.spectral": "Equations on boxes",
    "solvers.flow": "Flow with walls and bodies",
    "solvers.waves": "Maxwell's equations",
    "solvers.compressible": "Gas",
    "solvers.quantum": "Schroedinger's equation",
    "solvers.sphere": "The rotating sphere",
    "solvers.plasma": "Plasma",
    "solvers.elliptic": "Steady diffusion",
    "solvers.molecular": "Molecular dynamics",
    "solvers.time": "Schemes in time",
    "networks": "Networks",
    "generative": "Generative models",
    "learning": "Training",
    "inference": "Parameters from data",
    "inference.assimilation": "The state from data",
    "uncertainty": "What a model does not know",
    "relaxations": "Soft sort, rank, step",
    "molecules": "Atoms",
    "data": "Files",
    "diagnostics": "Measures of a flow",
    "initial_states": "Random starts",
    "shapes": "Bodies",
    "plotting": "Pictures",
}
PICTURES = {
    "wake-correction": "front.png",
    "airfoil-surrogate": "airfoil.png",
    "fno-darcy": "darcy.png",
    "delta-learning": "delta.png",
    "quark-gluon": "jet_safety.png",
    "soft-clustering": "soft_clustering.png",
    "spectral-bias": "spectral_bias.png",
    "learned-interpolation": "stencils.png",
    "turbulence-correction": "vorticity.png",
    "wake-forecast": "wakes.png",
    "potential-acac": "acac.png",
}
OUTSIDE = {
    r"\]\((?:\.\./)?README\.md\)": "](index.md)",
    r"\]\((?:\.\./)?benchmarks/README\.md\)": "](benchmarks.md)",
    r"\]\((?:docs/)?examples/(\w+)\.py\)": r"](examples/\1.md)",
    r"\]\((?:docs/)?examples\)": "](examples/index.md)",
    r"\]\((?:\.\./)?notebooks\)": "](notebooks/01_solve_differentiate_vmap.ipynb)",
    r"\]\(\.\./notebooks/": "](notebooks/",
    r"\]\((?:\.\./)?docs/": "](",
    r"\]\(CONTRIBUTING\.md\)": "](contributing.md)",
    r"\]\(CHANGELOG\.md\)": "](changes.md)",
    r"\[(\w+)\]\((?:CITATION\.cff|LICENSE)\)": r"\1",
}
"""Links between files of the repository, and what they are within the site."""


@event_priority(100)  # before the plugin that turns notebooks into pages looks for them
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for name, content in _pages().items():
        files.append(File.generated(config, name, content=content))
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        name = f"notebooks/{notebook.name}"
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The table of contents, whose parts the code knows."""
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    config.nav = [
        {"Start": "index.md"},
        {"Guide": "guide.md"},
        {"Tutorials": [{_title(path): f"notebooks/{path.name}"} for path in notebooks]},
        {"Examples": ["examples/index.md", *(f"examples/{each}.md" for each in _examples())]},
        {"Gallery": "gallery.md"},
        {"Results": "results.md"},
        {"How fast, and why": "benchmarks.md"},
        {"Many devices": "devices.md"},
        {"Trained models": "models.md"},
        {"Beside its peers": "peers.md"},
        {"Questions and traps": "questions.md"},
        {"Reference": ["reference/index.md", *(f"reference/{name}.md" for name in _packages())]},
        {"Faults": "faults.md"},
        {"Contributing": "contributing.md"},
        {"Changes": "changes.md"},
    ]
    return config


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links between files of the repository become links between pages."""
    for pattern, target in OUTSIDE.items():
        markdown = re.sub(pattern, target, markdown)
    return markdown


def _pages() -> dict[str, str]:
    copies = {"index": "README", "benchmarks": "benchmarks/README", "contributing": "CONTRIBUTING"}
    copies["changes"] = "CHANGELOG"
    pages = {f"{page}.md": (ROOT / f"{file}.md").read_text() for page, file in copies.items()}
    pages["gallery.md"] = _gallery()
    pages["examples/index.md"] = _index_of_examples()
    for name in _examples():
        code = (ROOT / "docs" / "examples" / f"{name}.py").read_text()
        pages[f"examples/{name}.md"] = f"# {_first_line(code)}\n\n```python\n{code}```\n"
    pages["reference/index.md"] = _index_of_reference()
    for name in _packages():
        pages[f"reference/{name}.md"] = f"# {name}\n\n::: jaxpbdl.{name}\n"
    return pages


def _packages() -> list[str]:
    """Those that are there."""
    places = {name: ROOT / "jaxpbdl" / name.replace(".", "/") for name in PACKAGES}
    return [
        name
        for name, place in places.items()
        if (place / "__init__.py").exists() or place.with_suffix(".py").exists()
    ]


def _examples() -> list[str]:
    return sorted(path.stem for path in (ROOT / "docs" / "examples").glob("*.py"))


def _index_of_examples() -> str:
    lines = ["# Examples", "", "Short programs that run as they stand.", ""]
    for name in _examples():
        code = (ROOT / "docs" / "examples" / f"{name}.py").read_text()
        lines.append(f"- [{_first_line(code)}]({name}.md)")
    return "\n".join(lines) + "\n"


def _index_of_reference() -> str:
    lines = ["# Reference", "", "| package | what is in it |", "|---|---|"]
    lines += [f"| [{name}]({name}.md) | {PACKAGES[name]} |" for name in _packages()]
    return "\n".join([*lines, "", "## jaxpbdl", "", "::: jaxpbdl.rollouts", "", *_top()]) + "\n"


def _top() -> list[str]:
    return ["::: jaxpbdl.step.Step", "", "::: jaxpbdl.learning.model_file", ""]


def _gallery() -> str:
    lines = [
        "# Gallery of experiments",
        "",
        "Each runs by `jaxpbdl run NAME`, which lists its settings with `--help`, and leaves a",
        "table, a picture and its trained models (`jaxpbdl export`). What they reached stands in",
        "the [results](results.md).",
        "",
    ]
    for name, entry in EXPERIMENTS.items():
        folder = entry.module.split(".")[-2]
        lines += [
            f"## {name}",
            "",
            f"{entry.summary[0].upper()}{entry.summary[1:]} ({folder}).",
            "",
        ]
        lines += [f"```bash\njaxpbdl run {name}\n```", ""]
        if name in PICTURES:
            lines += [f"![{name}]({PICTURES[name]})", ""]
    return "\n".join(lines)


def _first_line(code: str) -> str:
    return (ast.get_docstring(ast.parse(code)) or "").split("\n")[0].rstrip(".")


def _title(notebook: Path) -> str:
    return notebook.stem[3:].replace("_", " ").capitalize()
