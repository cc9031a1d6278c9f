"""Samples of a model, sorted by its energy, and traces of amplitudes during the runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

import numpy as np

from cim_hal.errors import ModelError
from cim_hal.extras import load_extra
from cim_hal.model.conversion import real_number, require, whole_number
from cim_hal.model.enumeration import all_energies
from cim_hal.model.ising import check_model
from cim_hal.model.record import Diversity, RunRecord
from cim_hal.model.tables import read_parquet, write_parquet
from cim_hal.text import counted, html_table

if TYPE_CHECKING:
    import os

    import pandas as pd
    import xarray as xr
    from numpy.typing import NDArray

    from cim_hal.model.ising import IsingModel

__all__ = ["MANY", "Sample", "SampleSet", "Trace", "copies_warning", "diversity_of"]

SHOWN, SHOWN_ROWS = 64, 10  # spins of a sample, and samples, that a notebook shows
MANY = 8  # fewer runs with one answer are no reason for a warning
FEW_SPINS = 16  # models that are solved by exhaustion


class Sample(NamedTuple):
    """One run: its spins, int8 of shape (n,), and its energy."""

    spins: NDArray[np.int8]
    energy: float


@dataclass(frozen=True, eq=False)
class Trace:
    """Amplitudes during the first runs of a job.

    Runs are in the order of the job, not sorted by energy as in a `SampleSet`.

    Attributes
    ----------
    round_trips : int64 array, shape (k,)
        Round trip after which each frame was taken, increasing; the first round trip is 1.
    pump : float64 array, shape (k,)
        Pump rate of these round trips, in thresholds.
    amplitudes : float32 array, shape (k, runs, n)
        Analog in-phase amplitudes; their signs are the spins.
    """

    round_trips: NDArray[np.int64]
    pump: NDArray[np.float64]
    amplitudes: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.round_trips)

    @property
    def n_runs(self) -> int:
        """Number of recorded runs."""
        return self.amplitudes.shape[1]

    @property
    def spins(self) -> NDArray[np.int8]:
        """Spins (k, runs, n): the sign of the amplitudes, an exact zero counts as +1."""
        return np.where(self.amplitudes < 0, -1, 1).astype(np.int8)

    def energies(self, model: IsingModel) -> NDArray[np.float64]:
        """Return the energies of `model` at every frame, float64, shape (k, runs).

        Raises
        ------
        ModelError
            The model has another number of spins.
        """
        check_model(model)
        # frame by frame: all at once would take 8 bytes for each of the amplitudes
        return np.array([model.energy(np.where(x < 0, -1, 1)) for x in self.amplitudes])


@dataclass(frozen=True, eq=False)
class SampleSet:
    """Samples of a model, lowest energy first.

    Its length is the number of runs; indexed and iterated it gives a `Sample` of each.

    Attributes
    ----------
    spins : int8 array, shape (runs, n)
        Values -1 and +1.
    energies : float64 array, shape (runs,)
        Energies of the caller's model, computed by the client.
    amplitudes : float32 array, shape (runs, n), or None
        Analog in-phase amplitudes, if the machine reports them.
    record : RunRecord
    trace : Trace or None
        Amplitudes during the first runs of the job, in the order of the job, if requested.
    tolerance : float
        Difference below which two energies are equal: the `energy_tolerance` of the model.
    is_symmetric : bool
        Whether the model has no field, so that spins and their negatives are one configuration.
    """

    spins: NDArray[np.int8]
    energies: NDArray[np.float64]
    amplitudes: NDArray[np.float32] | None
    record: RunRecord
    trace: Trace | None = None
    tolerance: float = 0.0
    is_symmetric: bool = False

    @classmethod
    def rank(
        cls,
        model: IsingModel,
        spins: NDArray[np.int8],
        amplitudes: NDArray[np.float32] | None,
        record: RunRecord,
        trace: Trace | None = None,
    ) -> Self:
        """Make a sample set: compute the energies of `spins`, and sort by them (stable).

        The record is completed by the diversity of the runs.
        """
        check_model(model)
        require("record", record, RunRecord, ModelError, hint="pass a RunRecord")
        for name, array in (("spins", spins), ("amplitudes", amplitudes)):
            if array is not None or name == "spins":
                require(name, array, np.ndarray, ModelError, hint="pass an array (runs, n)")
        if amplitudes is not None and amplitudes.shape != spins.shape:
            what = f"amplitudes have the shape {amplitudes.shape}, spins {spins.shape}"
            raise ModelError(what, hint="pass both of the same runs")
        if trace is not None:
            require("trace", trace, Trace, ModelError, hint="pass a Trace")
        energies = model.energy(spins)
        order = np.argsort(energies, kind="stable")
        ranked = None if amplitudes is None else amplitudes[order]
        spins, energies, tolerance = spins[order], energies[order], model.energy_tolerance
        is_symmetric = not model.h.any()
        diversity = diversity_of(spins, energies, tolerance, is_symmetric=is_symmetric)
        record = record.model_copy(update={"diversity": diversity})
        return cls(spins, energies, ranked, record, trace, tolerance, is_symmetric)

    def concat(self, other: SampleSet) -> SampleSet:
        """Return the samples of two sets of one model together, lowest energy first.

        Record and trace are those of the set with the lower best energy, of this one if they are
        equal within the tolerance. Amplitudes are kept if both sets have them.

        Raises
        ------
        ModelError
            `other` is no sample set, or has another number of spins.
        """
        require("the other set", other, SampleSet, ModelError, hint="pass what `sample` returned")
        if self.spins.shape[1] != other.spins.shape[1]:
            sizes = f"{self.spins.shape[1]} and {other.spins.shape[1]}"
            raise ModelError(f"the sets have {sizes} spins", hint="merge samples of one model")
        energies = np.concatenate([self.energies, other.energies])
        order = np.argsort(energies, kind="stable")
        amplitudes = None
        if self.amplitudes is not None and other.amplitudes is not None:
            amplitudes = np.concatenate([self.amplitudes, other.amplitudes])[order]
        tolerance = max(self.tolerance, other.tolerance)
        lower = other if other.best_energy < self.best_energy - tolerance else self
        spins = np.concatenate([self.spins, other.spins])[order]
        is_symmetric = self.is_symmetric and other.is_symmetric
        return SampleSet(
            spins, energies[order], amplitudes, lower.record, lower.trace, tolerance, is_symmetric
        )

    def lowest(self, n_runs: int) -> SampleSet:
        """Return the `n_runs` samples of lowest energy, or all if there are fewer."""
        n_runs = whole_number("n_runs", n_runs, ModelError, 1)
        amplitudes = None if self.amplitudes is None else self.amplitudes[:n_runs]
        spins, energies = self.spins[:n_runs], self.energies[:n_runs]
        return replace(self, spins=spins, energies=energies, amplitudes=amplitudes)

    def counted(self) -> tuple[SampleSet, NDArray[np.int64]]:
        """Return the different samples, lowest energy first, and how many runs gave each.

        Those that differ by the sign of all spins are two. Amplitudes are left out.
        """
        rows = np.packbits(self.spins > 0, axis=1)
        _, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
        order = np.argsort(first)
        chosen = first[order]
        different = replace(
            self, spins=self.spins[chosen], energies=self.energies[chosen], amplitudes=None
        )
        return different, counts[order].astype(np.int64)

    def __len__(self) -> int:
        return len(self.energies)

    @overload
    def __getitem__(self, run: int) -> Sample: ...
    @overload
    def __getitem__(self, run: slice) -> list[Sample]: ...
    def __getitem__(self, run: int | slice) -> Sample | list[Sample]:
        if isinstance(run, slice):
            return [self[k] for k in range(*run.indices(len(self)))]
        return Sample(self.spins[run], float(self.energies[run]))

    def __iter__(self) -> Iterator[Sample]:
        return map(Sample, self.spins, self.energies.tolist())

    def __repr__(self) -> str:
        n_runs, n_spins = self.spins.shape
        size = f"{counted(n_runs, 'run')} of {counted(n_spins, 'spin')}"
        best = f"{self.n_best} at {self.best_energy:.12g}"
        return f"SampleSet({size}, {best}, {self.record.device!r})"

    def _repr_html_(self) -> str:
        different, counts = self.counted()
        shown = zip(different, counts.tolist(), strict=True)
        rows = [
            (f"{energy:.12g}", count, "".join("+" if spin > 0 else "-" for spin in spins[:SHOWN]))
            for (spins, energy), count in islice(shown, SHOWN_ROWS)
        ]
        return html_table(repr(self), ("energy", "runs", "spins"), rows)

    @property
    def first(self) -> Sample:
        """The sample of lowest energy."""
        return self[0]

    @property
    def best(self) -> NDArray[np.int8]:
        """Spins of lowest energy, int8, shape (n,)."""
        return self.spins[0]

    @property
    def best_energy(self) -> float:
        """Lowest energy."""
        return float(self.energies[0])

    @cached_property
    def diversity(self) -> Diversity:
        """How many different samples there are among these runs."""
        options = {"is_symmetric": self.is_symmetric}
        return diversity_of(self.spins, self.energies, self.tolerance, **options)

    def warning(self, model: IsingModel) -> str:
        """Return a warning if these runs of `model` may be copies of each other, or "".

        That is if there are eight or more of one configuration, which is not proven optimal.
        """
        check_model(model)
        return copies_warning(self.diversity, len(self), self.best_energy, model)

    def reached(self, energy: float) -> NDArray[np.bool_]:
        """Return which runs are at or below `energy`, within the tolerance; shape (runs,)."""
        return self.energies <= real_number("energy", energy, ModelError) + self.tolerance

    @property
    def n_best(self) -> int:
        """Number of runs at the lowest energy, within the tolerance."""
        return int(np.count_nonzero(self.reached(self.best_energy)))

    def success_probability(self, energy: float) -> float:
        """Return the share of runs at or below `energy`, within the tolerance.

        It is an estimate from as many samples as there are independent runs: see `diversity`.
        """
        return float(np.mean(self.reached(energy)))

    def as_bits(self) -> NDArray[np.int8]:
        """Return x = (1 + σ)/2, int8, shape (runs, n)."""
        return ((self.spins + 1) // 2).astype(np.int8)

    def to_pandas(self) -> pd.DataFrame:
        """Return a row for each run: its ``energy``, and its spins in columns 0 to n - 1.

        The record is in ``attrs["record"]``, as a dict. Tables need the extra ``tables``.
        """
        frame = load_extra("pandas", "to_pandas", ModelError).DataFrame(self.spins)
        frame.insert(0, "energy", self.energies)
        frame.attrs["record"] = self.record.model_dump(mode="json")
        return frame

    def to_xarray(self) -> xr.Dataset:
        """Return spins (run, spin), energies (run), and amplitudes and trace where there are any.

        Its attributes are the facts of the record that are one text or number.
        """
        parts: dict[str, Any] = {"spins": (("run", "spin"), self.spins)}
        parts["energy"] = (("run",), self.energies)
        coordinates: dict[str, Any] = {}
        if self.amplitudes is not None:
            parts["amplitude"] = (("run", "spin"), self.amplitudes)
        if self.trace is not None:  # its runs are in the order of the job
            parts["trace"] = (("round_trip", "traced_run", "spin"), self.trace.amplitudes)
            parts["pump"] = (("round_trip",), self.trace.pump)
            coordinates["round_trip"] = self.trace.round_trips
        record = self.record.model_dump(mode="json")
        facts = {name: fact for name, fact in record.items() if isinstance(fact, str | int | float)}
        return load_extra("xarray", "to_xarray", ModelError).Dataset(parts, coordinates, facts)

    def to_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write energies, spins, amplitudes where there are any, and the record.

        Raises
        ------
        ModelError
            The samples have a trace, which has no place in a table; or the file cannot be written,
            or is not named ``.parquet``.
        """
        if self.trace is not None:
            what = "the samples have a trace, which is no table"
            raise ModelError(what, hint="dataclasses.replace(samples, trace=None) leaves it out")
        arrays = {"energy": self.energies, "spins": self.spins, "amplitudes": self.amplitudes}
        options = {"tolerance": self.tolerance, "is_symmetric": self.is_symmetric}
        write_parquet(path, arrays, self.record, **options)

    @classmethod
    def from_parquet(cls, path: str | os.PathLike[str]) -> Self:
        """Return the samples that `to_parquet` wrote.

        Raises
        ------
        ModelError
            The file cannot be read, or holds no samples.
        """
        return cls(**read_parquet(path))


# ---- whether runs may be copies of each other -------------------------------------------------
#
# Runs of a machine are independent samples only if something differs between them: noise, or their
# start. A machine without either answers the same to every run, and a user who asked for 64 runs
# has one.


def diversity_of(
    spins: NDArray[np.int8], energies: NDArray[np.float64], tolerance: float, *, is_symmetric: bool
) -> Diversity:
    """Count different spins (runs, n) and their energies, sorted, which differ by `tolerance`.

    Where the model `is_symmetric`, spins and their negatives are one configuration.
    """
    if len(spins) == 1:  # as in short jobs, of which this takes a tenth of the client's time
        return Diversity(configurations=1, energies=1, effective_runs=1.0)
    is_up = spins > 0
    if is_symmetric:
        is_up = is_up ^ is_up[:, :1]
    packed = np.packbits(is_up, axis=1)
    rows = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    counts = np.unique(rows, return_counts=True)[1]
    return Diversity(
        configurations=len(counts),
        energies=1 + int(np.count_nonzero(np.diff(energies) > tolerance)),
        effective_runs=float(len(spins) ** 2 / np.square(counts, dtype=np.float64).sum()),
    )


def copies_warning(found: Diversity, n_runs: int, energy: float, model: IsingModel) -> str:
    """Return a warning if many runs gave one configuration that is not proven optimal, or ""."""
    if n_runs < MANY or found.configurations > 1 or _is_proven(model, energy):
        return ""
    return f"{counted(n_runs, 'run')} gave 1 configuration: they may be copies of each other"


def _is_proven(model: IsingModel, energy: float) -> bool:
    """Return whether no configuration is lower: no bond is frustrated, or all were tried."""
    lowest = energy - model.energy_tolerance
    if lowest <= model.offset - model.magnitude:
        return True
    return model.n_spins <= FEW_SPINS and bool(lowest <= all_energies(model).min())
