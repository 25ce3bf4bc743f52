"""Functions called with physical quantities."""

from typing import Annotated

import jax
import jax.numpy as jnp
import pint
import pytest

import jaxpbdl as jp

unit = pint.get_application_registry()


@jp.with_units
def reynolds(
    speed: Annotated[jax.Array | float, "m/s"],
    size: Annotated[float, "m"],
    viscosity: Annotated[float, "m^2/s"] = 1e-6,
    factor: Annotated[float, "1"] = 1.0,
    name: str = "",
) -> Annotated[jax.Array | float, "1"]:
    return factor * speed * size / viscosity


@jp.with_units
def path(
    speed: Annotated[jax.Array, "m/s"], time: Annotated[float, "s"]
) -> tuple[Annotated[jax.Array, "m"], str, Annotated[jax.Array, "m^2/s^2"]]:
    return jax.jit(jnp.multiply)(speed, time), "and", speed**2 / 2


def test_units_are_converted():
    found = reynolds(10 * unit.cm / unit.s, size=1 * unit.mm, viscosity=1 * unit.mm**2 / unit.s)
    assert found.check("") and float(found) == pytest.approx(100)
    assert float(reynolds(3.6 * unit.km / unit.hour, 1 * unit.m, factor=2)) == pytest.approx(2e6)
    assert float(reynolds(1 * unit.m / unit.s, 1 * unit.m, factor=200 * unit.percent)) == (
        pytest.approx(2e6)
    )


def test_arrays_and_several_results():
    way, word, energy = path(jnp.array([36.0, 72.0]) * unit.km / unit.hour, 2 * unit.minute)
    assert isinstance(way.m, jax.Array) and word == "and"
    assert jnp.allclose(way.m_as("km"), jnp.array([1.2, 2.4]))
    assert jnp.allclose(energy.m_as("J/kg"), jnp.array([50.0, 200.0]))


@jp.with_units
def steps(
    length: Annotated[float, "m"], count: int, angle: Annotated[float, "degree"] | None = None
) -> tuple[Annotated[float, "cm"], ...]:
    return tuple(100 * length * (k + 1) + (angle or 0) for k in range(count))


def test_any_number_of_results_and_what_may_be_absent():
    found = steps(1 * unit.mm, 3)
    assert [one.m_as("mm") for one in found] == pytest.approx([1, 2, 3])
    turned = steps(1 * unit.mm, 1, angle=3.14159265 * unit.radian)
    assert turned[0].m_as("cm") == pytest.approx(180.1)
    assert steps(1 * unit.mm, 1, None)[0].m_as("cm") == pytest.approx(0.1)


def test_without_quantities_nothing_changes():
    assert reynolds(0.1, 1e-3) == pytest.approx(100)
    slope = jax.grad(lambda speed: path(speed, 2.0)[0])(jnp.array(3.0))
    assert slope == 2


def test_bad_input():
    with pytest.raises(ValueError, match=r"size must be .* converts to m, got one in second"):
        reynolds(1 * unit.m / unit.s, 1 * unit.s)
    with pytest.raises(TypeError, match="size has no unit, but speed has one"):
        reynolds(1 * unit.m / unit.s, 1.0)
    with pytest.raises(TypeError, match="name must be a plain value, got a quantity in meter"):
        reynolds(1 * unit.m / unit.s, 1 * unit.m, name=1 * unit.m)
    with pytest.raises(TypeError, match="no argument of f has a unit"):

        @jp.with_units
        def f(x: float) -> float:
            return x

    with pytest.raises(TypeError, match="angle has no unit, but length has one"):
        steps(1 * unit.mm, 1, 3.14)
    with pytest.raises(ValueError, match="the unit of x is not known: 'metr'"):

        @jp.with_units
        def g(x: Annotated[float, "metr"]) -> float:
            return x

    with pytest.raises(TypeError, match="x stands for any number of arguments"):

        @jp.with_units
        def h(*x: Annotated[float, "m"]) -> float:
            return sum(x)

    @jp.with_units
    def k(x: Annotated[float, "m"], *more: float, **options: float) -> float:
        return x + sum(more) + sum(options.values())

    with pytest.raises(TypeError, match="more must be plain values, got a quantity"):
        k(1 * unit.m, 2 * unit.m)
    with pytest.raises(TypeError, match="options must be plain values, got a quantity"):
        k(1.0, y=2 * unit.m)
