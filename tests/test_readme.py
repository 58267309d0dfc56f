"""The README's example runs as written, and its table names every command."""

import json
import re
from pathlib import Path

import pytest
from typer.main import get_command

from jleak.audit.config import cases, config_of
from jleak.cli import app

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_example_is_a_dozen_lines_and_recovers_the_digit(capsys):
    (example,) = blocks("python")
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
    (settings,) = blocks("yaml")
    path = tmp_path / "audit.yaml"
    path.write_text(settings)
    plan = cases(config_of({}, path))
    assert len(plan) == 2 * 2 * 5 * 3  # models x attacks x (none, and two defenses by two attackers) x seeds
    assert json.loads(json.dumps(plan[0].to_json()))


@pytest.mark.parametrize("command", sorted(get_command(app).commands))
def test_table_names_every_command(command):
    assert f"| `jleak {command}" in README
