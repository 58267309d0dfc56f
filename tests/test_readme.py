"""The README's example runs as written, and its table names every command."""

import json
import re
from pathlib import Path

import pytest
from typer.main import get_command

from jleak.audit.config import cases, config_of
from jleak.audit.sweep.config import sweep_config_of
from jleak.audit.sweep.plan import plan
from jleak.cli import app

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_example_is_a_dozen_lines_and_recovers_the_digit(capsys):
    example = blocks("python")[0]
    assert (
        len([line for line in example.splitlines() if line and not line.startswith(("import", "from"))]) <= 12
    )
    exec(compile(example, "README.md", "exec"), {})
    label, true, psnr = re.match(
        r"label (\d) \(true (\d)\), PSNR ([\d.]+) dB", capsys.readouterr().out
    ).groups()
    assert label == true
    assert float(psnr) > 30


def test_settings_file_is_valid(tmp_path):
    settings = blocks("yaml")[0]
    path = tmp_path / "audit.yaml"
    path.write_text(settings)
    planned = cases(config_of({}, path))
    assert (
        len(planned) == 2 * 2 * 5 * 3
    )  # models x attacks x (none, and two defenses by two attackers) x seeds
    assert json.loads(json.dumps(planned[0].to_json()))


def test_sweep_file_is_valid_also_by_its_preset(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(blocks("yaml")[1])
    strengths = 1 + 7 + 2 * 3  # none; gaussian, of which the attacker has no use; clip by two attackers
    assert sum(setting.size for setting in plan(sweep_config_of({}, path))) == 2 * strengths * 2 * 100
    assert (
        sum(setting.size for setting in plan(sweep_config_of({"use": "long"}, path)))
        == 2 * strengths * 2 * 100
    )


@pytest.mark.parametrize("command", sorted(get_command(app).commands))
def test_table_names_every_command(command):
    assert f"| `jleak {command}" in README
