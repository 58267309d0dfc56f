"""Estimators of mutual information against Gaussians whose information is known.

    python bench/papers/mi_estimators.py
    python bench/papers/mi_estimators.py --only ksg --only gaussian

Pairs of d independent coordinates of correlation rho = sqrt(1 - exp(-2 I / d)), I the information in nats.
`cubed`: g^3 in place of g, which has the same information and is no longer Gaussian. Asked: MINE and InfoNCE
within 10 % up to 5 nats, KSG in its dimensions, and nulls that are 0 within their interval. A row is one
draw of the pairs; `seconds` are without compilation, for the pairs and the shuffled ones.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
from common import save

from jleak.leakage.mutual_information import ESTIMATORS, capped

ROUNDING = 1e-5
"""Of a critic that has learnt nothing: its null is 0 but for float32."""

CRITICS = [(10, nats, "") for nats in (1.0, 2.0, 3.0, 5.0)] + [(20, nats, "") for nats in (1.0, 5.0)]
CUBED = [(10, nats, "cubed") for nats in (2.0, 5.0)]
FEW = [(d, nats, "") for d in (1, 2, 3, 4) for nats in (1.0, 3.0, 5.0)]

CASES = {
    "mine": (40_000, CRITICS + CUBED),
    "infonce": (40_000, CRITICS + CUBED),
    "nwj": (40_000, CRITICS[1:4:2]),
    "smile": (40_000, CRITICS[1:4:2]),
    "ksg": (40_000, FEW + [(2, 3.0, "cubed")]),
    "gaussian": (10_000, [(8, 1.0, ""), (8, 5.0, ""), (8, 5.0, "cubed")]),
    "renyi": (2_000, [(d, nats, "") for d in (1, 2, 4) for nats in (1.0, 3.0)]),
}
"""Of each estimator how many pairs, and which cases: dimensions, information, distribution."""


def drawn(seed: int, n: int, d: int, nats: float, kind: str) -> tuple[jax.Array, jax.Array]:
    """Pairs of that information."""
    rho = jnp.sqrt(-jnp.expm1(-2 * nats / d))
    x, noise = jax.random.normal(jax.random.key(seed), (2, n, d))
    g = rho * x + jnp.sqrt(1 - rho**2) * noise
    return x, g**3 if kind == "cubed" else g


def row(estimator, n: int, d: int, nats: float, kind: str) -> dict[str, float | bool | str]:
    """One estimate beside the truth."""
    pairs = drawn(int(10 * nats) + d, n, d, nats, kind)
    compiled = jax.jit(estimator).lower(jax.random.key(0), *pairs).compile()
    clock = time.perf_counter()
    found = jax.block_until_ready(compiled(jax.random.key(0), *pairs))
    seconds = time.perf_counter() - clock
    numbers = {name: round(float(getattr(found, name)), 3) for name in ("nats", "low", "high", "cap")}
    return {
        "pairs": n,
        "d": d,
        "kind": kind or "gaussian",
        "truth": nats,
        **numbers,
        "off_percent": round(100 * (float(found.nats) / nats - 1), 1),
        "null": round(float(found.null), 4),
        "null_error": round(float(found.null_error), 4),
        "null_is_0": bool(abs(found.null) <= found.null_error + ROUNDING),
        "capped": bool(capped(found)),
        "seconds": round(seconds, 1),
    }


def table(only: list[str]) -> dict[str, list[dict]]:
    """The rows of each estimator, printed as they come."""
    found = {}
    for name in only:
        n, cases = CASES[name]
        found[name] = []
        for case in cases:
            found[name].append(row(ESTIMATORS[name], n, *case))
            print(name, *[f"{key}={value}" for key, value in found[name][-1].items()], flush=True)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", action="append", choices=CASES, help="not all estimators; saves nothing")
    given = parser.parse_args()
    results = table(given.only or list(CASES))
    if not given.only:
        save("mi-estimators", results)
