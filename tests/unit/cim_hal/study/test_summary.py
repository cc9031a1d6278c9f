"""What points say of trainings whose figures are known."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest

from cim_hal.study import tasks
from cim_hal.study.families import Instance, Target
from cim_hal.study.plan import Study
from cim_hal.study.rows import Row
from cim_hal.study.shares import mean_of
from cim_hal.study.summary import summary
from cim_hal.study.sweep import Sweep

VIOLATED, CALLS = (0.5, 1.0, 1.5, 4.0), (10, 12, 12, 14)


@pytest.fixture
def sweep(monkeypatch):
    task = EntryPoint("train", "known_success:task", tasks.GROUP)
    monkeypatch.setattr(tasks, "offered", lambda _: EntryPoints([task]))
    tables = {"study": {"name": "known", "task": "train"}, "train": {"seeds": 4}}
    tables |= {"machine": {"device": "known_success:make"}, "factors": {"noise": [0.5]}}
    instances = [Instance(f"seed-{k}", None, Target(0.0, "test samples")) for k in range(4)]
    with Sweep(Study.model_validate(tables), instances) as found:
        yield found


def rows_of(sweep, *figures: dict):
    rows = [
        Row(
            *({"noise": 0.5}, f"seed-{k}", "", 1, 0, k, "machine", 100, 50, 0.0, "test samples"),
            *(0.0, 0.0, 0.0, 1, 0.0, 0.0, "", ""),
            **known,
        )
        for k, known in enumerate(figures)
    ]
    (point,) = summary(sweep, {row.key: row for row in rows}, list(sweep.study.points()))["points"]
    return point


def test_infeasibility_and_calls_are_means_over_trainings(sweep):
    each = zip(VIOLATED, CALLS, strict=True)
    point = rows_of(sweep, *({"infeasibility": v, "calls": n} for v, n in each))
    for name, values in {"infeasibility": VIOLATED, "calls": CALLS}.items():
        found = mean_of(np.array(values, float))
        ends = found.value, found.low, found.high
        assert (point[name], point[f"{name}_low"], point[f"{name}_high"]) == ends
    assert point["calls"] == 12
    assert point["no_infeasibility"] == ""


def test_a_figure_that_a_row_lacks_is_none(sweep):
    whole = {"infeasibility": 1.0, "calls": 10}
    why = {"infeasibility": None, "no_infeasibility": "no constraints"}
    point = rows_of(sweep, whole, whole, whole | why, {})  # the last one is of an earlier version
    assert (point["infeasibility"], point["calls"], point["calls_low"]) == (None, None, None)
    assert point["no_infeasibility"] == "no constraints"
