"""Smoke under control: the shapes, the forces, the controller, the error, a tiny run."""

import json
from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxpbdl.experiments import contract
from jaxpbdl.experiments.control import smoke_control as control
from jaxpbdl.experiments.control import smoke_controller
from jaxpbdl.experiments.control import smoke_shapes as shapes
from jaxpbdl.networks import UNet

TINY = control.Config(
    cells=16,
    width=2,
    every=8,
    training=replace(control.Config.training, batch=1, updates=2),
    tests=4,
    optimised=4,
    descents=8,
    refinements=4,
)


@pytest.mark.parametrize("cells", [32, 64])
def test_shapes_are_of_one_area_in_one_piece_and_without_holes(cells):
    masks, lowest, highest = shapes.library(cells)
    areas = masks.sum((1, 2))
    np.testing.assert_allclose(areas, shapes.AREA * cells**2, rtol=0.06 if cells == 64 else 0.2)
    assert all(ndimage.label(part)[1] == 1 for mask in masks for part in (mask, ~mask))
    different = {mask.tobytes() for mask in masks}
    assert len(different) == 10
    for mask, low, high in zip(masks, lowest, highest, strict=True):
        for shift in (low, high):
            moved = np.roll(mask, shift, (0, 1))
            assert moved[1:-1, 1:-1].sum() == mask.sum()
        assert np.roll(mask, low - 1, (0, 1))[1:-1, 1:-1].sum() < mask.sum()


def test_tasks_of_other_keys_are_others():
    first, second = (shapes.tasks(jax.random.key(n), 40, 32) for n in (0, 1))
    for smoke in (*first, *second):
        assert set(np.unique(smoke)) == {0, 1}
    both = [np.concatenate(pair, axis=1) for pair in (first, second)]
    assert len({row.tobytes() for rows in both for row in rows}) == 80
    again = shapes.tasks(jax.random.key(0), 40, 32)
    np.testing.assert_array_equal(again[0], first[0])


def test_known_error_and_force():
    start, target = jnp.zeros((2, 16, 16)).at[0, 2:6, 2:6].set(1).at[1, 9:13, 2:6].set(1)
    assert float(control.relative_mae(start, target, target)) == 0
    assert float(control.relative_mae(start, start, target)) == 1
    half = 0.5 * target  # half of the smoke in its place, half lost: 8 of 32
    assert float(control.relative_mae(start, half, target)) == 0.25
    streams = jnp.zeros((16, 15, 15)).at[3, 4, 5].set(3.0)  # one eddy: on four faces
    assert float(control.force(streams)) == pytest.approx(0.5 * 4 * 9 / 16)
    along_x, along_y = smoke_controller.forces(streams)
    assert along_x.shape == (16, 17, 16) and along_y.shape == (16, 16, 17)
    outflow = jnp.diff(along_x, axis=1) + jnp.diff(along_y, axis=2)
    np.testing.assert_allclose(outflow, 0, atol=1e-6)
    assert float(jnp.abs(along_x[:, [0, -1]]).max()) == 0


def test_a_force_gives_the_velocity_that_leads_to_the_target():
    start, target = jnp.zeros((2, 32, 32)).at[0, 9:15, 10:16].set(1).at[1, 14:20, 8:14].set(1)
    rest = (jnp.zeros((32, 32)),) * 2
    stream = smoke_controller.carrying(rest, start, target, jnp.array(10.0))
    along_x, along_y = smoke_controller.forces(stream[None])
    in_cells = (along_x[0, 1:] + along_x[0, :-1]) / 2, (along_y[0, :, 1:] + along_y[0, :, :-1]) / 2
    given = [float(jnp.sum(start * part) / 36) for part in in_cells]
    # 5 cells along x and -2 along y in 10 steps.
    np.testing.assert_allclose(given, [0.5, -0.2], rtol=0.05)
    moving = (jnp.full((32, 32), 0.5), jnp.full((32, 32), -0.2))
    stream = smoke_controller.carrying(moving, start, target, jnp.array(10.0))
    np.testing.assert_allclose(stream, 0, atol=1e-3)


@pytest.mark.x64
def test_the_loss_is_differentiated_through_all_steps():
    batch = shapes.tasks(jax.random.key(3), 1, 16)
    network = UNet(2, 130, 128, width=2, levels=1, periodic=False, key=jax.random.key(0))
    loss = control.Loss(1e-2)

    def scaled(size):
        weight = lambda tree: tree.decoder.weight  # noqa: E731
        grown = eqx.tree_at(weight, network, size * weight(network))
        return loss(control.Controller(grown, 8), batch)

    value = jax.jit(jax.value_and_grad(scaled))
    slope = (value(1 + 1e-5)[0] - value(1 - 1e-5)[0]) / 2e-5
    assert float(slope) != 0
    assert float(value(1.0)[1]) == pytest.approx(float(slope), rel=1e-4)


def test_a_tiny_run(tmp_path):
    contract.execute(control.EXPERIMENT, "quick", TINY, tmp_path)
    report = json.loads((tmp_path / "result.json").read_text())
    found = report["metrics"]
    both = ("relative_mae", "force")
    searches = ("optimised", "refined", "refined_plain")
    rows = ("no_force", "carried", "network_there", *searches)
    names = {f"{row}.{kind}" for row in rows for kind in both}
    names |= {f"{row}.seconds" for row in searches}
    assert set(found) == {*names, *both, "seconds"}
    assert found["no_force.relative_mae"] == 1 and found["no_force.force"] == 0
    assert 0 < found["carried.relative_mae"] < 1
    assert found["optimised.relative_mae"] < found["carried.relative_mae"]
    assert found["refined.relative_mae"] < found["network_there.relative_mae"]
    assert found["network_there.force"] == pytest.approx(found["force"])
    assert not report["published"]  # of 64 cells
    assert (tmp_path / "control.png").exists() and (tmp_path / "control.gif").exists()


def test_known_distances():
    """Half way to the target the difference is half, the squares of all blurs a quarter; what is
    blurred beside sums over all cells."""
    start, target = np.zeros((2, 16, 16), np.float32)
    start[2:6, 2:6], target[7:11, 4:9] = 1.0, 0.8
    half = (start + target) / 2
    plain = np.abs(start - target).mean() / (np.abs(start - target).mean() + 0.03 * target.mean())
    x = 4.0 * np.arange(16)  # in cells of 1/64
    blurs = 0.0
    for width in control.WIDTHS:
        bell = np.exp(-((x[:, None] - x) ** 2) / (2 * width**2))
        sizes = [
            np.sum(np.einsum("ik,jl,kl->ij", bell, bell, each) ** 2)
            for each in (start - target, target)
        ]
        blurs += sizes[0] / (sizes[0] + 0.03 * sizes[1])
    distance = partial(control.distance, jnp.asarray(start), target=jnp.asarray(target))
    found = [float(distance(jnp.asarray(each))) for each in (target, start, half)]
    np.testing.assert_allclose(found, [0, plain + blurs, plain / 2 + blurs / 4], rtol=1e-4)


@pytest.mark.stand_ins
def test_measures_are_means_over_tests(monkeypatch):
    start, target = np.zeros((2, 2, 4, 4), np.float32)
    target[:] = 1
    smoke = np.stack([start + 7, start + np.reshape([0.5, 0.9], (2, 1, 1))], axis=1)
    streams = np.zeros((2, 16, 3, 3), np.float32)
    streams[1, 4, 1, 1] = 2.0  # one eddy: on four faces
    found = control.measures(*(jnp.asarray(each) for each in (start, smoke, streams, target)))
    assert found["relative_mae"] == pytest.approx((0.5 + 0.1) / 2, rel=1e-5)
    assert found["force"] == pytest.approx(0.5 * 4 * 4 / 16 / 2)


@pytest.mark.stand_ins
def test_the_loss_adds_the_force(monkeypatch):
    """Means over the tasks of a batch; the end counts."""
    smoke = jnp.stack([jnp.full((4, 4), 9.0), jnp.full((4, 4), 1.0)])
    monkeypatch.setattr(control, "steered", lambda controller, start, target: (smoke, "streams"))
    monkeypatch.setattr(control, "distance", lambda start, reached, target: reached[0, 0] + start)
    monkeypatch.setattr(control, "force", lambda streams: 5.0)
    batch = (jnp.asarray([1.0, 3.0]), jnp.asarray([0.0, 0.0]))
    assert float(control.Loss(0.1)(None, batch)) == pytest.approx(1 + 2 + 0.5)


def test_a_target_upon_the_start():
    start, _ = shapes.tasks(jax.random.key(0), 1, 16)
    distance = lambda reached: control.distance(start[0], reached, start[0])  # noqa: E731
    value, slope = jax.jit(jax.value_and_grad(distance))(start[0])
    assert float(value) == 0 and np.isfinite(slope).all()


def test_bad_input():
    with pytest.raises(ValueError, match="cells must be a multiple of 16, got 40"):
        control.Config(cells=40)
    with pytest.raises(ValueError, match="every must divide 16, got 3"):
        control.Config(every=3)
    with pytest.raises(ValueError, match="optimised must be at most tests = 8, got 9"):
        control.Config(tests=8, optimised=9)
