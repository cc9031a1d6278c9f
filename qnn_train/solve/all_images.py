r"""Conditional gradients with the constraints of all images, whatever the size of the machine.

The program is that of `assemble`, for one layer of sign neurons and a vote: parameter bits x shared
by all images, and for each image s and neuron k a side :math:`a_{ks}` and a slack word, whose
equality says that the pre-activation :math:`z_{ks}(x)` is the value :math:`t_{ks}` of side and
slack. With :math:`r_{ks} = (z_{ks} - t_{ks})^2` averaged over the atoms of W, the linear
minimization of a step is

.. math:: \min_{x,\,a,\,t}\ \sum_s \Big[\ell_s(a_s) + \sum_k v_{ks}\,(z_{ks}(x) - t_{ks})^2\Big],
          \qquad v = y + \beta_0 \sqrt{t + 1}\; r .

Bits of different images meet in x only. So the minimization goes by turns: the host finds sides and
slack of each image exactly, by trying the :math:`2^H` sides of its H neurons, and the machine
minimizes over x with the slack held, a quadratic form whose size is that of the network and not of
the data. Each turn is an exact block of the oracle's problem, all turns together an inexact oracle.

That an Ising machine is the oracle of conditional gradients on this program is the paper's
(arXiv:2506.18240). Ours: all images in it by turns between host and machine; slack that begins at a
margin instead of at zero, in units of the spread of a pre-activation over random bits, so that
images are not merely on their side; a small first weight of all constraints, since with none x
would not matter to the first step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, product
from typing import Literal, Self, TypeAlias

import numpy as np

from qnn_train.arguments import checked
from qnn_train.arrays import ArrayLike, BitArray, FloatArray, IntArray
from qnn_train.errors import TrainingError
from qnn_train.network import Architecture, Layer
from qnn_train.network.spline import Spline
from qnn_train.program import Loss
from qnn_train.program.assemble import check_samples
from qnn_train.solve.iterate import Iterate
from qnn_train.solve.oracle import Answer, Oracle, evaluate

__all__ = ["AllImagesState", "Rule", "all_images_gradient"]

Rule: TypeAlias = Literal["multipliers", "penalty"]
FLOOR = 1e-3  # weight of every constraint where nothing else weighs it
MAX_NEURONS = 9


@dataclass(frozen=True, eq=False)
class AllImagesState:
    """What is known of W between two steps.

    Attributes
    ----------
    step, calls : int
        Steps made and jobs paid.
    bits : int8 array, shape (n_bits,)
        Parameter bits of the last atom; random before the first step.
    violation : float64 array, shape (neurons, images)
        r, averaged over atoms.
    dual : float64 array, shape (neurons, images)
        y.
    value : float
        Mean loss, averaged over atoms.
    """

    step: int
    calls: int
    bits: BitArray
    violation: FloatArray
    dual: FloatArray
    value: float

    @classmethod
    def start(cls, architecture: Architecture, n_images: int, *, seed: int) -> Self:
        """W = 0, y = 0, and random bits, which tell the neurons of a vote apart."""
        bits = np.random.default_rng([seed, 6]).integers(0, 2, architecture.n_bits, np.int8)
        zero = np.zeros((_voters(architecture).outputs, n_images))
        return cls(0, 0, bits, zero, zero, 0.0)


@checked
def all_images_gradient(
    architecture: Architecture,
    inputs: ArrayLike,
    labels: ArrayLike,
    oracle: Oracle,
    *,
    loss: Loss,
    rule: Rule = "multipliers",
    penalty: float = 0.03,
    margin: float = 1.0,
    seed: int = 0,
    state: AllImagesState | None = None,
) -> Iterator[Iterate[AllImagesState]]:
    """Minimize; the caller decides when to stop.

    Parameters
    ----------
    architecture : Architecture
        A vote of one layer of sign neurons, at most 9, or a threshold unit.
    inputs : integer array, shape (images, n_inputs)
    labels : integer array, shape (images,)
    oracle : Oracle
        Called once a step, with the forms of all neurons side by side.
    loss : Loss
        Of the vote, on a scale from 0 to 1.
    rule : {"multipliers", "penalty"}
        Whether constraints weigh v, or all the same, `penalty`: the control.
    penalty : float
        β0.
    margin : float
        Where slack begins, in spreads of a pre-activation.
    seed : int
        Of the first network.
    state : AllImagesState, optional
        Where to go on.

    Yields
    ------
    Iterate
        Its gap is that of W before the step, and says little: the oracle is not exact.

    Raises
    ------
    TrainingError
        Another architecture, codebooks, or a penalty or margin below zero.
    """
    if min(penalty, margin) < 0 or rule not in {"multipliers", "penalty"}:
        raise TrainingError(f"rule {rule!r}, penalty {penalty:g}, margin {margin:g}")
    program = _Program.of(architecture, inputs, labels, loss, margin)
    state = state or AllImagesState.start(architecture, program.n_images, seed=seed)
    for _ in count():
        weights = np.full_like(state.dual, penalty)
        if rule == "multipliers":
            weights = state.dual + penalty * np.sqrt(state.step + 1) * state.violation
        answer, blocks = program.ask(oracle, state.bits, weights + FLOOR)
        state, gap = program.moved(state, blocks[0], weights, penalty, answer.cost)
        yield Iterate(
            step=state.step,
            calls=state.calls,
            bits=blocks,
            atom=blocks[0],
            objective=program.n_images * state.value,
            infeasibility=float(np.linalg.norm(state.violation)),
            gap=gap,
            bound=float("nan"),
            state=state,
        )


@dataclass(frozen=True, eq=False)
class _Program:
    """All images, with pre-activations in units of their spread over random bits.

    Attributes
    ----------
    slopes : float64 array, shape (images, bits of a neuron)
    offsets : float64 array, shape (images,)
    places : int64 array, shape (neurons, bits of a neuron)
        Of a neuron's bits among those of the network.
    sides : float64 array, shape (2^neurons, neurons)
        Every way in which the neurons may vote.
    losses : float64 array, shape (2^neurons, images)
    """

    slopes: FloatArray
    offsets: FloatArray
    places: IntArray
    sides: FloatArray
    losses: FloatArray
    margin: float

    @classmethod
    def of(
        cls,
        architecture: Architecture,
        inputs: ArrayLike,
        labels: ArrayLike,
        loss: Loss,
        margin: float,
    ) -> Self:
        layer = _voters(architecture)
        samples, signs = check_samples(architecture, inputs, labels)
        features = samples.astype(np.float64)
        of_weights, of_biases = (
            np.array(code.coefficients, np.float64) for code in (layer.weights, layer.biases)
        )
        constant = np.broadcast_to(of_biases, (len(features), len(of_biases)))
        parts = np.kron(features, of_weights[None, :]), constant
        slopes = np.concatenate(parts, axis=1, dtype=np.float64)
        offsets = layer.weights.offset * features.sum(axis=1) + layer.biases.offset
        spread = float(np.sqrt(np.square(slopes).sum(axis=1).mean() / 4)) or 1.0
        sides = np.array(list(product((-1.0, 1.0), repeat=layer.outputs)))
        losses = _losses(loss, sides.sum(axis=1), signs[:, 0])
        places = _places(layer)
        slopes /= spread
        return cls(slopes, offsets / spread, places, sides, losses, margin)

    @property
    def n_images(self) -> int:
        return len(self.offsets)

    def sums(self, bits: BitArray) -> FloatArray:
        """Return z (neurons, images) of one network (n_bits,)."""
        return bits[self.places] @ self.slopes.T + self.offsets

    def slack(self, sums: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return t (neurons, images) and the losses (images,) of the best sides of each image."""
        down, up = np.minimum(-self.margin, sums), np.maximum(self.margin, sums)
        costs = np.stack([weights * (sums - down) ** 2, weights * (sums - up) ** 2])
        is_up = (self.sides > 0).astype(np.int64)
        neurons = np.arange(len(sums))
        total = self.losses + costs[is_up, neurons].sum(axis=1)
        best = total.argmin(axis=0)
        chosen = self.sides[best].T > 0
        return np.where(chosen, up, down), self.losses[best, np.arange(self.n_images)]

    def ask(self, oracle: Oracle, bits: BitArray, weights: FloatArray) -> tuple[Answer, BitArray]:
        """Return the answer for x with the slack of a network, and its networks (samples, n_bits).

        Of each neuron the best samples come first, as if it had been asked for alone.
        """
        slack, _ = self.slack(self.sums(bits), weights)
        forms = [self._form(*pair) for pair in zip(slack, weights, strict=True)]
        answer = oracle.minimize(_side_by_side(forms, self.places))
        found = np.empty_like(answer.bits)
        for form, places in zip(forms, self.places, strict=True):
            found[:, places] = evaluate(form, answer.bits[:, places]).bits
        return answer, found

    def moved(
        self, state: AllImagesState, atom: BitArray, weights: FloatArray, penalty: float, paid: int
    ) -> tuple[AllImagesState, float]:
        """Move W towards a network and the best slack for it; return the gap before, too."""
        sums = self.sums(atom)
        slack, losses = self.slack(sums, weights + FLOOR)
        violation, value = (sums - slack) ** 2, float(losses.mean())
        terms = weights * (state.violation - violation)
        gap = state.value - value + float(terms.sum()) / self.n_images
        eta = 2.0 / (state.step + 2)
        averaged = (1 - eta) * state.violation + eta * violation
        dual = state.dual + penalty * averaged
        value = (1 - eta) * state.value + eta * value
        step, calls = state.step + 1, state.calls + paid
        return AllImagesState(step, calls, atom, averaged, dual, value), gap

    def _form(self, slack: FloatArray, weights: FloatArray) -> FloatArray:
        """Return G (n + 1, n + 1) of a neuron: Σ_s v_s (z_s - t_s)², its largest number 1."""
        weighted = self.slopes * weights[:, None]
        away = self.offsets - slack
        G = np.empty((len(weighted.T) + 1,) * 2)
        G[0, 0] = weights @ away**2
        G[0, 1:] = G[1:, 0] = weighted.T @ away
        G[1:, 1:] = weighted.T @ self.slopes
        return G / (np.abs(G[:, 1:]).max(initial=0.0) or 1.0)


def _side_by_side(forms: list[FloatArray], places: IntArray) -> FloatArray:
    """Return G of all bits of a network."""
    size = 1 + places.size
    joined = np.zeros((size, size))
    for form, of_neuron in zip(forms, places, strict=True):
        where = np.concatenate([[0], 1 + of_neuron])
        joined[np.ix_(where, where)] += form
    return joined


def _losses(loss: Loss, votes: FloatArray, labels: IntArray) -> FloatArray:
    """Return the loss (votes, images) of each vote, from 0 for the best to 1 for the worst."""
    table = np.array([[loss(vote, label) for vote in votes] for label in (-1, 1)])
    table -= table.min()
    table /= table.max() or 1.0
    return table[(labels > 0).astype(np.int64)].T


def _places(layer: Layer) -> IntArray:
    """Return where the bits of each neuron lie, (neurons, bits): weights first, then the bias."""
    weights = np.arange(layer.weight_bits).reshape(layer.outputs, -1)
    biases = np.arange(layer.weight_bits, layer.n_bits).reshape(layer.outputs, -1)
    return np.hstack([weights, biases])


def _voters(architecture: Architecture) -> Layer:
    """Return the layer whose neurons vote, one of them for a threshold unit."""
    (layer, *others) = architecture.layers
    votes = architecture.readout is None or not architecture.hidden
    simple = layer.activation == Spline.sign() and layer.outputs <= MAX_NEURONS
    coded = layer.weights.one_hot or layer.biases.one_hot
    if others or coded or not (votes and simple) or architecture.n_outputs > 1:
        raise TrainingError(
            f"all images in a program of {architecture}",
            hint=f"a vote of one layer of sign neurons, at most {MAX_NEURONS}, without codebooks",
        )
    return layer
