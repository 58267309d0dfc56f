"""What the tests of attacks share: a line an attack, and the attacks compiled once."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.catalog import ATTACKS

RESTARTS = 4
KEYS = jax.random.split(jax.random.key(11), RESTARTS)


def squared(got, seen, x):
    """DLG, algorithm 1: the sum of squared differences."""
    return np.sum((got - seen) ** 2)


def cosine_and_variation(got, seen, x, tv=1e-4, l2=0.0):
    """Inverting Gradients, equation 4, and the total variation of its code: two means of |differences|."""
    cosine = got @ seen / np.linalg.norm(got) / np.linalg.norm(seen)
    rows, columns = np.abs(x[:, 1:] - x[:, :-1]), np.abs(x[:, :, 1:] - x[:, :, :-1])
    length = np.sqrt((x**2).sum((1, 2, 3))).mean()
    return 1 - cosine + tv * (rows.mean() + columns.mean()) + l2 * length


def mean_square(got, seen, x):
    """GGL's D1 in its code: the squared distance over the number of tensors, four in the perceptron."""
    return squared(got, seen, x) / 4


def cosine_and_opponents(got, seen, x):
    """Breaching's `modern` without its feature term: isotropic total variation with colour opponents."""
    cosine = got @ seen / np.linalg.norm(got) / np.linalg.norm(seen)
    rows, columns = np.zeros((2, *x.shape))
    rows[:, :-1], columns[:, :, :-1] = x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1]
    return 1 - cosine + 1e-4 * np.sqrt(rows**2 + columns**2).mean()


def relative_square_and_norm(got, seen, x):
    """GradInversion without BatchNorm: ours of its distance, total variation, and the images' length."""
    rows, columns = np.abs(x[:, 1:] - x[:, :-1]), np.abs(x[:, :, 1:] - x[:, :, :-1])
    length = np.sqrt((x**2).sum((1, 2, 3))).mean()
    return squared(got, seen, x) / (seen @ seen) + 1e-4 * (rows.mean() + columns.mean()) + 1e-6 * length


def layer_by_layer(got, seen, x):
    """Ours: every kernel relative to its own. The perceptron's tensors: bias, kernel, bias, kernel."""
    ends = np.cumsum([32, 64 * 32, 10, 32 * 10])
    parts = [slice(ends[0], ends[1]), slice(ends[2], ends[3])]
    return sum(squared(got[part], seen[part], x) / (seen[part] @ seen[part]) for part in parts)


def relative(got, seen, x):
    """Of the closed forms: the relative distance."""
    return np.linalg.norm(got - seen) / np.linalg.norm(seen)


class Line(NamedTuple):
    """One attack on the small case.

    `objective(its update, the seen one, x)` is the paper's, in NumPy. After `steps` steps the best of four
    starts has `measured` dB more than the best constant image; `asked` is what the test insists on.
    """

    objective: Callable
    steps: int
    measured: float
    asked: float
    least: int = 1
    """The smallest batch that leaves something to search for steps of any length."""
    most: int | None = None
    """The largest batch that it takes."""
    boxed: bool = False
    """Whether it looks for images in [0, 1] alone."""
    closed: bool = False
    """Whether it is a closed form: nothing to search, so neither steps nor optimisers that matter here."""
    args: dict = {}
    """Its other settings."""
    budget: str = "steps"
    """The setting that says how long it searches."""
    anew: tuple[int, ...] = ()
    """Of the first five steps those where a stage begins, or a step of any length can lead back to that."""


LINES = {
    "cocktail_party": Line(relative, 10, 100, 60, least=3, boxed=True),
    "demixing": Line(relative, 1, 100, 60, boxed=True, closed=True),
    "dense": Line(relative, 1, 100, 60, boxed=True, closed=True),
    "dlg": Line(squared, 30, 69, 40),
    "ggl": Line(
        mean_square,
        300,
        12,
        5,
        most=1,
        boxed=True,
        budget="evaluations",
        args={"optim": "adam", "weight": 0.0},
    ),
    "gias": Line(
        functools.partial(cosine_and_variation, tv=1e-6),
        300,
        40,
        20,
        boxed=True,
        args={"latent_steps": 1},
        anew=(1,),
    ),
    "gifd": Line(functools.partial(cosine_and_variation, l2=1e-6), 300, 20, 10, boxed=True, anew=(3, 4)),
    "gradinversion": Line(relative_square_and_norm, 100, 40, 20, boxed=True, args={"group": 1}),
    "idlg": Line(squared, 30, 141, 80, most=1),
    "inverting": Line(cosine_and_variation, 100, 58, 35, boxed=True),
    "inverting_tuned": Line(
        cosine_and_opponents, 100, 40, 20, boxed=True, args={"tv": 1e-4, "features": 0.0, "warmup": 10}
    ),
    "relative": Line(layer_by_layer, 100, 60, 35),
    "multistep": Line(cosine_and_variation, 100, 58, 35, boxed=True),
    "rgap": Line(relative, 1, 100, 60, most=1, boxed=True, closed=True),
}


def largest(name):
    return LINES[name].most if name in LINES else None


every_attack = pytest.mark.parametrize("name", sorted(ATTACKS))
every_search = pytest.mark.parametrize(
    "name", sorted(n for n in ATTACKS if n in LINES and not LINES[n].closed)
)


def settings(name, steps, **more):
    """The arguments of an attack that searches; a closed form takes its defaults."""
    line = LINES[name]
    return {} if line.closed else {line.budget: steps, **line.args, **more}


class Run(NamedTuple):
    """A compiled attack `(four keys, four views)`, what it found on the small case, its tracings so far."""

    recs: Any
    attack: Callable
    traces: list[int]


def fresh(name, victim):
    """The attack built, traced and run anew."""
    attack, traces = ATTACKS[name](victim.threat, **settings(name, LINES[name].steps)), []

    def noted(key, view):
        traces.append(1)
        return attack(key, view)

    compiled = jax.jit(jax.vmap(noted))
    return Run(compiled(KEYS, four(victim.view)), compiled, traces)


def four(view):
    return jax.tree.map(lambda u: jnp.stack([u] * RESTARTS), view)


def equal(a, b):
    return all(np.array_equal(u, v) for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def psnr(x, truth):
    return -10 * np.log10(
        np.mean((np.clip(np.asarray(x, np.float64), 0, 1) - np.asarray(truth, np.float64)) ** 2)
    )


def margin(rec, victim):
    """How many dB it is above the best constant image."""
    truth = np.asarray(victim.batch.x)
    return psnr(rec.x, truth) - psnr(np.full_like(truth, truth.mean()), truth)
