"""Data as they come: MATLAB, NetCDF and xarray, plain HDF5, all to the same trajectories.

Whatever the file, a trajectory set has values `(trajectories, times, channels, *grid)` with times,
coordinates and names, and `Windows` draws training data from it. Takes 15 seconds.
"""

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import scipy.io

import jaxpbdl as jp
from jaxpbdl import data
from jaxpbdl.learning import Windows

if __name__ == "__main__":
    grid = jp.grids.Periodic(32)
    step = jp.solvers.spectral.semilinear(jp.equations.Burgers(0.1), grid, 0.05)
    starts = jnp.stack([jnp.sin(grid.axes[0] + shift) for shift in range(3)])
    solved = np.asarray(jax.vmap(lambda u: jp.rollout(step, u, 40, every=4))(starts))
    times, (x,) = 0.2 * np.arange(11), (np.asarray(grid.axes[0]),)

    # As others left them.
    scipy.io.savemat("burgers.mat", {"u": solved, "t": times, "x": x}, do_compression=True)
    with h5py.File("burgers.h5", "w") as file:
        file["run/velocity"], file["run/t"], file["run/x"] = solved, times, x

    arrays = data.read_mat("burgers.mat", ("u", "t", "x"))
    values, axes = arrays["u"][:, :, None], (arrays["x"].ravel(),)
    from_matlab = data.Trajectories(values, arrays["t"].ravel(), axes, ("u",))
    with h5py.File("burgers.h5") as file:
        run = {name: np.asarray(file["run"][name]) for name in ("velocity", "t", "x")}
    from_hdf5 = data.Trajectories(run["velocity"][:, :, None], run["t"], (run["x"],), ("u",))

    data.write_netcdf("burgers.nc", from_matlab)  # what xarray and other tools open
    from_netcdf = data.read_netcdf("burgers.nc")
    dataset = data.to_xarray(from_hdf5)
    print(dataset.sizes, "mean of u:", float(dataset["u"].mean()))
    from_dataset = data.from_xarray(dataset.isel(time=slice(0, None, 2)))

    for each in (from_matlab, from_hdf5, from_netcdf):
        np.testing.assert_allclose(each.values[:, :, 0], solved, rtol=1e-6)
    windows = Windows(jnp.asarray(from_netcdf.values[:, :, 0]), steps=5, batch=4)
    drawn = windows(jax.random.key(1))
    print("windows", drawn.shape, "every second time", from_dataset.values.shape)
    assert drawn.shape == (4, 6, 32) and from_dataset.values.shape[1] == 6
