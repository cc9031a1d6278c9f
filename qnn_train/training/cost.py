"""What a training will take, before its first call."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from cim_hal import Capabilities
    from qnn_train.training.proximal_problem import ProximalProblem

__all__ = ["Cost"]


@dataclass(frozen=True)
class Cost:
    """Size of the parts and number of calls.

    Attributes
    ----------
    network : str
    n_train, n_validation : int
        Images.
    n_parameters, n_bits : int
    bits_per_parameter : float
    blocks : int
        Parts the network is trained in.
    spins, couplings : int
        Of the largest, with the spin that a machine without a field adds.
    calls, runs : int
        Calls of the machine at most, and runs of all of them.
    machine_s : float or None
        Seconds of all round trips; None where the machine does not tell how long one takes.
    """

    network: str
    n_train: int
    n_validation: int
    n_parameters: int
    n_bits: int
    bits_per_parameter: float
    blocks: int
    spins: int
    couplings: int
    calls: int
    runs: int
    machine_s: float | None

    @classmethod
    def of(cls, problem: ProximalProblem, capabilities: Capabilities) -> Self:
        """Count; nothing is sent to the machine.

        Raises
        ------
        AssemblyError
            A neuron does not fit the machine.
        """
        recipe, architecture = problem.recipe, problem.architecture
        sizes = problem.block_sizes(problem.block_spins(capabilities))
        spins = max(map(max, sizes)) + capabilities.field_spins
        stages = zip(problem.stages, sizes, strict=True)
        calls = sum(stage.sweeps * len(mine) for stage, mine in stages) * len(recipe.ladder)
        runs = calls * recipe.n_runs
        trips = problem.schedule(capabilities).round_trips
        trip_s = capabilities.round_trip_s
        return cls(
            network=str(architecture),
            n_train=len(problem.train),
            n_validation=len(problem.validation),
            n_parameters=architecture.n_parameters,
            n_bits=architecture.n_bits,
            bits_per_parameter=architecture.bits_per_parameter,
            blocks=len(sizes[-1]),
            spins=spins,
            couplings=spins * (spins - 1) // 2,
            calls=calls,
            runs=runs,
            machine_s=None if trip_s is None else runs * trips * trip_s,
        )

    def rows(self) -> list[tuple[str, str]]:
        """Return names and values, for people."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return [
            (name, f"{value:.4g}" if isinstance(value, float) else str(value))
            for name, value in known.items()
        ]
