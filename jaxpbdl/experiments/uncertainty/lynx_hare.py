"""Predator and prey in twenty-one years of measured furs: rates with their uncertainty.

    d(hare)/dt = (alpha - beta lynx) hare,   d(lynx)/dt = (-gamma + delta hare) lynx

Counts are lognormal about the solution, with an unknown spread for each species, the priors those
of Carpenter's case study (Stan, 2018): alpha, gamma ~ N(1, 0.5), beta, delta ~ N(0.05, 0.05),
spreads ~ lognormal(-1, 1), starts ~ lognormal(log 10, 1), all positive. The posterior by Laplace's
approximation in the logarithms, and by the No-U-Turn sampler of the same density.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float, PyTree

from jaxpbdl import plotting
from jaxpbdl.data.locate import find
from jaxpbdl.data.pelts import read_pelts
from jaxpbdl.experiments.configuration import Count, Validated
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.time import explicit
from jaxpbdl.uncertainty.posterior import laplace, sample

SUBSTEPS = 20
"""A year, by the Runge-Kutta scheme of fourth order."""
RATES = ("alpha", "beta", "gamma", "delta")
CENTRES = {"alpha": 1.0, "beta": 0.05, "gamma": 1.0, "delta": 0.05}
WIDTHS = {"alpha": 0.5, "beta": 0.05, "gamma": 0.5, "delta": 0.05}
SOURCE = "posterior mean, Carpenter 2018 (Stan, Hamiltonian Monte Carlo)"
PUBLISHED = {"alpha": 0.55, "beta": 0.028, "gamma": 0.80, "delta": 0.024}

Unknowns = Mapping[str, Array]
"""Logarithms of all parameters."""


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the sampler."""

    seed: int = 0
    draws: Count = 1000
    warmup: Count = 500
    chains: Count = 4


def populations(unknowns: Unknowns, years: int) -> Float[Array, "years 2"]:
    """Hare and lynx in each year."""
    alpha, beta, gamma, delta = (jnp.exp(unknowns[name]) for name in RATES)

    def rates(state: Array) -> Array:
        hare, lynx = state
        return jnp.stack([(alpha - beta * lynx) * hare, (-gamma + delta * hare) * lynx])

    start = jnp.exp(unknowns["start"])
    step = explicit(rates, 1 / SUBSTEPS)
    return rollout(step, start, (years - 1) * SUBSTEPS, SUBSTEPS, checkpoint=False)


class Posterior(eqx.Module):
    """The logarithm of the density of the logarithms, up to a constant."""

    counts: Float[Array, "years 2"]

    def __call__(self, unknowns: Unknowns) -> Float[Array, ""]:
        spread = unknowns["spread"]
        expected = jnp.log(populations(unknowns, len(self.counts)))
        likelihood = norm.logpdf(jnp.log(self.counts), expected, jnp.exp(spread))
        # exp(u) is normal: with respect to u the density has the factor exp(u).
        priors = [
            norm.logpdf(jnp.exp(unknowns[name]), CENTRES[name], WIDTHS[name]) + unknowns[name]
            for name in RATES
        ]
        priors += [norm.logpdf(spread, -1, 1), norm.logpdf(unknowns["start"], jnp.log(10.0), 1)]
        return jnp.sum(likelihood) + sum(jnp.sum(prior) for prior in priors)


def start() -> Unknowns:
    """Where the search for the top begins: the priors' centres, but growth and decline slower."""
    values = {"alpha": 0.6, "beta": 0.03, "gamma": 0.8, "delta": 0.03}
    found = {name: jnp.log(jnp.asarray(value)) for name, value in values.items()}
    return {**found, "start": jnp.log(jnp.array([30.0, 5.0])), "spread": jnp.full(2, -1.0)}


def run(config: Config, folder: Path) -> Result:
    """Laplace's approximation and the sampler; a picture goes to `folder`."""
    _, counts = read_pelts(find("lynx-hare"))
    posterior = Posterior(jnp.asarray(counts, float))
    normal = laplace(posterior, start())
    found = sample(
        posterior, normal, jax.random.key(config.seed),
        draws=config.draws, warmup=config.warmup, chains=config.chains,
    )  # fmt: skip
    metrics: dict[str, float] = {}
    published = {}
    for name in RATES:
        drawn = np.exp(np.asarray(found.values[name]).ravel())
        metrics[f"{name}.sampled"] = drawn.mean()
        metrics[f"{name}.sampled_error"] = drawn.std()
        # The mean of a lognormal distribution.
        variance = float(normal.standard_errors[name]) ** 2
        metrics[f"{name}.laplace"] = float(np.exp(normal.values[name] + variance / 2))
        metrics[f"{name}.r_hat"] = float(found.r_hat[name])
        published[f"{name}.sampled"] = Published(PUBLISHED[name], SOURCE)
    metrics["largest_r_hat"] = max(float(jnp.max(leaf)) for leaf in jax.tree.leaves(found.r_hat))
    metrics["divergences"] = float(found.divergences)
    metrics["coverage_90"] = _picture(found.values, counts, config, folder)
    return Result(metrics, published)


def _picture(draws: PyTree, counts: np.ndarray, config: Config, folder: Path) -> float:
    """`populations.png`: what the posterior says of each year. Returns the share of the counts
    within the 90 % intervals of new counts."""
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[::10], draws)
    expected = jax.jit(jax.vmap(lambda one: populations(one, len(counts))))(flat)
    noise = jax.random.normal(jax.random.key(config.seed + 1), expected.shape)
    counted = expected * jnp.exp(jnp.exp(flat["spread"])[:, None] * noise)
    low, high = np.percentile(counted, [5, 95], axis=0)
    figure, axes = plotting.figure(1, 1, size=(5.0, 2.8))
    ax, years = axes[0, 0], 1900 + np.arange(len(counts))
    for index, name in enumerate(("hare", "lynx")):
        line = ax.plot(years, np.mean(expected, 0)[:, index], label=name)[0]
        ax.fill_between(
            years, low[:, index], high[:, index], alpha=0.2, linewidth=0, color=line.get_color()
        )
        ax.plot(years, counts[:, index], ".", color=line.get_color())
    ax.set(xlabel="year", ylabel="pelts (thousands)")
    ax.legend()
    plotting.save(figure, folder / "populations.png")
    return float(np.mean((low <= counts) & (counts <= high)))


EXPERIMENT = Experiment(
    name="lynx-hare",
    summary="rates of predator and prey from measured furs, by Laplace and by sampling",
    presets={"quick": Config(), "full": Config(draws=5000, warmup=1000)},
    run=run,
    files=lambda config: [find("lynx-hare")],
)
