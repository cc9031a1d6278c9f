"""Random small programs, whole and in parts, and their optima by trying all."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from qnn_train import Qcbo
from qnn_train.program import LinearConstraints, Parts, Products


def every_vector(n_bits: int) -> np.ndarray:
    return ((np.arange(2**n_bits)[:, None] >> np.arange(n_bits)) & 1).astype(np.int8)


def feasible_vectors(qcbo: Qcbo) -> np.ndarray:
    vectors = every_vector(qcbo.n_bits)
    return vectors[qcbo.is_feasible(vectors)]


def optimum(qcbo: Qcbo) -> float:
    return float(qcbo.objective(feasible_vectors(qcbo)).min())


def random_program(rng: np.random.Generator, *, sizes: tuple[int, int] = (6, 12)) -> Qcbo:
    """Make 1 to 3 equalities and up to 2 products that some vector satisfies."""
    n = int(rng.integers(sizes[0], sizes[1] + 1))
    inside = rng.integers(0, 2, n)
    return _around(rng, inside, equalities=int(rng.integers(1, 4)))


def random_parts(
    rng: np.random.Generator, *, shared: int = 3, private: int = 3, parts: int = 2
) -> Parts:
    """Programs with shared bits first, all satisfied by one choice of them, some without rows."""
    w = rng.integers(0, 2, shared)
    inside = [np.concatenate([w, rng.integers(0, 2, private)]) for _ in range(parts)]
    rows = rng.integers(0, 2, parts).tolist()
    pairs = zip(inside, rows, strict=True)
    return Parts(shared, tuple(_around(rng, one, equalities=count) for one, count in pairs))


def _around(rng: np.random.Generator, inside: np.ndarray, *, equalities: int) -> Qcbo:
    n = len(inside)
    rows = rng.integers(-2, 3, (equalities, n))
    rows[:, 0] += (rows == 0).all(axis=1)
    triples = np.array([rng.permutation(n)[:3] for _ in range(int(rng.integers(0, 3)))], np.int64)
    triples = triples.reshape(-1, 3)
    first, second, product = triples.T
    kept = triples[inside[first] * inside[second] == inside[product]]
    return Qcbo.from_arrays(
        rng.normal(size=(n, n)),
        rng.normal(size=n),
        rng.normal(),
        equalities=LinearConstraints(
            sp.csr_array(rows.astype(float)), (rows @ inside).astype(float)
        ),
        products=Products(kept),
    )
