"""What is GGL's own: priors, budgets, the regulariser, and attackers who know the defense."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak import priors
from jleak.attacks import ggl, gias, gifd
from jleak.catalog import ATTACKS
from jleak.check import InputError
from jleak.defenses import KINDS, clip, prune
from jleak.models import mlp
from jleak.search import advance, begin, best_of
from jleak.types import Threat

KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def prior():
    return priors.load("digits")


def psnr(x, truth):
    return -10 * np.log10(np.mean((np.asarray(x, np.float64) - np.asarray(truth, np.float64)) ** 2))


@pytest.mark.parametrize("optim", ["cma_es", "cr_fm_nes", "snes", "snes+adam"])
def test_evolution_beats_random_search_at_one_budget(optim, small):
    """From the same leak, by the attacker's own loss."""
    victim = small(1)
    runs = {
        name: jax.jit(ggl(victim.threat, evaluations=2000, population=20, optim=name))(KEY, victim.view)
        for name in (optim, "random_search")
    }
    assert int(runs[optim].evaluations) <= 2000
    assert int(runs["random_search"].evaluations) == 2000
    assert float(runs[optim].loss) < 0.7 * float(runs["random_search"].loss)


def test_the_loss_holds_the_regulariser(small, prior):
    """The mean square over the four tensors plus 0.1 R1, worked out at the latent that the search keeps."""
    victim = small(1)
    attack = ggl(victim.threat, evaluations=60, population=20, optim="cr_fm_nes")
    run = jax.jit(lambda k: advance(attack, k, begin(attack, k, victim.view), victim.view, jnp.asarray(0), 3))
    state, losses = run(KEY)
    z, x = state.best["x"], attack.read(state, victim.view).x
    update = victim.client(KEY, victim.params, victim.batch._replace(x=x))
    apart = np.mean(
        [
            np.sum((a - b) ** 2)
            for a, b in zip(*map(jax.tree.leaves, (update, victim.view.update)), strict=True)
        ]
    )
    z64 = np.asarray(z, np.float64)
    m, v = np.mean(z64), np.var(z64)
    np.testing.assert_allclose(state.loss, apart - 0.05 * (1 + np.log(v) - m**2 - v), rtol=1e-3)
    assert float(state.loss) == float(losses.min())
    np.testing.assert_allclose(x, prior.generator.apply(prior.params, z, victim.batch.y), atol=1e-6)


def test_weights_come_from_the_view_where_it_holds_them(small, prior):
    victim = small(1)
    attack = jax.jit(ggl(victim.threat, evaluations=40, population=20))
    own, held = attack(KEY, victim.view), attack(KEY, victim.view._replace(prior=prior.params))
    np.testing.assert_allclose(own.x, held.x, atol=1e-6)
    grey = jax.tree.map(jnp.zeros_like, prior.params)
    np.testing.assert_allclose(attack(KEY, victim.view._replace(prior=grey)).x, 0.5, atol=1e-6)


def test_a_prior_as_an_object_is_the_same_as_its_name(small, prior):
    victim = small(1)
    runs = [
        jax.jit(ggl(victim.threat, evaluations=40, population=20, prior=p))(KEY, victim.view)
        for p in ("digits", prior)
    ]
    np.testing.assert_array_equal(runs[0].x, runs[1].x)


def test_a_prior_beats_pixels_under_noise(small, digits):
    """Where the update is mostly noise, what looks like a digit is nearer than what fits the noise."""
    victim = small(1)
    noise = KINDS["gaussian"].defense(sigma=0.1)
    update = noise(victim.client)(KEY, victim.params, victim.batch)
    view = victim.view._replace(update=update)
    with_prior = jax.jit(best_of(ggl(victim.threat, evaluations=2000, population=20), 2))(KEY, view)
    pixels = jax.jit(best_of(ATTACKS["inverting"](victim.threat, steps=1000), 2))(KEY, view)
    assert psnr(with_prior.x, victim.batch.x) > psnr(pixels.x, victim.batch.x) + 3


@pytest.mark.parametrize("defense", [clip(bound=0.3), prune(fraction=0.95)], ids=["clip", "prune"])
def test_who_knows_the_defense_gets_nearer(defense, small):
    """The adaptive attack of the paper."""
    victim = small(1)
    defended = defense(victim.client)
    view = victim.view._replace(update=defended(KEY, victim.params, victim.batch))
    naive, knowing = (
        jax.jit(best_of(ggl(Threat(client=c, model=victim.model), evaluations=2000, population=20), 2))(
            KEY, view
        )
        for c in (victim.client, defended)
    )
    assert psnr(knowing.x, victim.batch.x) > psnr(naive.x, victim.batch.x) + 1


@pytest.mark.parametrize("attack", [ggl, gias, gifd])
def test_a_prior_that_does_not_fit_is_refused(attack, small):
    other = mlp((28, 28, 1), 10)
    with pytest.raises(InputError, match=r"makes images of \(8, 8, 1\), the model takes \(28, 28, 1\)"):
        attack(Threat(client=None, model=other))
    fewer = mlp((8, 8, 1), 3)
    with pytest.raises(InputError, match="draws images of 10 classes, the model has 3"):
        attack(Threat(client=None, model=fewer))
    with pytest.raises(InputError, match="unknown prior 'digit'; did you mean 'digits'"):
        attack(small(1).threat, prior="digit")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluations": 0}, "evaluations must be >= 1"),
        ({"optim": "snes", "evaluations": 10}, "population must be <= the budget of 10 evaluations"),
        ({"optim": "cma-es"}, "unknown optimiser 'cma-es'; did you mean 'cma_es'"),
        ({"distance": "cos"}, "unknown distance 'cos'"),
        ({"weight": -0.1}, "weight must be >= 0"),
    ],
)
def test_bad_settings_are_named(settings, message, small):
    with pytest.raises(InputError, match=message):
        ggl(small(1).threat, **settings)


def test_gias_ends_below_its_latents(small):
    """Weights of the generator reach what no latent does."""
    victim = small(1)
    latents = ggl(victim.threat, evaluations=300, optim="adam", distance="cosine", regular="none", lr=0.03)
    both = gias(victim.threat, steps=300, latent_steps=100)
    first, second = (jax.jit(a)(KEY, victim.view) for a in (latents, both))
    assert float(second.loss) < 0.1 * float(first.loss)
    assert int(second.evaluations) == 300


def test_gifd_ends_below_its_latents(small):
    victim = small(1)
    shallow, deep = (
        jax.jit(gifd(victim.threat, steps=300, radius=radius))(KEY, victim.view) for radius in (0.0, 0.5)
    )
    assert float(deep.loss) < 0.7 * float(shallow.loss)
    assert int(deep.evaluations) == 300


def test_gifd_needs_a_step_for_each_stage(small):
    with pytest.raises(InputError, match="each stage of the generator needs one"):
        gifd(small(1).threat, steps=1)
