"""The kinds of runs: how each is planned, run and shown."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jleak.audit import config, driver, optimizers
from jleak.audit.case import Case
from jleak.audit.labels import config as label_config
from jleak.audit.labels import driver as label_driver
from jleak.audit.labels.case import LabelCase
from jleak.audit.measures import config as measure_config
from jleak.audit.measures import driver as measure_driver
from jleak.audit.measures.case import MeasureCase
from jleak.audit.memory import Budget
from jleak.report import console, figures, page, rows
from jleak.report.labels import console as label_console
from jleak.report.labels import figures as label_figures
from jleak.report.labels import page as label_page
from jleak.report.labels import rows as label_rows
from jleak.report.labels.names import short
from jleak.report.measures import console as measure_console
from jleak.report.measures import figures as measure_figures
from jleak.report.measures import page as measure_page
from jleak.report.measures import rows as measure_rows
from jleak.report.optimizers import console as optimizer_console
from jleak.report.optimizers import figures as optimizer_figures
from jleak.report.optimizers import page as optimizer_page
from jleak.report.optimizers import rows as optimizer_rows


class Kind(NamedTuple):
    """What a command does, part by part.

    Attributes:
      plan: `(settings, YAML file or None) -> (cases, means)`; means are further arguments of the next two,
        by name, which say how to run the cases; each has a `note()` for the screen.
      prepared: `(cases, **means) -> data sets`, once it is sure that all can run.
      run: `(cases, path, data sets, *, finished, report, **means) -> records`.
      line: a case in a line of progress.
      rows: `(records, path) -> rows`, what the following three show.
      tables: `(rows, width of the screen) -> tables`.
      draw: `(rows, path) -> pictures`.
      html: `(rows, pictures, settings of the run) -> page`.
    """

    plan: Callable
    prepared: Callable
    run: Callable
    line: Callable
    rows: Callable
    tables: Callable
    draw: Callable
    html: Callable


def audit_line(case: Case) -> str:
    """A case of an audit in a line.

    >>> audit_line(Case(attack="dlg"))
    'lenet none     dlg        seed 0'
    """
    return f"{case.model} {case.defense:8} {case.attack:10} seed {case.seed}"


def labels_line(case: LabelCase) -> str:
    """A case of label leakage in a line; what is plain (no training, no defense, `fedsgd`) is left out.

    >>> labels_line(LabelCase(attack="llg", batch=8, train_steps=500))
    'lenet, 500 steps, uniform, batch 8: llg exact=true'
    """
    record = case.to_json()
    told = [
        case.model,
        f"{case.train_steps} steps" if case.train_steps else "",
        "" if case.client == "fedsgd" else case.client,
        "" if case.defense == "none" else case.defense,
        case.draw,
        f"batch {case.batch}",
    ]
    return f"{', '.join(filter(None, told))}: {short(record, [record])}"


def optimizers_line(case: Case) -> str:
    """A case of a comparison of optimisers in a line."""
    return f"{case.model} {case.defense:8} {case.attack_args['optim']:14} seed {case.seed}"


def measures_line(case: MeasureCase) -> str:
    """A case of a measure in a line.

    >>> measures_line(MeasureCase(measure="sensitivity", train_steps=500))
    'lenet, 500 steps, batch 1: sensitivity'
    """
    told = [
        case.model,
        f"{case.train_steps} steps" if case.train_steps else "",
        "" if case.client == "fedsgd" else case.client,
        "" if case.defense == "none" else case.defense,
        f"batch {case.batch}",
    ]
    return f"{', '.join(filter(None, told))}: {measure_rows.called(case.to_json(), [])}"


def _audit(settings: dict[str, Any], path) -> tuple[list[Case], dict[str, Budget]]:
    asked = config.config_of(settings, path)
    return config.cases(asked), {"budget": Budget(asked.memory)}


def _labels(settings: dict[str, Any], path) -> tuple[list[LabelCase], dict]:
    return label_config.cases(label_config.labels_config_of(settings, path)), {}


def _measures(settings: dict[str, Any], path) -> tuple[list[MeasureCase], dict]:
    return measure_config.cases(measure_config.measure_config_of(settings, path)), {}


def _without_path(rows: Callable) -> Callable:
    """For rows that are made of the records alone."""
    return lambda records, path: rows(records)


KINDS = {
    "audit": Kind(
        _audit, driver.prepared, driver.run, audit_line,
        _without_path(rows.rows), console.tables, figures.draw, page.html,
    ),
    "labels": Kind(
        _labels, label_driver.prepared, label_driver.run, labels_line,
        _without_path(label_rows.blocks), label_console.tables, label_figures.draw, label_page.html,
    ),
    "measure": Kind(
        _measures, measure_driver.prepared, measure_driver.run, measures_line,
        measure_rows.blocks, measure_console.tables, measure_figures.draw, measure_page.html,
    ),
    optimizers.KIND: Kind(
        optimizers.plan, driver.prepared, optimizers.run, optimizers_line,
        optimizer_rows.blocks, optimizer_console.tables, optimizer_figures.draw, optimizer_page.html,
    ),
}  # fmt: skip
"""Kind of run -> its parts."""
