"""Tables: on the terminal, and as Markdown beside the result."""

from collections.abc import Sequence
from pathlib import Path
from typing import SupportsFloat, TypeAlias

from rich.console import Console
from rich.table import Table

from jaxpbdl.files import write_text

Cell: TypeAlias = str | SupportsFloat | None


def table(
    rows: Sequence[Sequence[Cell]],
    columns: Sequence[str],
    *,
    title: str = "",
    folder: str | Path | None = None,
    name: str = "table.md",
) -> None:
    """Print a table, and write it to `folder / name` if a folder is given.

    Numbers are shown with four digits, `None` as a dash. Raises `ValueError` for a row that does
    not have one entry for each column.
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row must have {len(columns)} entries {list(columns)}, got {row}")
    cells = [[show(value) for value in row] for row in rows]
    numeric = [not any(isinstance(row[i], str) for row in rows) for i in range(len(columns))]
    shown = Table(title=title or None, header_style="bold", title_style="bold")
    for column, right in zip(columns, numeric, strict=True):
        shown.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in cells:
        shown.add_row(*row)
    console = Console()
    # A file or pipe has no width of its own; 80 columns would fold every number.
    console = console if console.is_terminal else Console(width=200)
    console.print(shown)
    if folder is not None:
        rule = ["---:" if right else "---" for right in numeric]
        lines = [f"| {' | '.join(row)} |" for row in ([*columns], rule, *cells)]
        heading = [f"# {title}", ""] if title else []
        write_text(Path(folder) / name, "\n".join([*heading, *lines]) + "\n")


def show(value: Cell) -> str:
    """A cell as text."""
    if value is None:
        return "–"
    if isinstance(value, (str, bool, int)):
        return str(value)
    return f"{float(value):.4g}"
