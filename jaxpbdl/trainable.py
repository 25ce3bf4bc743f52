"""Which arrays of a model training may change: each class says it of its own parts."""

import equinox as eqx
import jax
from jaxtyping import PyTree

DECLARATION = "trainable_fields"


class Constant(eqx.Module):
    """A part of a model, an array or a tree of them, that training leaves alone; a call gives it,
    without a gradient.
    """

    trainable_fields = ()

    value: PyTree

    def __call__(self) -> PyTree:
        arrays, rest = eqx.partition(self.value, eqx.is_array)
        return eqx.combine(jax.lax.stop_gradient(arrays), rest)


def trainable(model: PyTree) -> PyTree:
    """Which leaves of a model training may change, as a tree of booleans.

    A class with the attribute `trainable_fields`, a tuple of names of fields, offers these fields
    and keeps everything else as it is: a solver offers none, `learning.Corrected` its network. A
    class without it offers all its fields, so a hybrid of your own trains its network and leaves
    its solver alone without saying so. What is offered are the floating-point arrays.

    Gradients are not touched: `jax.grad` reaches the parameters of a solver as before.
    """

    def mark(node: PyTree) -> PyTree:
        if not _declares(node):
            return eqx.is_inexact_array(node)
        marks = jax.tree.map(lambda _: False, node)
        for name in getattr(type(node), DECLARATION):
            part = trainable(getattr(node, name))
            marks = eqx.tree_at(lambda m, n=name: getattr(m, n), marks, part, is_leaf=_is_none)
        return marks

    return jax.tree.map(mark, model, is_leaf=_declares)


def fixed_parts(model: PyTree) -> list[str]:
    """The classes within a model that offer nothing, for an error message."""
    nodes = filter(_declares, jax.tree.leaves(model, is_leaf=_declares))
    return sorted({type(n).__name__ for n in nodes if not any(jax.tree.leaves(trainable(n)))})


def _declares(node: object) -> bool:
    return isinstance(node, eqx.Module) and hasattr(type(node), DECLARATION)


def _is_none(node: object) -> bool:
    return node is None
