"""Machines and equilibria with published or independently computed solutions."""

import jax.numpy as jnp
import numpy as np

from jaxpbdl.solvers.plasma import (
    AxisPressure,
    PowerShape,
    Rectangle,
    coils,
    filaments,
    joined,
    rectangular,
    tokamak,
)

# Four coils: P1L, P1U, P2L, P2U. The currents of P1 spread over squares.
FOUR_LIMITER = [[0.3, -0.85], [1.55, -0.85], [1.72, -0.3], [1.72, 0.3], [1.55, 0.85], [0.3, 0.85]]
FOUR_CURRENTS = (153048.6, 62763.1, -98023.2, -57523.1)


def four_coils(shape, moved=0.0):
    grid = Rectangle(shape, (0.1, -1.0), (2.0, 1.0))
    machine = coils(
        rectangular(1.0, -1.1, 0.1, 0.1),
        rectangular(1.0, 1.1, 0.1, 0.1),
        filaments(jnp.asarray(1.75) + moved, -0.6),
        filaments(1.75, 0.6),
    )
    return tokamak(grid, machine, FOUR_LIMITER)


def four_profile():
    return AxisPressure(PowerShape(1.0, 2.0), 2e5, 1e3)


# A spherical torus with up-down symmetric coils (columns, rows, first R, first |Z|, pitches,
# whether the last row lacks its outermost turn), and the current of each circuit.
BLOCKS = {
    "PX": ((2, 22, 0.2345, 1.029, 0.014, 0.019, False), 7768.082016),
    "D1": ((6, 6, 0.35275, 1.54175, 0.0147, 0.0147, True), 7629.728535),
    "D2": ((6, 4, 0.52975, 1.71695, 0.0147, 0.0147, True), 5670.476677),
    "D3": ((6, 4, 0.77075, 1.96295, 0.0147, 0.0147, True), 6022.404676),
    "Dp": ((6, 4, 0.88875, 1.47395, 0.0147, 0.0147, True), -4091.731597),
    "D5": ((4, 7, 1.87795, 1.9059, 0.0147, 0.0147, True), 1051.573734),
    "D6": ((6, 4, 1.24825, 1.44795, 0.0147, 0.0147, True), 461.816335),
    "D7": ((6, 4, 1.48325, 1.44795, 0.0147, 0.0147, True), 89.948620),
    "P4": ((6, 4, 1.435, 1.043, 0.026, 0.038, True), -2190.065275),
    "P5": ((6, 4, 1.585, 0.300, 0.026, 0.038, True), -4749.731748),
}
SPHERICAL_CURRENTS = (15000.0, *(current for _, current in BLOCKS.values()))
SPHERICAL_LIMITER = [
    [0.3, -1.05], [0.45, -1.3], [0.8, -1.3], [1.35, -0.95], [1.54, -0.6], [1.54, 0.6],
    [1.35, 0.95], [0.8, 1.3], [0.45, 1.3], [0.3, 1.05],
]  # fmt: skip


def block(columns, rows, r, z, pitch_r, pitch_z, incomplete):
    radius, height = np.meshgrid(
        r + pitch_r * np.arange(columns), z + pitch_z * np.arange(rows), indexing="ij"
    )
    kept = np.ones(radius.shape, bool)
    kept[-1, -1] = not incomplete
    upper = filaments(radius[kept], height[kept])
    return joined([upper, filaments(radius[kept], -height[kept])])


def spherical(shape):
    grid = Rectangle(shape, (0.1, -2.2), (2.0, 2.2))
    solenoid = filaments(0.19475, np.linspace(-1.581, 1.581, 324))
    circuits = [block(*entry) for entry, _ in BLOCKS.values()]
    return tokamak(grid, coils(solenoid, *circuits), SPHERICAL_LIMITER)


def spherical_profile():
    return AxisPressure(PowerShape(1.8, 1.2), 6.2e5, 8.1e3)
