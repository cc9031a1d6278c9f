from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from cim_machines import Adjustable

from cim_hal import IsingModel, SampleSet, TraceRequest, open_device
from cim_hal.cli.search import Search, print_report, summarize, write_archive
from cim_hal.model.files import ModelFile

RING = ModelFile(
    IsingModel.from_couplings([[0, -1, 0, -1], [-1, 0, -1, 0], [0, -1, 0, -1], [-1, 0, -1, 0]]),
    is_graph=True,
)


@pytest.fixture(scope="module")
def sets():
    with open_device(Adjustable()) as device:
        trace = TraceRequest(every=2, runs=3)
        return [device.sample(RING.model, n_runs=20, seed=seed, trace=trace) for seed in (4, 5)]


def test_the_report_counts_all_jobs_and_describes_the_best(sets):
    search = Search.begun(sets[0], 1.5)
    search.add(sets[1], 2.5)
    facts = summarize(RING, search, seconds=3.0)
    energies = np.concatenate([samples.energies for samples in sets])
    assert (facts["n_runs"], facts["seconds"]) == (40, 3.0)
    assert facts["best_energy"] == energies.min()
    assert facts["best_cut"] == (4 - energies.min()) / 2  # a cut edge has J s s' = 1
    assert facts["mean_energy"] == pytest.approx(energies.mean(), rel=1e-12)
    assert facts["runs_at_best"] == np.count_nonzero(energies == energies.min())
    assert facts["search"]["jobs"] == 2
    json.dumps(facts)


def test_the_table_says_when_the_best_was_found_where_there_were_several_jobs(sets, capsys):
    search = Search.begun(sets[0], 1.5)
    print_report(RING, search, 2.0, [])
    assert "best found" not in capsys.readouterr().out
    search.add(sets[1], 2.5)
    print_report(RING, search, 3.0, [])
    assert "best found" in capsys.readouterr().out


def test_a_model_that_is_no_graph_has_no_cut_and_energies_of_the_trace_are_those_of_its_spins(sets):
    facts = summarize(ModelFile(RING.model, is_graph=False), Search.begun(sets[0], 1.0), 1.0)
    assert "best_cut" not in facts
    trace = sets[0].trace
    assert facts["trace"]["round_trips"] == trace.round_trips.tolist()
    assert facts["trace"]["energies"] == trace.energies(RING.model).tolist()


def test_the_archive_gives_back_every_array(sets, tmp_path):
    path = tmp_path / "samples.npz"
    write_archive(path, sets[0])
    with np.load(path) as archive:
        np.testing.assert_array_equal(archive["spins"], sets[0].spins)
        np.testing.assert_array_equal(archive["energies"], sets[0].energies)
        np.testing.assert_array_equal(archive["amplitudes"], sets[0].amplitudes)
        np.testing.assert_array_equal(archive["trace_pump"], sets[0].trace.pump)
        np.testing.assert_array_equal(archive["trace_amplitudes"], sets[0].trace.amplitudes)
        assert json.loads(str(archive["record"])) == json.loads(sets[0].record.model_dump_json())


def test_people_are_shown_the_best_and_where_it_was_written(sets, capsys):
    search = Search.begun(sets[0], 1.5)
    search.add(sets[1], 2.5)
    search.was_interrupted = True
    print_report(RING, search, 3.0, [Path("a.npz")])
    shown = capsys.readouterr().out
    for text in ("best_cut", "a.npz", "of 2", "then interrupted", "note door"):
        assert text in shown


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_couplings_beside_a_penalty_that_count_as_zero_are_told(form, capsys):
    J = np.array([[0, 1e6, 1], [1e6, 0, 1], [1, 1, 0]])
    file = ModelFile(IsingModel.from_couplings(form(J)), is_graph=False)
    with open_device("emulator-dsb") as device:
        search = Search.begun(device.sample(file.model, coupling_bits=16, seed=1), 1.0)
    print_report(file, search, 1.0, [])
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "2 of 3 couplings are below half a level" in told
    assert summarize(file, search, 1.0)["quantization"]["couplings_lost"] == 2


def test_rounding_that_costs_no_couplings_is_no_warning(sets, capsys):
    print_report(RING, Search.begun(sets[0], 1.5), 2.0, [])
    assert "warning" not in capsys.readouterr().out


def _copies(n: int, n_runs: int) -> tuple[ModelFile, Search]:
    upper = np.triu(np.random.default_rng(n).integers(1, 9, (n, n)), 1).astype(float)
    file = ModelFile(IsingModel.from_maxcut(upper + upper.T), is_graph=True)
    spins = np.ones((n_runs, n), np.int8)
    with open_device(Adjustable()) as device:
        record = device.sample(RING.model, seed=1).record
    record = record.model_copy(update={"device_s": 0.25, "notes": {"compile_s": 11.5}})
    return file, Search.begun(SampleSet.rank(file.model, spins, None, record), 1.0)


def test_runs_that_may_be_copies_are_told_and_so_is_what_was_compiled(capsys):
    file, search = _copies(30, 64)
    print_report(file, search, 12.0, [])
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "1 configuration, 1 energy; worth 1 runs that all differ" in told
    assert "64 runs gave 1 configuration: they may be copies of each other" in told
    assert "0.25 of them on the device and 11.5 for compiling" in told
    facts = summarize(file, search, 12.0)
    assert facts["diversity"] == {"configurations": 1, "energies": 1, "effective_runs": 1.0}
    assert len(facts["warnings"]) == 1
    assert (facts["device_seconds"], facts["compile_seconds"]) == (0.25, 11.5)


def test_what_differs_is_no_warning(sets):
    facts = summarize(RING, Search.begun(sets[0], 1.0), 1.0)
    assert facts["warnings"] == []
    assert facts["diversity"]["effective_runs"] > 1
