"""Notebooks run from top to bottom with short settings, and are kept without outputs."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


class Short(NamedTuple):
    """A short run of a notebook.

    Attributes:
      parameters: what stands in for the cell tagged `parameters`.
      prints: what its cells must have printed.
      pictures: how many pictures they must have shown.
      makes: files that they must have made.
      instead: what stands in for text of its cells that no parameter sets.
    """

    parameters: str
    prints: tuple[str, ...]
    pictures: int
    makes: tuple[str, ...]
    instead: tuple[tuple[str, str], ...] = ()


SHORT = {
    "01_first_leak": Short(
        parameters="STEPS = 100\nRESTARTS = 1",
        prints=("label 4, true 4", "PSNR of each victim"),
        pictures=2,
        makes=("first-leak/report.html",),
    ),
    "02_labels": Short(
        parameters="COUNT = 3\nSTEPS = 4",
        prints=(
            "demix                [0, 2, 1, 0, 3, 1, 0, 1, 0, 0]  8 of 8",
            "sigma 0.1: 5 negative row sums",
            "after 4 steps",
            "B = 32  random shares",
            "25 epochs",
        ),
        pictures=5,
        makes=("labels-batch/report.html", "labels-training/report.html"),
        instead=(
            ("--batch 1 --batch 2 --batch 8 --batch 32 --defense", "--batch 1 --batch 8 --defense"),
            ("--batch 2 --batch 8 --batch 32 --attack", "--batch 2 --batch 8 --attack"),
            ("for n in (2, 8, 32)", "for n in (2, 32)"),
            ("epochs = (1, 5, 25)", "epochs = (1, 25)"),
        ),
    ),
    "03_direct_recovery_and_mixing": Short(
        parameters='DATASET = "digits"\nBATCH = 4\nSEEDS = 1\nLOSSES = ("cross_entropy", "sigmoid_mse")',
        prints=(
            ": PROVEN",
            "noise 1e-02: median",
            "dB, masked",
            "no class absent: common offset",
            "dense: proven",
            "rgap: proven",
            "sigmoid_mse",
            "statuses: class mean",
            "a blank image",
        ),
        pictures=2,
        makes=(),
    ),
    "04_gradient_matching": Short(
        parameters='DATASET = "digits"\nSTEPS = 100\nRESTARTS = 4\nNORM_STEPS = 5',
        prints=(
            "inverting_tuned, tv = 0.000",
            "4 restarts: the attacker's choice",
            "the race spends",
            "multistep  median",
            "candidate-iterations a second",
        ),
        pictures=5,
        makes=("all-restarts/report.html", "race/report.html"),
        instead=(("for count in (8, 64)", "for count in (8, 16)"),),
    ),
    "05_gan_prior_and_choosing_an_optimiser": Short(
        parameters='DATASET = "private:digits"\nPRIOR = "digits"\nEVALUATIONS = 160\nVICTIMS = 2',
        prints=("'licence': 'CC BY 4.0'", "sigma  0.3: ggl", "knows all", "gifd median", "random_search"),
        pictures=5,
        makes=("optimizers/report.html",),
        instead=(("--optimizer cr_fm_nes --optimizer snes ", ""),),
    ),
    "06_measure_without_attacking": Short(
        parameters='DATASET = "digits"\nSTAGES = [0, 300]\nSIGMAS = [0.01, 0.1]\nRECORDS = 4\nUPDATES = 120',
        prints=("sigma 0.01: ", "noise 0.01: nats of one image", "head   usable", "rank correlation"),
        pictures=3,
        makes=("measured/report.html",),
        instead=(
            ("family=mlp()", "family=mlp(steps=50)"),
            ("sizes = [1, 2, 4]", "sizes = [1, 2]"),
            ("inverting:steps=200", "inverting:steps=50"),
        ),
    ),
    "07_sweep_on_tpu_or_gpu": Short(
        parameters='DATASET = "digits"\nSEEDS = 3\nSTEPS = 20\nSTRENGTHS = 2\nTOGETHER = 16',
        prints=(
            "66 cases of 22 settings",
            "66 of 66 cases finished",
            "66/66 cases (100 %)",
            "recovered: victims of at least 30 dB",
            "66 cases; case_id, dataset",
        ),
        pictures=3,
        makes=("sweep/report.html", "sweep.yaml"),
    ),
}


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


def outputs(notebook):
    return [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]


def shorten(notebook, short):
    (parameters,) = cells_tagged(notebook, "parameters")
    parameters.source = short.parameters
    notebook.cells = [cell for cell in notebook.cells if "install" not in cell.metadata.get("tags", [])]
    for text, other in short.instead:
        (cell,) = [cell for cell in notebook.cells if text in cell.source]
        cell.source = cell.source.replace(text, other)


def test_runs(notebook, tmp_path):
    name, found = notebook
    short = SHORT[name]
    shorten(found, short)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    NotebookClient(found, timeout=300, resources={"metadata": {"path": tmp_path}}).execute(
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)} | cache
    )
    shown = [out.get("data", {}) for out in outputs(found)]
    text = "".join(out.get("text", "") for out in outputs(found))
    text += "".join(data.get("text/plain", "") for data in shown)
    assert not [wanted for wanted in short.prints if wanted not in text]
    assert sum("image/png" in data for data in shown) == short.pictures
    assert not [file for file in short.makes if not (tmp_path / file).exists()]
