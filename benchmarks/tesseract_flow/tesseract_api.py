"""The spectral solver as a Tesseract that fits Mosaic's problem `navier-stokes-grid`."""

from typing import Any

from mosaic_shared.problems.navier_stokes_grid import InputSchema as GridInputs
from mosaic_shared.problems.navier_stokes_grid import OutputSchema as GridOutputs
from mosaic_shared.types import make_differentiable
from pydantic import model_validator
from spectral import evaluate, pullback

Inputs = make_differentiable(GridInputs, ["v0", "viscosity", "dt", "inflow_profile"])
OutputSchema = make_differentiable(GridOutputs, ["result", "drag"])


class InputSchema(Inputs):
    """Flow in a box that is periodic along every axis."""

    @model_validator(mode="after")
    def check_sides(self) -> "InputSchema":
        """Refuse walls and inflow."""
        if not self.boundary_conditions.is_fully_periodic:
            raise ValueError(
                f"boundary_conditions must be periodic on all sides, got {self.boundary_conditions}"
            )
        return self


def apply(inputs: InputSchema) -> OutputSchema:
    """The velocity after the steps."""
    return evaluate(inputs.model_dump())


def abstract_eval(abstract_inputs: Any) -> dict[str, Any]:
    """Shape and type of the velocity are those of the start."""
    start = abstract_inputs.model_dump()["v0"]
    return {"result": {"shape": start["shape"], "dtype": start["dtype"]}}


def vector_jacobian_product(
    inputs: InputSchema,
    vjp_inputs: set[str],
    vjp_outputs: set[str],
    cotangent_vector: dict[str, Any],
) -> dict[str, Any]:
    """One reverse sweep to all the inputs that are asked for."""
    cotangents = {name: cotangent_vector[name] for name in vjp_outputs}
    return pullback(inputs.model_dump(), vjp_inputs, cotangents)
