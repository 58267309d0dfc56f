"""Which records are asked about, and by what."""

import pytest

from jleak.check import InputError
from jleak.report.sweep.choosing import asked, kept


@pytest.fixture
def there(noisy, held):
    return held(noisy())[1]


def test_names_are_settings_and_arguments(there):
    assert asked(["defense,attack", "defense.sigma"], there) == ["defense", "attack", "defense.sigma"]
    assert asked(["defense_args"], there) == ["defense.bound", "defense.scope", "defense.sigma"]
    assert asked([], there) == []


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("defence", "unknown setting in --by 'defence'; did you mean 'defense'? known: attack, attack."),
        ("defense.sigm", "did you mean 'defense.sigma'?"),
        ("psnr", "unknown setting in --by 'psnr'"),
    ],
)
def test_an_unknown_name_is_answered_with_those_known(there, by, told):
    with pytest.raises(InputError) as error:
        asked([by], there)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("where", "count"),
    [
        (["knows=kind"], 12),
        (["defense.sigma=0.1"], 8),
        (["defense.sigma=1e-1"], 8),
        (["defense.sigma=0.1", "defense.sigma=1"], 16),
        (["defense.sigma=0.1", "attack=dlg", "knows=nothing"], 2),
        (["defense=none"], 4),
        (["defense.sigma=-"], 8),
        (["known_labels=false", "seed=1"], 16),
        (["weights=none"], 32),
        (["model.hidden=64"], 32),
    ],
)
def test_conditions_choose_records(there, where, count):
    assert kept(where, there).sum() == count


@pytest.mark.parametrize(
    ("where", "told"),
    [
        (["knows"], "--where must be NAME=VALUE, such as knows=kind, got 'knows'"),
        (["knows="], "--where must be NAME=VALUE"),
        (["know=kind"], "unknown setting in --where 'know'; did you mean 'knows'?"),
        (["knows=all"], "unknown value of knows in --where 'all'; known: kind, nothing"),
        (["defense.sigma=0.5"], "known: -, 0.01, 0.1, 1"),
        (["defense=none", "knows=kind"], "no record meets all of --where defense=none --where knows=kind"),
    ],
)
def test_bad_conditions_say_what_to_do(there, where, told):
    with pytest.raises(InputError) as error:
        kept(where, there)
    assert told in str(error.value)


def test_a_value_of_many_is_answered_with_the_first_and_the_last(case, held):
    _, there = held([(case(seed=s), {}) for s in range(40)])
    with pytest.raises(InputError, match=r"no record has seed=77; take one of its 40 values from 0 to 39"):
        kept(["seed=77"], there)
