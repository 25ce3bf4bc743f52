"""A network of Fourier multipliers and products: what a scheme for an equation with quadratic terms
is made of, all of it learned.

    h_0 = u,   h_l = A_l[h_0 .. h_(l-1)] + sum_c B_lc[ C_lc[h_0 .. h_(l-1)] D_lc[h_0 .. h_(l-1)] ]

A, B, C and D multiply each Fourier mode by a free complex number, one for each of their arguments.
So the network commutes with translations, and it sees the whole domain. It knows neither the
equation nor its order in time; that the only nonlinearity is a product, as in a Volterra series of
second order for each layer, is what it assumes.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from jaxpbdl import checks

SCALE = 20.0
"""Wavenumber over which the first multipliers vary."""


def smooth(key: PRNGKeyArray, shape: tuple[int, ...], modes: int) -> Float[Array, "*shape modes 2"]:
    """Random multipliers of short kernels: polynomials in i k / 20 times a Gaussian."""
    k = jnp.arange(modes) / SCALE
    factors = jax.random.normal(key, (*shape, 3, 1)) / 3**0.5
    real = factors[..., 0, :] + factors[..., 1, :] * k**2
    both = jnp.stack([real, factors[..., 2, :] * k], axis=-1)
    return both * jnp.exp(-0.5 * k**2)[:, None]


def as_complex(pairs: Float[Array, "*shape 2"]) -> Complex[Array, "*shape"]:
    """Real and imaginary parts side by side, as the optimiser sees them, as complex numbers."""
    return jax.lax.complex(pairs[..., 0], pairs[..., 1])


class Layer(eqx.Module):
    """Multipliers of one layer, real and imaginary parts along the last axis."""

    direct: Float[Array, "inputs modes 2"]
    left: Float[Array, "products inputs modes 2"]
    right: Float[Array, "products inputs modes 2"]
    out: Float[Array, "products modes 2"]

    def __call__(self, modes: Complex[Array, "inputs modes"], points: int) -> Array:
        """The modes of the next h."""
        left, right = (
            jnp.fft.irfft(jnp.sum(as_complex(part) * modes, axis=1), points)
            for part in (self.left, self.right)
        )
        products = as_complex(self.out) * jnp.fft.rfft(left * right)
        return jnp.sum(as_complex(self.direct) * modes, axis=0) + jnp.sum(products, axis=0)


class ProductNet(eqx.Module):
    """`layers` layers of `products` products each, on one channel of `points` periodic points; the
    output has no mean. It starts at zero output.

    Raises ValueError for a size below one.
    """

    layers: tuple[Layer, ...]
    points: int = eqx.field(static=True)

    def __init__(self, points: int, *, products: int = 4, layers: int = 2, key: PRNGKeyArray):
        checks.counts(points=points, products=products, layers=layers)
        modes = points // 2 + 1
        made = []
        for index, each in enumerate(jax.random.split(key, layers)):
            left, right, out = jax.random.split(each, 3)
            shape = (products, index + 1)
            last = index == layers - 1
            # A middle layer starts as a copy of the state with small products.
            direct = jnp.zeros((index + 1, modes, 2))
            direct = direct if last else direct.at[0, :, 0].set(1.0)
            out = jnp.zeros((products, modes, 2)) if last else 0.1 * smooth(out, shape[:1], modes)
            made.append(Layer(direct, smooth(left, shape, modes), smooth(right, shape, modes), out))
        self.layers, self.points = tuple(made), points

    def __call__(self, field: Float[Array, "1 points"]) -> Float[Array, "1 points"]:
        checks.shape("field", field, (1, self.points))
        found = jnp.fft.rfft(field)
        for layer in self.layers:
            found = jnp.concatenate([found, layer(found, self.points)[None]])
        return jnp.fft.irfft(found[-1:].at[:, 0].set(0.0), self.points)
