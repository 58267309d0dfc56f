"""DP-SGD: each example's gradient clipped, then Gaussian noise on their mean."""

import jax
import jax.numpy as jnp

from jleak.check import number
from jleak.clients import chain, on_example, on_update, telling
from jleak.defenses.clip import clipped
from jleak.defenses.kind import Kind
from jleak.defenses.noise import gaussian
from jleak.tree import norm, unit
from jleak.types import Client, Defense, View

LARGEST = float(jnp.finfo(jnp.float32).max)


def dp_sgd(*, bound: float = 1.0, noise: float = 1.0) -> Defense:
    """Clips each example's gradient to the norm `bound`, averages, and adds N(0, (noise bound / n)^2).

    Source: Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, algorithm 1, with the batch at
    hand, of n examples, for its lot of L: (sum_i g_i min(1, bound / ||g_i||) + N(0, (noise bound)^2)) / n.

    What one release guarantees: with n public, replacing one example moves the mean by at most 2 bound / n,
    so this is the Gaussian mechanism with mu = 2 / noise (Dong, Roth, Su, JRSS B 2022). It is
    (epsilon, delta)-differentially private for delta >= Phi(mu/2 - epsilon/mu) - e^epsilon
    Phi(-mu/2 - epsilon/mu) (Balle and Wang, ICML 2018, theorem 8), in exact arithmetic and with noise that
    nobody can predict: an audit's seed is known, so what it releases is a measurement, never private.

    What training guarantees depends on how many rounds there are and how batches are sampled; that takes an
    accountant, such as Google's `dp-accounting`, to which one release is `GaussianDpEvent(noise / 2)`.

    Clipped is what the client computes from one example alone: with `fedsgd` its gradient. A `fedavg` of
    more than one step cannot cut one example up, and refuses.

    Args:
      bound: the largest norm of one example's gradient, in units of the update; finite, since the noise is
        proportional to it.
      noise: the noise multiplier; 0 is clipping alone.

    Raises:
      InputError: bound is not above 0 or not finite; noise is negative; one of them is NaN.

    >>> from jleak.types import Batch
    >>> client = dp_sgd(bound=1.0, noise=0.0)(lambda key, params, batch: batch.x.mean(0))
    >>> x = jnp.array([[0.0, 5.0], [0.5, 0.0]])
    >>> client(jax.random.key(0), None, Batch(x, jnp.array([0, 1]))).tolist()
    [0.25, 0.5]
    """
    number("bound", bound, above=0, most=LARGEST, hint="use a large number for no clipping")
    number("noise", noise, least=0, hint="use 0 for no noise")

    def defense(client: Client) -> Client:
        def defended(key, params, batch):
            noisy = gaussian(sigma=noise * bound / batch.x.shape[0])
            return chain(belief(bound=bound), noisy)(client)(key, params, batch)

        return telling(client, defended)

    return defense


def belief(view: View | None = None, *, bound: float = 1.0, noise: float = 1.0) -> Defense:
    """Clipping of each example alone: the release's expectation. Noise of one's own would only blur it.

    >>> from jleak.types import Batch
    >>> client = belief(bound=1.0)(lambda key, params, batch: batch.x.mean(0))
    >>> client(jax.random.key(0), None, Batch(jnp.array([[0.0, 5.0]]), jnp.array([0]))).tolist()
    [0.0, 1.0]
    """
    del view, noise
    return on_example(lambda key, update: clipped(update, bound))


def adapt(view: View) -> Defense:
    """Clips each example at the observed norm, then scales the mean to that norm.

    Without noise the observed norm is at most the bound, so where every example was clipped this is the true
    update on the true batch; of one image it is so at any bound. What nobody can read off one update: the
    bound and the noise apart. If some examples were not clipped the imitation weighs them wrongly (an
    attacker who knows nothing may then do better), and noise raises the observed norm until it clips no
    example; matching directions is what is left. Noise is not imitated, as in `belief`.
    """
    seen = norm(view.update)

    def stretched(key, update):
        del key
        return jax.tree.map(
            lambda u, v: jnp.where(seen > 0, seen * v, u).astype(u.dtype), update, unit(update)
        )

    return chain(belief(bound=jnp.where(seen > 0, seen, jnp.inf)), on_update(stretched))


DP_SGD = Kind(dp_sgd, adapt=adapt, belief=belief)
