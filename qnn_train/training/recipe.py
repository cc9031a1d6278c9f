"""Recipes: everything that decides a training, for each family of methods, and some by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

from cim_hal.text import counted
from qnn_train.arguments import checked
from qnn_train.checks import (
    BIAS_BITS,
    COUNT,
    HIDDEN,
    MAX_SIZE,
    ROUND_TRIPS,
    SEED,
    Check,
    check_all,
    flag,
    lowering,
    one_of,
    one_or_more,
    optional,
    real,
    text,
    tuple_of,
    weights,
    whole,
)
from qnn_train.errors import AssemblyError, TrainingError
from qnn_train.method_names import MACHINE, ON_ALL, ORACLES
from qnn_train.network import Architecture, Layer, ParameterCode, bias_code, weight_code
from qnn_train.network.architecture import hidden_sizes
from qnn_train.network.spline import ACTIVATIONS, activation_named
from qnn_train.solve.proximal import Annealing, Stage

if TYPE_CHECKING:
    from cim_hal import Capabilities

__all__ = ["PRESETS", "PROXIMAL", "ProximalRecipe", "Recipe", "default_preset", "preset"]


PROXIMAL = "proximal"

MAX_REACH = 1e6


def _setting(name: str, value: object) -> tuple[str, float]:
    setting, number = tuple_of(lambda _, part: part, 2, 2)(name, value)
    return text(name, setting), real(-1e300, 1e300)(f"{name} of {setting}", number)


OracleName: TypeAlias = Literal["machine", "descent", "annealing", "exact"]  # keys of `ORACLES`
POSITIVE = real(0, MAX_REACH, above=True)
BITS = optional(whole(1, 64))
SHARED: Mapping[str, Check] = {
    "grid": whole(1, MAX_SIZE),
    "hidden": HIDDEN,
    "readout": one_of(("majority", "trained")),
    "weights": weights,
    "bias_bits": BIAS_BITS,
    "oracle": one_of(tuple(ORACLES)),
    "polish": flag,
    "n_runs": COUNT,
    "seed": SEED,
    "coupling_bits": BITS,
}
RECIPE: Mapping[str, Check] = {
    **SHARED,
    "train_samples": optional(COUNT),
    "score": one_of(("train", "subset")),
    "method": text,
    "levels": optional(COUNT),
    "iterations": COUNT,
    "batch": COUNT,
    "pack": flag,
    "lowering": lowering,
}
PROXIMAL_RECIPE: Mapping[str, Check] = {
    **SHARED,
    "train_samples": optional(COUNT),
    "validation": real(0, 1, below=True),
    "shift": whole(0, MAX_SIZE),
    "mirror": flag,
    "levels": COUNT,
    "cut": COUNT,
    "activation": one_of(tuple(ACTIVATIONS)),
    "clip": one_or_more(POSITIVE),
    "first_weights": optional(weights),
    "bias_reach": POSITIVE,
    "output_bias_bits": BIAS_BITS,
    "output_bias_reach": POSITIVE,
    "sweeps": COUNT,
    "annealed": optional(COUNT),
    "starts": COUNT,
    "pretraining": whole(0, 10**9),
    "judge_by": one_of(("loss", "errors")),
    "batch": tuple_of(COUNT, 2, 2),
    "width": tuple_of(POSITIVE, 2, 2),
    "ladder": tuple_of(POSITIVE, 1, 1000),
    "block_spins": optional(COUNT),
    "block_reads": optional(COUNT),
    "tried": COUNT,
    "round_trips": ROUND_TRIPS,
    "settings": tuple_of(_setting, 0, 1000),
    "patience": whole(0, 10**9),
    "tolerance": real(0, 1, below=True),
}


def _take(recipe: Recipe | ProximalRecipe, checks: Mapping[str, Check]) -> None:
    """Check all fields of a recipe, each of which has a check, and keep them in Python's types."""
    values = {each.name: getattr(recipe, each.name) for each in fields(recipe)}
    for name, value in check_all(checks, values).items():
        object.__setattr__(recipe, name, value)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What to train by a method of ``METHODS``, on what, and in how many calls of a machine.

    Parameters
    ----------
    train_samples : int or None
        Images in the program, drawn evenly from the two classes of the training split; None for
        all, which the methods of ``ON_ALL`` take.
    grid : int
        Cells along a side; the network has grid² inputs.
    levels : int or None
        Steps of an input a standard deviation of its cell's brightness, up to two deviations, see
        ``PooledLevels``; None for signs. Inputs cost a program no bits, steps make the numbers in
        its equalities larger. Biases of the first layer are multiples of a deviation.
    hidden : int or tuple of int
        Sign neurons of the hidden layer, or of each; 0 is a single threshold unit.
    readout : {"majority", "trained"}
        What follows them: a vote, or a trained layer without bias.
    weights : str
        Code of the weights, see `weight_code`.
    bias_bits : int
        Bits of each hidden bias; 0 for none.
    score : {"train", "subset"}
        On which images candidates are compared, and thresholds taken: the whole training split of
        the two classes, or only the images in the program.
    seed : int
        Of the draw of images, and of the machine.
    method : str
        A key of ``qnn_train.training.methods.METHODS``.
    iterations : int
        Oracle calls. A step of a method on parts takes several, and is made whole.
    oracle : {"machine", "descent", "annealing", "exact"}
        What minimizes: a machine, or in its place a search on the host, see `DescentOracle`,
        `AnnealingOracle` and `ExactOracle`.
    polish : bool
        Whether samples of the machine end in one-flip descents on the host, see `PolishedOracle`.
    n_runs : int
        Runs of the machine in each call, or searches on the host.
    batch : int
        Images of a part, for methods on parts.
    pack : bool
        Whether parts share tasks of the machine, see `PackedOracle`.
    coupling_bits : int or None
        Bits of a coupling; None for those of the machine.
    lowering : str
        Policy that brings problems to these bits, see `cim_hal.lower_by`.
    """

    train_samples: int | None = 20
    grid: int = 4
    levels: int | None = None
    hidden: int | tuple[int, ...] = 3
    readout: Literal["majority", "trained"] = "majority"
    weights: str = "binary"
    bias_bits: int = 2
    score: Literal["train", "subset"] = "train"
    seed: int = 0
    method: str = "qcgd"
    iterations: int = 25
    oracle: OracleName = "machine"
    polish: bool = False
    n_runs: int = 64
    batch: int = 5
    pack: bool = False
    coupling_bits: int | None = None
    lowering: str = "max"

    def __post_init__(self) -> None:
        _take(self, RECIPE)
        if self.pack and self.oracle != MACHINE:
            raise AssemblyError("pack puts parts together for a machine", hint="leave it out")
        if self.train_samples is None and self.method not in ON_ALL:
            raise AssemblyError(
                f"all images in a program of the method {self.method}",
                hint=f"a number of images, or the method {' or '.join(ON_ALL)}",
            )

    @property
    def architecture(self) -> Architecture:
        """The network to train."""
        weights, inputs = weight_code(self.weights), self.grid**2
        sizes, biases = hidden_sizes(self.hidden), bias_code(self.bias_bits)
        scaled = biases.times(self.levels or 1)  # where features are read
        if not sizes:
            return Architecture((), Layer(inputs, 1, weights, scaled))
        first, *others = pairwise((inputs, *sizes))
        layers = (
            Layer(*first, weights, scaled),
            *(Layer(*pair, weights, biases) for pair in others),
        )
        if self.readout == "majority":
            return Architecture(layers, None)
        return Architecture(layers, Layer(sizes[-1], 1, weights, bias_code(0)))

    @property
    def target(self) -> float:
        """Margin asked of each sample: a unanimous vote, or half of a threshold unit's inputs."""
        sizes = hidden_sizes(self.hidden)
        return float(sizes[-1]) if sizes else self.grid**2 / 2 * (self.levels or 1)


@dataclass(frozen=True, kw_only=True)
class ProximalRecipe:
    """What to train, on what, and in how many calls of a machine.

    Raises
    ------
    AssemblyError
        A value outside its range.
    """

    # images to learn from, drawn evenly from the classes; None for all
    train_samples: int | None = None
    # share of these images, 0 to below 1, that is kept apart to judge networks; 0 judges them on
    # the images they are trained on
    validation: float = 0.0
    shift: int = 0  # pixels by which copies of the training images are moved; 0 for no copies
    mirror: bool = False  # whether there are copies with left and right exchanged
    grid: int = 4  # cells along a side; the network has grid² inputs
    levels: int = 16  # of the features, see ``PooledLevels``, as `cut` is
    cut: int = 4
    # neurons of the hidden layer, or of each; 0 is a single layer
    hidden: int | tuple[int, ...] = 4
    # what follows it: a vote, for two classes only, or a trained layer
    readout: Literal["majority", "trained"] = "majority"
    activation: str = "hard_tanh"  # see `activation_named`
    # where it saturates, in standard deviations of an input; behind the first layer in proportion
    # to the square root of what a neuron reads. Of several, starts take one each, in turn
    clip: float | tuple[float, ...] = 8.0
    # code of the weights, or of those of each layer, see `weight_code`
    weights: str | tuple[str, ...] = "binary"
    # code of the weights in the first half of the sweeps: the second half goes on from the best
    # network of the first. What `weights` cannot say is `rounded`
    first_weights: str | None = None
    bias_bits: int = 2  # of each bias of the hidden layers; 0 for none
    # the largest hidden bias, in standard deviations of an input with the largest weight
    bias_reach: float = 3.0
    output_bias_bits: int = 0  # of each bias of the last layer; 0 for none
    # the largest bias of the last layer, in units of where the activation saturates
    output_bias_reach: float = 3.5
    sweeps: int = 8  # visits of every block in one descent, at most
    # sweeps over which batch and width change, None for all, as with `first_weights`
    annealed: int | None = None
    starts: int = 1  # descents from different random networks, of which the best counts
    # steps of `straight_through` that make the network each descent begins with; 0: a random one
    pretraining: int = 0
    # what makes a network better than another, on the images that judge
    judge_by: Literal["loss", "errors"] = "loss"
    batch: tuple[int, int] = (1000, 20_000)  # see `Annealing`, as of `width`
    width: tuple[float, float] = (1.0, 0.25)
    # proximal weights; one call of the machine for each, in a step
    ladder: tuple[float, ...] = (0.02, 0.1, 0.5, 2.0)
    # largest number of bits of a block; fewer on a smaller machine. None for 128, or more where a
    # neuron needs it
    block_spins: int | None = 128
    # the most inputs of a neuron in a block, None for all; see `partition`
    block_reads: int | None = None
    # what minimizes: a machine, or in its place a search on the host, see `DescentOracle`,
    # `AnnealingOracle` and `ExactOracle`
    oracle: OracleName = "machine"
    # whether samples of the machine end in one-flip descents on the host, see `PolishedOracle`
    polish: bool = True
    n_runs: int = 32  # runs of the machine a call, or searches on the host
    tried: int = 8  # different samples of a call that are tried on the batch
    round_trips: int | None = None  # length of a run; None for what the machine recommends
    # names and values of settings, used where the machine has them and its file does not choose
    # them. Recipes were chosen on machines that count fields as couplings
    settings: tuple[tuple[str, float], ...] = (("field_weight", 1.0),)
    # sweeps without a better network after which a descent is stopped, those that anneal not
    # counted where `annealed` says which they are; 0 never stops early
    patience: int = 0
    # by which share the loss must fall for a network to be better to `patience`, of a loss of 0.1
    # where it is less; and the loss below which nothing is left to learn
    tolerance: float = 0.0
    seed: int = 0  # of the draw of images, the first network and the machine
    coupling_bits: int | None = None  # bits of a coupling; None for those of the machine

    def __post_init__(self) -> None:
        _take(self, PROXIMAL_RECIPE)
        if self.first_weights and (self.starts > 1 or self.sweeps < 2 or self.pretraining):
            raise AssemblyError("two codes need two sweeps and a single start without pretraining")

    @property
    def clips(self) -> tuple[float, ...]:
        """Those that starts take in turn."""
        return self.clip if isinstance(self.clip, tuple) else (self.clip,)

    @property
    def method(self) -> str:
        """Name of the method in reports."""
        return PROXIMAL

    def settings_on(self, capabilities: Capabilities) -> dict[str, float]:
        """Return the settings that a machine has, but for those that a machine file chose."""
        known = {setting.name for setting in capabilities.settings if not setting.is_chosen}
        return {name: value for name, value in self.settings if name in known}

    def stages(self, n_outputs: int, n_inputs: int | None = None) -> list[Stage]:
        """Return the descents: one, or one for each code of the weights; see `architecture`."""
        whole = Annealing(
            sweeps=min(self.annealed or self.sweeps, self.sweeps),
            batch=self.batch,
            width=self.width,
            restart=self.sweeps if self.starts > 1 else 0,
        )
        fine = tuple(
            replace(self, clip=clip).architecture(n_outputs, n_inputs) for clip in self.clips
        )
        if self.first_weights is None:
            return [Stage(fine, whole, self.sweeps * self.starts)]
        whole = replace(whole, sweeps=self.sweeps)
        coarse = replace(self, weights=self.first_weights, first_weights=None)
        first, second = whole.halves()
        return [
            Stage((coarse.architecture(n_outputs, n_inputs),), first, first.sweeps),
            Stage(fine, second, second.sweeps),
        ]

    def architecture(self, n_outputs: int, n_inputs: int | None = None) -> Architecture:
        """Return the network for a number of margins, and of inputs other than grid².

        Of several clips it has the first.

        Raises
        ------
        AssemblyError
            A vote for more than two classes, a code that does not exist, or too few or
            too many codes.
        """
        inputs = self.grid**2 if n_inputs is None else n_inputs
        sizes = hidden_sizes(self.hidden)
        votes = bool(sizes) and self.readout == "majority"
        if votes and n_outputs > 1:
            raise AssemblyError(
                "a majority vote tells two classes apart", hint="use the readout trained"
            )
        kinds = self._kinds(len(sizes) + (not votes))
        height, reads, layers = float(self.levels), inputs, []
        for size, code in zip(sizes, kinds, strict=False):
            unit = height * _largest(code)
            spread = (reads / inputs) ** 0.5 * unit
            limit = round(self.clips[0] * spread)
            biases = _bias(self.bias_bits, self.bias_reach * spread)
            activation = activation_named(self.activation, limit=limit)
            layers.append(Layer(reads, size, code, biases, activation))
            height, reads = 1 if self.activation == "sign" else limit, size
        if votes:
            return Architecture(tuple(layers), None)
        unit = height * _largest(kinds[-1])
        if sizes:
            last = _bias(self.output_bias_bits, self.output_bias_reach * unit)
        else:
            last = _bias(self.output_bias_bits or self.bias_bits, self.bias_reach * unit)
        return Architecture(tuple(layers), Layer(reads, n_outputs, kinds[-1], last))

    def _kinds(self, n_layers: int) -> list[ParameterCode]:
        """Return the code of the weights of each layer."""
        names = self.weights if isinstance(self.weights, tuple) else (self.weights,) * n_layers
        if len(names) != n_layers:
            raise AssemblyError(f"{len(names)} codes of weights for {counted(n_layers, 'layer')}")
        return [weight_code(name) for name in names]


def _largest(code: ParameterCode) -> int:
    return max(map(abs, code.values))


def _bias(bits: int, reach: float) -> ParameterCode:
    """Return the code of `bits` bits whose largest value is about `reach`."""
    return bias_code(bits).times(max(1, round(reach / (2**bits - 1)))) if bits else bias_code(0)


# The numbers of these recipes were chosen on training images; see the docs.
PAIRS = ProximalRecipe(sweeps=6, round_trips=200)
TEN = ProximalRecipe(
    grid=7,
    hidden=16,
    readout="trained",
    activation="relu",
    clip=16.0,
    bias_bits=5,
    bias_reach=6.0,
    output_bias_bits=5,
    output_bias_reach=1.0,
    sweeps=30,
    batch=(1500, 24_000),
    width=(0.8, 0.5),
    ladder=(0.1, 0.5, 2.0),
    block_spins=144,
    block_reads=17,
    n_runs=16,
    tried=16,
    round_trips=100,
    settings=(("coupling_gain", 4.0), ("field_weight", 1.0)),
)

FEW = replace(PAIRS, mirror=True, shift=1)
TINY = replace(PAIRS, grid=2, hidden=2, weights="ternary", bias_bits=3, starts=6, judge_by="errors")

PRESETS: Mapping[str, ProximalRecipe] = {
    "pairs-4x4": PAIRS,
    "pairs-7x7": replace(TEN, sweeps=60),
    "few-4x4": FEW,
    "tiny-2x2": TINY,
    "ten-classes-7x7": TEN,
    "ten-digits-8x8": replace(TEN, grid=8, sweeps=16),
}


@checked
def preset(name: str) -> ProximalRecipe:
    """Return a recipe.

    Raises
    ------
    TrainingError
        No recipe goes by that name.
    """
    if name not in PRESETS:
        raise TrainingError(f"no recipe {name!r}", hint=", ".join(PRESETS))
    return PRESETS[name]


@checked
def default_preset(dataset: str, n_classes: int) -> str:
    """Return the name of the recipe for classes of a dataset, where none is named."""
    if n_classes == 2:
        return "pairs-4x4"
    return "ten-digits-8x8" if dataset == "digits" else "ten-classes-7x7"
