"""The cocktail party attack: mixtures of independent sources, and digits whose labels repeat."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.attacks import cocktail_party, dense
from jleak.attacks.cocktail_party.attack import matched
from jleak.attacks.cocktail_party.unmixing import fixed_point, gains, outside, unit, whiten
from jleak.check import InputError
from jleak.clients import fedsgd
from jleak.defenses import clip, gaussian
from jleak.losses import cross_entropy, sigmoid_mse
from jleak.metrics import pair
from jleak.models import lenet, mlp
from jleak.search import best
from jleak.types import Batch, Threat, View

SHAPE, N = (8, 8, 1), 4
MODEL = mlp(SHAPE, 10, hidden=32)
BARE = mlp(SHAPE, 10, hidden=32, bias=False)
STARTS = jax.random.split(jax.random.key(0), 4)


@functools.cache
def attack(loss, model=MODEL, granted=False):
    threat = Threat(client=fedsgd(model, loss), model=model, batch=N, loss=loss)
    return jax.jit(jax.vmap(cocktail_party(threat, steps=600), (0, None)))


def same(digits, y=3):
    """Four digits of one class."""
    return Batch(jnp.asarray(digits.x[np.flatnonzero(digits.labels == y)[:N]]), jnp.full(N, y))


def attacked(batch, loss=cross_entropy, defense=lambda client: client, model=MODEL, granted=False):
    """(reconstruction of least own loss, view)."""
    params, client = model.init(jax.random.key(1)), defense(fedsgd(model, loss))
    view = View(params, client(jax.random.key(2), params, batch), batch.y if granted else None)
    return best(attack(loss, model, granted)(STARTS, view)), view


def psnr(x, truth):
    """Mean over the images, best pairing."""
    x, truth = np.asarray(x)[np.asarray(pair(x, truth))], np.asarray(truth)
    return np.mean(-10 * np.log10(np.mean((x - truth) ** 2, (1, 2, 3))))


def ratio(view, batch):
    threat = Threat(client=fedsgd(MODEL, cross_entropy), model=MODEL, batch=N)
    return psnr(dense(threat)(STARTS[0], view._replace(labels=batch.y)).x, batch.x)


def test_repeated_labels_are_unmixed_where_ratios_give_the_class_mean(digits):
    """Four digits of one class, for each class: once 6.0 dB in the mean, 0.3 where they are too alike.

    The own loss tells where.
    """
    gained, losses = [], []
    for y in range(10):
        batch = same(digits, y)
        rec, view = attacked(batch)
        gained.append(psnr(rec.x, batch.x) - ratio(view, batch))
        losses.append(float(rec.loss))
        np.testing.assert_array_equal(rec.y, batch.y)
    assert np.mean(gained) > 4 and np.min(gained) > -1
    assert np.corrcoef(gained, losses)[0, 1] < -0.5


def test_a_loss_that_mixes_is_unmixed(digits):
    batch = Batch(jnp.asarray(digits.x[:N]), jnp.asarray([3, 3, 7, 1]))
    rec, view = attacked(batch, loss=sigmoid_mse)
    order = np.asarray(pair(rec.x, batch.x))
    assert psnr(rec.x, batch.x) > ratio(view, batch) + 6
    np.testing.assert_array_equal(rec.y[order], batch.y)


def test_granted_labels_name_their_images(digits):
    batch = Batch(jnp.asarray(digits.x[:N]), jnp.asarray([3, 3, 7, 1]))
    rec, _ = attacked(batch, loss=sigmoid_mse, granted=True)
    np.testing.assert_array_equal(rec.y, batch.y)
    assert (np.asarray(pair(rec.x, batch.x))[2:] == [2, 3]).all()


def test_a_factor_on_the_update_is_immaterial_to_the_images(digits):
    batch = same(digits, 5)
    plain, _ = attacked(batch)
    clipped, _ = attacked(batch, defense=clip(bound=0.05))
    assert abs(psnr(clipped.x, batch.x) - psnr(plain.x, batch.x)) < 15
    assert clipped.loss > 10 * plain.loss


def test_noise_costs_quality_and_shows_in_the_loss(digits):
    batch = same(digits, 5)
    found = [attacked(batch, defense=gaussian(sigma=s))[0] for s in (1e-6, 1e-2)]
    assert psnr(found[0].x, batch.x) > psnr(found[1].x, batch.x) + 6
    assert found[1].loss > 0.1 > found[0].loss


def test_whitening_gives_mixtures_that_lead_back_to_the_gradient(digits):
    batch = same(digits)
    params, client = MODEL.init(jax.random.key(1)), fedsgd(MODEL, cross_entropy)
    view = View(params, client(jax.random.key(2), params, batch))
    mixed = whiten(Threat(client=client, model=MODEL, batch=N), view)
    np.testing.assert_allclose(mixed.x @ mixed.x.T / 64, np.eye(N), atol=1e-4)
    np.testing.assert_allclose(mixed.x.mean(1), 0, atol=1e-4)
    rows = mixed.back @ (mixed.x + mixed.mean[:, None])
    np.testing.assert_allclose(rows, view.update["dense0"]["kernel"].T, atol=1e-6)
    np.testing.assert_allclose(mixed.back @ mixed.one, view.update["dense0"]["bias"], atol=1e-6)


def test_the_true_unmixing_has_no_scale_left_and_lies_in_the_box(digits):
    """Rows of U that invert the mixing of known images: gains give these images back."""
    batch = same(digits)
    params, client = MODEL.init(jax.random.key(1)), fedsgd(MODEL, cross_entropy)
    view = View(params, client(jax.random.key(2), params, batch))
    mixed = whiten(Threat(client=client, model=MODEL, batch=N), view)
    flat = np.asarray(batch.x, np.float64).reshape(N, -1)
    raw = np.asarray(mixed.x + mixed.mean[:, None], np.float64)
    u = unit(jnp.asarray(flat @ np.linalg.pinv(raw), jnp.float32))
    s, gain = u @ mixed.x, gains(mixed, u)
    np.testing.assert_allclose((s + (u @ mixed.mean)[:, None]) / gain[:, None], flat, atol=1e-2)
    assert outside(s, gain, u @ mixed.mean) < 1e-4 < outside(s, 0.5 * gain, u @ mixed.mean)


@pytest.mark.parametrize("kind", ["uniform", "laplace"])
def test_independent_sources_are_separated(kind):
    rng = np.random.default_rng(0)
    sources = {"uniform": rng.uniform(-1, 1, (6, 4000)), "laplace": rng.laplace(size=(6, 4000))}[kind]
    mixtures = rng.normal(size=(6, 6)) @ sources
    mixtures -= mixtures.mean(1, keepdims=True)
    left, sizes, _ = np.linalg.svd(mixtures, full_matrices=False)
    to = (left / sizes).T * np.sqrt(4000)
    start = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    u = jax.jit(fixed_point, static_argnums=2)(
        jnp.asarray(to @ mixtures, jnp.float32), jnp.asarray(start), 50
    )
    np.testing.assert_allclose(u @ u.T, np.eye(6), atol=1e-5)
    found = np.abs(np.corrcoef(np.asarray(u) @ to @ mixtures, sources)[:6, 6:])
    assert (found > 0.99).sum() == 6
    np.testing.assert_array_equal(np.sort(found.argmax(1)), np.arange(6))


def test_without_a_bias_the_sign_is_the_means_and_the_largest_pixel_is_one(digits):
    batch = same(digits)
    rec, _ = attacked(batch, model=BARE)
    assert rec.x.min() == 0 and np.all(np.isclose(rec.x.max((1, 2, 3)), 1, atol=1e-5))
    assert psnr(rec.x, batch.x) > 15


def test_matching_takes_the_best_pair_first():
    fit = jnp.array([[0.2, 0.9, 0.1], [0.3, 0.8, 0.7], [0.6, 0.5, 0.4]])
    assert matched(fit).tolist() == [2, 0, 1]


def test_what_it_cannot_unmix_is_refused():
    with pytest.raises(InputError, match="declares no chain of dense layers; use attack=inverting"):
        cocktail_party(Threat(client=None, model=lenet(SHAPE, 10), batch=2))
    with pytest.raises(InputError, match="tv must be >= 0"):
        cocktail_party(Threat(client=None, model=MODEL, batch=2), tv=-1.0)
    params = MODEL.init(jax.random.key(0))
    many = cocktail_party(Threat(client=fedsgd(MODEL, cross_entropy), model=MODEL, batch=33))
    with pytest.raises(InputError, match="at most 32 images in a layer of 64 inputs and 32 outputs"):
        many.init(STARTS[0], View(params, params["params"]))
