"""What a trained estimator is made of, what it took, and which networks are as good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cim_hal.text import counted
from qnn_train.estimator.prediction_task import PredictionTask
from qnn_train.network import Architecture
from qnn_train.training.descent import Examples, SweepResult
from qnn_train.training.picture import INK, SECOND, THIRD, curve, panels, save

__all__ = ["LayerSummary", "NetworkSummary", "Progress", "TieReport", "distinct", "draw"]


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
                inputs=layer.inputs,
                outputs=layer.outputs,
                weights=layer.weights.name,
                biases=layer.biases.name,
                activation=name,
                n_weights=layer.inputs * layer.outputs,
                n_parameters=layer.n_parameters,
                n_bits=layer.n_bits,
            )
            for layer, name in zip(architecture.layers, names, strict=True)
        )
        return cls(
            layers=layers,
            n_networks=n_networks,
            n_bits=n_networks * architecture.n_bits,
            bits_per_parameter=n_networks * architecture.bits_per_parameter,
            n_reals=n_networks * n_reals,
            spins=spins,
            couplings=spins * (spins - 1) // 2,
            calls=calls,
            runs=calls * n_runs,
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
            f"{counted(self.n_networks, 'network')}, {counted(self.n_bits, 'bit')}, "
            f"{self.bits_per_parameter:.3g} bits per parameter"
            + (f", and {self.n_reals} real numbers" if self.n_reals else "")
        )
        lines.append(
            f"at most {counted(self.spins, 'spin')} and "
            f"{counted(self.couplings, 'coupling')} a call, "
            f"{counted(self.calls, 'call')}, {counted(self.runs, 'run')}"
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class TieReport:
    """Networks within a tolerance of the least training loss, on samples they did not see.

    Attributes
    ----------
    n_networks : int
        With different integers, of those at the ends of sweeps.
    n_behaviours : int
        That answer differently somewhere on the samples given; others are equal but for the
        order or the sign of their neurons, or might as well be.
    best_loss, tolerance : float
        Mean training loss, and how much more still counts.
    scores : tuple of float
        Accuracy, or R², on the samples given, the best on training samples first.
    """

    n_networks: int
    n_behaviours: int
    best_loss: float
    tolerance: float
    scores: tuple[float, ...]

    @classmethod
    def of(
        cls,
        found: Sequence[SweepResult],
        examples: Examples,
        task: PredictionTask,
        *,
        tolerance: float,
    ) -> Self:
        """Compare."""
        best = min(each.train_loss for each in found)
        near = [each for each in found if each.train_loss <= best + tolerance]
        near = distinct(sorted(near, key=lambda each: each.train_loss))
        outputs = [each.outputs(examples.inputs) for each in near]
        scores = tuple(task.score(each, examples) for each in outputs)
        behaviours = {task.predict(each).tobytes() for each in outputs}
        return cls(len(near), len(behaviours), best, tolerance, scores)

    @property
    def spread(self) -> float:
        """Largest less smallest score."""
        return max(self.scores) - min(self.scores)

    def __str__(self) -> str:
        return (
            f"{counted(self.n_networks, 'network')}"
            f" ({self.n_behaviours} different in their answers) within "
            f"{self.tolerance:g} of the training loss {self.best_loss:.4g}; score "
            f"{min(self.scores):.4f} to {max(self.scores):.4f}"
        )


def distinct(found: Sequence[SweepResult]) -> list[SweepResult]:
    """Return the first of those with the same integers."""
    seen: dict[bytes, SweepResult] = {}
    for each in found:
        parts = (*each.network.weights, *each.network.biases)
        seen.setdefault(b"".join(part.tobytes() for part in parts), each)
    return list(seen.values())


@dataclass(frozen=True)
class Progress:
    """What a callback is told at the end of a sweep.

    Candidates are always tried by the exact forward pass, so that no constraint can be violated
    and there is no gap to report.

    Attributes
    ----------
    sweep, sweeps : int
        Sweeps made, and those there are at most.
    calls : int
        Calls of the machine so far.
    objective : float
        Mean loss of the network at the end of this sweep on the samples that judge.
    best_objective : float
        The least so far.
    train_score : float
        Of the network at the end of this sweep, what `score` of the estimator tells.
    validation_score : float or None
        The same; None where no samples are kept apart.
    """

    sweep: int
    sweeps: int
    calls: int
    objective: float
    best_objective: float
    train_score: float
    validation_score: float | None


def draw(
    history: Sequence[Progress],
    summary: NetworkSummary,
    path: Path,
    *,
    score: str,
    taken: int,
    title: str = "",
) -> None:
    """Write the picture to `path`, in the format of its suffix.

    Curves jump where another start begins. `score` is what scores are called, `taken` the place in
    the history of the best network of the model, which need not have the least loss (`clip_gain`).
    `title` stands above.
    """
    figure, (top, bottom) = panels(2, 5.0)
    calls = [told.calls for told in history]
    held = history[-1].validation_score is not None
    judges = "samples kept apart" if held else "training samples"
    color = SECOND if held else INK
    curve(top, calls, [told.objective for told in history], color=color, label="end of a sweep")
    least = [told.best_objective for told in history]
    top.plot(calls, least, color=THIRD, linestyle="--", linewidth=1.2, label="least so far")
    top.set_ylabel(f"loss, {judges}")
    top.legend(frameon=False, fontsize=9)
    curve(bottom, calls, [told.train_score for told in history], label="training samples")
    if held:
        scores = [told.validation_score for told in history]
        curve(bottom, calls, scores, color=SECOND, label=judges)
    label = "the network taken"
    if history[taken].objective > least[-1]:  # a lower loss was not worth a smaller clip
        label += " (what has less loss,\nat a smaller clip, gains less than clip_gain)"
    bottom.axvline(calls[taken], color=THIRD, linewidth=1.2, label=label)
    bottom.set_ylabel(score)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.22)}
    bottom.legend(frameon=False, fontsize=9, ncols=2, **below)
    sizes = [str(summary.layers[0].inputs), *(str(layer.outputs) for layer in summary.layers)]
    network = f"{summary.n_networks} network{'s' * (summary.n_networks > 1)} {'-'.join(sizes)}"
    said = f"{network}, {summary.bits_per_parameter:.3g} bits per parameter"
    figure.suptitle("\n".join(filter(None, (title, said))), fontsize=11)
    save(figure, path)
