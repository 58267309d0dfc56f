"""Made-up stores of sweeps: records and images without any attack."""

import io

import numpy as np
import pytest

from jleak.audit.sweep import place as files
from jleak.audit.sweep import schema, store
from jleak.audit.sweep.place import place
from jleak.report.sweep.columns import columns


@pytest.fixture
def sweep(tmp_path, record):
    """`sweep([(case, found), ...], images=True, url=None)`: the place of a store, two cases a part."""

    def build(found, *, images=True, url=None, total=None):
        where = place(url or tmp_path / "sweep")
        store.begin(where, {}, command="jleak sweep run '<b>a</b>.yaml'", total=total or len(found))
        made = [record(case, **numbers) for case, numbers in found]
        for first in range(0, len(made), 2):
            some = made[first : first + 2]
            if images:
                keep(where, f"part{first:03d}", some)
            store.put(where, f"part{first:03d}", schema.table([one | {"host": "here"} for one in some]))
        return where

    return build


def keep(where, name, records):
    """Images of these records: the truth is a victim's number over 10, the reconstruction twice that."""
    most = max(record["victims"] for record in records)
    truth = np.zeros((len(records), most, 1, 4, 4, 1), np.float16)
    truth += np.arange(most)[None, :, None, None, None, None] / 10
    ids = np.array([record["case_id"] for record in records])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, truth=truth, reconstruction=2 * truth, labels=truth, case_id=ids)
    files.write(where, f"images/{name}.npz", buffer.getvalue())


@pytest.fixture
def held(sweep):
    """`held(found)`: (table, columns) of a store of these."""

    def build(found):
        table = store.table(sweep(found))
        return table, columns(table)

    return build


@pytest.fixture
def noisy(case):
    """Two attacks against no defense, three strengths of noise, two of them known, and one of clipping."""

    def build():
        found = []
        for attack, best in (("inverting", 40.0), ("dlg", 35.0)):
            for seed in (0, 1):
                about = {"attack": attack, "seed": seed}
                found.append((case(**about), {"psnr": [best, best + 2]}))
                found.append((case(defense="clip", defense_args={"bound": 2.0}, **about), {"psnr": best - 1}))
                for loss, sigma in enumerate((0.01, 0.1, 1.0)):
                    for gain, knows in enumerate(("nothing", "kind")):
                        one = case(defense="gaussian", defense_args={"sigma": sigma}, knows=knows, **about)
                        found.append((one, {"psnr": best - 10 - 10 * loss + gain}))
        return found

    return build
