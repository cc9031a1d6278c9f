"""Exact steady states of one or two parametric oscillators in Fock space."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve


class SteadyState(NamedTuple):
    """<a_i^dag a_j>, <a_i a_j>, and the probability of the highest number kept."""

    photons: np.ndarray
    pairs: np.ndarray
    tail: float


def steady_state(J: np.ndarray, *, pump: float, g2: float, levels: int) -> SteadyState:
    """Solve the master equation of `PositiveP` without coupling loss, J standing for xi J."""
    n, size = len(J), levels ** len(J)
    ladder = sp.diags_array(np.sqrt(np.arange(1.0, levels)), offsets=1)
    one = sp.eye_array(levels)
    a = [reduce(sp.kron, [ladder if i == k else one for i in range(n)]).tocsr() for k in range(n)]
    rates, modes = np.linalg.eigh(np.eye(n) - J)
    jumps = [np.sqrt(g2) * ai @ ai for ai in a]
    for rate, mode in zip(rates, modes.T, strict=True):
        jumps.append(np.sqrt(2 * rate) * sum(mode[i] * a[i] for i in range(n)))
    gain = sum(pump / 2 * (ai.T @ ai.T - ai @ ai) for ai in a)
    decay = 0.5 * sum(c.T @ c for c in jumps)
    # all is real; rows of rho one after the other: A rho B is kron(A, B^T)
    unit = sp.eye_array(size)
    L = sp.kron(gain - decay, unit) + sp.kron(unit, (-gain - decay).T)
    L = (L + sum(sp.kron(c, c) for c in jumps)).tocsr()
    # light is made in pairs: elements between numbers of unequal parity are zero
    parity = reduce(np.add.outer, [np.arange(levels)] * n).ravel() % 2
    kept = np.flatnonzero(np.equal.outer(parity, parity))
    # the first equation follows from the others; the trace takes its place
    trace = sp.csr_array(np.eye(size).ravel()[kept][None, :])
    L = sp.vstack([trace, L[kept[1:]][:, kept]]).tocsc()
    rho = np.zeros(size * size)
    rho[kept] = spsolve(L, np.eye(1, len(kept))[0])
    rho = rho.reshape(size, size)
    photons = np.array([[np.sum((ai.T @ aj).T * rho) for aj in a] for ai in a])
    pairs = np.array([[np.sum((ai @ aj).T * rho) for aj in a] for ai in a])
    numbers = np.diag(rho).reshape((levels,) * n)
    return SteadyState(photons, pairs, float(numbers[-1].sum() + numbers[-2].sum()))
