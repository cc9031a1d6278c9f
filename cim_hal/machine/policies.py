r"""Lowering policies: how a model that does not fit the levels of a machine is brought there.

A server lowers by the policy ``max``: the step is the smallest that clips nothing, and integers
that fit are taken as they are. The other policies are made by the client, which sends integers that
fit.

``quantile``
    The step that clips the given share of coefficients, .01 of them by default (``quantile:0.99``).
``least-error``
    The step s and levels L of the least mean squared error of the energy over all configurations,
    :math:`\sum_{i<j} (J_{ij} - s L_{ij})^2 + \sum_i (h_i - s L_i)^2`.
``stochastic``
    The step of ``max``, rounding up or down at random, so that the mean is the coefficient.
``splitting``
    Coefficients that are too large are shared with auxiliary spins (`cim_hal.model.splitting`):
    multiples of one unit are kept exactly. Other numbers, and all where a quantile is given
    (``splitting:0.9``), have the step of ``quantile``, and nothing is clipped.
``mutation``
    Coefficients are changed within what keeps the optimum (`cim_hal.model.mutation`), or it is
    refused.
``weakening``
    A strong penalty is made as weak as still outweighs the objective (`cim_hal.model.penalties`),
    and the step is that of ``max``. The only one for machines of real numbers too.

Multiples of one unit that fit, such as 0.5 and 1.5, have no error by any of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from cim_hal.errors import CapabilityError, ModelError
from cim_hal.machine.capabilities import Capabilities
from cim_hal.machine.lowering import agreed_bits, max_level, quantize
from cim_hal.model.coefficients import are_integers, magnitudes, model_of, pairs_of, unit_of
from cim_hal.model.conversion import require, whole_number
from cim_hal.model.ising import check_model
from cim_hal.model.mutation import mutate
from cim_hal.model.pairs import Pairs
from cim_hal.model.penalties import weakened_model
from cim_hal.model.sampleset import SampleSet, Trace
from cim_hal.model.splitting import SplitModel
from cim_hal.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.model.ising import IsingModel
    from cim_hal.model.record import LoweringReport, RunRecord

__all__ = ["POLICIES", "LoweredModel", "Policy", "lower_by"]

POLICIES = (
    *("max", "quantile", "least-error", "stochastic", "splitting"),
    *("mutation", "weakening"),
)
QUANTILE = 0.99
STEPS, MOST_TRIED = 64, 10_000  # steps and couplings that are tried for the least error
STREAM = 0x6C6F776572  # of rounding, apart from those of machines
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Policy:
    """A lowering policy by its name, with its quantile where it has one."""

    name: str
    quantile: float | None = None

    @classmethod
    def of(cls, text: str) -> Policy:
        """Read ``splitting`` or ``splitting:0.9``; `ModelError` says what there is."""
        require("lowering", text, str, ModelError, hint=f"one of {', '.join(POLICIES)}")
        name, colon, number = text.partition(":")
        if name not in POLICIES or (colon and name not in {"quantile", "splitting"}):
            raise ModelError(f"lowering = {text!r:.100}", hint=f"one of {', '.join(POLICIES)}")
        if not colon:
            return cls(name)
        try:
            quantile = float(number)
        except ValueError:
            quantile = -1.0
        if not 0 < quantile <= 1:
            raise ModelError(f"lowering = {text!r:.100}", hint="a quantile is above 0, at most 1")
        return cls(name, quantile)


@dataclass(frozen=True, eq=False)
class LoweredModel:
    """A model as a client sends it, and the way back; `lower_by` makes it.

    Attributes
    ----------
    policy : str
    original : IsingModel
    model : IsingModel
        What is sent: integers that fit the machine, and perhaps auxiliary spins. Of the policy
        ``max`` it is the original, which the server lowers.
    rounded : IsingModel
        Levels of the spins of the original: the ground states of `model` are those of this one.
    step : float
        Value of one level, in the units of the original.
    split : SplitModel, optional
        How `model` was made of `rounded`, where that is too large for the machine.
    penalty_share : float
        To what a penalty was weakened; 1 where there is none.
    """

    policy: str
    original: IsingModel
    model: IsingModel
    rounded: IsingModel
    step: float
    split: SplitModel | None = None
    penalty_share: float = 1.0

    @property
    def auxiliary_spins(self) -> int:
        """Spins of `model` that the original does not have."""
        return self.model.n_spins - self.original.n_spins

    @cached_property
    def _errors(self) -> NDArray[np.float64]:
        """Errors of all couplings, each once, then those of all fields."""
        before, after = pairs_of(self.original), pairs_of(self.rounded)
        n = self.original.n_spins
        places = [p.rows * n + p.columns for p in (before, after)]
        wanted = places[0]
        if self.penalty_share < 1:  # else zeros of the original stay zero
            wanted = np.union1d(*places)
        errors = np.zeros(len(wanted))
        for place, values in zip(places, (before.values, -self.step * after.values), strict=True):
            errors[np.searchsorted(wanted, place)] += values
        return np.r_[errors, self.original.h - self.step * self.rounded.h]

    @property
    def max_error(self) -> float:
        """Largest error of a coupling or field."""
        return float(np.abs(self._errors).max(initial=0.0))

    @property
    def energy_error(self) -> float:
        """Root mean square of the error of the energy over all configurations."""
        return _norm(self._errors)

    @property
    def energy_error_bound(self) -> float:
        """No energy is off by more."""
        return float(np.abs(self._errors).sum())

    def lift(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn spins or amplitudes of `model` (..., n') into the original's (..., n)."""
        return values if self.split is None else self.split.lift(values)

    def samples(self, samples: SampleSet) -> SampleSet:
        """Return samples of `model` as samples of the original, ranked by its energies."""
        require("samples", samples, SampleSet, ModelError, hint="pass what `sample` returned")
        return self.rank(samples.spins, samples.amplitudes, samples.record, samples.trace)

    def rank(
        self,
        spins: NDArray[np.int8],
        amplitudes: NDArray[np.float32] | None,
        record: RunRecord,
        trace: Trace | None = None,
    ) -> SampleSet:
        """Return what a machine measured as samples of the original; see `SampleSet.rank`.

        The record tells the errors against the original, and notes the policy, its auxiliary spins
        and the share of them that did not end as their spins did.
        """
        if trace is not None:
            trace = Trace(trace.round_trips, trace.pump, self.lift(trace.amplitudes))
        notes = {**record.notes, "lowering": self.policy}
        if self.split is not None:
            notes["auxiliary_spins"] = self.auxiliary_spins
            notes["broken_copies"] = self.split.broken(spins)
        if self.penalty_share < 1:
            notes["penalty_share"] = self.penalty_share
        found = {"notes": notes, "lowering": self.report(record.lowering)}
        amplitudes = None if amplitudes is None else self.lift(amplitudes)
        record = record.model_copy(update=found)
        return SampleSet.rank(self.original, self.lift(spins), amplitudes, record, trace)

    def report(self, report: LoweringReport) -> LoweringReport:
        """Return the report of the server on `model` as one on the original.

        The server rounds nothing, unless the bits of the machine changed in between.
        """
        if self.model is self.original:
            return report
        n, n_pairs = self.original.n_spins + report.field_spin, len(self._errors)
        n_pairs -= self.original.n_spins
        weights = np.r_[np.full(n_pairs, 2), np.full(self.original.n_spins, 1 + report.field_spin)]
        rms = _norm(np.sqrt(weights / (n * (n + 1))) * self._errors)
        return report.model_copy(
            update={
                "step": self.step * report.step,
                "max_error": self.max_error + self.step * report.max_error,
                "rms_error": rms + self.step * report.rms_error,
                "energy_error_bound": self.energy_error_bound
                + self.step * report.energy_error_bound,
            }
        )


def _norm(errors: NDArray[np.float64]) -> float:
    """Return the root of the sum of squares, none of which overflows."""
    peak = float(np.abs(errors).max(initial=0.0))
    return peak * float(np.sqrt(((errors / peak) ** 2).sum())) if peak else 0.0


def lower_by(
    policy: str,
    model: IsingModel,
    capabilities: Capabilities,
    *,
    bits: int | None = None,
    seed: int = 0,
) -> LoweredModel:
    """Bring a model to the levels of a machine by a policy.

    Parameters
    ----------
    policy : str
        ``max``, ``quantile``, ``least-error``, ``stochastic``, ``splitting``, ``mutation`` or
        ``weakening``; ``quantile:0.95`` and ``splitting:0.95`` give the quantile.
    model : IsingModel
        One whose integers fit stays as it is.
    capabilities : Capabilities
    bits : int, optional
        Bits of a coupling; by default, and at most, those of the machine.
    seed : int
        Of ``stochastic``.

    Raises
    ------
    ModelError
        There is no such policy, the machine takes real numbers and `bits` are not given, or the
        policy is ``mutation`` and the optimum is not proven to be kept.
    CapabilityError
        Too many bits, or auxiliary spins, for the machine.
    """
    chosen = Policy.of(policy)
    check_model(model)
    require("capabilities", capabilities, Capabilities, ModelError, hint="pass a Capabilities")
    n_bits = agreed_bits(
        None if bits is None else whole_number("bits", bits, ModelError), capabilities
    )
    seed = whole_number("seed", seed, ModelError, 0)
    if chosen.name == "weakening" and (found := weakened_model(model)) is not None:
        weaker, share = found
        inner = lower_by("quantile:1", weaker, capabilities, bits=n_bits) if n_bits else None
        sent, step = (weaker, 1.0) if inner is None else (inner.model, inner.step)
        return LoweredModel(policy, model, sent, sent, step, penalty_share=share)
    if n_bits is None:
        if chosen.name in ("max", "weakening"):
            return LoweredModel(policy, model, model, model, 1.0)
        raise ModelError(
            f"lowering = {policy!r}: {capabilities.name} takes real numbers",
            hint="give coupling_bits",
        )
    return _Lowerer(policy, chosen, model, capabilities, n_bits, seed).lowered()


@dataclass(frozen=True, eq=False)
class _Lowerer:
    policy: str
    chosen: Policy
    model: IsingModel
    capabilities: Capabilities
    bits: int
    seed: int

    @cached_property
    def pairs(self) -> Pairs:
        return pairs_of(self.model)

    @property
    def field_bits(self) -> int:
        folds_field = not self.capabilities.has_field
        return self.bits if folds_field else self.capabilities.field_bits or self.bits

    @property
    def top(self) -> int:
        return max_level(self.bits)

    @property
    def field_top(self) -> int:
        return max_level(self.field_bits)

    def lowered(self) -> LoweredModel:
        values, h = self.pairs.values, self.model.h
        if self.chosen.name == "max" or self._fits(1.0):
            exact = quantize(values, h, bits=self.bits, field_bits=self.field_bits)
            rounded = self._model(np.asarray(exact.levels), exact.field_levels)
            return LoweredModel(self.policy, self.model, self.model, rounded, exact.step)
        if self.unit is not None and self._fits(self.unit):
            return self._made(self._model(values / self.unit, h / self.unit), self.unit)
        if self.chosen.name == "mutation":
            found = mutate(self.model, self.top, self.field_top)
            return self._made(found.model, found.step)
        if self.chosen.name == "stochastic":
            return self._stochastic()
        if self.chosen.name == "splitting":
            return self._split()
        step = self._least_error() if self.chosen.name == "least-error" else self._quantile_step()
        return self._made(self._model(*self._clipped(step)), step)

    @cached_property
    def unit(self) -> float | None:
        """Of which all numbers are multiples."""
        return unit_of(self.pairs.values, self.model.h)

    def _fits(self, unit: float) -> bool:
        values, h = self.pairs.values / unit, self.model.h / unit
        fits = np.abs(values).max(initial=0) <= self.top and np.abs(h).max() <= self.field_top
        return bool(fits) and are_integers(values, h)

    def _made(self, rounded: IsingModel, step: float) -> LoweredModel:
        return LoweredModel(self.policy, self.model, rounded, rounded, step)

    def _model(self, levels: NDArray[np.generic], field: NDArray[np.generic]) -> IsingModel:
        pairs = Pairs(self.pairs.rows, self.pairs.columns, levels.astype(np.float64))
        return model_of(pairs, field.astype(np.float64), is_sparse=self.model.is_sparse)

    def _clipped(self, step: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        levels = np.clip(np.rint(self.pairs.values / step), -self.top, self.top)
        return levels, np.clip(np.rint(self.model.h / step), -self.field_top, self.field_top)

    def _needed(self) -> NDArray[np.float64]:
        """Return the step that each coefficient needs not to be clipped."""
        fields = Pairs(self.pairs.rows, self.pairs.columns, self.pairs.values / self.top)
        return magnitudes(fields, self.model.h / self.field_top)

    def _quantile_step(self) -> float:
        default = 1.0 if self.chosen.name == "weakening" else QUANTILE
        share = default if self.chosen.quantile is None else self.chosen.quantile
        return float(np.quantile(self._needed(), share, method="lower"))

    def _least_error(self) -> float:
        """Return the best of some steps, made better as long as a step suits its levels better."""
        numbers, tops, weights = self._tried()

        def levels_at(step: float) -> NDArray[np.float64]:
            return np.minimum(np.rint(numbers / step), tops)

        def error(step: float) -> float:  # in a unit of which no square overflows
            return float(weights @ ((numbers - step * levels_at(step)) / peak) ** 2)

        widest, peak = float(self._needed().max()), float(numbers.max())
        step = min(widest * np.geomspace(1, 1 / self.top, STEPS), key=error)
        while True:
            levels = levels_at(step)
            better = float((weights * numbers) @ levels / (weights @ levels**2))
            if not error(better) < error(step) * (1 - 1e-9):
                return float(step)
            step = better

    def _tried(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return numbers, the largest level of each, and for how many it stands.

        Of many couplings the largest are all there, and of the others one for so many.
        """
        values, h = np.sort(np.abs(self.pairs.values)), np.abs(self.model.h)
        small, large = values[:-MOST_TRIED], values[-MOST_TRIED:]
        every = max(-(-len(small) // MOST_TRIED), 1)
        small = small[every // 2 :: every]
        n_couplings = len(small) + len(large)
        tops = np.repeat([self.top, self.field_top], [n_couplings, len(h)]).astype(np.float64)
        weights = np.repeat([every, 1], [len(small), len(large) + len(h)]).astype(np.float64)
        return np.r_[small, large, h], tops, weights

    def _stochastic(self) -> LoweredModel:
        step = float(self._needed().max())
        rng = np.random.default_rng([STREAM, self.seed])
        found = []
        for numbers, top in ((self.pairs.values, self.top), (self.model.h, self.field_top)):
            levels = np.floor(numbers / step + rng.random(len(numbers)))
            found.append(np.clip(levels, -top, top))
        return self._made(self._model(*found), step)

    def _split(self) -> LoweredModel:
        values, h = self.pairs.values, self.model.h
        is_exact = self.unit is not None and self.chosen.quantile is None
        step = self.unit if is_exact and self.unit else self._quantile_step()
        rounded = self._model(np.rint(values / step), np.rint(h / step))
        split = SplitModel.of(rounded, self.top, self.field_top)
        n_spins = split.model.n_spins + (bool(h.any()) and not self.capabilities.has_field)
        if n_spins > self.capabilities.max_spins:
            extra = split.model.n_spins - self.model.n_spins
            raise CapabilityError(
                "max_spins",
                required=n_spins,
                available=self.capabilities.max_spins,
                hint=f"splitting takes {counted(extra, 'auxiliary spin')}"
                f"; fewer with splitting:QUANTILE",
            )
        return LoweredModel(self.policy, self.model, split.model, rounded, step, split)
