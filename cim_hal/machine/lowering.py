r"""Fit a model to a machine, and bring its spins back.

`lower` folds the field onto an auxiliary spin where the machine has none, flips spins at random
(a gauge) where asked, and rounds to integer levels. `Lowering.lift` undoes the first two. Their
law, for every spin vector :math:`\sigma'` of the machine:

.. math:: E(\mathrm{lift}\,\sigma') = s\,E'(\sigma') + E_0 + \varepsilon,
          \qquad |\varepsilon| \le \text{energy\_error\_bound}

with :math:`s` the value of one level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from cim_hal.errors import CapabilityError
from cim_hal.machine.quantize import quantize
from cim_hal.model.record import LoweringReport

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.machine.capabilities import Capabilities
    from cim_hal.model.ising import IsingModel

__all__ = ["Lowering", "lower"]


@dataclass(frozen=True, eq=False)
class Lowering:
    """A model in a machine's own terms.

    Attributes
    ----------
    coupling : array or CSR array, shape (n', n')
        int16 levels, or float64 for a machine that takes real numbers. Read-only.
    field : array, shape (n',)
        Same kind of number; zero where the machine has no field.
    gauge : int8 array, shape (n',)
        Spin i of the machine is ``gauge[i]`` times that of the model.
    report : LoweringReport
    """

    coupling: Any
    field: NDArray[Any]
    gauge: NDArray[np.int8]
    report: LoweringReport

    @property
    def n_spins(self) -> int:
        """Spins on the machine, n'."""
        return len(self.gauge)

    def lift(self, values: NDArray[Any]) -> NDArray[Any]:
        """Turn spins or amplitudes of the machine (..., n') into the model's (..., n)."""
        lifted = values * self.gauge.astype(values.dtype)
        if not self.report.field_spin:
            return lifted
        reference = np.where(lifted[..., -1:] < 0, -1, 1).astype(values.dtype)
        return np.ascontiguousarray(lifted[..., :-1] * reference)


def lower(
    model: IsingModel,
    capabilities: Capabilities,
    *,
    bits: int | None = None,
    gauge_seed: int | None = None,
) -> Lowering:
    """Fit `model` to a machine.

    Parameters
    ----------
    bits : int, optional
        Bits of a coupling, at most those of the machine, which are the default.
    gauge_seed : int, optional
        Seed of a random gauge; none without it.

    Raises
    ------
    CapabilityError
        Too many spins or too many bits for the machine.
    """
    folds_field = bool(model.h.any()) and not capabilities.has_field
    _check_size(model.n_spins + folds_field, model.n_spins, capabilities)
    bits = _agreed_bits(bits, capabilities)
    J, h = _fold_field(model) if folds_field else (model.J, model.h)
    gauge = _gauge(len(h), gauge_seed)
    J, h = _flip(J, gauge), h * gauge
    if bits is None:
        coupling, field, step = J, h, 1.0
    else:
        levels = quantize(J, h, bits=bits, field_bits=capabilities.field_bits or bits)
        coupling, field, step = levels.levels, levels.field_levels, levels.step
    report = LoweringReport(
        bits=bits,
        step=step,
        field_spin=folds_field,
        gauge=gauge_seed is not None,
        machine_spins=len(h),
        **_rounding_error(J, h, coupling, field, step),
    )
    for array in (_values(coupling), field, gauge):
        array.flags.writeable = False
    return Lowering(coupling, field, gauge, report)


def _check_size(required: int, n_spins: int, capabilities: Capabilities) -> None:
    if required > capabilities.max_spins:
        folded = "the field takes one auxiliary spin" if required > n_spins else ""
        raise CapabilityError(
            "max_spins", required=required, available=capabilities.max_spins, hint=folded
        )


def _agreed_bits(bits: int | None, capabilities: Capabilities) -> int | None:
    available = capabilities.coupling_bits
    if bits is None:
        return available
    if bits < 2 or bits > (available or 16):
        raise CapabilityError("coupling_bits", required=bits, available=f"2 to {available or 16}")
    return bits


def _fold_field(model: IsingModel) -> tuple[Any, NDArray[np.float64]]:
    border = model.h[:, None]
    corner = np.zeros((1, 1))
    if model.is_sparse:
        column = sp.csr_array(border)
        J: Any = sp.csr_array(sp.block_array([[model.J, column], [column.T, None]]))
    else:
        J = np.block([[np.asarray(model.J), border], [border.T, corner]])
    return J, np.zeros(model.n_spins + 1)


def _gauge(n_spins: int, seed: int | None) -> NDArray[np.int8]:
    if seed is None:
        return np.ones(n_spins, dtype=np.int8)
    return np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.int8), n_spins)


def _flip(J: Any, gauge: NDArray[np.int8]) -> Any:
    if (gauge == 1).all():
        return J
    if isinstance(J, np.ndarray):
        return J * np.outer(gauge, gauge)
    flip = sp.diags_array(gauge.astype(np.float64))
    return sp.csr_array(flip @ J @ flip)


def _values(matrix: Any) -> NDArray[Any]:
    return matrix if isinstance(matrix, np.ndarray) else matrix.data


def _rounding_error(J: Any, h: Any, coupling: Any, field: Any, step: float) -> dict[str, Any]:
    values, levels = _values(J), _values(coupling)
    pair = np.abs(values - step * levels)
    single = np.abs(h - step * field)
    n_values = max(pair.size + single.size, 1)
    return {
        "levels_used": _levels_used(levels),
        "max_error": float(max(pair.max(initial=0.0), single.max(initial=0.0))),
        "rms_error": float(np.sqrt((np.square(pair).sum() + np.square(single).sum()) / n_values)),
        # Each pair stands twice in J and counts once in the energy.
        "energy_error_bound": float(0.5 * pair.sum() + single.sum()),
    }


def _levels_used(levels: NDArray[Any]) -> int | None:
    if levels.dtype != np.int16:
        return None
    seen = np.zeros(2**16, dtype=bool)  # a table: 4x faster than np.unique at 2000 x 2000
    seen[levels.view(np.uint16)] = True
    return int(np.count_nonzero(seen))
