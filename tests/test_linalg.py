"""Decompositions under `vmap`: NumPy's numbers, lane by lane, and no standstill on several devices."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jleak import linalg

DRAWN = np.random.default_rng(0).normal(size=(2, 3, 5, 5)).astype(np.float32)
SPD = DRAWN @ DRAWN.swapaxes(-1, -2) + np.eye(5, dtype=np.float32)
LOW, RHS = np.linalg.cholesky(SPD), DRAWN[..., :2]


def twice(fn, *stacks):
    """`fn` over both leading axes, by two nested `vmap`s."""
    return jax.jit(jax.vmap(jax.vmap(fn)))(*stacks)


def each(fn, *stacks):
    """The same, one matrix after the other."""
    return np.array([[fn(*(stack[i, j] for stack in stacks)) for j in range(3)] for i in range(2)])


@pytest.mark.parametrize(
    ("ours", "oracle", "stacks"),
    [
        (linalg.cho_solve, lambda low, b: scipy.linalg.cho_solve((low, True), b), (LOW, RHS)),
        (linalg.cholesky, np.linalg.cholesky, (SPD,)),
        (lambda a: linalg.eigh(a)[0], np.linalg.eigvalsh, (SPD,)),
        (linalg.expm, scipy.linalg.expm, (DRAWN,)),
        (linalg.inv, np.linalg.inv, (SPD,)),
        (lambda a: jnp.abs(linalg.qr(a)[1]), lambda a: np.abs(np.linalg.qr(a)[1]), (DRAWN,)),
        (lambda a: linalg.slogdet(a)[1], lambda a: np.linalg.slogdet(a)[1], (SPD,)),
        (linalg.solve, np.linalg.solve, (SPD, RHS)),
        (
            lambda low, b: linalg.solve_triangular(low, b, lower=True),
            lambda low, b: scipy.linalg.solve_triangular(low, b, lower=True),
            (LOW, RHS),
        ),
        (lambda a: linalg.svd(a, compute_uv=False), lambda a: np.linalg.svd(a, compute_uv=False), (DRAWN,)),
    ],
    ids=["cho_solve", "cholesky", "eigh", "expm", "inv", "qr", "slogdet", "solve", "solve_triangular", "svd"],
)
def test_lanes_have_numpys_numbers(ours, oracle, stacks):
    np.testing.assert_allclose(twice(ours, *stacks), each(oracle, *stacks), rtol=2e-4, atol=2e-4)


def test_a_stack_is_taken_matrix_by_matrix():
    """Leading axes are lanes, too: a batch given as one array would stand still as theirs does."""
    np.testing.assert_allclose(linalg.cholesky(jnp.asarray(SPD)), LOW, rtol=2e-4, atol=2e-4)
    got = linalg.solve(jnp.asarray(SPD), jnp.asarray(RHS))
    np.testing.assert_allclose(got, np.linalg.solve(SPD, RHS), rtol=2e-4, atol=2e-4)
    if linalg.STALLS:
        shapes = {str(eqn.invars[0].aval.shape) for eqn in equations(jax.make_jaxpr(linalg.cholesky)(SPD))}
        assert shapes == {"(5, 5)"}


def equations(jaxpr):
    """Every Cholesky factorisation in a program, at any depth of it."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "cholesky":
            yield eqn
        for inner in jax.tree.leaves(eqn.params, is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                yield from equations(getattr(inner, "jaxpr", inner))


def test_what_the_lanes_share_is_given_to_each():
    got = jax.vmap(linalg.solve, in_axes=(None, 0))(jnp.asarray(SPD[0, 0]), jnp.asarray(RHS[0]))
    np.testing.assert_allclose(got, [np.linalg.solve(SPD[0, 0], b) for b in RHS[0]], rtol=2e-4, atol=2e-4)


AUDIT = """
import jax
from jleak import data
from jleak.audit import lanes, pieces, programs, sides
from jleak.audit.built import Programs
from jleak.audit.case import Case
from jleak.audit.parts import model_of

jax.config.update("jax_num_cpu_devices", 2)
images = data.load("private:digits")
case = Case(model="mlp", victims=4, restarts=2, lanes=4, **{options})
model = model_of(case, images.shape, images.classes)
view = sides.view_of([case], sides.clients([case], images, model, Programs()))
attacker, _ = programs.attacker(case, model, view)
assert attacker.layout.devices == 2 and attacker.layout.width == 4
for _ in range(3):
    pieces.attack(case, attacker, view, lambda *_: None)
"""


@pytest.mark.parametrize(
    "options",
    [
        {"attack": "ggl", "attack_args": {"optim": "cma_es", "evaluations": 1000}},
        {"attack": "cocktail_party", "attack_args": {"steps": 20}},
    ],
    ids=["eigh", "svd"],
)
def test_four_lanes_on_each_of_two_devices_come_to_an_end(options):
    """Both stood still for good while their decompositions went through jaxlib 0.10 as a batch."""
    command = [sys.executable, "-c", AUDIT.replace("{options}", repr(options))]
    subprocess.run(command, check=True, timeout=300)
