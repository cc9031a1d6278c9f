"""Steps of simulated bifurcation, of all oscillators in all runs, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from numba import njit

from emulator.dynamics.energy_tracking import track_after
from emulator.dynamics.local_field import FieldTerm, add_field_term, local_fields
from emulator.products.avx512 import prefer_wide_vectors
from emulator.products.operand import multiply_rows, pack_signs
from emulator.products.packing import BLOCK_ROWS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from emulator.dynamics.energy_tracking import EnergyTracker
    from emulator.products.operand import CouplingOperand

__all__ = [
    "KERR_STEPS",
    "BifurcationConstants",
    "FeedbackConstants",
    "Phase",
    "advance_ballistic",
    "advance_discrete",
    "advance_kerr",
    "move_between_walls",
    "oscillate",
]

# Kerr steps of the adiabatic variant for one coupling product.
KERR_STEPS = 2


class BifurcationConstants(NamedTuple):
    """Scalars of the kernels, all of the state's dtype."""

    time_step: Any
    kerr_step: Any
    kick: Any
    heating: Any
    wall: Any
    stop: Any


class FeedbackConstants(NamedTuple):
    """Couplings, the workspace for signs that are fed back, the field, and the tracker."""

    operand: CouplingOperand
    workspace: Any
    field_term: FieldTerm
    tracker: EnergyTracker | None


class Phase(NamedTuple):
    """Positions, momenta and local fields (n, runs), the fields perhaps of some rows only."""

    x: NDArray[Any]
    y: NDArray[Any]
    local_field: NDArray[Any]


@njit(inline="always")
def kerr_force(x: float, detuning: float) -> float:
    """Return -(x^3 + (1 - p) x)."""
    return -(x * x + detuning) * x


@njit(cache=True, nogil=True, error_model="numpy")
def oscillate(arrays: Phase, detuning: Any, c: BifurcationConstants) -> None:
    """Make one step of the adiabatic variant: a kick by couplings, then Kerr oscillation."""
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    x, y = arrays.x.reshape(-1), arrays.y.reshape(-1)
    local_field = arrays.local_field.reshape(-1)
    for k in range(len(x)):
        position, momentum = x[k], y[k] + c.kick * local_field[k]
        for _ in range(KERR_STEPS):
            position += c.kerr_step * momentum
            momentum += c.kerr_step * kerr_force(position, detuning)
        x[k], y[k] = position, momentum


@njit(cache=True, nogil=True, error_model="numpy")
def move_between_walls(arrays: Phase, detuning: Any, c: BifurcationConstants) -> None:
    """Make one step of the ballistic or discrete variant, then stop what hit a wall at +-1."""
    prefer_wide_vectors()  # pyright: ignore[reportCallIssue]
    scalar, pull = arrays.x.dtype.type, c.time_step * detuning
    x, y = arrays.x.reshape(-1), arrays.y.reshape(-1)
    local_field = arrays.local_field.reshape(-1)
    for k in range(len(x)):
        momentum = y[k] + (c.kick * scalar(local_field[k]) - pull * x[k])
        position = x[k] + c.time_step * momentum
        x[k] = min(max(position, -c.wall), c.wall)
        y[k] = (momentum if abs(position) <= c.wall else c.stop) + c.heating * y[k]


@njit(cache=True, nogil=True)
def advance_kerr(
    loop: FeedbackConstants, arrays: Phase, detunings: NDArray[Any], c: BifurcationConstants
) -> None:
    """Make a round trip of the adiabatic variant at each of the detunings 1 - p."""
    for step in range(len(detunings)):
        local_fields(loop.operand, loop.field_term, arrays.x, arrays.local_field)
        oscillate(arrays, detunings[step], c)
        track_after(loop.tracker, arrays.x)


@njit(cache=True, nogil=True)
def advance_ballistic(
    loop: FeedbackConstants, arrays: Phase, detunings: NDArray[Any], c: BifurcationConstants
) -> None:
    """Make a round trip of the ballistic variant at each of the detunings 1 - p."""
    for step in range(len(detunings)):
        local_fields(loop.operand, loop.field_term, arrays.x, arrays.local_field)
        move_between_walls(arrays, detunings[step], c)
        track_after(loop.tracker, arrays.x)


@njit(cache=True, nogil=True)
def advance_discrete(
    loop: FeedbackConstants, arrays: Phase, detunings: NDArray[Any], c: BifurcationConstants
) -> None:
    """Make a round trip of the discrete variant at each of the detunings 1 - p.

    Signs are taken before a step, so that the product is needed a few rows at a time only.
    """
    for step in range(len(detunings)):
        pack_signs(loop.operand, arrays.x, loop.workspace)
        for first in range(0, len(arrays.x), BLOCK_ROWS):
            end = min(first + BLOCK_ROWS, len(arrays.x))
            product = arrays.local_field[: end - first]
            multiply_rows(loop.operand, loop.workspace, first, product)
            if loop.field_term.is_there:
                add_field_term(loop.field_term, first, product)
            rows = Phase(arrays.x[first:end], arrays.y[first:end], product)
            move_between_walls(rows, detunings[step], c)
        track_after(loop.tracker, arrays.x)
