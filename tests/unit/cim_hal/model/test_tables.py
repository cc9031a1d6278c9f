"""Samples as tables: nothing is lost, and dimod's own table says the same."""

from __future__ import annotations

from dataclasses import replace

import dimod
import numpy as np
import pytest

from cim_hal import IsingModel, ModelError, SampleSet, TraceRequest, open_device

MODEL = IsingModel.from_couplings([[0, 1, -2], [1, 0, 0.5], [-2, 0.5, 0]], [0.1, 0, -0.3])


@pytest.fixture(scope="module")
def samples():
    with open_device("emulator") as session:
        return session.sample(MODEL, n_runs=7, seed=3, trace=TraceRequest(every=400))


def test_a_data_frame_has_the_rows_of_dimod(samples):
    frame = samples.to_pandas()
    theirs = dimod.SampleSet.from_samples(samples.spins, "SPIN", samples.energies)
    expected = theirs.to_pandas_dataframe().sort_values("energy", kind="stable")
    np.testing.assert_array_equal(frame[[0, 1, 2]].to_numpy(), expected[[0, 1, 2]].to_numpy())
    np.testing.assert_array_equal(frame["energy"], expected["energy"])
    assert frame.attrs["record"]["seed"] == 3


def test_a_data_set_has_names_for_its_axes(samples):
    data = samples.to_xarray()
    assert dict(data.sizes)["run"] == 7
    np.testing.assert_array_equal(data["spins"].isel(run=0), samples.best)
    np.testing.assert_array_equal(data["amplitude"].values, samples.amplitudes)
    np.testing.assert_array_equal(
        data["trace"].sel(round_trip=400)[0], samples.trace.amplitudes[0, 0]
    )
    assert data.attrs["seed"] == 3
    assert "trace" not in replace(samples, trace=None, amplitudes=None).to_xarray()


@pytest.mark.parametrize("has_amplitudes", [False, True])
def test_parquet_gives_back_what_was_written(samples, tmp_path, has_amplitudes):
    whole = replace(samples, trace=None)
    given = whole if has_amplitudes else replace(whole, amplitudes=None)
    given.to_parquet(tmp_path / "s.parquet")
    again = SampleSet.from_parquet(tmp_path / "s.parquet")
    np.testing.assert_array_equal(again.spins, given.spins)
    assert again.spins.dtype == np.int8
    np.testing.assert_array_equal(again.energies, given.energies)
    assert (again.amplitudes is None) != has_amplitudes
    if has_amplitudes:
        np.testing.assert_array_equal(again.amplitudes, given.amplitudes)
    assert (again.record, again.tolerance) == (given.record, given.tolerance)
    assert again.is_symmetric == given.is_symmetric


def test_what_is_no_table_of_samples_is_refused(samples, tmp_path):
    with pytest.raises(ModelError, match="a trace"):
        samples.to_parquet(tmp_path / "s.parquet")
    with pytest.raises(ModelError, match="cannot write"):
        replace(samples, trace=None).to_parquet(tmp_path / "nowhere" / "s.parquet")
    with pytest.raises(ModelError, match=r"not named \.parquet"):
        replace(samples, trace=None).to_parquet(tmp_path / "s.txt")
    (tmp_path / "text.parquet").write_text("no table")
    samples.to_pandas().rename(columns=str).to_parquet(tmp_path / "other.parquet")
    for name in ("text.parquet", "other.parquet", "absent.parquet"):
        with pytest.raises(ModelError, match="holds no samples"):
            SampleSet.from_parquet(tmp_path / name)
