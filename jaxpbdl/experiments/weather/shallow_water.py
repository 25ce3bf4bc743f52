"""Standard tests of shallow water on the sphere.

Solid rotation (case 2 of Williamson, Drake, Hack, Jakob and Swarztrauber, J. Comput. Phys. 102
(1992) 211), a mountain (5), a Rossby-Haurwitz wave (6, and the same wave in a flow without
divergence, where it is exact), and the jet of Galewsky, Scott and Polvani, Tellus A 56 (2004) 429,
which breaks up. Errors of the height are in the L2 norm over that of the height: against the exact
solution in case 2, in cases 5 and 6 against the same solver at a finer truncation.
"""

from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import jaxpbdl as jp
from jaxpbdl import plotting
from jaxpbdl.equations.sphere import EARTH_RADIUS, BarotropicVorticity, ShallowWater
from jaxpbdl.experiments.configuration import Count, Positive, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.grids import SphericalHarmonics, resized, sphere_for
from jaxpbdl.solvers.sphere import (
    barotropic_wave,
    mountain,
    on_sphere,
    shallow_water_wave,
    solid_rotation,
    unstable_jet,
)
from jaxpbdl.solvers.sphere.initial import DAY, GRAVITY, WAVE_NUMBER, wave_speed
from jaxpbdl.step import Step

GME = "GME icosahedral model, 368642 points (icon.enes.org/swm/gmeswm/node6.html)"
EXACT = "Haurwitz 1940, degrees a day"
TILTS = (0.0, 0.05, np.pi / 2)


@dataclass(frozen=True)
class Config(Validated):
    """Settings; nothing is drawn at random, `seed` is of no account."""

    seed: int = 0
    truncation: Count = 42
    """The highest degree of the runs."""
    finer: Count = 63
    """That of the runs which cases 5 and 6 are held against, and of the jet."""
    longest: Positive = 1200.0
    """Time step at truncation 42 in seconds, in inverse proportion elsewhere."""
    days: tuple[Positive, Positive, Positive, Positive] = (5.0, 15.0, 10.0, 6.0)
    """Of case 2 and the exact wave, case 5, case 6, and the jet."""

    def __post_init__(self):
        super().__post_init__()
        if not 5 <= self.truncation < self.finer:
            raise ValueError(
                f"truncation must be at least 5, the degree of the wave, and below finer = "
                f"{self.finer}, got {self.truncation}"
            )


def harmonics_of(truncation: int) -> SphericalHarmonics:
    """On the smallest grid free of aliasing."""
    return SphericalHarmonics(sphere_for(truncation, EARTH_RADIUS), truncation)


@eqx.filter_jit
def _run(step: Step, state: jax.Array) -> jax.Array:
    return step(state)


def forecast(
    config: Config,
    equation: ShallowWater | BarotropicVorticity,
    state: jax.Array,
    harmonics: SphericalHarmonics,
    days: float,
) -> jax.Array:
    """The state some days later."""
    steps = int(np.ceil(days * DAY / config.longest * harmonics.truncation / 42))
    step = on_sphere(equation, harmonics, days * DAY / steps)
    step.check(state)
    return _run(jp.repeat(step, steps), state)


def relative(harmonics: SphericalHarmonics, found: jax.Array, known: jax.Array) -> float:
    """The L2 norm of the difference over that of what is known."""
    integral = harmonics.grid.integral
    return float(jnp.sqrt(integral((found - known) ** 2) / integral(known**2)))


def surface(
    equation: ShallowWater, state: jax.Array, harmonics: SphericalHarmonics
) -> tuple[jax.Array, jax.Array]:
    """Coefficients and values of the height of the free surface, m."""
    ground = equation.ground(harmonics.grid)
    modes = harmonics.transform(state[2] + ground) / GRAVITY
    return modes, harmonics.to_grid(modes)


def extrema(values: jax.Array) -> dict[str, float]:
    return {"height_min": float(jnp.min(values)), "height_max": float(jnp.max(values))}


def run(config: Config, folder: Path) -> Result:
    """All cases in double precision; a picture goes to `folder`."""
    with jax.enable_x64(True):
        return _cases(config, folder)


def _cases(config: Config, folder: Path) -> Result:
    coarse, fine = (harmonics_of(t) for t in (config.truncation, config.finer))
    short, over_mountain, of_wave, of_jet = config.days
    found: dict[str, dict[str, float]] = {}

    errors = []
    for tilt in TILTS:
        equation, state = solid_rotation(coarse, tilt)
        later = forecast(config, equation, state, coarse, short)
        errors.append(relative(coarse, later[2], state[2]))
    found["williamson2"] = {"l2": max(errors)}

    maps = {}
    cases = {"williamson5": (mountain, over_mountain), "williamson6": (shallow_water_wave, of_wave)}
    for name, (case, days) in cases.items():
        equation, state = case(coarse)
        later = forecast(config, equation, state, coarse, days)
        modes, height = surface(equation, later, coarse)
        better, start = case(fine)
        reference = forecast(config, better, start, fine, days)
        known = surface(better, reference, fine)[1]
        on_finer = fine.to_grid(resized(modes, config.finer))
        before, after = (
            np.asarray(equation.invariants(each, coarse)) for each in (state, later)
        )  # fmt: skip
        drifts = zip(("mass", "energy", "enstrophy"), after / before - 1, strict=True)
        found[name] = {"l2": relative(fine, on_finer, known), **extrema(height)}
        found[name] |= {f"{quantity}_drift": float(drift) for quantity, drift in drifts}
        maps[f"{name[:-1].capitalize()} {name[-1]}, day {days:g}"] = (known, reference[0], fine)

    found["rossby_haurwitz"] = {"phase_speed": phase_speed(config, coarse, short)}

    equation, state = unstable_jet(fine)
    later = forecast(config, equation, state, fine, of_jet)
    height = later[2] / GRAVITY
    rms = jnp.sqrt(fine.grid.integral(later[0] ** 2) / fine.grid.volume)
    found["galewsky"] = {
        "vorticity_min": float(jnp.min(later[0])),
        "vorticity_max": float(jnp.max(later[0])),
        "vorticity_rms": float(rms),
        **extrema(height),
    }
    maps[f"Galewsky, day {of_jet:g}"] = (height, later[0], fine)
    _picture(maps, folder)

    published = {"rossby_haurwitz.phase_speed": Published(np.rad2deg(wave_speed()) * DAY, EXACT)}
    if config.days[1:3] == (15.0, 10.0):
        published["williamson5.l2"] = Published(6.67e-4, GME)
        published["williamson6.l2"] = Published(9.69e-4, GME)
    against = f"T{config.truncation} against T{config.finer}"
    notes = {
        "williamson2": f"T{config.truncation}, {short:g} days, the largest of three tilts",
        "williamson5": against,
        "williamson6": against,
        "rossby_haurwitz": "without divergence, exact; degrees a day",
        "galewsky": f"T{config.finer}, viscosity 1e5 m^2/s, day {of_jet:g}",
    }
    metrics = {f"{name}.{each}": v for name, values in found.items() for each, v in values.items()}
    return Result(metrics, published, notes=notes)


def phase_speed(config: Config, harmonics: SphericalHarmonics, days: float) -> float:
    """Of the wave in a flow without divergence, degrees a day."""
    equation, state = barotropic_wave(harmonics)
    later = forecast(config, equation, state, harmonics, days)
    place = WAVE_NUMBER, WAVE_NUMBER + 1
    ratio = harmonics.transform(later)[place] / harmonics.transform(state)[place]
    # The phase counts whole waves; how many have gone by is known from the exact speed.
    angle = -float(jnp.angle(ratio)) / WAVE_NUMBER
    wave = 2 * np.pi / WAVE_NUMBER
    whole = round((wave_speed() * days * DAY - angle) / wave)
    return float(np.rad2deg(angle + whole * wave) / days)


def _picture(
    maps: dict[str, tuple[jax.Array, jax.Array, SphericalHarmonics]], folder: Path
) -> None:
    """`maps.png`: the height less its mean above, the vorticity below."""
    figure, axes = plotting.figure(2, len(maps), size=(3.6, 2.2))
    for column, (name, (height, vorticity, harmonics)) in enumerate(maps.items()):
        mean = harmonics.grid.integral(height) / harmonics.grid.volume
        shown = {f"{name}: height less its mean, m": height - mean, "vorticity, 1/s": vorticity}
        for ax, (title, values) in zip(axes[:, column], shown.items(), strict=True):
            plotting.field(ax, np.asarray(values).T, (360.0, 180.0), title=title, bar="")
            ax.set(xlabel="longitude", ylabel="latitude")
            ax.set_yticks([0, 90, 180], ["-90", "0", "90"])
    plotting.save(figure, folder / "maps.png")


EXPERIMENT = Experiment(
    name="shallow-water",
    summary="shallow water on the sphere: solid rotation, mountain, Rossby-Haurwitz wave, jet",
    presets={"quick": Config(), "full": Config(truncation=85, finer=170)},
    run=run,
)
