"""Evolution strategies that adapt a covariance or a transformation: evosax's, put right by their papers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.stats import rankdata

from jleak import linalg
from jleak.search.strategy import Strategy, distribution, made


def cma_es(population: int, dim: int, steps: int) -> Strategy:
    """CMA-ES that decomposes its covariance only as often as that changes.

    Source: Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv 1604.00772; section B.2 there for the
    delay. Every g-th generation with g (c_1 + c_mu) <= 1/10, g <= 10. The step's number is shared by all
    lanes of a `vmap`, so that the others do not pay for the branch.
    """
    from evosax.algorithms.distribution_based.cma_es import eigen_decomposition

    del steps
    es, params = made("CMA_ES", population, dim)
    decomposed = linalg.one_by_one(eigen_decomposition)
    every = max(1, min(10, int(0.1 / float(params.c_1 + params.c_mu))))

    def ask(key, t, state):
        C, B, D = lax.cond(t % every == 0, decomposed, lambda now: (now, state.B, state.D), state.C)
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
            B=state.B @ linalg.expm(0.5 * params.lr_B * (moment - level * jnp.eye(dim))),
        )

    return distribution(es, params, ask=ask, tell=tell)


def matrix_adaptation(name: str) -> Callable[[int, int, int], Strategy]:
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

    Source: Li and Zhang, "A Simple Yet Efficient Evolution Strategy for Large-Scale Black-Box Optimization",
    IEEE TEVC 2018, equations 9 and 12 to 14: the step grows where this generation's better half ranks before
    the last one's. (evosax compares their weights, which never change, and so lets it shrink at once.)
    """
    del steps
    es, params = made("Rm_ES", population, dim, m=2)
    params = params.replace(std_min=1e-8)
    keep = jnp.sqrt(1 - params.c_1) ** jnp.arange(2, -1, -1)
    weights, half = params.weights[: es.num_elites], es.num_elites

    def ask(key, t, state):
        del t
        drawn = jax.random.normal(key, (population, dim + 2))
        along = drawn[:, dim:] * (jnp.sqrt(params.c_1) * keep[1:])
        return state.mean + state.std * (keep[0] * drawn[:, :dim] + along @ state.P), state

    def tell(key, points, fitness, state, lr):
        del lr
        after, _ = es.tell(key, points, fitness, state, params)
        elites = jnp.sort(fitness)[:half]
        ranks = rankdata(jnp.concatenate([jnp.abs(state.fitness_elites_sorted), elites]))
        gain = weights @ (ranks[:half] - ranks[half:]) / half - params.q_star
        rate = (1 - params.c_std) * state.cumulative_rank_rate + params.c_std * gain
        std = jnp.clip(state.std * jnp.exp(rate / params.d_std), params.std_min, params.std_max)
        return after.replace(std=std, cumulative_rank_rate=rate, fitness_elites_sorted=elites)

    return distribution(es, params, ask=ask, tell=tell)
