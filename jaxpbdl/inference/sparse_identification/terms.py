"""Candidate terms of an evolution equation: products of u and its derivatives, differentiated."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxpbdl import checks

Differentiate: TypeAlias = Callable[[Array, int], Array]
"""`differentiate(values, order)` along the last axis; order 0 smooths, if anything."""


class Term(NamedTuple):
    """d^order/dx^order of u^powers[0] (du/dx)^powers[1] (d^2u/dx^2)^powers[2] ..; no power at all
    is the constant one."""

    powers: tuple[int, ...]
    order: int = 0

    @property
    def name(self) -> str:
        """As one writes it: `1`, `u`, `u_xx`, `u^2 u_x`, `(u^2)_x`."""
        symbols = ["u" + ("_" + "x" * n if n else "") for n in range(len(self.powers))]
        factors = [
            symbol if power == 1 else f"{symbol}^{power}"
            for symbol, power in zip(symbols, self.powers, strict=True)
            if power
        ]
        product = " ".join(factors) or "1"
        if not self.order:
            return product
        return (product if product == "u" else f"({product})") + "_" + "x" * self.order

    @property
    def degree(self) -> int:
        """The number of factors."""
        return sum(self.powers)

    @property
    def is_linear(self) -> bool:
        """Whether it is u or one of its derivatives."""
        return self.degree == 1

    @property
    def total_order(self) -> int:
        """The number of derivatives in all factors and outside."""
        return self.order + sum(n * power for n, power in enumerate(self.powers))

    def product(self, values: Float[Array, "*rest"], differentiate: Differentiate) -> Array:
        """What stands inside of the outer derivatives."""
        found = jnp.ones_like(values)
        for n, power in enumerate(self.powers):
            if power:
                found = found * differentiate(values, n) ** power
        return found


def derivative_terms(power: int, order: int) -> tuple[Term, ...]:
    """1 and d^q (u^p) / dx^q for p = 1 .. `power` and q = 0 .. `order`: terms that the weak form
    takes without any derivative of the data. u du/dx is half of (u^2)_x.

    **Raises** ValueError for a power or an order below one.
    """
    checks.counts(power=power, order=order)
    found = [Term((p,), q) for p in range(1, power + 1) for q in range(order + 1)]
    return (Term(()), *found)


def product_terms(power: int, order: int) -> tuple[Term, ...]:
    """1, u^p and u^p d^q u / dx^q for p = 0 .. `power` and q = 1 .. `order`, as Rudy et al. (2017)
    take them.

    **Raises** ValueError for a power or an order below one.
    """
    checks.counts(power=power, order=order)
    plain = [Term((p,)) for p in range(1, power + 1)]
    linear = [Term((1,), q) for q in range(1, order + 1)]
    mixed = [Term((p, *[0] * (q - 1), 1)) for p in range(1, power + 1) for q in range(1, order + 1)]
    return (Term(()), *plain, *linear, *mixed)


def written(terms: Sequence[Term], coefficients: Float[Array, " terms"], digits: int = 4) -> str:
    """The equation as a line of text, such as `u_t = -0.5 (u^2)_x + 0.1 u_xx`."""
    parts = []
    for term, value in zip(terms, np.asarray(coefficients), strict=True):
        if value:
            sign = "-" if value < 0 else "+"
            parts.append(f"{sign} {abs(value):.{digits}g} {term.name}")
    line = " ".join(parts) or "0"
    return "u_t = " + (line[2:] if line.startswith("+ ") else line.replace("- ", "-", 1))
