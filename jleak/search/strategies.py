"""Evolution strategies by name: evosax's, and what had to be put right in them."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.scipy.linalg import expm

from jleak.check import InputError, one_of, whole
from jleak.search.strategy import Strategy, distribution, falling, grown, made, sloped

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


def cma_es(population: int, dim: int, steps: int) -> Strategy:
    """CMA-ES that decomposes its covariance only as often as that changes.

    Source: Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv 1604.00772; section B.2 there for the
    delay. Every g-th generation with g (c_1 + c_mu) <= 1/10, g <= 10. The step's number is shared by all
    lanes of a `vmap`, so that the others do not pay for the branch.
    """
    from evosax.algorithms.distribution_based.cma_es import eigen_decomposition

    del steps
    es, params = made("CMA_ES", population, dim)
    every = max(1, min(10, int(0.1 / float(params.c_1 + params.c_mu))))

    def ask(key, t, state):
        C, B, D = lax.cond(t % every == 0, eigen_decomposition, lambda now: (now, state.B, state.D), state.C)
        y = (jax.random.normal(key, (population, dim)) * D) @ B.T
        return state.mean + state.std * y, state.replace(C=C, B=B, D=D)

    return distribution(es, params, ask=ask)


def sep_cma_es(population: int, dim: int, steps: int) -> Strategy:
    """Separable CMA-ES, with the rates of its paper: those of the full covariance times (d + 2) / 3.

    Source: Ros and Hansen, "A Simple Modification in CMA-ES Achieving Linear Time and Space Complexity",
    PPSN 2008, section 3.
    """
    del steps
    es, params = made("Sep_CMA_ES", population, dim)
    c_1 = jnp.minimum(1.0, params.c_1 * (dim + 2) / 3)
    c_mu = jnp.minimum(1.0 - c_1, params.c_mu * (dim + 2) / 3)
    return distribution(es, params.replace(c_1=c_1, c_mu=c_mu))


def cr_fm_nes(population: int, dim: int, steps: int) -> Strategy:
    """CR-FM-NES; its rank-one rate, negative below six dimensions, is 0 there.

    Source: Nomura and Ono, "Fast Moving Natural Evolution Strategy for High-Dimensional Problems", CEC
    2022.
    """
    del steps
    es, params = made("CR_FM_NES", population, dim)
    return distribution(es, params.replace(c1=jnp.maximum(params.c1, 0.0)))


def xnes(population: int, dim: int, steps: int) -> Strategy:
    """xNES with the matrix exponential, for which evosax has the exponential of each entry.

    Source: Glasmachers, Schaul, Yi, Wierstra and Schmidhuber, "Exponential Natural Evolution Strategies",
    GECCO 2010, algorithm 1.
    """
    del steps
    es, params = made("xNES", population, dim)

    def ask(key, t, state):
        del t
        z = jax.random.normal(key, (population, dim))
        return state.mean + state.std * z @ state.B.T, state.replace(z=z)

    def tell(key, points, fitness, state, lr):
        del key, points, lr
        order = jnp.argsort(fitness)
        weights = jnp.zeros(population).at[order].set(params.weights)
        moment = state.z.T @ (weights[:, None] * state.z) - weights.sum() * jnp.eye(dim)
        level = jnp.trace(moment) / dim
        return state.replace(
            mean=state.mean + state.std * state.B @ (weights @ state.z),
            std=state.std * jnp.exp(0.5 * params.lr_std_init * level),
            B=state.B @ expm(0.5 * params.lr_B * (moment - level * jnp.eye(dim))),
        )

    return distribution(es, params, ask=ask, tell=tell)


def sorted_first(name: str, **changes: Callable) -> Callable[[int, int, int], Strategy]:
    """Matrix adaptation: told in the order of fitness, as its weights assume (evosax tells it unsorted).

    Source: Beyer and Sendhoff, "Simplify Your Covariance Matrix Adaptation Evolution Strategy", IEEE TEVC
    2017; Loshchilov, Glasmachers and Beyer, "Large Scale Black-Box Optimization by Limited-Memory Matrix
    Adaptation", IEEE TEVC 2019, whose rates c_c are kept <= 1, which those of a population above the
    dimension are not.
    """

    def factory(population, dim, steps):
        del steps
        es, params = made(name, population, dim)
        params = params.replace(c_c=jnp.minimum(params.c_c, 1.0))

        def tell(key, points, fitness, state, lr):
            del lr
            order = jnp.argsort(fitness)
            state = state.replace(z=state.z[order])
            return es.tell(key, points[order], fitness[order], state, params)[0]

        return distribution(es, params, tell=tell)

    return factory


def rm_es(population: int, dim: int, steps: int) -> Strategy:
    """Rm-ES of two paths, with a coefficient for each candidate (evosax draws one for all).

    Source: Li and Zhang, "A Simple Yet Efficient Evolution Strategy for Large-Scale Black-Box
    Optimization", IEEE TEVC 2018, equation 9.
    """
    del steps
    es, params = made("Rm_ES", population, dim, m=2)
    params = params.replace(std_min=1e-8)
    keep = jnp.sqrt(1 - params.c_1) ** jnp.arange(2, -1, -1)

    def ask(key, t, state):
        del t
        drawn = jax.random.normal(key, (population, dim + 2))
        along = drawn[:, dim:] * (jnp.sqrt(params.c_1) * keep[1:])
        return state.mean + state.std * (keep[0] * drawn[:, :dim] + along @ state.P), state

    return distribution(es, params, ask=ask)


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
        *made("DiffusionEvolution", population, dim, num_generations=steps + 1, fitness_mapping=density)
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


def clipup(learning_rate):
    """ClipUp at a greatest speed of twice the rate, as its paper advises (Toklu et al., PPSN 2020)."""
    from evosax.core.optimizer import clipup

    return clipup(learning_rate, max_velocity=2 * learning_rate)


STRATEGIES: dict[str, Callable[[int, int, int], Strategy]] = {
    "ars": along_slope("ARS", optax.adam, raw=True),
    "asebo": along_slope("ASEBO", optax.adam, raw=True),
    "cma_es": cma_es,
    "cr_fm_nes": cr_fm_nes,
    "de": plain(grown, "DifferentialEvolution"),
    "des": plain(distribution, "DiscoveredES"),
    "diffusion_evolution": diffusion_evolution,
    "gradientless_descent": gradientless_descent,
    "iamalgam_full": scheduled(distribution, "iAMaLGaM_Full"),
    "iamalgam_univariate": scheduled(distribution, "iAMaLGaM_Univariate"),
    "lm_ma_es": sorted_first("LM_MA_ES"),
    "ma_es": sorted_first("MA_ES"),
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
