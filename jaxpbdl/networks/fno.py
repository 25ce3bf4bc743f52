"""Fourier neural operators: networks between functions, which act on samples at any resolution."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.networks.convolution import check_field
from jaxpbdl.networks.dense import Dense
from jaxpbdl.networks.spectral_convolution import (
    FactorisedSpectralConvolution,
    SpectralConvolution,
    mode_counts,
)

Activation = Callable[[Array], Array]
Padding = tuple[float, ...]


def padding_of(padding: float | Sequence[float], ndim: int) -> Padding:
    """One part an axis, checked."""
    parts = (padding,) * ndim if isinstance(padding, int | float) else tuple(padding)
    if len(parts) != ndim:
        raise ValueError(f"padding must be one number or one for each of {ndim} axes, got {parts}")
    for part in parts:
        checks.non_negative("padding", part)
    return tuple(map(float, parts))


def pointwise(network: Callable[[Array], Array], field: Float[Array, "*grid in"]) -> Array:
    """A network on one vector, at every point of a field with its channels last."""
    for _ in range(field.ndim - 1):
        network = jax.vmap(network)
    return network(field)


class FourierLayer(eqx.Module):
    """`u -> K u + W u + b`, with K a spectral convolution and W a matrix at every point."""

    convolution: SpectralConvolution | FactorisedSpectralConvolution
    skip: Dense
    mixer: Dense | None

    def channels_last(self, field: Array, activation: Activation, last: bool) -> Array:
        """With an activation unless it is the `last`, and the mixer as a residual after that."""
        field = self.convolution.channels_last(field) + pointwise(self.skip, field)
        field = field if last else activation(field)
        return field if self.mixer is None else field + pointwise(self.mixer, field)


def fourier_layer(
    in_channels: int,
    out_channels: int,
    modes: Sequence[int],
    *,
    factorised: bool = False,
    mixer: int | None = None,
    activation: Activation = jax.nn.gelu,
    key: PRNGKeyArray,
) -> FourierLayer:
    """A layer from one number of channels to another, on as many axes as there are `modes`."""
    kind = FactorisedSpectralConvolution if factorised else SpectralConvolution
    spectral, skip, mix = jax.random.split(key, 3)
    network = None
    if mixer is not None:
        network = Dense((out_channels, mixer, out_channels), activation=activation, key=mix)
    # Two terms of equal weight: together they have the energy of the field.
    return FourierLayer(
        kind(len(modes), in_channels, out_channels, modes, scale=0.5**0.5, key=spectral),
        Dense((in_channels, out_channels), scale=0.5**0.5, key=skip),
        network,
    )


def check_lifted(name: str, lift: Dense, field: Array, ndim: int, coordinates: bool) -> None:
    """Refuse a field whose channels, with its coordinates, are not those that `lift` takes."""
    check_field(name, field, lift.weights[0].shape[0] - ndim * coordinates, ndim)


def lifted(
    lift: Dense, field: Float[Array, "channels *grid"], coordinates: bool, padding: Padding
) -> Float[Array, "*padded width"]:
    """The lifting at every point, after coordinates are appended and before zeros are."""
    grid = field.shape[1:]
    if coordinates:
        field = jnp.concatenate([field, positions(grid).astype(field.dtype)])
    field = pointwise(lift, jnp.moveaxis(field, 0, -1))
    extra = [(0, round(part * points)) for part, points in zip(padding, grid, strict=True)]
    return jnp.pad(field, [*extra, (0, 0)]) if any(padding) else field


def projected(
    project: Dense, field: Float[Array, "*padded width"], grid: Sequence[int]
) -> Float[Array, "channels *grid"]:
    """The projection at every point of the grid, without what was padded."""
    field = field[tuple(slice(points) for points in grid)]
    return jnp.moveaxis(pointwise(project, field), -1, 0)


def positions(grid: Sequence[int]) -> Array:
    """`x_a = i_a / N_a` of every axis, `(ndim, *grid)`."""
    axes = [jnp.arange(points) / points for points in grid]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"))


class FNO(eqx.Module):
    """Lifting, `depth` Fourier layers, projection (Li et al., ICLR 2021, arXiv:2010.08895).

        u_0 = lift(a, x),  u_{l+1} = activation(K_l u_l + W_l u_l + b_l),  out = project(u_depth)

    The last layer has no activation. Lifting and projection act at every point. The weights know
    no grid: sampled more finely, a smooth input gives the same function, sampled more finely.

    **Arguments**

    - `modes`: wavenumbers `|k| < modes` are kept, one number or one an axis.
    - `width`: channels of the Fourier layers; `hidden`: those between them and the output.
    - `coordinates`: append `x_a = i_a / N_a` of every axis to the input channels.
    - `padding`: for a box that is not periodic, part of its length by which the lifted field is
      continued with zeros, so that its two ends do not meet; one number for all axes or one each.
    - `factorised`: one transform for each axis in place of the one over all (Tran et al., ICLR
      2023, arXiv:2111.13802).
    - `mixer`: hidden channels of a residual network at every point after each layer, or None.
    - `zero_last`: start at zero output.
    """

    lift: Dense
    layers: tuple[FourierLayer, ...]
    project: Dense
    activation: Activation = eqx.field(static=True)
    coordinates: bool = eqx.field(static=True)
    padding: Padding = eqx.field(static=True)

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        *,
        modes: int | Sequence[int] = 12,
        width: int = 32,
        depth: int = 4,
        hidden: int = 64,
        activation: Activation = jax.nn.gelu,
        coordinates: bool = False,
        padding: float | Sequence[float] = 0.0,
        factorised: bool = False,
        mixer: int | None = None,
        zero_last: bool = False,
        key: PRNGKeyArray,
    ):
        """Raises ValueError for sizes below one or a negative padding."""
        checks.counts(
            ndim=ndim,
            in_channels=in_channels,
            out_channels=out_channels,
            width=width,
            depth=depth,
            hidden=hidden,
        )
        modes = mode_counts(modes, ndim)
        first, last, *keys = jax.random.split(key, depth + 2)
        self.lift = Dense((in_channels + ndim * coordinates, width), key=first)
        self.project = Dense(
            (width, hidden, out_channels),
            activation=activation, zero_last=zero_last, key=last,
        )  # fmt: skip
        self.layers = tuple(
            fourier_layer(
                width,
                width,
                modes,
                factorised=factorised,
                mixer=mixer,
                activation=activation,
                key=k,
            )
            for k in keys
        )
        self.activation, self.coordinates = activation, coordinates
        self.padding = padding_of(padding, ndim)

    def __call__(
        self, field: Float[Array, " in_channels *grid"]
    ) -> Float[Array, " out_channels *grid"]:
        """Raises ValueError for another rank or number of channels, or too small a grid."""
        check_lifted(
            "FNO", self.lift, field, len(self.layers[0].convolution.modes), self.coordinates
        )
        grid = field.shape[1:]
        field = lifted(self.lift, field, self.coordinates, self.padding)
        for number, layer in enumerate(self.layers, start=1):
            field = layer.channels_last(field, self.activation, number == len(self.layers))
        return projected(self.project, field, grid)
