"""Taylor expansion of a field about a point: the value and all derivatives in one pass.

A residual asks for many derivatives of one field. Nested forward mode computes the lower ones again
for each higher one; here they travel together, every operation of the field applied to all of them
at once (by the chain rule of Faa di Bruno and the product rule of Leibniz). `expanded` hands an
operator such as `Equation.residual` the expansion in place of the field; derivatives that it does
not ask for are never computed, since jit drops them.

A derivative is named by its coordinates in ascending order: () the value, (0, 0) the second one
along the first coordinate, (0, 1) the mixed one.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import reduce
from itertools import combinations_with_replacement
from operator import add, mul
from typing import Any, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

Name: TypeAlias = tuple[int, ...]
Result = TypeVar("Result")
Terms: TypeAlias = dict[Name, Any]
"""Derivatives by name, arrays or constants of the field; one that is missing is zero."""

HIGHEST_ORDER = 5


class OrderTooLow(Exception):
    """An operator needs a derivative beyond the order of the expansion."""


class Unsupported(Exception):
    """A field contains an operation that expansions do not go through."""


class Expansion(eqx.Module):
    """A field known at one point with its derivatives up to `order`; itself a field of that point.

    The operators of `fields` read its derivatives. Functions built from it can be differentiated by
    forward mode: their derivatives along the point are those of higher order.
    """

    terms: Terms
    order: int = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    name: Name = eqx.field(static=True, default=())
    time: Array | None = None

    def __call__(self, point: Float[Array, " dim"]) -> Array:
        if self.time is not None:
            point = jnp.append(point, self.time)
        return _read(self.terms, point, self.name, self.order)

    def partial(self, axis: int, order: int = 1) -> "Expansion":
        """The derivative along a coordinate, again a field."""
        name = _sorted(self.name + (axis,) * order)
        return Expansion(self.terms, self.order, self.dim, name, self.time)

    def at_time(self, time: Array) -> "Expansion":
        """As a field of space alone."""
        return Expansion(self.terms, self.order, self.dim, self.name, time)


def expanded(
    operator: Callable[[Callable, Array], Result], field: Callable, point: Array
) -> Result:
    """`operator(field, point)` by a Taylor expansion of the field about the point, of the lowest
    order that does.

    A field with operations that expansions do not know is differentiated as usual.
    """
    for order in range(1, HIGHEST_ORDER + 1):
        try:
            return operator(expand(field, point, order), point)
        except OrderTooLow:
            continue
        except Unsupported:
            break
    return operator(field, point)


def expand(field: Callable, point: Float[Array, " dim"], order: int) -> Expansion:
    """The expansion of `field` about `point` up to derivatives of order `order`."""
    closed = jax.make_jaxpr(field)(point)
    (result,) = _evaluate(closed.jaxpr, closed.consts, [_coordinates(point)], order)
    zero = jnp.zeros_like(result[()])
    terms = {name: result.get(name, zero) for name in _names(len(point), order)}
    return Expansion(terms, order, len(point))


def _names(dim: int, order: int) -> Iterator[Name]:
    """Of all derivatives up to an order, the value first."""
    for length in range(order + 1):
        yield from combinations_with_replacement(range(dim), length)


def _dim(*expansions: Terms) -> int:
    """How many of the first coordinates matter."""
    return 1 + max((axis for terms in expansions for name in terms for axis in name), default=-1)


def _sorted(name: Name) -> Name:
    return tuple(sorted(name))


def _coordinates(point: Array) -> Terms:
    return {(): point} | {(i,): row for i, row in enumerate(jnp.eye(len(point), dtype=point.dtype))}


def _read(terms: Terms, point: Array, name: Name, order: int) -> Array:
    if len(name) > order:
        raise OrderTooLow(name)
    # Handed on as arguments, so that gradients reach the parameters behind them.
    higher = {n: terms[n] for n in terms if len(n) >= len(name)}

    @jax.custom_jvp
    def read(point: Array, terms: Terms) -> Array:
        return terms[name]

    def derivative(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        (point, terms), (direction, changes) = primals, tangents
        slopes = [] if isinstance(changes[name], SymbolicZero) else [changes[name]]
        if not isinstance(direction, SymbolicZero):
            for axis in range(point.shape[0]):
                slope = _read(terms, point, _sorted((*name, axis)), order)
                slopes.append(slope * direction[axis])
        value = read(point, terms)  # not terms[name]: it may be differentiated again
        return value, reduce(add, slopes) if slopes else jnp.zeros_like(value)

    read.defjvp(derivative, symbolic_zeros=True)
    return read(point, higher)


# Operations that act on every derivative alike.
_LINEAR = {
    "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "cumsum", "expand_dims",
    "imag", "neg", "pad", "real", "reduce_sum", "reshape", "rev", "slice", "squeeze", "transpose",
}  # fmt: skip
_ELEMENTWISE = {
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "cos", "cosh", "erf", "erfc",
    "exp", "exp2", "expm1", "integer_pow", "log", "log1p", "logistic", "rsqrt", "sign", "sin",
    "sinh", "sqrt", "square", "tan", "tanh",
}  # fmt: skip


def _evaluate(jaxpr: Jaxpr, consts: list[Any], inputs: list[Terms], order: int) -> list[Terms]:
    known: dict[Var, Terms] = {}

    def value(atom: Var | Literal) -> Terms:
        return {(): atom.val} if isinstance(atom, Literal) else known[atom]

    known.update(zip(jaxpr.constvars, ({(): const} for const in consts), strict=True))
    known.update(zip(jaxpr.invars, inputs, strict=True))
    for equation in jaxpr.eqns:
        results = _apply(equation, [value(atom) for atom in equation.invars], order)
        known.update(zip(equation.outvars, results, strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _apply(equation: JaxprEqn, inputs: list[Terms], order: int) -> list[Terms]:
    primitive, params = equation.primitive, equation.params
    name = primitive.name

    def bind(*arrays: ArrayLike) -> PyTree[Array]:
        return primitive.bind(*arrays, **params)

    inner = params.get("jaxpr", params.get("call_jaxpr"))
    if inner is not None and name not in ("scan", "while", "cond"):
        closed = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
        return _evaluate(closed.jaxpr, closed.consts, inputs, order)
    if all(set(terms) == {()} for terms in inputs):  # nothing here depends on the point
        results = bind(*(terms[()] for terms in inputs))
        return [{(): r} for r in (results if primitive.multiple_results else [results])]
    if name in _ELEMENTWISE:
        return [_chain(bind, inputs[0], order)]
    if name in ("add", "sub", "add_any"):
        return [_sum(bind, *inputs)]
    if name in _LINEAR:
        return [_each(bind, inputs)]
    if name in ("mul", "dot_general"):
        return [_product(bind, inputs[0], inputs[1], order)]
    if name == "div":
        return [_product(mul, inputs[0], _chain(lambda x: 1 / x, inputs[1], order), order)]
    raise Unsupported(name)


def _each(bind: Callable, inputs: list[Terms]) -> Terms:
    names = reduce(set.union, map(set, inputs))
    zeros = [jnp.zeros_like(terms[()]) for terms in inputs]
    return {
        n: bind(*(terms.get(n, zero) for terms, zero in zip(inputs, zeros, strict=True)))
        for n in names
    }


def _sum(bind: Callable, left: Terms, right: Terms) -> Terms:
    value = bind(left[()], right[()])
    result: Terms = {(): value}
    for n in (set(left) | set(right)) - {()}:
        if n in left and n in right:
            result[n] = bind(left[n], right[n])
        else:  # the other one is constant, but may have to be broadcast or negated
            term = left[n] if n in left else bind(jnp.zeros_like(right[n]), right[n])
            result[n] = jnp.broadcast_to(term, value.shape)
    return result


def _product(bind: Callable, left: Terms, right: Terms, order: int) -> Terms:
    """Leibniz: every way to share out the coordinates of a derivative between the factors."""
    result: Terms = {}
    for name in _names(_dim(left, right), order):
        pieces = []
        for chosen in range(2 ** len(name)):
            mine = tuple(axis for i, axis in enumerate(name) if chosen >> i & 1)
            other = tuple(axis for i, axis in enumerate(name) if not chosen >> i & 1)
            if mine in left and other in right:
                pieces.append((mine, other))
        if pieces:
            result[name] = _counted(pieces, lambda pair: bind(left[pair[0]], right[pair[1]]))
    return result


def _chain(function: Callable, terms: Terms, order: int) -> Terms:
    """Faa di Bruno: a sum over the partitions of a derivative's coordinates."""
    inner, functions = terms[()], [function]
    for _ in range(order):
        functions.append(_slope(functions[-1]))
    outer = [function(inner) for function in functions]
    result: Terms = {}
    for name in _names(_dim(terms), order):
        pieces = []
        for blocks in _partitions(list(range(len(name)))):
            factors = tuple(sorted(tuple(name[i] for i in block) for block in blocks))
            if all(factor in terms for factor in factors):
                pieces.append(factors)
        if pieces:
            result[name] = _counted(
                pieces, lambda f: reduce(mul, (terms[n] for n in f), outer[len(f)])
            )
    return result


def _slope(function: Callable) -> Callable:
    return lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]


def _counted(pieces: Sequence[Hashable], evaluate: Callable) -> ArrayLike:
    """Sum of `evaluate` over the pieces, each different one evaluated once."""
    counts: dict[Hashable, int] = {}
    for piece in pieces:
        counts[piece] = counts.get(piece, 0) + 1
    return reduce(add, (evaluate(p) if c == 1 else c * evaluate(p) for p, c in counts.items()))


def _partitions(items: list[int]) -> Iterator[list[list[int]]]:
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for smaller in _partitions(rest):
        yield [[first], *smaller]
        for i, block in enumerate(smaller):
            yield [*smaller[:i], [first, *block], *smaller[i + 1 :]]
