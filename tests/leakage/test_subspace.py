"""Principal angles against SciPy, in single precision too; distances of subspaces above their null."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import subspace_angles

from jleak.check import InputError
from jleak.leakage.subspace import distances, principal_angles, subspace_distance

KEY = jax.random.key(0)


@functools.cache
def program(**settings):
    """`subspace_distance`, compiled whole."""
    return jax.jit(functools.partial(subspace_distance, **settings))


def rows(seed, m, p):
    return np.random.default_rng(seed).normal(size=(m, p)).astype(np.float32)


@pytest.mark.parametrize(("m", "p"), [(9, 200), (60, 12)])
@pytest.mark.parametrize("centred", [False, True])
def test_angles_are_those_of_scipy(m, p, centred):
    """Between leading singular subspaces: NumPy's SVD and SciPy's angles, in double precision."""
    a, b = rows(0, m, p), rows(1, m + 4, p) + 0.3

    def basis(x):
        return np.linalg.svd((x - x.mean(0) if centred else x).astype(float))[2][:5].T

    wanted = np.sort(subspace_angles(basis(a), basis(b)))
    np.testing.assert_allclose(principal_angles(a, b, k=5, centred=centred), wanted, atol=1e-4)


@pytest.mark.parametrize("angle", [1e-5, 1e-4, 1e-2, 0.5, 1.2, np.pi / 2])
def test_angles_of_all_sizes_are_resolved_in_single_precision(angle):
    """acos of the cosine, 1 - 5e-9, would give 0 for 1e-4."""
    basis = np.linalg.qr(rows(2, 50, 4))[0].T.astype(float)
    other = np.stack([basis[0], np.cos(angle) * basis[1] + np.sin(angle) * basis[2]])
    found = principal_angles(jnp.asarray(basis[:2], jnp.float32), jnp.asarray(other, jnp.float32), k=2)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, [0, angle], rtol=2e-2, atol=1e-6)
    assert np.arccos(np.float32(np.cos(1e-4))) == 0


def test_distances_have_their_closed_forms_and_run_from_0_to_1():
    angles = np.array([0.1, 0.7, 1.3])
    found = distances(jnp.asarray(angles))
    np.testing.assert_allclose(found.geodesic, np.linalg.norm(angles) / (np.sqrt(3) * np.pi / 2), rtol=1e-6)
    np.testing.assert_allclose(found.chordal, np.linalg.norm(np.sin(angles)) / np.sqrt(3), rtol=1e-6)
    np.testing.assert_allclose(found.projection, np.sin(1.3), rtol=1e-6)
    for size, value in ((0.0, 0), (np.pi / 2, 1)):
        np.testing.assert_allclose(distances(jnp.full(4, size)), value, atol=1e-6)


def test_projection_is_the_norm_of_the_projectors_difference():
    a, b = rows(3, 6, 40), rows(4, 6, 40)
    found = distances(principal_angles(0.9 * a + 0.1 * b, a, k=6)).projection
    u, v = (np.linalg.qr(x.T.astype(float))[0] for x in (0.9 * a + 0.1 * b, a))
    np.testing.assert_allclose(found, np.linalg.norm(u @ u.T - v @ v.T, 2), rtol=1e-3)


def test_like_updates_are_as_far_apart_as_their_halves():
    """Long rows are nearly orthogonal whatever they are of: all of the distance is null."""
    found = program(k=5)(KEY, rows(5, 60, 4000), rows(6, 60, 4000))
    assert min(found.distances.geodesic, found.null.geodesic) > 0.9
    np.testing.assert_allclose(found.excess, 0, atol=0.01)


def test_what_the_attribute_moves_is_above_the_null():
    turned = np.linalg.qr(rows(7, 300, 6))[0].T
    strong = 20 * rows(8, 2 * 60, 3).reshape(2, 60, 3)
    a, b = (rows(9 + i, 60, 300) + strong[i] @ turned[3 * i : 3 * i + 3] for i in range(2))
    found = program(k=3)(KEY, a, b)
    same = program(k=3)(KEY, a, rows(11, 60, 300) + strong[1] @ turned[:3])
    assert min(found.excess) > 0.6
    assert max(np.abs(same.excess)) < 0.05
    np.testing.assert_allclose(found.excess, np.subtract(found.across, found.null), atol=1e-6)


def test_what_matched_rows_share_is_in_the_null_too():
    """Row i of either has the same strong label direction; their halves have other labels, more or less."""
    labels = np.arange(24) % 12
    excess = []
    for i in range(8):
        strong = 20 * rows(40 + i, 12, 300)[labels]
        a, b = (strong + rows(60 + 2 * i + side, 24, 300) for side in range(2))
        excess.append(float(program(k=4)(KEY, a, b).excess.geodesic))
    assert abs(np.mean(excess)) < 0.03


def test_sets_of_unequal_size_are_compared_at_equal_ones():
    """Else the larger set's steadier halves would make the null too small."""
    base = np.diag([3.0, 3.0, 1.0, 1.0, 1.0, 1.0])
    few, many = (jnp.asarray(rows(i, 12 * m, 6) @ base).reshape(12, m, 6) for i, m in ((0, 12), (1, 400)))
    found = jax.vmap(lambda a, b: program(k=2)(KEY, a, b).excess.geodesic)(few, many)
    assert abs(np.mean(found)) < 0.05


def test_a_mean_counts_as_a_direction_only_if_not_centred():
    a, b = rows(12, 40, 30), rows(13, 40, 30)
    a[:, 0] += 30
    b[:, 1] += 30
    assert program(k=1)(KEY, a, b).excess.geodesic > 0.8
    assert program(k=1, centred=True)(KEY, a, b).excess.geodesic < 0.2


def test_neither_scale_nor_duplicates_change_the_angles():
    a, b = rows(14, 8, 100), rows(15, 8, 100)
    wanted = principal_angles(a, b, k=4)
    np.testing.assert_allclose(principal_angles(1e-6 * a, 1e3 * b, k=4), wanted, atol=1e-4)
    np.testing.assert_allclose(principal_angles(np.repeat(a, 2, 0), b, k=4), wanted, atol=1e-4)


def test_rows_that_span_too_little_give_nan():
    dead = np.zeros((20, 50), np.float32)
    found = program(k=2)(KEY, dead, rows(16, 20, 50))
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves((found.angles, found.across, found.excess)))
    line = rows(17, 20, 1) * rows(18, 1, 50)
    assert np.isnan(principal_angles(line, rows(16, 20, 50), k=2)).all()
    assert np.isfinite(principal_angles(line, rows(16, 20, 50), k=1)).all()


@pytest.mark.parametrize(
    ("shapes", "settings", "message"),
    [
        (((8, 5), (8, 6)), {"k": 1}, r"all of one length, got \(8, 5\) and \(8, 6\)"),
        (((8,), (8, 6)), {"k": 1}, "a row an update"),
        (((8, 50), (20, 50)), {"k": 5}, "k must be <= 4.*got k=5 for 8 and 20 rows; use a smaller k or more"),
        (((8, 50), (20, 50)), {"k": 4, "centred": True}, "k must be <= 3"),
        (((8, 2), (20, 2)), {"k": 3}, "k must be <= 2"),
        (((8, 5), (8, 5)), {"k": 0}, "k must be >= 1"),
        (((8, 5), (8, 5)), {"k": 1, "splits": 0}, "splits must be >= 1"),
    ],
)
def test_bad_input_is_refused(shapes, settings, message):
    with pytest.raises(InputError, match=message):
        subspace_distance(KEY, *(jnp.ones(shape) for shape in shapes), **settings)
