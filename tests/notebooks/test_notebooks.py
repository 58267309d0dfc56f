"""Notebooks run from top to bottom with short settings, and are kept without outputs."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHORT = {"01_first_leak": "STEPS = 300\nRESTARTS = 1"}
"""What stands in for the cell tagged `parameters`."""


def cells_tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param.stem, nbformat.read(request.param, as_version=4)


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_outputs_are_stripped(notebook):
    _, found = notebook
    code = [cell for cell in found.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_has_badge_one_install_cell_and_parameters(notebook):
    name, found = notebook
    assert (
        f"colab.research.google.com/github/jleak/jleak/blob/main/notebooks/{name}.ipynb"
        in found.cells[0].source
    )
    (install,) = cells_tagged(found, "install")
    assert install.source.startswith("%pip install") and "\n" not in install.source
    assert len(cells_tagged(found, "parameters")) == 1


def test_runs(notebook, tmp_path):
    name, found = notebook
    (parameters,) = cells_tagged(found, "parameters")
    parameters.source = SHORT[name]
    found.cells = [cell for cell in found.cells if "install" not in cell.metadata.get("tags", [])]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    NotebookClient(found, timeout=300, resources={"metadata": {"path": tmp_path}}).execute(
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    )
    text = "".join(
        out.get("text", "") for cell in found.cells if cell.cell_type == "code" for out in cell.outputs
    )
    assert "label 5, true 5" in text or "PSNR" in text
    assert (tmp_path / "first-leak" / "report.html").exists()
