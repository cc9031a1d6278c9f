"""What a trained estimator is made of, layer by layer, and what it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from qnn_train.network import Architecture

__all__ = ["LayerSummary", "NetworkSummary"]


@dataclass(frozen=True)
class LayerSummary:
    """A layer of one network.

    Attributes
    ----------
    inputs, outputs : int
    weights, biases : str
        Names of their codes.
    activation : str
        Of a hidden layer; ``"margin"`` for the last.
    n_weights, n_parameters, n_bits : int
        Weights; weights and biases that have bits; the bits that encode them.
    """

    inputs: int
    outputs: int
    weights: str
    biases: str
    activation: str
    n_weights: int
    n_parameters: int
    n_bits: int


@dataclass(frozen=True)
class NetworkSummary:
    """All layers and their sums. ``str`` of it is a table.

    Attributes
    ----------
    layers : tuple of LayerSummary
    n_networks : int
        Networks that vote.
    n_bits : int
        Of all networks together.
    bits_per_parameter : float
        Those, for each parameter of one network: k networks count k times.
    n_reals : int
        Numbers behind the margins that are kept as float64 and that answers depend on: scale and
        offset of each real output, none for classes. They are in no count of bits.
    spins, couplings : int
        Of the largest problem sent to the machine.
    calls, runs : int
        Calls of the machine that were made, and runs in all of them.
    """

    layers: tuple[LayerSummary, ...]
    n_networks: int
    n_bits: int
    bits_per_parameter: float
    n_reals: int
    spins: int
    couplings: int
    calls: int
    runs: int

    @classmethod
    def of(
        cls,
        architecture: Architecture,
        *,
        n_networks: int,
        n_reals: int,
        spins: int,
        calls: int,
        n_runs: int,
    ) -> Self:
        """Count; `n_reals` are those of one network."""
        names = [layer.activation.name for layer in architecture.hidden] + ["margin"]
        layers = tuple(
            LayerSummary(
                layer.inputs,
                layer.outputs,
                layer.weights.name,
                layer.biases.name,
                name,
                layer.inputs * layer.outputs,
                layer.n_parameters,
                layer.n_bits,
            )
            for layer, name in zip(architecture.layers, names, strict=True)
        )
        return cls(
            layers,
            n_networks,
            n_networks * architecture.n_bits,
            n_networks * architecture.bits_per_parameter,
            n_networks * n_reals,
            spins,
            spins * (spins - 1) // 2,
            calls,
            calls * n_runs,
        )

    def __str__(self) -> str:
        rows = [("layer", "weights", "biases", "then", "parameters", "bits")]
        rows += [
            (
                f"{each.inputs}-{each.outputs}",
                f"{each.n_weights} {each.weights}",
                each.biases,
                each.activation,
                str(each.n_parameters),
                str(each.n_bits),
            )
            for each in self.layers
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        lines.append(
            f"{self.n_networks} network(s), {self.n_bits} bits, "
            f"{self.bits_per_parameter:.3g} bits per parameter"
            + (f", and {self.n_reals} real numbers" if self.n_reals else "")
        )
        lines.append(
            f"at most {self.spins} spins and {self.couplings} couplings a call, "
            f"{self.calls} calls, {self.runs} runs"
        )
        return "\n".join(lines)
