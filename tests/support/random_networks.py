"""Random networks, losses and samples; their programs held against code that shares none with them.

Values of codes, activations, margins and losses are computed here once more, in plain integers, and
feasible vectors are found by a search that knows nothing but the constraints.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

import numpy as np

from qnn_train import (
    Architecture,
    Assembly,
    HingeLoss,
    Qcbo,
    QuantizedNetwork,
    Spline,
    SquaredLoss,
    TabulatedLoss,
    ZeroOneLoss,
    assemble,
    count_spins,
    cross_entropy_loss,
    layered_network,
    logistic_loss,
)
from qnn_train.network import margin_grid, propagate
from qnn_train.program import Loss
from qnn_train.program.builder import Reduction

Word = tuple[int, ...]
Margin = Callable[[int, int], float]
REDUCTIONS: tuple[Reduction, ...] = ("rosenberg", "one-hot")
WEIGHTS = ("binary", "ternary", "2bit", "3bit", "range(0,1,1)", "range(-2,3,2)")
WEIGHTS += ("codebook(-4,-1,3)", "codebook(0,5)", "binary*3")
BIASES = ("none", "1bit", "2bit", "2bit*2", "ternary", "codebook(-3,0,4)", "range(1,2,2)")
MOST_SOLUTIONS = 100
MOST_SPINS = 100


@dataclass(frozen=True)
class Activation:
    """A spline, what it must do to an integer, and of which kind it is."""

    kind: str
    spline: Spline
    at: Callable[[int], float]


@dataclass(frozen=True)
class Case:
    """A network with samples and a loss, and what the loss of a margin must be."""

    architecture: Architecture
    activations: tuple[Activation, ...]
    codes: tuple[tuple[str, str], ...]
    inputs: list[list[int]]
    labels: list[list[int]]
    loss: Loss
    loss_kind: str
    formula: Margin | None  # of the loss; None where it is the spline over the reachable margins
    margin_reward: float

    @property
    def kinds(self) -> list[str]:
        """What a table counts the case under."""
        is_vote = self.architecture.readout is None
        shape = "majority" if is_vote else f"{self.architecture.n_outputs} output(s)"
        names = {name for pair in self.codes for name in pair}
        return [
            f"{len(self.codes)} layer(s)",
            shape,
            f"loss: {self.loss_kind}",
            *sorted({f"activation: {each.kind}" for each in self.activations}),
            *sorted(f"code: {name}" for name in names),
        ]

    def value_of(self, word: Word) -> float | None:
        """Return the objective that a network must have; None if a codebook's word is none."""
        layers = self._decoded(word)
        if layers is None:
            return None
        total = 0.0
        for features, labels in zip(self.inputs, self.labels, strict=True):
            lost = self._loss_of(features)
            for margin, label in zip(self._margins(layers, features), labels, strict=True):
                total += lost(margin, label) - self.margin_reward * label * margin
        return total

    def _decoded(self, word: Word) -> list[tuple[list[list[int]], list[int]]] | None:
        rest, layers = list(word), []
        for layer, (weights, biases) in zip(self.architecture.layers, self.codes, strict=True):
            W = [[_take(weights, rest) for _ in range(layer.inputs)] for _ in range(layer.outputs)]
            b = [_take(biases, rest) for _ in range(layer.outputs)]
            if None in b or any(None in row for row in W):
                return None
            layers.append((W, b))
        assert not rest
        return layers

    def _margins(self, layers: list[tuple[list[list[int]], list[int]]], features: list[int]):
        values = features
        for index, (W, b) in enumerate(layers):
            z = [
                sum(w * a for w, a in zip(row, values, strict=True)) + bias
                for row, bias in zip(W, b, strict=True)
            ]
            if index == len(self.activations):
                return z
            values = [self.activations[index].at(each) for each in z]
        return [sum(values)]

    def _loss_of(self, features: list[int]) -> Margin:
        """Return what a margin of this sample must lose."""
        if self.formula is not None:
            return self.formula
        grid = margin_grid(self.architecture, propagate(self.architecture, features))
        splines = {label: piecewise(self.loss.spline(grid, label)) for label in (-1, 1)}
        return lambda margin, label: splines[label](margin)


def _take(name: str, rest: list[int]) -> int | None:
    """Return the value of a code at the first bits of `rest`, which it removes."""
    base, _, factor = name.partition("*")
    numbers = [int(each) for each in re.findall(r"-?\d+", base)]
    size = {"none": 0, "binary": 1, "ternary": 2}.get(base, len(numbers))
    if base.endswith("bit") or base.startswith("range"):
        size = numbers[-1]
    u, rest[:] = rest[:size], rest[size:]
    whole = sum(2**p * bit for p, bit in enumerate(u))
    if base.startswith("codebook"):
        return numbers[u.index(1)] * int(factor or 1) if sum(u) == 1 else None
    values = {"none": 0, "binary": 2 * whole - 1, "ternary": sum(u) - 1}
    if base.startswith("range"):
        values[base] = numbers[0] + numbers[1] * whole
    return values.get(base, 2 * whole + 1 - 2**size) * int(factor or 1)


def piecewise(spline: Spline) -> Callable[[int], float]:
    """Return the function of a spline's numbers."""
    parts = list(zip(spline.intercepts, spline.slopes, strict=True))

    def at(z: int) -> float:
        intercept, slope = parts[bisect_right(spline.knots, z)]
        return intercept + slope * z

    return at


def random_case(rng: np.random.Generator) -> Case:
    """Draw a network of one to three layers, one or two samples, and a loss; again if too large."""
    while True:
        case = _any_case(rng)
        spins = count_spins(case.architecture, case.inputs, case.labels, loss=case.loss).total
        if spins <= MOST_SPINS:
            return case


def _any_case(rng: np.random.Generator) -> Case:
    depth = int(rng.choice([1, 2, 2, 3]))
    outputs = int(rng.choice([1, 1, 2]))
    is_vote = depth > 1 and outputs == 1 and rng.random() < 0.3
    sizes = [int(rng.integers(1, 4)), *rng.integers(1, 3, depth - 1).tolist(), outputs]
    codes = [(str(rng.choice(WEIGHTS)), str(rng.choice(BIASES))) for _ in range(depth)]
    activations = tuple(random_activation(rng) for _ in range(depth - 1))
    architecture = layered_network(
        sizes,
        weights=[weights for weights, _ in codes],
        biases=[biases for _, biases in codes],
        activation=[each.spline for each in activations],
    )
    if is_vote:
        architecture, codes = Architecture(architecture.hidden, None), codes[:-1]
    samples = int(rng.choice([1, 1, 2]))
    kind, loss, formula = random_loss(rng)
    return Case(
        architecture,
        activations,
        tuple(codes),
        rng.integers(-2, 3, (samples, sizes[0])).tolist(),
        rng.choice([-1, 1], (samples, outputs)).tolist(),
        loss,
        kind,
        formula,
        float(rng.choice([0, 0, 0.25])),
    )


def random_activation(rng: np.random.Generator) -> Activation:
    """Draw a common activation, or one of random steps, odd steps or lines."""
    kind = str(rng.choice(list(ACTIVATIONS)))
    return ACTIVATIONS[kind](rng, kind)


def _known(spline: Spline, at: Callable[[int], float] | None = None):
    return lambda _, kind: Activation(kind, spline, at or piecewise(spline))


def _steps(rng: np.random.Generator, kind: str) -> Activation:
    pieces = int(rng.integers(2, 6))
    knots = tuple(sorted(rng.choice(np.arange(-5, 6), pieces - 1, replace=False).tolist()))
    values = tuple(rng.integers(-4, 5, pieces).tolist())
    spline = Spline(knots, values, (0,) * pieces, kind)
    return Activation(kind, spline, lambda z: values[sum(z >= knot for knot in knots)])


def _odd_steps(rng: np.random.Generator, kind: str) -> Activation:
    """Three values that are no multiples of their resolution, as -3, -1, 3 are none of 2."""
    step, first = int(rng.integers(2, 5)), int(rng.integers(-5, 6))
    values = [first + step * int(n) for n in rng.choice(5, 3, replace=False)]
    low, width = int(rng.integers(-2, 1)), int(rng.integers(1, 4))
    spline = Spline((low, low + width), tuple(values), (0, 0, 0), kind)
    return Activation(kind, spline, lambda z: values[(z >= low) + (z >= low + width)])


def _lines(rng: np.random.Generator, kind: str) -> Activation:
    """Draw two to four lines that need not join."""
    pieces = int(rng.integers(2, 5))
    knots = tuple(sorted(rng.choice(np.arange(-4, 5), pieces - 1, replace=False).tolist()))
    a, s = rng.integers(-3, 4, pieces).tolist(), rng.integers(-2, 3, pieces).tolist()
    spline = Spline(knots, tuple(a), tuple(s), kind)
    return Activation(kind, spline, piecewise(spline))


ACTIVATIONS: dict[str, Callable[[np.random.Generator, str], Activation]] = {
    "sign": _known(Spline.sign(), lambda z: 1 if z >= 0 else -1),
    "identity": _known(Spline.identity(), lambda z: z),
    "relu": _known(Spline.relu(), lambda z: max(0, z)),
    "leaky relu": _known(Spline.leaky_relu(3), lambda z: 3 * z if z > 0 else z),
    "hard tanh": _known(Spline.hard_tanh(2), lambda z: max(-2, min(2, z))),
    "V": _known(Spline((0,), (0, 0), (-1, 1), "V"), abs),
    "zigzag": _known(
        Spline((-2, 0, 2), (-4, 0, 0, -4), (-1, 1, -1, 1), "zigzag"),
        lambda z: abs(abs(z) - 2) - 2,
    ),
    "constant": _known(Spline((), (3,), (0,), "constant"), lambda _: 3),
    "tanh in steps": _known(Spline.tanh(4, scale=2, levels=3)),
    "tanh in lines": _known(Spline.tanh(4, scale=2, levels=9, degree=1)),
    "sigmoid in steps": _known(Spline.sigmoid(3, scale=1, levels=4)),
    "steps": _steps,
    "odd steps": _odd_steps,
    "lines": _lines,
}


def random_loss(rng: np.random.Generator) -> tuple[str, Loss, Margin | None]:
    """Draw a loss: the name of its kind, itself, and its formula unless it is in pieces."""
    scale, pieces, degree = float(rng.uniform(0.5, 4)), int(rng.integers(2, 6)), rng.integers(2)
    target, width = float(rng.uniform(-1, 4)), float(rng.choice([0, 1, 2.5, rng.uniform(0, 5)]))
    options = {"pieces": pieces, "degree": int(degree)}
    table = rng.normal(size=9).tolist()

    def logistic(m: int, y: int) -> float:
        return float(np.log1p(np.exp(-y * m / scale)))

    def any_table(m: int, y: int) -> float:
        return table[(m + 3 * y) % 9]

    losses: list[tuple[str, Loss, Margin | None]] = [
        ("squared", SquaredLoss(target), lambda m, y: (m - target * y) ** 2),
        ("zero-one", ZeroOneLoss(), lambda m, y: float((m > 0) != (y > 0))),
        ("hinge", HingeLoss(width), lambda m, y: max(0.0, width - y * m)),
        ("logistic", logistic_loss(scale), logistic),
        (
            "cross-entropy",
            cross_entropy_loss(scale, smoothing=0.2),
            lambda m, y: 0.8 * logistic(m, y) + 0.2 * logistic(m, -y),
        ),
        ("any table", TabulatedLoss(any_table), any_table),
        ("logistic in pieces", logistic_loss(scale, **options), None),
        ("cross-entropy in pieces", cross_entropy_loss(scale, smoothing=0.1, **options), None),
    ]
    return losses[rng.integers(len(losses))]


class Search:
    """All feasible vectors of a program, from nothing but its constraints.

    Bits are set one after the other, the `first` ones, then those of an equality together; a choice
    is given up where an equality cannot be met by what is still free.
    """

    def __init__(self, qcbo: Qcbo, *, first: int) -> None:
        A, b = qcbo.equalities.A.tocsr(), qcbo.equalities.b.tolist()
        rows = [
            dict(zip(A.indices[start:stop].tolist(), A.data[start:stop].tolist(), strict=True))
            for start, stop in zip(A.indptr[:-1], A.indptr[1:], strict=True)
        ]
        assert all(c == int(c) for row in rows for c in row.values())
        assert all(each == int(each) for each in b)
        early = {*qcbo.products.bits[:, 2].tolist(), *qcbo.gates.bits[:, 1].tolist()}
        places = dict.fromkeys(range(first))
        for row in rows:
            places |= dict.fromkeys(sorted(row, key=lambda b: (b not in early, -abs(row[b]))))
        self.order = list(places | dict.fromkeys(range(qcbo.n_bits)))
        at = {bit: place for place, bit in enumerate(self.order)}
        # for each place: the equalities it stands in, with its coefficient and what is still free
        self.steps: list[list[tuple[int, float, float, float]]] = [[] for _ in self.order]
        for index, row in enumerate(rows):
            low = high = 0.0
            for bit in sorted(row, key=at.__getitem__, reverse=True):
                self.steps[at[bit]].append((index, row[bit], low, high))
                low, high = low + min(0, row[bit]), high + max(0, row[bit])
        self.products: list[list[tuple[int, int, int]]] = [[] for _ in self.order]
        for i, j, y in qcbo.products.bits.tolist():
            self.products[max(at[i], at[j], at[y])].append((i, j, y))
        self.gates: list[list[tuple[int, int, int]]] = [[] for _ in self.order]
        for r, g, opens in qcbo.gates.bits.tolist():
            self.gates[max(at[r], at[g])].append((r, g, opens))
        self.right = b

    def solutions(self, fixed: dict[int, int]) -> Iterator[list[int]]:
        """Yield all feasible vectors in which these bits have these values."""
        x, sums = [0] * len(self.order), [0.0] * len(self.right)
        left: list[list[int]] = []  # values that are still to be tried, place by place
        while True:
            place = len(left)
            if place == len(self.order):
                yield x.copy()
            else:
                bit = self.order[place]
                left.append([fixed[bit]] if bit in fixed else [1, 0])
            while left and not self._advanced(left, x, sums):
                left.pop()
            if not left:
                return

    def _advanced(self, left: list[list[int]], x: list[int], sums: list[float]) -> bool:
        """Set the last place to its next value that may go on; False, and 0, if none is left."""
        place, values = len(left) - 1, left[-1]
        bit = self.order[place]
        while True:
            if x[bit]:
                x[bit] = 0
                for row, c, _, _ in self.steps[place]:
                    sums[row] -= c
            if not values:
                return False
            if values.pop():
                x[bit] = 1
                for row, c, _, _ in self.steps[place]:
                    sums[row] += c
            if self._may_go_on(place, x, sums):
                return True

    def _may_go_on(self, place: int, x: list[int], sums: list[float]) -> bool:
        return (
            all(
                low <= self.right[row] - sums[row] <= high
                for row, _, low, high in self.steps[place]
            )
            and all(x[y] == x[i] * x[j] for i, j, y in self.products[place])
            and all(not x[r] or x[g] == opens for r, g, opens in self.gates[place])
        )


def violation(qcbo: Qcbo, x: Sequence[int]) -> float:
    """Return what the penalty form must add: squares, Rosenberg's polynomials, closed gates."""
    A, b = qcbo.equalities.A.toarray(), qcbo.equalities.b
    total = float(((A @ np.array(x, float) - b) ** 2).sum())
    for i, j, y in qcbo.products.bits.tolist():
        total += x[i] * x[j] - 2 * x[y] * (x[i] + x[j]) + 3 * x[y]
    return total + sum(x[r] and x[g] != opens for r, g, opens in qcbo.gates.bits.tolist())


def check_case(
    case: Case, reduction: Reduction, rng: np.random.Generator, *, words: int
) -> Counter[str]:
    """Check one program; return how much was checked.

    At `words` settings of the parameter bits, all if there are no more: the feasible vectors are
    those of the forward pass with the objective of its loss, `complete` is among them, and the
    least is the optimum. At vectors with a wrong bit: infeasible, and so in the penalty form.
    """
    options = {"loss": case.loss, "margin_reward": case.margin_reward, "reduction": reduction}
    assembly = assemble(case.architecture, case.inputs, case.labels, **options)
    options.pop("margin_reward")
    assert count_spins(case.architecture, case.inputs, case.labels, **options).total == (
        assembly.qcbo.n_bits
    )
    search, done = (
        Search(assembly.qcbo, first=case.architecture.n_bits),
        Counter({"programs": 1, "spins": assembly.qcbo.n_bits}),
    )
    for word in _words(case, words, rng):
        done += _check_word(case, assembly, search, word, rng)
    return done


def _check_word(
    case: Case, assembly: Assembly, search: Search, word: Word, rng: np.random.Generator
) -> Counter[str]:
    expected, qcbo = case.value_of(word), assembly.qcbo
    found = list(islice(search.solutions(dict(enumerate(word))), MOST_SOLUTIONS))
    if expected is None:
        assert not found, "a word that is no value of its codebook is feasible"
        return Counter({"words of no network": 1})
    assert found, "a network without a feasible vector"
    rows = np.array(found)
    values = qcbo.constant + rows @ qcbo.c + ((rows @ qcbo.Q) * rows).sum(axis=1)
    np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(qcbo.objective(rows), values, rtol=1e-12, atol=1e-9)
    assert qcbo.is_feasible(rows).all()
    complete = assembly.complete(np.array(word)).tolist()
    assert list(search.solutions(dict(enumerate(complete)))) == [complete]
    wrong = _check_wrong(qcbo, complete, rng)
    return Counter({"networks": 1, "feasible vectors": len(found), "wrong vectors": wrong})


def _check_wrong(qcbo: Qcbo, honest: list[int], rng: np.random.Generator) -> int:
    """Compare feasibility and penalty form at vectors with one wrong bit, and at random ones."""
    size = qcbo.n_bits
    rows = np.array([honest] * 6 + [rng.integers(0, 2, size).tolist() for _ in range(2)])
    rows[np.arange(6), rng.integers(0, size, 6)] ^= 1
    Q, constant = qcbo.penalized(7.0)
    penalized = constant + (rows * (Q @ rows.T).T).sum(axis=1)
    broken = np.array([violation(qcbo, row) for row in rows.tolist()])
    np.testing.assert_allclose(penalized, qcbo.objective(rows) + 7.0 * broken, rtol=1e-9, atol=1e-6)
    np.testing.assert_array_equal(qcbo.is_feasible(rows), broken == 0)
    assert ((broken == 0) | (broken >= 1)).all()
    return int((broken > 0).sum())


def _words(case: Case, most: int, rng: np.random.Generator) -> Iterator[Word]:
    """Yield every setting of the parameter bits, or random ones that are mostly networks."""
    size = case.architecture.n_bits
    if 2**size <= most:
        yield from product((0, 1), repeat=size)
        return
    for _ in range(most):
        word = rng.integers(0, 2, size)
        if rng.random() < 0.9:
            word = QuantizedNetwork.from_bits(case.architecture, word).to_bits()
        yield tuple(word.tolist())
