"""Designs judged by invrs-gym, in an environment of its own (`pip install invrs-gym imageruler`).

`python photonic_referee.py NAME DESIGN.csv ...` with a name of invrs-gym, such as
`ceviche_lightweight_waveguide_bend`, prints the metric, the smallest width and spacing in pixels by
imageruler (with what it forgives at edges, and strictly), whether the border is as it must be, and
the powers, a row for each wavelength.
"""

import dataclasses
import sys
import types

import numpy as np


class Unused:
    """In place of refractive indices that invrs-gym would download; these challenges need none."""

    def __init__(self, **_):
        pass


def main(name: str, paths: list[str]) -> None:
    stand_in = types.ModuleType("refractiveindex2")
    stand_in.RefractiveIndexMaterial = Unused  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules["refractiveindex2"] = stand_in
    import imageruler  # pyright: ignore[reportMissingImports]
    import jax
    from invrs_gym import challenges  # pyright: ignore[reportMissingImports]

    jax.config.update("jax_enable_x64", True)
    challenge = challenges.BY_NAME[name]()
    params = challenge.component.init(jax.random.key(0))
    for path in paths:
        design = np.loadtxt(path, delimiter=",")
        if design.shape != params.array.shape:
            raise ValueError(f"{path} must hold {params.array.shape} pixels, got {design.shape}")
        kept = np.all(design[params.fixed_solid] == 1) and np.all(design[params.fixed_void] == 0)
        response, _ = challenge.component.response(dataclasses.replace(params, array=design))
        solid = design > 0.5
        strict = imageruler.minimum_length_scale(solid, ignore_scheme=imageruler.IgnoreScheme.NONE)
        print(
            f"{path}: metric {float(challenge.eval_metric(response)):.4f}, width and spacing "
            f"{imageruler.minimum_length_scale(solid)}, strictly {strict}, "
            f"binary {np.isin(design, (0, 1)).all()}, border kept {kept}"
        )
        print(np.array2string(np.abs(np.asarray(response.s_parameters)[:, 0]) ** 2, precision=4))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
