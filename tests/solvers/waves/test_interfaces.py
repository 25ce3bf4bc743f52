"""The surface of a body as a tensor: against exact shares, by symmetry, and by what it keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.solvers import waves
from jaxpbdl.solvers.waves.components import electric_location
from jaxpbdl.solvers.waves.interfaces import MixedMedium

pytestmark = pytest.mark.x64
POLES = (waves.drude(3.0, 0.4), waves.lorentz(2.0, 0.7, 0.3))


def half_space(angle, offset):
    """Below a plane in two dimensions."""

    def distance(point):
        return point @ jnp.array([jnp.cos(angle), jnp.sin(angle)]) - offset

    return distance


@pytest.mark.parametrize("angle", (0.0, 0.3, np.pi / 4, 1.2))
def test_share_of_a_cell_below_a_plane(angle):
    """Against many points in the cell."""
    line = (np.arange(400) + 0.5) / 400 - 0.5
    points = np.stack(np.meshgrid(line, line), -1) * 0.1
    normal = np.array([np.cos(angle), np.sin(angle)])
    for offset in (-0.03, 0.0011, 0.02, 0.045):
        body = waves.interface(half_space(angle, offset), 2.0, 1.0, 0.1)
        share, found = body.share_and_normal(jnp.zeros(2))
        assert float(share) == pytest.approx(np.mean(points @ normal < offset), abs=4e-3)
        np.testing.assert_allclose(found, normal, atol=1e-12)
    for offset, share in ((0.08, 1.0), (-0.08, 0.0)):
        body = waves.interface(half_space(angle, offset), 2.0, 1.0, 0.1)
        found, none = body.share_and_normal(jnp.zeros(2))
        assert float(found) == share and not np.any(none)


def test_shares_in_three_dimensions():
    """Those of a ball add up to its volume."""
    body = waves.interface(jp.shapes.Ball((0.01, 0.02, 0.0), 0.4), 2.0, 1.0, 0.1)
    grid = jp.grids.Cells((10, 10, 10), 1.0, -0.5)
    points = grid.points_at(jp.grids.cell).reshape(-1, 3)
    share = jax.vmap(lambda point: body.share_and_normal(point)[0])(points)
    assert float(jnp.sum(share)) / 1000 == pytest.approx(4 / 3 * np.pi * 0.4**3, rel=0.01)


def oblique(poles=(), periodic=False, dt=0.06):
    """Of an ellipse in a small box, TE."""
    grid = jp.grids.Cells((14, 14), 1.4, periodic=periodic)
    body = waves.interface(jp.shapes.Ellipse((0.7, 0.73), (0.45, 0.3), 0.5), 4.0, 1.5, 0.1, poles)
    return waves.maxwell(grid, dt, permittivity=body, components=waves.te)


def inverse_of(step):
    assert isinstance(step.medium, MixedMedium)
    return step.medium.inverse


def random_vector(step, seed):
    keys = jax.random.split(jax.random.key(seed), 2)
    shapes = [step.grid.shape_at(electric_location(a, 2)) for a in (0, 1)]
    return tuple(jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True))


def test_the_tensor_of_an_oblique_plane():
    """Of a constant D along it E is D / mean, of one across D times the mean of the inverse."""
    angle = 0.6
    grid = jp.grids.Cells((12, 12), 1.2)
    body = waves.interface(half_space(angle, 0.9), 5.0, 2.0, 0.1)
    step = waves.maxwell(grid, 0.05, permittivity=body, components=waves.te)
    normal, tangent = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), 0.825336])
    points = jnp.concatenate([grid.points_at(electric_location(a, 2))[2:9, 2:9] for a in (0, 1)])
    shares = jax.jit(jax.vmap(jax.vmap(lambda p: body.share_and_normal(p)[0])))(points)
    for direction in (normal, tangent):
        ones = tuple(
            d * jnp.ones(grid.shape_at(electric_location(a, 2))) for a, d in enumerate(direction)
        )
        found = inverse_of(step)(ones)
        across = direction is normal
        for a, share in enumerate((shares[:7], shares[7:])):
            known = share / 5 + (1 - share) / 2 if across else 1 / (5 * share + 2 * (1 - share))
            error = np.asarray(found[a][2:9, 2:9] - direction[a] * known)
            # What mixes components is a mean about the point: right on the mean.
            assert np.max(abs(error)) < 0.05
            assert abs(np.mean(error)) < 3e-3


@pytest.mark.parametrize("periodic", (False, True))
def test_it_is_symmetric_and_keeps_energy_and_charge(periodic):
    step = oblique(periodic=periodic)
    u, v = random_vector(step, 0), random_vector(step, 1)

    def product(a, b):
        return sum(float(jnp.sum(x * y)) for x, y in zip(a, b, strict=True))

    inverse = inverse_of(step)
    assert product(u, inverse(v)) == pytest.approx(product(inverse(u), v), rel=1e-12)
    assert product(u, inverse(u)) > 0
    alone = tuple(entry * part for entry, part in zip(inverse.diagonal, v, strict=True))
    assert abs(product(u, inverse(v)) - product(u, alone)) > 0.01
    start = step.start(u)
    # Random D: whatever the body, no direction of it has a negative energy.
    energies, charges = jp.rollout(
        step,
        start,
        1000,
        every=500,
        observe=lambda s: (waves.energy(step, s), waves.charge(step, s)),
    )
    np.testing.assert_allclose(energies, energies[0], rtol=1e-11)
    inner = slice(None) if periodic else slice(1, -1)
    np.testing.assert_allclose(charges[:, inner, inner] - charges[0, inner, inner], 0, atol=1e-9)
    assert float(energies[0]) > 0.1 and float(jnp.max(jnp.abs(charges[0]))) > 1


def test_a_body_with_poles_is_calm():
    """Random fields do not grow over 2000 steps at 0.99 of the largest dt; they lose energy to the
    poles."""
    step = oblique(POLES, dt=0.085)
    assert 0.085 > 0.99 * float(step.largest_dt())
    sizes = jp.rollout(
        step, step.start(random_vector(step, 0)), 2000, every=100,
        observe=lambda s: sum(jnp.sum(one**2) for one in s.magnetic),
    )  # fmt: skip
    assert 0 < float(jnp.mean(sizes[-5:])) < 0.95 * float(jnp.mean(sizes[1:6]))


def test_gradient_to_the_shape():
    """Of a probe behind a body with poles, to its radius, against finite differences."""
    grid = jp.grids.Cells((20, 16), (2.0, 1.6))
    side = waves.absorbing(3)

    def probe(radius):
        body = waves.interface(jp.shapes.Ball((1.0, 0.82), radius), 3.0, 1.0, 0.1, POLES)
        step = waves.maxwell(
            grid, 0.06, permittivity=body, components=waves.te, sides=(side, side),
            sources=(waves.dipole((0.5, 0.8), 1, waves.pulse(1.0, 0.2)),),
        )  # fmt: skip
        seen = jp.rollout(step, step.start(), 50, every=5, observe=lambda s: s.magnetic[0][15, 8])
        return jnp.sum(seen**2)

    value, slope = jax.jit(jax.value_and_grad(probe))(0.33)
    other = jax.jit(probe)
    change = (other(0.33 + 1e-6) - other(0.33 - 1e-6)) / 2e-6
    assert abs(float(change)) > 1e-3 * float(value) > 0
    assert float(slope) == pytest.approx(float(change), rel=1e-4)


def test_refused():
    ball = jp.shapes.Ball((0.5, 0.5), 0.2)
    with pytest.raises(ValueError, match="inside must be finite and > 0, got -2"):
        waves.interface(ball, -2.0, 1.0, 0.1)
    with pytest.raises(ValueError, match="share of pole 0 must be 1"):
        waves.interface(ball, 2.0, 1.0, 0.1, (waves.drude(1.0, 0.0, 0.5),))
    grid = jp.grids.Cells((10, 10))
    body = waves.interface(ball, 2.0, 1.0, 0.1)
    with pytest.raises(ValueError, match="permittivity is an interface, .* got 1.0 and 0 poles"):
        waves.maxwell(grid, 0.01, permittivity=body, components=waves.te, conductivity=1.0)
    with pytest.raises(ValueError, match="permittivity is an interface, .* got 0.0 and 2 poles"):
        waves.maxwell(grid, 0.01, permittivity=body, components=waves.te, poles=POLES)
