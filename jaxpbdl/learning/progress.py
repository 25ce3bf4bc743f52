"""What a fit shows while it runs: a bar on a terminal, else a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Report = Callable[[int, float, float], None]


@contextmanager
def report(name: str, begin: int, steps: int, show: bool) -> Iterator[Report]:
    """A function to call with `(step, loss, validation loss)`; NaN where there is no validation."""
    started = time.perf_counter()

    def line(step: int, loss: float, validation: float) -> str:
        rate = (step - begin) / max(time.perf_counter() - started, 1e-9)
        judged = "" if validation != validation else f"  validation {validation:.3e}"
        return f"loss {loss:.3e}{judged}  {rate:.3g} updates/s"

    if not show:
        yield lambda step, loss, validation: None
    elif not Console(stderr=True).is_terminal:
        last = started

        def log(step: int, loss: float, validation: float) -> None:
            nonlocal last
            if time.perf_counter() - last > 30:
                last = time.perf_counter()
                print(f"{name} {step}/{steps}  {line(step, loss, validation)}", file=sys.stderr)

        yield log
    else:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        text = TextColumn("{task.fields[text]}")
        console = Console(stderr=True)
        with Progress(*columns, text, TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(name, total=steps, completed=begin, text="compiling")
            yield lambda step, loss, validation: bar.update(
                task, completed=step, text=line(step, loss, validation)
            )
