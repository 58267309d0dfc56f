"""Evolution strategies by name: evosax's, and what had to be put right in them."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.scipy.stats import rankdata

from jleak import linalg
from jleak.check import InputError, one_of, whole
from jleak.search.covariance import cma_es, cr_fm_nes, matrix_adaptation, rm_es, sep_cma_es, xnes
from jleak.search.strategy import Strategy, distribution, falling, grown, made, sloped
from jleak.tree import stream

LARGEST = 4096
"""Of the dimensions in which a full covariance is kept: 64 MiB, and a minute for an eigendecomposition."""


@functools.lru_cache(maxsize=256)
def strategy(name: str, population: int, dim: int, steps: int) -> Strategy:
    """The strategy of that name; one object for one setting, as compiled programs are found by it.

    Args:
      name: of `STRATEGIES`.
      population: candidates of a generation.
      dim: length of a point.
      steps: generations, over which some let their standard deviation fall.

    Raises:
      InputError: unknown name; a population below 4, or odd where candidates come in pairs; a full
        covariance in more than `LARGEST` dimensions.

    >>> de = strategy("de", 8, 3, 10)
    >>> points, _ = de.ask(jax.random.key(0), 0, de.init(jax.random.key(1)))
    >>> points.shape, points[0].tolist()
    ((8, 3), [0.0, 0.0, 0.0])
    """
    checked(name, population)
    if name in FULL and dim > LARGEST:
        raise InputError(
            f"{name!r} keeps a covariance of {dim} x {dim}, at most {LARGEST} x {LARGEST}; "
            "take sep_cma_es, cr_fm_nes or lm_ma_es"
        )
    with jax.ensure_compile_time_eval():
        return STRATEGIES[name](population, dim, steps)


def checked(name: str, population: int) -> None:
    """Checks what does not need the dimension.

    Raises:
      InputError: unknown name; a population below 4, or odd where candidates come in pairs.

    >>> checked("open_es", 7)
    Traceback (most recent call last):
    jleak.check.InputError: population must be even for 'open_es', which draws pairs, got population=7
    """
    one_of("strategy", name, STRATEGIES)
    whole("population", population, least=4, hint="a generation is ranked, mixed or paired")
    if name in PAIRED and population % 2:
        raise InputError(
            f"population must be even for {name!r}, which draws pairs, got population={population}"
        )


def iamalgam(name: str) -> Callable[[int, int, int], Strategy]:
    """iAMaLGaM, whose multiplier scales the covariance that is sampled.

    Source: Bosman, Grahl and Thierens, "Benchmarking Parameter-Free AMaLGaM on Functions With and Without
    Noise", Evolutionary Computation 2013, section 3. (evosax adds a constant to the covariance, scales only
    the mean's shift, and measures how far the better points lie in variances, not standard deviations.)
    """

    def factory(population, dim, steps):
        del steps
        es, params = made(name, population, dim, std_schedule=lambda t: 0.0)

        def root(state):
            spread = state.c_mult * state.C
            if spread.ndim == 1:
                return jnp.diag(jnp.sqrt(spread))
            return linalg.cholesky(spread + 1e-6 * jnp.trace(spread) / dim * jnp.eye(dim))

        def ask(key, t, state):
            del t
            points = state.mean + jax.random.normal(key, (population, dim)) @ root(state).T
            ahead = stream(key, "ahead"), points, state.c_mult, state.mean_shift
            return es.anticipated_mean_shift(*ahead, params), state

        def tell(key, points, fitness, state, lr):
            del lr
            after, _ = es.tell(key, points, fitness, state, params)
            better = (fitness < state.best_fitness_shaped) & (rankdata(fitness) <= es.num_elites)
            shift = better @ points / jnp.maximum(better.sum(), 1) - state.mean
            ratio = jnp.abs(linalg.solve_triangular(root(state), shift, lower=True)).max()
            scale, still = es.adaptive_variance_scaling(
                better.any(), ratio, state.c_mult, state.nis_counter, params
            )
            return after.replace(c_mult=scale, nis_counter=still)

        return distribution(es, params, ask=ask, tell=tell)

    return factory


def gradientless_descent(population: int, dim: int, steps: int) -> Strategy:
    """Gradientless descent: radii from 1 down to 2^-20 in a geometric row.

    Source: Golovin, Karro, Kochanski, Lee, Song and Zhang, "Gradientless Descent", ICLR 2020, algorithm 1.
    """
    del steps
    es, params = made("GradientlessDescent", population, dim)
    return distribution(es, params.replace(radius_min=0.0, radius_max=1.0, radius_decay=population / 20))


def diffusion_evolution(population: int, dim: int, steps: int) -> Strategy:
    """Diffusion evolution, which takes the whole budget to cool down.

    Source: Zhang, Hartl, Hazan and Levin, "Diffusion Models are Evolutionary Algorithms", ICLR 2025. The
    density of a fitness f is exp(-(f - best) / spread), spread the standard deviation of the generation: no
    temperature to be set.
    """

    def density(fitness):
        works = jnp.isfinite(fitness)
        count = jnp.maximum(works.sum(), 1)
        kept = jnp.where(works, fitness, 0.0)
        spread = jnp.sqrt(jnp.sum(jnp.where(works, kept - kept.sum() / count, 0.0) ** 2) / count)
        best = jnp.min(fitness, initial=jnp.inf, where=works)
        return jnp.where(
            works, jnp.exp(-(kept - best) / jnp.maximum(spread, 1e-30)), jnp.where(works.any(), 0.0, 1.0)
        )

    return grown(
        *made(
            "DiffusionEvolution",
            population,
            dim,
            num_generations=steps + 1,
            fitness_mapping=density,
            num_latent_dims=min(2, dim),
        )
    )


def plain(form: Callable, name: str) -> Callable[[int, int, int], Strategy]:
    """evosax's as it is."""
    return lambda population, dim, steps: form(*made(name, population, dim))


def scheduled(form: Callable, name: str) -> Callable[[int, int, int], Strategy]:
    """evosax's with a standard deviation that falls over the steps."""
    return lambda population, dim, steps: form(*made(name, population, dim, std_schedule=falling(steps)))


def along_slope(name: str, optim: Callable, *, falls: bool = True, raw: bool = False) -> Callable:
    """evosax's with an optimiser whose rate is set at each step."""

    def factory(population, dim, steps):
        options = {"std_schedule": falling(steps)} if falls else {}
        optimizer = optax.inject_hyperparams(optim)(learning_rate=1.0)
        return sloped(*made(name, population, dim, optimizer=optimizer, **options), raw=raw)

    return factory


def asebo(population: int, dim: int, steps: int) -> Strategy:
    """ASEBO, which decomposes the matrix of its last gradients: one lane after the other (`jleak.linalg`)."""
    strategy = along_slope("ASEBO", optax.adam, raw=True)(population, dim, steps)
    return strategy._replace(ask=linalg.one_by_one(strategy.ask))


def clipup(learning_rate):
    """ClipUp at a greatest speed of twice the rate, as its paper advises (Toklu et al., PPSN 2020)."""
    from evosax.core.optimizer import clipup

    return clipup(learning_rate, max_velocity=2 * learning_rate)


STRATEGIES: dict[str, Callable[[int, int, int], Strategy]] = {
    "ars": along_slope("ARS", optax.adam, raw=True),
    "asebo": asebo,
    "cma_es": cma_es,
    "cr_fm_nes": cr_fm_nes,
    "de": plain(grown, "DifferentialEvolution"),
    "des": plain(distribution, "DiscoveredES"),
    "diffusion_evolution": diffusion_evolution,
    "gradientless_descent": gradientless_descent,
    "iamalgam_full": iamalgam("iAMaLGaM_Full"),
    "iamalgam_univariate": iamalgam("iAMaLGaM_Univariate"),
    "lm_ma_es": matrix_adaptation("LM_MA_ES"),
    "ma_es": matrix_adaptation("MA_ES"),
    "mr15_ga": plain(grown, "MR15_GA"),
    "open_es": along_slope("Open_ES", optax.adam),
    "pgpe": along_slope("PGPE", clipup, falls=False),
    "pso": plain(grown, "PSO"),
    "rm_es": rm_es,
    "samr_ga": plain(grown, "SAMR_GA"),
    "sep_cma_es": sep_cma_es,
    "simple_es": plain(distribution, "SimpleES"),
    "simple_ga": scheduled(grown, "SimpleGA"),
    "snes": plain(distribution, "SNES"),
    "xnes": xnes,
}
"""name -> `(population, dim, steps) -> Strategy`."""

PAIRED = ("ars", "asebo", "cr_fm_nes", "open_es", "pgpe")
"""Those whose candidates come in mirrored pairs."""

FULL = ("asebo", "cma_es", "diffusion_evolution", "iamalgam_full", "ma_es", "xnes")
"""Those that keep a dim x dim matrix."""
