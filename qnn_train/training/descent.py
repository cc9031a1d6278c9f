"""What a proximal descent trains, on which examples, how it is judged, and what it costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self, TypeAlias

import numpy as np

from qnn_train.archive import checked_array, checked_bits
from qnn_train.arrays import Array, Arrays, Float32Array, FloatArray, IntArray, NDArray
from qnn_train.errors import AssemblyError
from qnn_train.network import Architecture, QuantizedNetwork
from qnn_train.solve import CrossEntropy, DescentLoss
from qnn_train.solve.blocks import block_bits, partition
from qnn_train.solve.forward import ForwardPass, NetworkParameters
from qnn_train.solve.losses import error_rate
from qnn_train.solve.proximal import Stage, sample_order
from qnn_train.training.checkpoint import fingerprint
from qnn_train.training.recipe import ProximalRecipe
from qnn_train.training.start import best_scale, fitted

if TYPE_CHECKING:
    from cim_hal import Capabilities, PumpSchedule

__all__ = [
    "Cost",
    "DescentProblem",
    "Examples",
    "ImageJudge",
    "Judge",
    "OutputScale",
    "SweepResult",
    "accuracy",
    "margins_of",
    "number",
    "sweep_arrays",
    "sweeps_of",
]

BLOCK_SPINS = 128


@dataclass(frozen=True, eq=False)
class Examples:
    """Features and their labels, and what each sample counts."""

    inputs: NDArray[np.signedinteger]  # shape (samples, n_inputs)
    labels: IntArray | FloatArray  # classes (samples,), or real numbers (samples, outputs)
    weights: FloatArray | None = None  # shape (samples,), positive; None where all count alike

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class OutputScale:
    """From the margins of a network to what the loss is of, ``scale * margin + offset``."""

    scale: FloatArray  # shape (outputs,)
    offset: FloatArray

    def outputs(self, margins: FloatArray) -> FloatArray:
        """Return the outputs of margins (n, outputs)."""
        return self.scale * margins + self.offset


@dataclass(frozen=True, eq=False)
class SweepResult:
    """The network at the end of a sweep, and how it was judged."""

    network: QuantizedNetwork
    head: OutputScale  # what follows its margins
    objective: float  # mean loss, or share of errors, on the samples that judge
    train_loss: float  # mean loss on those that are trained on
    train_score: float  # accuracy or R² on those that are trained on
    validation_score: float | None  # on those kept apart; None where there are none

    def outputs(self, inputs: NDArray[np.signedinteger]) -> FloatArray:
        """Return what the loss is of, (n, outputs)."""
        return self.head.outputs(margins_of(self.network, inputs))


Judge: TypeAlias = "Callable[[QuantizedNetwork, float], SweepResult]"


@dataclass(frozen=True, eq=False)
class DescentProblem(ABC):
    """What is trained on which examples, and how it is judged."""

    recipe: ProximalRecipe
    n_outputs: int  # margins of a network
    train: Examples
    validation: Examples  # may be empty
    loss: DescentLoss  # what the descent lowers
    judge: Judge  # measures the network at the end of a sweep, with the scale of the descent
    # where every descent begins, in the codes of `architecture`; None for random networks
    init: QuantizedNetwork | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.init is None:
            return
        if self.recipe.first_weights is not None:
            raise AssemblyError("init with first_weights", hint="a single code of the weights")
        (stage,) = self.recipe.stages(self.n_outputs, self.train.inputs.shape[1])
        object.__setattr__(self, "init", fitted(stage.architectures, self.init))

    # Whether the network at the end of each sweep is kept, and not only the best.
    KEEPS_SWEEPS: ClassVar[bool]

    @property
    @abstractmethod
    def subject(self) -> tuple[str, tuple[int, ...]]:
        """Dataset and classes; empty for a table."""

    @cached_property
    def stages(self) -> list[Stage]:
        """The descents, one after the other; see `ProximalRecipe.stages`."""
        stages = self.recipe.stages(self.n_outputs, self.train.inputs.shape[1])
        if self.init is None:
            return stages
        return [replace(stage, architectures=(self.init.architecture,)) for stage in stages]

    @property
    def architecture(self) -> Architecture:
        """The network that comes out, that of the last stage."""
        return self.stages[-1].architecture

    def digest(self) -> str:
        """Return a fingerprint of the examples, and of the network to begin with."""
        parts = (self.train, self.validation)
        arrays = (array for part in parts for array in (part.inputs, part.labels, part.weights))
        found = [array for array in arrays if array is not None]
        start = [] if self.init is None else [self.init.to_bits()]
        return fingerprint(type(self.loss).__name__, *found, *start)

    def init_scale(self, init: QuantizedNetwork) -> float:
        """Return the scale at which the given network has the least loss on what is trained on."""
        margins = margins_of(init, self.train.inputs).astype(np.float32)
        targets = self.loss.targets_of(self.train.labels, self.n_outputs)
        return best_scale(self.loss, margins, targets, self.train.weights)

    def block_spins(self, capabilities: Capabilities) -> int:
        """Return the largest number of bits of a block on a machine."""
        room = capabilities.max_spins - capabilities.field_spins
        if self.recipe.block_spins is not None:
            return min(self.recipe.block_spins, room)
        layers = partition(self.architecture, self.architecture.n_bits)  # each is one block
        neurons = [
            len(block_bits(self.architecture, layer).positions) // len(layer.units)
            for layer in layers
        ]
        return min(max(BLOCK_SPINS, *neurons), room)

    def block_sizes(self, block_spins: int) -> list[list[int]]:
        """Return the bits of every block, of each stage; refuses as `partition` does."""
        found, reads = [], self.recipe.block_reads
        for network in (stage.architecture for stage in self.stages):
            blocks = partition(network, block_spins, reads=reads)
            found.append([len(block_bits(network, block).positions) for block in blocks])
        return found

    def schedule(self, capabilities: Capabilities) -> PumpSchedule:
        """Return the pump the machine recommends, over the round trips of the recipe."""
        trips = self.recipe.round_trips
        default = capabilities.default_schedule
        return default if trips is None else default.stretched(trips)


@dataclass(frozen=True)
class Cost:
    """Size of the parts and number of calls, before the first call.

    Attributes
    ----------
    network : str
    n_train, n_validation : int
        Samples.
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
    def of(cls, problem: DescentProblem, capabilities: Capabilities) -> Self:
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


@dataclass(frozen=True, eq=False)
class ImageJudge:
    """Compares networks by `judge_by` of the recipe, on `validation` or, if empty, on `train`."""

    recipe: ProximalRecipe
    train: Examples
    validation: Examples
    n_outputs: int

    def __call__(self, network: QuantizedNetwork, scale: float) -> SweepResult:
        """Measure a network, `scale` being logits per margin."""
        objective = self._objective(network, scale)
        outputs = network.architecture.n_outputs
        held = accuracy(network, self.validation) if len(self.validation) else None
        return SweepResult(
            network=network,
            head=OutputScale(np.full(outputs, scale), np.zeros(outputs)),
            objective=objective,
            train_loss=objective,
            train_score=accuracy(network, self.train),
            validation_score=held,
        )

    def _objective(self, network: QuantizedNetwork, scale: float) -> float:
        features, targets = self._judging
        parameters = NetworkParameters.of(network)
        margins = ForwardPass.of(network.architecture, parameters, features).margins
        if self.recipe.judge_by == "errors":
            return error_rate(margins, targets)
        return CrossEntropy().mean(margins, targets, scale)

    @cached_property
    def _judging(self) -> tuple[Float32Array, Float32Array]:
        """Features and targets of the images that judge."""
        images = self.validation if len(self.validation) else self.train
        targets = CrossEntropy().targets_of(images.labels, self.n_outputs)
        features = images.inputs.astype(np.float32)
        if not len(self.validation):  # in the order of the descent: sums round alike
            order = sample_order(len(images), self.recipe.seed)
            features, targets = features[order], targets[order]
        return features, targets


def accuracy(network: QuantizedNetwork, examples: Examples) -> float:
    """Return the share of right answers."""
    return float(np.mean(network.predict(examples.inputs) == examples.labels))


def margins_of(network: QuantizedNetwork, inputs: NDArray[np.signedinteger]) -> FloatArray:
    """Return the margins of a network as float64, (n, outputs)."""
    margins = network.margin(inputs).astype(np.float64)
    return margins.reshape(len(inputs), network.architecture.n_outputs)


def number(score: float | None) -> float:
    """Return a score as a checkpoint keeps it; NaN for none."""
    return np.nan if score is None else score


def sweep_arrays(sweeps: list[SweepResult], problem: DescentProblem) -> dict[str, Array]:
    """Return what a checkpoint keeps of sweeps."""
    bits = np.zeros((len(sweeps), problem.architecture.n_bits), np.int8)
    heads = np.zeros((len(sweeps), 2, problem.n_outputs))
    numbers = np.zeros((len(sweeps), 4))
    for index, each in enumerate(sweeps):
        bits[index] = each.network.to_bits()
        heads[index] = each.head.scale, each.head.offset
        numbers[index] = (
            each.objective,
            each.train_loss,
            each.train_score,
            number(each.validation_score),
        )
    kinds = [problem.stages[-1].architectures.index(each.network.architecture) for each in sweeps]
    return {
        "sweep_bits": np.packbits(bits, axis=1),
        "sweep_numbers": numbers,
        "sweep_heads": heads,
        "sweep_kinds": np.array(kinds, np.int64),
    }


def sweeps_of(arrays: Arrays, problem: DescentProblem, count: int) -> list[SweepResult]:
    """Return the sweeps that a checkpoint keeps; a ValueError where they do not fit."""
    architectures = problem.stages[-1].architectures
    bits = checked_bits(arrays, "sweep_bits", count, problem.architecture.n_bits)
    kinds = checked_array(arrays, "sweep_kinds", "i", (count,))
    if not np.isin(kinds, range(len(architectures))).all():
        raise ValueError("an architecture that is not there")
    heads = checked_array(arrays, "sweep_heads", "f", (count, 2, problem.n_outputs))
    numbers = arrays["sweep_numbers"]
    if numbers.shape != (count, 4) or numbers.dtype.kind != "f":
        raise ValueError(f"sweep_numbers has shape {numbers.shape}")
    return [
        SweepResult(
            QuantizedNetwork.from_bits(architectures[kind], network),
            OutputScale(*head),
            objective,
            train_loss,
            train_score,
            None if np.isnan(held) else held,
        )
        for kind, network, head, (objective, train_loss, train_score, held) in zip(
            kinds, bits, heads, numbers.tolist(), strict=True
        )
    ]
