"""Studies whose jobs run in other processes: those of Python, and workers of Dask."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from studies import STUDY, rows_of

from cim_hal.study import run_study


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A study, and what its rows are by threads here."""
    folder = tmp_path_factory.mktemp("alone")
    file = folder / "study.toml"
    file.write_text(STUDY.replace("count = 4", "count = 2"))
    run_study(file, folder / "out")
    return file, rows_of(folder / "out")


def test_processes_make_the_same_rows(alone, tmp_path):
    file, rows = alone
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        run_study(file, tmp_path / "out", executor=pool)
    assert rows_of(tmp_path / "out") == rows


@pytest.mark.slow
def test_workers_of_dask_make_the_same_rows_and_a_job_that_fails_ends_the_study(alone, tmp_path):
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    file, rows = alone
    local = {"n_workers": 2, "processes": False, "dashboard_address": None}
    with distributed.Client(**local) as client:
        run_study(file, tmp_path / "out", executor=client.get_executor())
        assert rows_of(tmp_path / "out") == rows

        def report(*_):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_study(file, tmp_path / "cut", executor=client.get_executor(), report=report)
        assert len(rows_of(tmp_path / "cut")) == 1
        run_study(file, tmp_path / "cut", executor=client.get_executor(), resume=True)
        assert rows_of(tmp_path / "cut") == rows
