"""In what products are computed is the case's, of the attacker alone; GPUs would otherwise take less."""

import jax
import jax.numpy as jnp
import pytest

from jleak.audit import programs, trial
from jleak.audit.built import Programs
from jleak.audit.case import PRECISIONS


def multiplied(precision):
    """The text of a compiled program's matrix product."""
    x = jnp.ones((3, 3))
    program, _ = programs.compiled(lambda x: x @ x, x, precision=precision)
    return next(line for line in program.as_text().splitlines() if " dot(" in line)


def test_the_compiler_is_told():
    assert "operand_precision={highest,highest}" in multiplied("float32")
    assert "operand_precision={high,high}" in multiplied("tensorfloat32")
    assert "highest" not in multiplied("bfloat16")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_attackers_programs_have_the_cases_and_all_others_float32(
    small_case, digits, monkeypatch, precision
):
    seen = []

    def noted(fn, *args, precision="float32", **options):
        seen.append(precision)
        return compiled(fn, *args, precision=precision, **options)

    compiled = programs.compiled
    monkeypatch.setattr(programs, "compiled", noted)
    trial.trial(small_case(precision=precision), digits, Programs(), lambda share, loss: None)
    others = len(seen) - 3  # beginning, advancing and reading a search
    assert others >= 3 and seen.count(precision) == (len(seen) if precision == "float32" else 3)
    assert jax.config.jax_default_matmul_precision is None
