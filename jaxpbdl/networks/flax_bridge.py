"""A Flax module as one of ours: parameters become leaves, so it fits, vmaps and is saved alike."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray, PyTree


class FlaxModule(eqx.Module):
    """A module of Flax, Linen or NNX, as a function of one sample whose parameters are leaves.

    Linen: `FlaxModule(module, sample, key=key)` initialises the variables with these arguments. A
    call applies them and drops what the module would write into its collections (running means,
    say): a module that must write to be trained is better left to Flax.

    NNX: `FlaxModule(module)` takes the parameters the module holds (`nnx.split`); a call works on
    a copy, and what it changes there is dropped too.

    `parameters` is the tree of variables, `definition` all that is no array.
    """

    parameters: PyTree
    definition: Any = eqx.field(static=True)
    linen: bool = eqx.field(static=True)

    def __init__(self, module: Any, *sample: PyTree, key: PRNGKeyArray | None = None):
        """Raises TypeError for what is no module of Flax, or a class in place of an instance, and
        ValueError if a Linen module comes without a key."""
        from flax import linen, nnx

        if isinstance(module, linen.Module):
            if key is None:
                raise ValueError("key is needed to initialise the variables of a Linen module")
            # Arguments are traced, so that initialisation costs no more than one compilation.
            self.parameters = jax.jit(module.init)(key, *sample)
            self.definition, self.linen = module, True
        elif isinstance(module, nnx.Module):
            if sample or key is not None:
                raise ValueError("an NNX module has its parameters: give neither sample nor key")
            self.definition, state = nnx.split(module)
            self.parameters, self.linen = nnx.to_pure_dict(state), False
        else:
            raise TypeError(
                f"module must be a module of flax.linen or flax.nnx (an instance), got {module!r}"
            )

    def __call__(self, *arguments: PyTree, **options: Any) -> PyTree:
        """The module applied to its parameters."""
        if self.linen:
            return self.definition.apply(self.parameters, *arguments, **options)
        from flax import nnx

        return nnx.merge(self.definition, self.parameters)(*arguments, **options)
