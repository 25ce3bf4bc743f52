"""Incompressible flow on staggered cells."""

from jaxpbdl.solvers.flow.assembly import incompressible
from jaxpbdl.solvers.flow.backtracing import backtraced, maccormack
from jaxpbdl.solvers.flow.closures import Closure, Smagorinsky
from jaxpbdl.solvers.flow.conditions import Flux, Held, flux, held
from jaxpbdl.solvers.flow.forces import force_on_body, pressure_on_body, torque_on_body
from jaxpbdl.solvers.flow.frames import FrameStep, frame_inputs, in_frame
from jaxpbdl.solvers.flow.heat import scalar_from_body, scalar_through_sides
from jaxpbdl.solvers.flow.learned_closure import LearnedViscosity
from jaxpbdl.solvers.flow.limits import stable_dt
from jaxpbdl.solvers.flow.operators import central, limited
from jaxpbdl.solvers.flow.projection import IncompressibleStep
from jaxpbdl.solvers.flow.semi_implicit import SemiImplicitStep, semi_implicit
from jaxpbdl.solvers.flow.sides import Side, inflow, outflow, slip, wall
from jaxpbdl.solvers.flow.sliding_step import SlidingStep, sliding
from jaxpbdl.solvers.flow.stable import StableStep, stable_fluids
from jaxpbdl.solvers.flow.state import Flow
from jaxpbdl.solvers.flow.steady import steady
from jaxpbdl.solvers.flow.stencils import LinearStencils
from jaxpbdl.solvers.flow.surfaces import spin
from jaxpbdl.solvers.flow.vorticity import VorticityForm, vorticity_form

__all__ = [
    "Closure",
    "Flow",
    "Flux",
    "FrameStep",
    "Held",
    "IncompressibleStep",
    "LearnedViscosity",
    "LinearStencils",
    "SemiImplicitStep",
    "Side",
    "SlidingStep",
    "Smagorinsky",
    "StableStep",
    "VorticityForm",
    "backtraced",
    "central",
    "flux",
    "force_on_body",
    "frame_inputs",
    "held",
    "in_frame",
    "incompressible",
    "inflow",
    "limited",
    "maccormack",
    "outflow",
    "pressure_on_body",
    "scalar_from_body",
    "scalar_through_sides",
    "semi_implicit",
    "sliding",
    "slip",
    "spin",
    "stable_dt",
    "stable_fluids",
    "steady",
    "torque_on_body",
    "vorticity_form",
    "wall",
]
