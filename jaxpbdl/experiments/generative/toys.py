"""Generative models of a mixture of two Gaussians in the plane, to the floors of their losses.

    p(x) = 0.5 N(x; (0, 0), I) + 0.5 N(x; (3, 2), 0.25 I)

What the Physics-Based Deep Learning book (Thuerey et al., arXiv:2109.05237, chapters on
probabilistic learning) trains on it: a normalising flow (RealNVP), a score network, a diffusion
model and flow matching, with the sizes of its networks, batches and data. None of these losses goes
to zero; what they cannot fall below follows from the mixture by quadrature, and the gap to it says
what a network has not learned. Gaps are means over a held-out sample of the difference to the loss
of the exact solution on the same draws, so that the variance that both share is not in them; `loss`
is the floor plus the gap.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import generative as gen
from jaxpbdl import plotting
from jaxpbdl.experiments.configuration import Count, Positive, Validated, at_least
from jaxpbdl.experiments.contract import Experiment, Published, Result
from jaxpbdl.experiments.training import Training
from jaxpbdl.learning import History, Samples, fit_ensemble, member

SOURCE = "Physics-Based Deep Learning book, its training loss"
PUBLISHED = {"flow": 1.9213 + 0.9189, "score": 197.79, "diffusion": 0.0624, "matching": 2.0440}
"""Of the likelihood the book leaves log(2 pi) / 2 of one of two dimensions out; it is in here."""
PUBLISHED_GAP = {"flow": 0.023, "diffusion": 0.0037, "matching": 0.0203}
"""Over the floors that hold for its own losses, of which it gives none."""
METHODS = ("flow", "score", "diffusion", "matching")
SIGMA = 0.1
SCHEDULE = gen.constant(1000, 0.02)
Loss = Callable[..., Array]


@dataclass(frozen=True)
class Config(Validated):
    """Settings of the data and of the trainings."""

    seed: int = 0
    methods: tuple[str, ...] = METHODS
    members: Annotated[int, at_least(1)] = 3
    """Networks of each method, trained at once on the same data; figures are their means."""
    validation: Count = 5000
    """Samples by which the parameters that are kept are chosen."""
    test: Count = 50_000
    drawn: Annotated[int, at_least(2)] = 2000
    """Samples of each network that are compared with true ones."""
    flow_data: Count = 50_000
    data: Count = 10_000
    """Samples that the other methods are trained on."""
    flow_updates: Count = 1500
    score_updates: Count = 4000
    diffusion_updates: Count = 10_000
    matching_updates: Count = 4000
    flow_width: Count = 256
    width: Count = 128
    """Of the two hidden layers of a network, of three for the score."""
    learning_rate: Positive = 2e-3

    def __post_init__(self):
        super().__post_init__()
        for method in self.methods:
            if method not in METHODS:
                raise ValueError(f"methods must be among {', '.join(METHODS)}, got {method!r}")


class Method(NamedTuple):
    """One kind of model: how it is made, judged on one sample, and sampled."""

    make: Callable[[PRNGKeyArray], PyTree]
    loss: Callable[[PyTree, Float[Array, " 2"], PRNGKeyArray], Float[Array, ""]]
    exact: Any
    """The model with the smallest loss."""
    sample: Callable[[PyTree, PRNGKeyArray], Float[Array, " 2"]]
    floor: Callable[[], float]
    training: Training
    data: int
    note: str


class MeanLoss(eqx.Module):
    """The mean of a loss over a batch."""

    of_one: Callable[..., Array]

    def __call__(
        self, model: PyTree, batch: Float[Array, "samples 2"], key: PRNGKeyArray
    ) -> Float[Array, ""]:
        keys = jax.random.split(key, len(batch))
        return jnp.mean(jax.vmap(lambda x, k: self.of_one(model, x, k))(batch, keys))


class Held(eqx.Module):
    """Samples with a draw of noise for each, the same whenever a model is judged by them."""

    of_one: Callable[..., Array]
    samples: Float[Array, "samples 2"]
    keys: PRNGKeyArray | Array

    def each(self, model: PyTree) -> Float[Array, " samples"]:
        """The loss of each sample."""

        def one(given: tuple[Array, Array]) -> Array:
            return self.of_one(model, *given)

        return jax.lax.map(one, (self.samples, self.keys), batch_size=1000)

    def __call__(self, model: PyTree) -> Float[Array, ""]:
        return jnp.mean(self.each(model))


def mixture() -> gen.GaussianMixture:
    """What all data are drawn from."""
    return gen.GaussianMixture([0.5, 0.5], [[0.0, 0.0], [3.0, 2.0]], [1.0, 0.5])


def flow_floor() -> float:
    """The entropy: no density has a smaller mean of -log p."""
    return -float(mixture().expectation(mixture().log_density))


def score_floor(sigma: float = SIGMA) -> float:
    """dim / s^2 less the mean square of the score of the noised data."""
    noised = mixture().noised(1.0, sigma)
    return 2 / sigma**2 - float(noised.expectation(lambda y: jnp.sum(noised.score(y) ** 2)))


def diffusion_floor(schedule: gen.Schedule = SCHEDULE) -> float:
    """One less the mean square of the noise that is known from the noised sample."""

    def known(step: Array) -> Array:
        signal, noise = schedule.signals[step], schedule.noises[step]

        def square(y: Array) -> Array:
            return jnp.mean(mixture().noise_given(y, signal, noise) ** 2)

        return mixture().noised(signal, noise).expectation(square, 32)

    steps = jnp.arange(1, schedule.steps + 1)
    return 1 - float(jnp.mean(jax.jit(lambda steps: jax.lax.map(known, steps))(steps)))


def matching_floor() -> float:
    """The mean square of `x - z` less that of its mean for a given point of the path, over the
    times by Gauss-Legendre quadrature."""
    nodes, shares = np.polynomial.legendre.leggauss(24)

    def known(t: Array) -> Array:
        def square(y: Array) -> Array:
            return jnp.mean(exact_velocity(y, t) ** 2)

        return mixture().noised(t, 1 - t).expectation(square, 32)

    squares = jax.jit(lambda times: jax.lax.map(known, times))(jnp.asarray((nodes + 1) / 2, float))
    whole = 1 + float(mixture().expectation(lambda x: jnp.mean(x**2)))
    return whole - float(shares / 2 @ np.asarray(squares))


def exact_score(y: Array, sigma: Array, condition: None = None) -> Array:
    """Of the noised data."""
    return mixture().noised(1.0, sigma).score(y)


def exact_noise(y: Array, t: Array, condition: None = None) -> Array:
    """The mean noise in a sample of the chain."""
    return mixture().noise_given(y, *SCHEDULE.levels(t))


def exact_velocity(y: Array, t: Array, condition: None = None) -> Array:
    """The mean of `x - z` at a point of the path."""
    return mixture().sample_given(y, t, 1 - t) - mixture().noise_given(y, t, 1 - t)


def no_features(t: Float[Array, ""]) -> Float[Array, " 0"]:
    """Of the one deviation that a network is trained for."""
    return jnp.zeros(0, t.dtype)


def signal_left(t: Float[Array, ""]) -> Float[Array, " 1"]:
    """One number, as the time is, that changes where the chain does."""
    return SCHEDULE.levels(t)[0][None]


def methods(config: Config) -> dict[str, Method]:
    """All of them by their names, in the settings of the book but for the optimiser."""

    def training(updates: int, batch: int, average: float) -> Training:
        return Training(updates, batch, config.learning_rate, average=average)

    def dense(layers: int, embed: Callable[[Array], Array]) -> Callable[[PRNGKeyArray], PyTree]:
        hidden = (config.width,) * layers
        return lambda key: gen.TimeDense(2, hidden, embed=embed, key=key)

    score, noise, match = gen.ScoreLoss(SIGMA), gen.NoiseLoss(SCHEDULE), gen.MatchingLoss()

    def langevin(model: PyTree, key: PRNGKeyArray) -> Array:
        start, chain = jax.random.split(key)
        x = jax.random.normal(start, (2,))
        return gen.langevin(lambda y: model(y, jnp.asarray(SIGMA), None), x, chain, 0.01, 501)

    width = config.flow_width
    known = {
        "flow": Method(
            lambda key: gen.RealNVP(2, 6, (width, width), key=key),
            lambda model, x, key: -model.log_density(x),
            mixture(), lambda model, key: model.sample(key), flow_floor,
            training(config.flow_updates, 128, 0.99), config.flow_data, "RealNVP, 6 couplings",
        ),
        "score": Method(
            dense(3, no_features), lambda model, x, key: score.of_one(model, x, None, key),
            exact_score, langevin, score_floor,
            training(config.score_updates, 128, 0.999), config.data,
            "one deviation, 0.1; 501 Langevin steps of 0.01 from N(0, I) mix too little",
        ),
        "diffusion": Method(
            dense(2, signal_left), lambda model, x, key: noise.of_one(model, x, None, key),
            exact_noise, lambda model, key: gen.ancestral_sample(model, SCHEDULE, key, (2,)),
            diffusion_floor, training(config.diffusion_updates, 64, 0.999), config.data,
            "1000 steps of variance 0.02, all of them to sample",
        ),
        "matching": Method(
            dense(2, gen.plain), lambda model, x, key: match.of_one(model, x, None, key),
            exact_velocity,
            lambda model, key: gen.flow_sample(model, key, (2,), 20, gen.midpoint),
            matching_floor, training(config.matching_updates, 128, 0.999), config.data,
            "20 steps by the midpoint to sample",
        ),
    }  # fmt: skip
    return {name: known[name] for name in config.methods}


def train(
    config: Config, name: str, method: Method, folder: Path | None
) -> tuple[PyTree, list[History]]:
    """The members of one method, of each the parameters that did best on the validation sample."""
    data, held, draws = jax.random.split(jax.random.key(config.seed), 3)
    validation = Held(
        method.loss,
        mixture().sample(held, config.validation),
        jax.random.split(draws, config.validation),
    )
    training = method.training
    return fit_ensemble(
        method.make,
        MeanLoss(method.loss),
        Samples(mixture().sample(data, method.data), batch=training.batch),
        training.optimiser(),
        training.updates,
        keys=jax.random.split(jax.random.key(config.seed + 1), config.members),
        chunk=max(1, training.updates // 20),
        validate=validation,
        ema=training.average,
        folder=None if folder is None else folder / "checkpoints" / name,
        name=name,
    )


@eqx.filter_jit
def _excess(model: PyTree, exact: PyTree, held: Held) -> Array:
    return jnp.mean(held.each(model) - held.each(exact))


@eqx.filter_jit
def _drawn(sample: Callable[..., Array], model: PyTree, keys: Array) -> Array:
    return jax.lax.map(lambda key: sample(model, key), keys, batch_size=500)


@eqx.filter_jit
def _distances(x: Array, y: Array) -> tuple[Array, Array]:
    return gen.squared_mmd(x, y), gen.sliced_wasserstein(x, y, jax.random.key(0))


def run(config: Config, folder: Path) -> Result:
    """Train, and measure what is missing; a picture goes to `folder`."""
    held, draws, truth, drawing = jax.random.split(jax.random.key(config.seed + 2), 4)
    test = mixture().sample(held, config.test)
    keys = jax.random.split(draws, config.test)
    true = [mixture().sample(key, config.drawn) for key in jax.random.split(truth, 6)]
    pairs = np.array([_distances(one, true[0]) for one in true[1:]])
    metrics = {
        "truth.mmd": float(np.sqrt(np.mean(pairs[:, 0] ** 2))),
        "truth.wasserstein": float(pairs[:, 1].mean()),
    }
    published, notes, losses = {}, {"truth": "two true samples; mmd: root mean square"}, {}
    pictures = {"truth": true[0]}
    for name, method in methods(config).items():
        stacked, histories = train(config, name, method, folder)
        losses |= {f"{name}_{i}": history.loss for i, history in enumerate(histories)}
        networks = [member(stacked, index) for index in range(config.members)]
        judged = Held(method.loss, test, keys)
        gaps = [float(_excess(network, method.exact, judged)) for network in networks]
        floor = method.floor()
        samples = [
            _drawn(method.sample, network, jax.random.split(key, config.drawn))
            for network, key in zip(
                networks, jax.random.split(drawing, config.members), strict=True
            )
        ]
        apart = np.array([_distances(one, true[0]) for one in samples])
        loss = "nll" if name == "flow" else "loss"
        metrics |= {
            f"{name}.{loss}": floor + float(np.mean(gaps)),
            f"{name}.floor": floor,
            f"{name}.gap": float(np.mean(gaps)),
            f"{name}.largest_gap": max(gaps),
            f"{name}.mmd": float(apart[:, 0].mean()),
            f"{name}.wasserstein": float(apart[:, 1].mean()),
            f"{name}.seconds": histories[0].seconds,
        }
        published[f"{name}.{loss}"] = Published(PUBLISHED[name], SOURCE)
        if name in PUBLISHED_GAP:
            published[f"{name}.gap"] = Published(PUBLISHED_GAP[name], SOURCE)
        notes[name], pictures[name] = method.note, samples[0]
    _picture(pictures, folder)
    return Result(metrics, published, losses, notes=notes)


def _picture(samples: dict[str, Array], folder: Path) -> None:
    """`samples.png`: true samples beside those of the first network of each method, on lines of
    equal density."""
    figure, axes = plotting.figure(1, len(samples), size=(2.2, 2.2))
    x, y = np.linspace(-3.5, 5.5, 91), np.linspace(-3.5, 4.5, 81)
    points = jnp.asarray(np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2), float)
    density = np.exp(np.asarray(jax.vmap(mixture().log_density)(points))).reshape(91, 81)
    for ax, (name, drawn) in zip(axes[0], samples.items(), strict=True):
        drawn = np.asarray(drawn)
        ax.contour(x, y, density.T, 5, colors="#6b7280", linewidths=0.6)
        ax.scatter(*drawn[:1000].T, s=2, color=plotting.LINES[0], alpha=0.5, linewidths=0)
        ax.set(title=name, xlim=(-3.5, 5.5), ylim=(-3.5, 4.5), aspect="equal", xticks=[], yticks=[])
    plotting.save(figure, folder / "samples.png")


EXPERIMENT = Experiment(
    name="generative-toys",
    summary="flow, score, diffusion and flow matching on a known mixture, to their exact floors",
    presets={
        "quick": Config(),
        "full": Config(flow_updates=20_000, diffusion_updates=40_000, matching_updates=20_000),
    },
    run=run,
)
