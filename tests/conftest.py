"""What every test shares: the compilation cache, and one small case that is fast to attack."""

import os
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jaxlib

# Most of the suite's time is XLA compiling programs that run once: less optimised ones take two
# fifths of it. The flags are those of one XLA; another may refuse them.
if jaxlib.__version__.startswith("0.10."):
    os.environ["XLA_FLAGS"] = " ".join(
        [
            os.environ.get("XLA_FLAGS", ""),
            "--xla_cpu_use_fusion_emitters=false",
            "--xla_backend_optimization_level=1",
            "--xla_cpu_parallel_codegen_split_count=1",
        ]
    )

import jax
import pytest

CACHE = os.environ.get("JAX_COMPILATION_CACHE_DIR") or Path(__file__).parents[1] / ".cache" / "xla"
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_num_cpu_devices", 8)  # audits use as many as they have groups of lanes

from jleak import data  # noqa: E402
from jleak.clients import fedsgd  # noqa: E402
from jleak.losses import cross_entropy  # noqa: E402
from jleak.models import mlp  # noqa: E402
from jleak.types import Batch, Client, Model, Params, Threat, View  # noqa: E402

SWEEP = {
    "models": {"mlp": {"hidden": 16}},
    "attacks": {"inverting": {"steps": 20}},
    "defenses": ["none", {"gaussian": {"sigma": {"each": [0.001, 0.1]}}}],
    "seeds": {"range": 3},
    "victims": 2,
    "together": 4,
    "memory": 1.0,
}
"""A sweep of nine cases in three batches."""


class Small(NamedTuple):
    """A victim: what it holds, what it shares, and what a naive attacker knows."""

    model: Model
    client: Client
    params: Params
    batch: Batch
    view: View
    threat: Threat


@pytest.fixture(scope="session")
def sweep_settings():
    """`sweep_settings(key=value, ...)`: the settings of a small sweep, or what the keys say."""
    return lambda **changes: SWEEP | changes


@pytest.fixture(scope="session")
def digits():
    return data.digits()


@pytest.fixture(scope="session")
def small(digits):
    """`small(n)`: a client with n digits and a perceptron of 32 hidden units."""

    def build(n: int = 1, seed: int = 0) -> Small:
        model = mlp(digits.shape, digits.classes, hidden=32)
        client = fedsgd(model, cross_entropy)
        params = model.init(jax.random.key(seed))
        batch = data.draw(jax.random.key(seed), digits, n)
        view = View(params, client(jax.random.key(seed), params, batch))
        return Small(model, client, params, batch, view, Threat(client=client, model=model, batch=n))

    return build
