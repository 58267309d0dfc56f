"""What tests of mutual information share: pairs whose information is known."""

import jax
import jax.numpy as jnp
import pytest


@pytest.fixture(scope="session")
def correlated():
    """`correlated(seed, n, d, nats)`: n pairs of d normals each, which tell so much of each other."""

    def build(seed: int, n: int, d: int, nats: float) -> tuple[jax.Array, jax.Array]:
        rho = jnp.sqrt(-jnp.expm1(-2 * nats / d))
        x, noise = jax.random.normal(jax.random.key(seed), (2, n, d))
        return x, rho * x + jnp.sqrt(1 - rho**2) * noise

    return build
