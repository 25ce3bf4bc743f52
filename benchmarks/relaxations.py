"""Soft sorting, ranking and selection of 1000 values with its gradient, beside softjax and OTT.

`python benchmarks/relaxations.py` prints a table; softjax (Python 3.12 or later) and ott-jax are to
be installed beside jax. All run in one process, on the same values, in turn, 30 calls (of OTT 3)
after one that compiles. The soft sorts and ranks of the packages are different functions but for
softjax's `softsort`, which computes the same numbers as ours by a matrix of all pairs. OTT is timed
without the gradient: its sort cannot be differentiated in reverse as it comes (0.6.0), and with an
implicit derivative (`ImplicitDiff`) it was not done after minutes.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import Line, Timing, side_by_side

from jaxpbdl.relaxations import soft_rank, soft_sort, top_k_weights

COUNT, CHOSEN, TEMPERATURE = 1000, 100, 0.1
Function = Callable[[jax.Array], jax.Array]


def softjax(name: str, **options: Any) -> Callable[[], Function]:
    def load() -> Function:
        import softjax

        return lambda x: getattr(softjax, name)(x, axis=0, **options)

    return load


def ott(name: str, **options: Any) -> Callable[[], Function]:
    def load() -> Function:
        from ott.tools import soft_sort

        return lambda x: getattr(soft_sort, name)(x, **options)

    return load


SAME = {"softness": TEMPERATURE, "method": "softsort", "standardize": False}
SORTS = {
    "ours": lambda: lambda x: soft_sort(x, TEMPERATURE),
    "softjax, softsort": softjax("sort", **SAME),
    "softjax, fast_soft_sort": softjax("sort", method="fast_soft_sort"),
    "softjax, default": softjax("sort"),
    "ott-jax, no gradient": ott("sort"),
    "jnp.sort, hard": lambda: jnp.sort,
}
RANKS = {
    "ours": lambda: lambda x: soft_rank(x, TEMPERATURE),
    "softjax, fast_soft_sort": softjax("rank", method="fast_soft_sort"),
    "softjax, default": softjax("rank"),
    "ott-jax, no gradient": ott("ranks"),
}
CHOICES = {
    "ours": lambda: lambda x: top_k_weights(x, CHOSEN, TEMPERATURE),
    "ott-jax, no gradient": ott("topk_mask", k=CHOSEN),
}


def gradients(functions: Mapping[str, Callable[[], Function]]) -> dict[str, Callable[[], Any]]:
    """Calls that compute a weighted sum and its gradient, of OTT the sum alone; packages are
    imported by the first."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=COUNT), jnp.float32)
    pull = jnp.arange(COUNT, dtype=jnp.float32) / COUNT

    def call_of(name: str, load: Callable[[], Function]) -> Callable[[], Any]:
        made = []

        def call() -> Any:
            if not made:
                function = load()
                total = lambda x: jnp.sum(pull * function(x))  # noqa: E731
                made.append(jax.jit(total if name.startswith("ott") else jax.value_and_grad(total)))
            return made[0](x)

        return call

    return {name: call_of(name, load) for name, load in functions.items()}


def lines() -> list[Line]:
    found = []
    for work, functions in {"sort": SORTS, "rank": RANKS, "top 100": CHOICES}.items():
        calls = gradients(functions)
        slow = {name: calls.pop(name) for name in tuple(calls) if name.startswith("ott")}
        times = side_by_side(calls, repeats=30) | side_by_side(slow, repeats=3)
        ours = times.pop("ours")
        assert isinstance(ours, Timing), ours
        of = f"soft {work} of {COUNT} values and its gradient"
        found += [
            Line(of, ours, name, time, bar=None if "hard" in name else 1.0)
            for name, time in times.items()
        ]
    return found


if __name__ == "__main__":
    for line in lines():
        print("| " + " | ".join(line.cells()) + " |")
