"""Maxwell's equations in time on staggered cells (FDTD)."""

from jaxpbdl.solvers.waves import exact
from jaxpbdl.solvers.waves.assembly import maxwell
from jaxpbdl.solvers.waves.components import Components, ey_hz, ez_hy, full, te, tm
from jaxpbdl.solvers.waves.far_field import far_amplitude
from jaxpbdl.solvers.waves.interfaces import Interface, interface
from jaxpbdl.solvers.waves.invariants import charge, energy
from jaxpbdl.solvers.waves.media import Pole, drude, lorentz, smoothed
from jaxpbdl.solvers.waves.modes import frequencies
from jaxpbdl.solvers.waves.monitors import box, spectra, transformed
from jaxpbdl.solvers.waves.plane_wave import plane_wave
from jaxpbdl.solvers.waves.sides import Bloch, Side, absorbing, bloch, pec, pmc
from jaxpbdl.solvers.waves.sources import dipole, pulse
from jaxpbdl.solvers.waves.waveguides import Mode, mode_monitor, mode_source, slab_modes
from jaxpbdl.solvers.waves.yee import Fields, MaxwellStep

__all__ = [
    "Bloch",
    "Components",
    "Fields",
    "Interface",
    "MaxwellStep",
    "Mode",
    "Pole",
    "Side",
    "absorbing",
    "bloch",
    "box",
    "charge",
    "dipole",
    "drude",
    "energy",
    "exact",
    "ey_hz",
    "ez_hy",
    "far_amplitude",
    "frequencies",
    "full",
    "interface",
    "lorentz",
    "maxwell",
    "mode_monitor",
    "mode_source",
    "pec",
    "plane_wave",
    "pmc",
    "pulse",
    "slab_modes",
    "smoothed",
    "spectra",
    "te",
    "tm",
    "transformed",
]
