"""A clipped update: what its scale does to counts, and how far the scale can be told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.clients import fedsgd
from jleak.defenses import clip
from jleak.labels import counts_of, demix
from jleak.labels.demix import Dummy, Seen, scale
from jleak.labels.head import Head
from jleak.losses import cross_entropy
from jleak.models import lenet
from jleak.types import Batch, Threat, View

KEY = jax.random.key(0)
NONE = jnp.array(0.0), jnp.array(0.0)
"""No error of db, no doubt of h: `scale` looks at neither."""


@pytest.mark.parametrize("true", [1.0, 0.3, 0.01])
def test_the_scale_shows_where_a_class_is_absent(true):
    """Probabilities that do not depend on the image, three of five classes absent: s to 5 %, and no label."""
    bias = jnp.log(jnp.array([0.3, 0.25, 0.2, 0.15, 0.1]))
    shares = jnp.array([0.5, 0.5, 0.0, 0.0, 0.0])
    layer = Head(jnp.zeros((5, 4)), bias)
    db = true * (jax.nn.softmax(bias) - shares)
    seen = Seen(jnp.zeros((5, 4)), db, jnp.array(0.0), jnp.ones(4), *NONE)
    found = float(scale(seen, layer, Dummy(jnp.ones(4), jnp.zeros((3, 4))), 4))
    assert 0.85 * true <= found <= true


def test_scale_is_one_at_most_and_never_zero():
    layer = Head(jnp.zeros((3, 2)), None)
    known = Dummy(jnp.ones(2), jnp.zeros((2, 2)))
    for size in (0.0, 1e-9, 5.0):
        seen = Seen(jnp.zeros((3, 2)), size * jnp.array([1.0, 0.0, -1.0]), jnp.array(0.0), jnp.ones(2), *NONE)
        assert 0 < float(scale(seen, layer, known, 4)) <= 1


def test_where_noise_leaves_negative_shares_at_any_scale_nothing_was_scaled():
    """Not the least scale, which would blow the noise up ten thousand times."""
    db = jnp.array([0.5, 0.4, -0.4, -0.5])
    seen = Seen(jnp.zeros((4, 2)), db, jnp.array(0.1), jnp.ones(2), *NONE)
    assert scale(seen, Head(jnp.zeros((4, 2)), None), Dummy(jnp.ones(2), jnp.zeros((2, 2))), 4) == 1.0


def test_noise_of_a_known_size_does_not_hide_the_scale():
    """A hundred classes, an update scaled to a twentieth, noise at whose size no scale leaves shares >= 0."""
    n, total, true, sigma = 100, 8, 0.05, 0.001
    bias = jnp.zeros(n).at[7].set(8.0)
    noise = sigma * jax.random.normal(KEY, (n,))
    db = true * (jax.nn.softmax(bias) - jnp.zeros(n).at[:total].set(1 / total)) + noise
    seen = Seen(jnp.zeros((n, 2)), db, jnp.array(0.0), jnp.ones(2), jnp.array(sigma**2), jnp.array(0.0))
    found = scale(seen, Head(jnp.zeros((n, 2)), bias), Dummy(jnp.ones(2), jnp.zeros((2, 2))), total)
    assert 0.7 * true < found < 1.3 * true


def test_who_reckons_with_clipping_finds_the_labels(digits):
    """Twenty models, eight digits, an update scaled down: found by the one attack, lost to the other."""
    model = lenet((8, 8, 1), 10, init="lecun")
    client = clip(bound=0.05)(fedsgd(model, cross_entropy))
    threat = Threat(client=None, model=model, batch=8)
    x, y = jnp.asarray(digits.x), jnp.asarray(digits.labels, jnp.int32)
    attacks = [demix(threat), demix(threat, clipped=True)]

    @jax.jit
    @jax.vmap
    def found(key):
        picks = jax.random.choice(key, len(y), (8,), replace=False)
        params = model.init(key)
        view = View(params, client(key, params, Batch(x[picks], y[picks])))
        true = counts_of(y[picks], 10)
        return jnp.array([jnp.minimum(attack(key, view), true).sum() / 8 for attack in attacks])

    naive, reckoning = np.mean(found(jax.random.split(KEY, 20)), 0)
    assert naive < 0.7
    assert reckoning > 0.95
