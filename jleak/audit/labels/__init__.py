"""Label leakage over many independent models: one update a victim, every label attack.

The sampling unit is the model. A case is one attack in one setting::

    from jleak.audit.labels.case import LabelCase
    from jleak.audit.labels.driver import measure

    setting = {"dataset": "digits", "model": "lenet", "batch": 8, "draw": "uniform", "models": 100}
    cases = [LabelCase(attack=name, **setting) for name in ("random", "llg", "demix")]
    for record in measure(cases):  # in memory; a few seconds
        print(record["attack"], sum(record["success"]) / len(record["success"]))

or, as `jleak labels` does, a grid of settings, kept case by case in a directory::

    from jleak.audit import store
    from jleak.audit.labels.config import cases, labels_config_of
    from jleak.audit.labels.driver import prepared, run

    plan = cases(labels_config_of({"batches": [1, 8], "attacks": ["llg", "llg:exact=false"]}))
    images = prepared(plan)  # reads the data, and refuses what cannot run, before anything does
    store.make(path, {"kind": "labels", "command": "...", "cases": [case.to_json() for case in plan]})
    records = run(plan, path, images, finished={})

Keep cases of one setting together and their `train_steps` rising, as `config.cases` does: updates are
computed once for all attacks in a row, and a model trained for 500 steps is trained on to 1000.

A record holds the case's fields, `success`, `imbalance`, `found` and, with `assumed_batch="unknown"`,
`batch_estimate`, `batch_error` and `batch_chance` (lists, one number a model x victim), `accuracy` (of the
trained models), `status`, times, device and versions; see `trial.trial`.
"""
