"""The forms of convolution, where attacks use them: the second-order gradient inside scan and vmap.

Seconds per candidate and iteration of `inverting` (cosine, total variation, signed Adam), for every form of
`jleak.models.conv`; what `conv="auto"` chooses on a backend must be the fastest here.
"""

import functools
import sys

import jax
import jax.numpy as jnp
from common import interleaved, quartiles, save

from jleak.attacks import inverting
from jleak.clients import fedsgd
from jleak.losses import cross_entropy
from jleak.models import convnet, lenet
from jleak.models.conv import FORMS
from jleak.types import Batch, Threat, View

CASES = {
    # name: (model, image shape, candidates, steps)
    "lenet 8x8x1": (lenet, (8, 8, 1), 8, 200),
    "lenet 32x32x3": (lenet, (32, 32, 3), 8, 50),
    "convnet 32x32x3": (convnet, (32, 32, 3), 4, 5),
    "convnet, width 64, 32x32x3": (functools.partial(convnet, width=64), (32, 32, 3), 4, 5),
}


def search(factory, shape, form, candidates, steps):
    """A compiled attack of so many candidates and steps, ready to call."""
    model = factory(shape, 10, conv=form)
    client = fedsgd(model, cross_entropy)
    params = model.init(jax.random.key(0))
    batch = Batch(jax.random.uniform(jax.random.key(1), (1, *shape)), jnp.array([3]))
    view = View(params, client(jax.random.key(2), params, batch), labels=batch.y)
    attack = inverting(Threat(client=client, model=model), steps=steps)
    run = jax.jit(jax.vmap(attack, in_axes=(0, None)))
    keys = jax.random.split(jax.random.key(3), candidates)
    return lambda: run(keys, view).loss


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    results = {}
    for name, (factory, shape, candidates, steps) in CASES.items():
        tasks = {form: search(factory, shape, form, candidates, steps) for form in FORMS if form != "auto"}
        seconds = interleaved(tasks, rounds)
        unit = 1e3 / (candidates * steps)
        results[name] = {
            "milliseconds_per_candidate_step": {
                form: quartiles([s * unit for s in found]) for form, found in seconds.items()
            },
            "over_im2col": {
                form: quartiles([b / a for a, b in zip(seconds["im2col"], found, strict=True)])
                for form, found in seconds.items()
            },
        }
    save("conv", results)
