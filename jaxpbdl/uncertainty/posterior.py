"""Parameters from noisy data as a distribution: by least squares, by Laplace, by sampling.

    -2 log p(parameters | data) = |(model(parameters) - data) / noise|^2 + |prior(parameters)|^2

A prior is a function that gives of the parameters what is standard normal before any data. `infer`
takes the model as linear about the most probable parameters, `laplace` any density as normal about
its top, and `sample` takes nothing for granted: it draws by the No-U-Turn sampler of blackjax, in
the coordinates in which one of the two is standard normal.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.inference import least_squares, minimise, parameters
from jaxpbdl.inference.covariance import standard_errors

Unknowns = PyTree
LogDensity = Callable[[Unknowns], Float[Array, ""]]


def no_prior(unknowns: Unknowns) -> tuple[()]:
    """Nothing is known before the data."""
    return ()


class Gaussian(NamedTuple):
    """Parameters with a normal distribution."""

    values: Unknowns
    """The most probable ones, with everything else that `start` held."""
    covariance: Float[Array, "n n"]
    """Rows in the order of `jax.flatten_util.ravel_pytree` of the trainable arrays."""
    standard_errors: Unknowns
    """As `values`; zero for arrays that are not trained."""
    log_evidence: Float[Array, ""]
    """The logarithm of the probability of the data, up to a constant of the prior: larger for the
    better of two models (or of two sizes of a discrepancy) with priors of the same parameters."""

    def sample(self, key: PRNGKeyArray) -> Unknowns:
        """Parameters drawn from the distribution."""
        params, rest = parameters.split(self.values)
        flat, unravel = ravel_pytree(params)
        white = jax.random.normal(key, flat.shape, flat.dtype)
        return eqx.combine(unravel(flat + jnp.linalg.cholesky(self.covariance) @ white), rest)


def infer(
    model: Callable[[Unknowns], PyTree],
    data: PyTree,
    start: Unknowns,
    *,
    noise: PyTree,
    prior: Callable[[Unknowns], PyTree] = no_prior,
    steps: int = 200,
) -> Gaussian:
    """The most probable parameters and their covariance, `(J^T J + P^T P)^-1` with the Jacobians of
    `model / noise` and of `prior`. Exact where both are linear. Goes through jit and vmap.

        infer(snapshots, data, {"viscosity": 0.1}, noise=0.01)

    **Arguments**

    - `model`: parameters -> measurements, any pytree of real arrays: a solver's rollout, say.
    - `data`: what was measured, a tree like them.
    - `start`: where the search begins, a pytree; numbers, dictionaries and modules may be mixed,
      their `trainable` arrays are the unknowns.
    - `noise`: the standard deviation of the data, a number, or a tree like them.
    - `prior`: parameters -> what is standard normal before any data, a pytree, such as
      `lambda p: (p["viscosity"] - 0.1) / 0.05`.
    - `steps`: evaluations of the model with its derivatives, at most.

    **Raises** and warns as `inference.least_squares`: of parameters that neither the data nor the
    prior determine, and a search that did not converge.
    """
    number = jax.tree_util.all_leaves([noise])
    noises = (jax.tree.map(lambda _: noise, data) if number else noise, 1.0)

    def missed(unknowns: Unknowns) -> tuple[PyTree, PyTree]:
        measured = model(unknowns)
        if jax.tree.structure(measured) != jax.tree.structure(data):
            raise ValueError(
                f"model must give a tree like the data, {jax.tree.structure(data)}, got "
                f"{jax.tree.structure(measured)}"
            )
        return jax.tree.map(jnp.subtract, measured, data), prior(unknowns)

    weights = (noises[0], jax.tree.map(lambda _: 1.0, jax.eval_shape(prior, start)))
    found = least_squares(missed, start, noise=weights, steps=steps)
    scales = [
        jnp.sum(jnp.broadcast_to(jnp.log(2 * jnp.pi * jnp.asarray(one) ** 2), jnp.shape(leaf)))
        for one, leaf in zip(jax.tree.leaves(noises[0]), jax.tree.leaves(data), strict=True)
    ]
    _, volume = jnp.linalg.slogdet(found.covariance)
    evidence = 0.5 * (volume - found.chi2 - sum(scales))
    return Gaussian(found.values, found.covariance, found.standard_errors, evidence)


def laplace(log_density: LogDensity, start: Unknowns, *, steps: int = 1000) -> Gaussian:
    """The top of a density, and the inverse of the negative Hessian there as the covariance.

    **Arguments**

    - `log_density`: parameters -> the logarithm of their probability, up to a constant.
    - `start`, `steps`: of `inference.minimise`, which looks for the top.

    **Returns** the normal distribution; its covariance is NaN where the end is no top in all
    directions. Needs twice differentiable densities.
    """
    found = minimise(lambda unknowns: -log_density(unknowns), start, steps=steps)
    params, rest = parameters.split(found.argmin)
    flat, unravel = ravel_pytree(params)
    hessian = jax.hessian(lambda flat: -log_density(eqx.combine(unravel(flat), rest)))(flat)
    factor = jnp.linalg.cholesky(hessian)
    inverse = jax.scipy.linalg.solve_triangular(factor, jnp.eye(flat.size), lower=True)
    covariance = inverse.T @ inverse
    errors = standard_errors(covariance, params, rest)
    volume = 0.5 * flat.size * jnp.log(2 * jnp.pi) - jnp.sum(jnp.log(jnp.diagonal(factor)))
    return Gaussian(found.argmin, covariance, errors, volume - found.value)


class Samples(NamedTuple):
    """Draws of the No-U-Turn sampler."""

    values: Unknowns
    """With the chains along axis 0 of each array, the draws along axis 1."""
    acceptance: Float[Array, " chains"]
    """Mean probability of acceptance; 0.8 is aimed at."""
    divergences: Array
    """Transitions whose energy went astray: more than a few say that the density is too steep
    somewhere for what was drawn to be trusted."""
    r_hat: Unknowns
    """Potential scale reduction of each parameter; below 1.01 the chains agree (Vehtari et al.,
    Bayesian Anal. 16 (2021) 667)."""


def sample(
    log_density: LogDensity,
    about: Gaussian,
    key: PRNGKeyArray,
    *,
    draws: int = 1000,
    warmup: int = 500,
    chains: int = 4,
) -> Samples:
    """Draws from a density by the No-U-Turn sampler (Hoffman and Gelman, J. Mach. Learn. Res. 15
    (2014) 1593), all chains at once.

    **Arguments**

    - `log_density`: parameters -> the logarithm of their probability, up to a constant.
    - `about`: a normal distribution near it, by `laplace` or `infer`: the chains start from draws
      of it and move in its coordinates.
    - `draws`, `warmup`, `chains`: draws kept of each chain, and those before them that set the
      step size.

    **Raises** ImportError without blackjax (the extra `bayes`); ValueError for counts below one (of
    chains, two), or a covariance that is not finite.
    """
    try:
        import blackjax
    except ImportError:
        raise ImportError("sample needs blackjax: pip install 'jaxpbdl[bayes]'") from None
    checks.counts(draws=draws, warmup=warmup)
    checks.count("chains", chains, 2)
    checks.finite("about.covariance", about.covariance)
    params, rest = parameters.split(about.values)
    centre, unravel = ravel_pytree(params)
    factor = jnp.linalg.cholesky(about.covariance)

    def unknowns(white: Array) -> Unknowns:
        return eqx.combine(unravel(centre + factor @ white), rest)

    def density(white: Array) -> Array:
        return log_density(unknowns(white))

    def chain(key: PRNGKeyArray) -> tuple[Array, Array, Array]:
        start, adapt, move = jax.random.split(key, 3)
        white = jax.random.normal(start, centre.shape, centre.dtype)
        method = blackjax.window_adaptation(blackjax.nuts, density)
        (state, tuned), _ = method.run(adapt, white, warmup)  # pyright: ignore[reportCallIssue]
        step = blackjax.nuts(density, **tuned).step

        def turn(state: PyTree, key: PRNGKeyArray) -> tuple[PyTree, tuple]:
            state, info = step(key, state)
            return state, (state.position, info.acceptance_rate, info.is_divergent)  # pyright: ignore[reportAttributeAccessIssue]

        return jax.lax.scan(turn, state, jax.random.split(move, draws))[1]

    white, accepted, diverged = jax.jit(jax.vmap(chain))(jax.random.split(key, chains))
    values = jax.vmap(jax.vmap(unknowns))(white)
    return Samples(values, jnp.mean(accepted, 1), jnp.sum(diverged), unravel(_r_hat(white)))


def _r_hat(draws: Float[Array, "chains draws n"]) -> Float[Array, " n"]:
    """Of chains split into halves."""
    half = draws.shape[1] // 2
    halves = jnp.concatenate([draws[:, :half], draws[:, half : 2 * half]])
    within = jnp.mean(jnp.var(halves, axis=1, ddof=1), axis=0)
    between = half * jnp.var(jnp.mean(halves, axis=1), axis=0, ddof=1)
    return jnp.sqrt((half - 1) / half + between / half / within)
