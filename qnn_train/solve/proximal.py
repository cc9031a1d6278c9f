r"""Proximal block descent: an endless generator of networks, on all images, without slack bits.

At every step a batch of images is drawn and a block of parameter bits x is freed. Around the bits
:math:`\bar x` of the network as it is, the machine minimizes

.. math:: g^T(x - \bar x) + \tfrac12 (x - \bar x)^T H (x - \bar x)
          + \tfrac\rho2 \sum_b |H_{bb}|\,(x_b - \bar x_b)^2 ,

the loss to second order (`second_order`) and a proximal term that is linear in bits and adds no
coupling, once for each :math:`\rho` of a ladder. The best samples of each call are tried on the
batch by the exact forward pass; the network becomes the best of them if that is better than
staying.

That a proximal term of bits is linear is what progressive hedging uses (QPH, arXiv:2506.18240, a
later version), whose sub-problems keep the lifted bits of a sample. The model in the parameter
bits alone, the smeared slopes, the blocks and the ladder are our construction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from qnn_train.arguments import checked
from qnn_train.arrays import ArrayLike, BitArray, Float32Array, FloatArray, IntArray
from qnn_train.errors import AssemblyError, TrainingError
from qnn_train.network import Architecture, Layer, ParameterCode, QuantizedNetwork, rounded
from qnn_train.solve.blocks import Block, block_bits, partition
from qnn_train.solve.forward import ForwardPass, NetworkParameters, race
from qnn_train.solve.losses import BatchLoss, CrossEntropy, DescentLoss
from qnn_train.solve.oracle import Oracle, minimize_all
from qnn_train.solve.second_order import BlockModel, model_of

__all__ = [
    "Annealing",
    "ProximalState",
    "ProximalStep",
    "Stage",
    "has_values",
    "proximal_descent",
    "random_bits",
    "recoded",
    "sample_order",
]


@checked
@dataclass(frozen=True, kw_only=True)
class Annealing:
    """What changes from sweep to sweep, from a first to a last value in equal ratios.

    Parameters
    ----------
    sweeps : int
        Visits of every block; from the last of them on, the last values are kept.
    batch : tuple of int
        Images in a step, all of them where there are no more. Few images are what temperature is
        elsewhere: the best samples for them are not the best for all.
    width : tuple of float
        Of the smeared slopes, in units of the spread of a layer's sums.
    restart : int
        Sweeps after which all begins again, from another random network; 0 for never.
    """

    sweeps: int = 24
    batch: tuple[int, int] = (1000, 20_000)
    width: tuple[float, float] = (1.0, 0.25)
    restart: int = 0

    def at(self, sweep: int) -> tuple[int, float]:
        """Return batch and width of a sweep, the first of which is 0."""
        sweep = sweep % self.restart if self.restart else sweep
        done = min(1.0, sweep / max(1, self.sweeps - 1))
        batch, width = (a ** (1 - done) * b**done for a, b in (self.batch, self.width))
        return round(batch), width

    def halves(self) -> tuple[Annealing, Annealing]:
        """Return two that follow on each other and together are this one."""
        count = self.sweeps // 2
        batch, width = self.at(count)
        ends, widths = (self.batch[0], batch), (self.width[0], width)
        first = replace(self, sweeps=count, batch=ends, width=widths)
        ends, widths = (batch, self.batch[1]), (width, self.width[1])
        return first, replace(self, sweeps=self.sweeps - count, batch=ends, width=widths)

    def begins(self, sweep: int) -> bool:
        """Tell whether a sweep starts from a new random network."""
        return sweep == 0 or (self.restart > 0 and sweep % self.restart == 0)


@dataclass(frozen=True)
class Stage:
    """A descent, or several from different starts."""

    architectures: tuple[Architecture, ...]  # starts take them in turn; they differ in clips only
    annealing: Annealing
    sweeps: int  # all of them, restarts included

    @property
    def architecture(self) -> Architecture:
        """That of the first start."""
        return self.architectures[0]

    def architecture_in(self, sweep: int) -> Architecture:
        """Return the architecture in a sweep, the first of which is 0."""
        start = sweep // self.annealing.restart if self.annealing.restart else 0
        return self.architectures[start % len(self.architectures)]


@dataclass(frozen=True, eq=False)
class ProximalState:
    """All that a next step depends on.

    Attributes
    ----------
    step : int
        Steps made.
    bits : int8 array, shape (n_bits,)
        The network.
    scale : float
        What the loss keeps: logits per margin, see `CrossEntropy`; 0 before the first step.
    """

    step: int
    bits: BitArray
    scale: float

    @classmethod
    def start(cls, architecture: Architecture, *, seed: int) -> ProximalState:
        """Random bits."""
        bits = random_bits(architecture, seed, 0)
        return cls(0, bits, 0.0)


def random_bits(architecture: Architecture, seed: int, sweep: int) -> BitArray:
    """Return the network that a sweep starts from, where it starts anew."""
    stream = [seed, 0] if sweep == 0 else [seed, 0, sweep]
    return np.random.default_rng(stream).integers(0, 2, architecture.n_bits).astype(np.int8)


def recoded(
    bits: BitArray, scale: float, old: Architecture, new: Architecture
) -> tuple[ProximalState, bool]:
    """Return a start from a network in the codes of another architecture, and whether it is exact.

    Where the other code has not all of the values, they are `rounded`: the network has another
    loss then, and the scale is found anew.
    """
    network = QuantizedNetwork.from_bits(old, bits)
    if all(map(_holds, new.layers, old.layers)):
        same = QuantizedNetwork(new, network.weights, network.biases).to_bits()
        return ProximalState(0, same, scale), True
    return ProximalState(0, rounded(network, new).to_bits(), 0.0), False


def has_values(new: ParameterCode, old: ParameterCode) -> bool:
    """Tell whether a code has all values of another."""
    return set(old.values) <= set(new.values)


def _holds(new: Layer, old: Layer) -> bool:
    """Tell whether codes have all values of others, and the activation is the same."""
    pairs = ((new.weights, old.weights), (new.biases, old.biases))
    return all(has_values(*pair) for pair in pairs) and new.activation == old.activation


LADDER = (0.02, 0.1, 0.5, 2.0)


@dataclass(frozen=True, eq=False)
class ProximalStep:
    """One step, as the caller sees it.

    Attributes
    ----------
    state : ProximalState
        After the step; give it back to go on from here.
    loss : float
        On the batch, after the step.
    before : float
        On the same batch, before it.
    block : Block
        What was free.
    spins : int
        Its bits.
    flips : int
        How many of them changed.
    candidates : int
        Different networks that were tried.
    """

    state: ProximalState
    loss: float
    before: float
    block: Block
    spins: int
    flips: int
    candidates: int


@checked
def proximal_descent(
    architecture: Architecture,
    inputs: ArrayLike,
    labels: ArrayLike,
    oracle: Oracle,
    *,
    seed: int,
    loss: DescentLoss | None = None,
    annealing: Annealing | None = None,
    ladder: tuple[float, ...] = LADDER,
    block_spins: int = 128,
    block_reads: int | None = None,
    tried: int = 8,
    weights: ArrayLike | None = None,
    start: QuantizedNetwork | None = None,
    state: ProximalState | None = None,
) -> Iterator[ProximalStep]:
    """Train; the caller judges the networks, and decides when to stop.

    Parameters
    ----------
    inputs : integer array, shape (samples, n_inputs)
    labels : array
        See `targets_of` of the loss.
    oracle : Oracle
        Called for every ρ of the ladder in a step.
    seed : int
        Of the first network and of all draws; step t draws from a stream of its own.
    loss : DescentLoss, optional
        That of classes, `CrossEntropy`, by default; `SquaredError` for real labels.
    annealing : Annealing, optional
    ladder : tuple of float
        Proximal weights ρ, in units of the diagonal of the curvature.
    block_spins : int
        Largest number of bits of a block.
    block_reads : int, optional
        The most inputs of a neuron that a block has; see `partition`.
    tried : int
        Different samples of a call that are tried on the batch, the best by the model.
    weights : array, shape (samples,), optional
        What each sample counts in the mean loss, positive; all alike by default.
    start : QuantizedNetwork, optional
        Of this architecture: where every descent begins; random networks by default.
    state : ProximalState, optional
        Where to go on; the same steps follow as if there had been no stop.

    Yields
    ------
    ProximalStep

    Raises
    ------
    AssemblyError
        A neuron with more bits than `block_spins`, a codebook, or a start of another architecture.
    TrainingError
        No images, or an empty ladder.
    """
    features = np.asarray(inputs).astype(np.float32)
    if not len(features) or not ladder:
        raise TrainingError("no proximal weight" if len(features) else "no images")
    loss, kept = loss or CrossEntropy(), sample_order(len(features), seed)
    targets = loss.targets_of(labels, architecture.n_outputs)[kept]
    counts = None if weights is None else np.asarray(weights, np.float64)[kept]
    search = _Search(architecture, features[kept], targets, counts, oracle, loss, ladder, tried)
    length = len(partition(architecture, block_spins, reads=block_reads))
    first = None if start is None else start.to_bits()
    if start is not None and start.architecture != architecture:
        raise AssemblyError(f"a start of {start.architecture}", hint="the architecture to train")
    if state is None:
        bits = random_bits(architecture, seed, 0) if first is None else first
        state = ProximalState(0, bits, 0.0)
    annealing = annealing or Annealing()
    for step in count(state.step):
        sweep, place = divmod(step, length)
        if place == 0 and sweep and annealing.begins(sweep):
            bits = random_bits(architecture, seed, sweep) if first is None else first
            state = replace(state, bits=bits, scale=0.0)
        mixed = np.random.default_rng([seed, 1, sweep])
        blocks = partition(architecture, block_spins, mixed, reads=block_reads)
        order = mixed.permutation(length)
        rng = np.random.default_rng([seed, 2, step])
        batch, width = annealing.at(sweep)
        made = search.step(state, blocks[order[place]], search.draw(batch, rng), width)
        state = made.state
        yield made


@dataclass(frozen=True, eq=False)
class _Search:
    """Steps of the descent on given images."""

    architecture: Architecture
    features: Float32Array
    targets: Float32Array
    weights: FloatArray | None
    oracle: Oracle
    loss: DescentLoss
    ladder: tuple[float, ...]
    tried: int

    def draw(self, batch: int, rng: np.random.Generator) -> slice | IntArray:
        """Draw images, each at most once; all of them if no fewer are wanted."""
        total = len(self.features)
        return slice(None) if batch >= total else rng.choice(total, batch, replace=False)

    def step(
        self, state: ProximalState, block: Block, chosen: slice | IntArray, width: float
    ) -> ProximalStep:
        """Model the loss around `state`, ask the machine, and move if it found better."""
        network = QuantizedNetwork.from_bits(self.architecture, state.bits)
        parameters, targets = NetworkParameters.of(network), self.targets[chosen]
        run = ForwardPass.of(self.architecture, parameters, self.features[chosen])
        weights = None if self.weights is None else self.weights[chosen]
        scale = self.loss.rescaled(run.margins, targets, state.scale, weights)
        loss = BatchLoss(self.loss, targets, scale, weights)
        bits = block_bits(self.architecture, block)
        model = model_of(run, parameters, block, bits, loss, width=width)
        tried = self._candidates(state.bits, bits.positions, model)
        found = len(tried)
        tried, losses = race(run, state.bits, block, tried, loss)
        before = loss.mean(run.margins)
        best = int(losses.argmin())
        moved = losses[best] < before
        after = tried[best] if moved else state.bits
        return ProximalStep(
            state=replace(state, step=state.step + 1, bits=after, scale=scale),
            loss=float(losses[best]) if moved else before,
            before=before,
            block=block,
            spins=len(bits.positions),
            flips=int(np.count_nonzero(after != state.bits)),
            candidates=found,
        )

    def _candidates(self, network: BitArray, positions: IntArray, model: BlockModel) -> BitArray:
        """Return the different networks that the samples of all calls make, (candidates, bits)."""
        around = network[positions]
        rungs = [model.lifted(around, rho) for rho in self.ladder]
        answers = minimize_all(self.oracle, rungs)
        best = [_first_different(answer.bits, self.tried) for answer in answers]
        different = np.unique(np.concatenate(best), axis=0)
        tried = np.repeat(network[None], len(different), axis=0)
        tried[:, positions] = different
        return tried


def sample_order(n_samples: int, seed: int) -> IntArray:
    """Return the order in which a descent keeps its samples."""
    return np.random.default_rng([seed, 3]).permutation(n_samples)


def _first_different(rows: BitArray, most: int) -> BitArray:
    """Return the first `most` rows that differ from those before them."""
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)[:most]]
