"""Checks name the value, the rule and the remedy; what is fine passes unchanged."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jleak.check import REQUIRED, InputError, arguments, keywords, number, one_of, whole


@pytest.mark.parametrize("value", [0, 1, 0.5, -3.5, 1e300, math.inf, np.float32(0.25), np.int64(3)])
def test_numbers_pass_unchanged(value):
    assert number("x", value) is value


@pytest.mark.parametrize("value", ["1", None, True, [1.0], 1j, {}])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(InputError) as caught:
        number("x", value)
    assert str(caught.value) == f"x must be a number, got x={value!r}"


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "rule"),
    [
        ({"least": 0}, [0, 0.1], [-1e-9, -math.inf, math.nan], ">= 0"),
        ({"most": 1}, [1, -5], [1.1, math.inf, math.nan], "<= 1"),
        ({"above": 0}, [1e-30, math.inf], [0, 0.0, -1, math.nan], "> 0"),
        ({"below": 2}, [1.999, -math.inf], [2, 2.0, 3, math.nan], "< 2"),
        ({"least": 0, "below": 1}, [0, 0.5], [1], "< 1"),
    ],
)
def test_bounds_hold_and_their_message_has_name_rule_value_and_remedy(bounds, inside, outside, rule):
    for value in inside:
        assert number("sigma", value, **bounds) == value
    for value in outside:
        with pytest.raises(InputError) as caught:
            number("sigma", value, **bounds, hint="use less")
        rule_or_nan = "a number" if math.isnan(value) else rule
        assert str(caught.value) == f"sigma must be {rule_or_nan}, got sigma={value}; use less"


def test_traced_numbers_pass():
    seen = jax.vmap(lambda s: number("sigma", s, least=0))(jnp.array([-1.0, 1.0]))
    np.testing.assert_array_equal(seen, [-1, 1])


@pytest.mark.parametrize("value", [1, 7, np.int32(4)])
def test_whole_numbers_become_ints(value):
    got = whole("steps", value)
    assert type(got) is int and got == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "steps must be >= 1, got steps=0; ask for more"),
        (1.0, "steps must be a whole number, got steps=1.0; ask for more"),
        (True, "steps must be a whole number, got steps=True; ask for more"),
        ("3", "steps must be a whole number, got steps='3'; ask for more"),
    ],
)
def test_what_is_not_whole_is_refused(value, message):
    with pytest.raises(InputError) as caught:
        whole("steps", value, hint="ask for more")
    assert str(caught.value) == message


def test_unknown_names_list_the_known_and_the_nearest():
    known = {"clip": 1, "gaussian": 2, "prune": 3}
    assert one_of("defense", "clip", known) == "clip"
    for value, wanted in [
        ("gausian", "unknown defense 'gausian'; did you mean 'gaussian'? known: clip, gaussian, prune"),
        ("zzz", "unknown defense 'zzz'; known: clip, gaussian, prune"),
        (None, "unknown defense None; known: clip, gaussian, prune"),
    ]:
        with pytest.raises(InputError) as caught:
            one_of("defense", value, known)
        assert str(caught.value) == wanted


def factory(threat, *, bound, scale, scope="global"):
    """A factory with two required settings."""


def test_keywords_are_the_settings_and_their_defaults():
    assert keywords(factory) == {"bound": REQUIRED, "scale": REQUIRED, "scope": "global"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"bond": 1, "scale": 1}, "no argument 'bond'; did you mean 'bound'? it has: bound, scale, scope"),
        ({"zzz": 1}, "no argument 'zzz'; it has: bound, scale, scope"),
        ({"threat": 1}, "no argument 'threat'"),
        ({"bound": 1}, "needs scale; write clip:scale=VALUE"),
        ({}, "needs bound, scale; write clip:bound=VALUE,scale=VALUE"),
    ],
)
def test_arguments_that_a_factory_has_not_or_needs_are_named(args, message):
    with pytest.raises(InputError, match="defense 'clip'") as caught:
        arguments("defense 'clip'", factory, args)
    assert message in str(caught.value)


def test_good_arguments_pass():
    args = {"bound": 1.0, "scale": 2.0}
    assert arguments("defense 'clip'", factory, args) is args


def test_input_errors_are_value_errors():
    assert issubclass(InputError, ValueError)
