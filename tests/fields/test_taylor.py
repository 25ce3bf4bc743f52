"""A Taylor expansion gives every derivative that automatic differentiation gives, for any field."""

from math import prod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl import equations as eq
from jaxpbdl import fields, networks

pytestmark = pytest.mark.x64
KEY = jax.random.key(0)


def dense(dim, outputs=1):
    return networks.Dense((dim, 7, 7, outputs), key=KEY)


def chained(*links):
    network = networks.Chain(*links)
    return lambda p: network(p)[0]


FIELDS = {
    "dense": lambda p: dense(2)(p)[0],
    "built of everything": lambda p: (
        (1 - p[0] ** 2) * dense(2)(p)[0] / (2 + jnp.sin(p[1]))
        + jax.nn.gelu(p[0] * p[1])
        - jnp.exp(-p[1]) * jnp.sqrt(1 + p[0] ** 2)
    ),
    "polynomial": lambda p: p[0] ** 3 * p[1] - 2 * p[1],
    "of one coordinate": lambda p: jnp.tanh(p[1]),
    "fourier": chained(networks.FourierFeatures(2, 5, key=KEY), dense(10)),
    "periodic": chained(networks.PeriodicFeatures(0, 2.0, 2), dense(5)),
    "gated": chained(networks.Gated(2, 1, width=6, depth=3, key=KEY)),
    "pirate": chained(
        networks.FourierFeatures(2, 3, key=KEY), networks.PirateNet(6, 1, depth=2, key=KEY)
    ),
    "siren": chained(networks.siren((2, 6, 6, 1), frequency=3.0, key=KEY)),
}


@pytest.mark.parametrize("name", FIELDS)
def test_every_derivative(name):
    order = 4 if name == "dense" else 3
    field, point = FIELDS[name], jnp.array([0.3, 0.7])

    @jax.jit
    def both(point):
        expansion = fields.expand(field, point, order)
        expected = {}
        for axes in expansion.terms:
            derivative = field
            for axis in axes:
                derivative = fields.partial(derivative, axis)
            expected[axes] = derivative(point)
        return expansion.terms, expected

    terms, expected = both(point)
    assert len(terms) == {3: 10, 4: 15}[order]
    for axes, value in terms.items():
        np.testing.assert_allclose(value, expected[axes], rtol=1e-9, atol=1e-9, err_msg=str(axes))


RESIDUALS = {
    "burgers": (eq.Burgers(0.1), 2),
    "kdv": (eq.KortewegDeVries(), 2),
    "kuramoto-sivashinsky": (eq.KuramotoSivashinsky(), 2),
    "cahn-hilliard": (eq.CahnHilliard(), 3),
    "gray-scott": (eq.GrayScott(), 3),
    "navier-stokes-3d": (eq.NavierStokes3D(0.1), 4),
}


@pytest.mark.parametrize("name", RESIDUALS)
def test_residuals_and_their_gradients(name):
    """Also where a residual differentiates functions of derivatives (nested operators)."""
    equation, dim = RESIDUALS[name]
    shape = (4,) if name == "navier-stokes-3d" else equation.value_shape
    point = jnp.linspace(0.2, 0.8, dim)

    def squared(evaluate):
        def value(model):
            equation, network = model
            field = lambda p: jnp.sin(network(p).reshape(shape))  # noqa: E731
            return jnp.sum(evaluate(equation.residual, field, point) ** 2)

        return eqx.filter_jit(eqx.filter_value_and_grad(value))((equation, dense(dim, prod(shape))))

    plain = squared(lambda operator, field, point: operator(field, point))
    quick = squared(fields.expanded)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(quick), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-11)


def test_an_unknown_operation_falls_back_on_plain_differentiation():
    field = lambda p: jnp.sort(p)[0] ** 3 * p[1]  # noqa: E731
    point = jnp.array([0.3, 0.7])
    with pytest.raises(fields.taylor.Unsupported):
        fields.expand(field, point, 2)
    value = fields.expanded(lambda f, p: fields.laplacian(f)(p), field, point)
    np.testing.assert_allclose(value, 6 * 0.3 * 0.7, rtol=1e-12)


def test_the_order_is_the_least_that_does():
    seen = []

    def operator(field, point):
        seen.append(getattr(field, "order", None))
        return fields.partial(field, 0, 3)(point)

    fields.expanded(operator, FIELDS["polynomial"], jnp.array([0.3, 0.7]))
    assert seen == [1, 2, 3]
