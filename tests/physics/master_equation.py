"""Exact steady states of one or two parametric oscillators in Fock space."""

from __future__ import annotations

from functools import reduce

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve


def steady_state(J: np.ndarray, *, levels: int, pump: float, g2: float, loss: float = 1.0):
    """Solve for rho; return <a_i^dag a_j> and <a_i a_j>, and the weight of the last level.

    The master equation is that of `PositiveP`, with J in place of xi J.
    """
    n, dimension = len(J), levels ** len(J)
    lowering = sp.diags_array(np.sqrt(np.arange(1.0, levels)), offsets=1)
    one = sp.eye_array(levels)
    a = [
        reduce(sp.kron, [lowering if i == k else one for i in range(n)], sp.eye_array(1)).tocsr()
        for k in range(n)
    ]
    decay, modes = np.linalg.eigh(loss * np.eye(n) - J)
    jumps = [np.sqrt(g2) * ai @ ai for ai in a]
    for k in range(n):
        jumps.append(np.sqrt(2 * decay[k]) * sum(modes[i, k] * a[i] for i in range(n)))
    gain = sum(pump / 2 * (ai.T @ ai.T - ai @ ai) for ai in a)
    left = gain - 0.5 * sum(c.T @ c for c in jumps)
    right = -gain - 0.5 * sum(c.T @ c for c in jumps)
    # row-major vec: A rho B -> kron(A, B^T); all is real
    identity = sp.eye_array(dimension)
    L = sp.kron(left, identity) + sp.kron(identity, right.T) + sum(sp.kron(c, c) for c in jumps)
    parity = reduce(np.add.outer, [np.arange(levels)] * n).ravel() % 2
    # pairs are made and lost: only elements between states of equal parity are not zero
    kept = np.flatnonzero(np.equal.outer(parity, parity).ravel())
    L = L.tocsr()[kept][:, kept].tolil()
    rho = np.zeros(dimension**2)
    trace = np.eye(dimension).ravel()[kept]
    L[0] = trace
    target = np.zeros(len(kept))
    target[0] = 1
    rho[kept] = spsolve(L.tocsc(), target)
    rho = rho.reshape(dimension, dimension)
    photons = np.array([[np.trace(a[i].T @ a[j] @ rho) for j in range(n)] for i in range(n)])
    pairs = np.array([[np.trace(a[i] @ a[j] @ rho) for j in range(n)] for i in range(n)])
    highest = np.diag(rho).reshape((levels,) * n)
    return photons, pairs, float(highest[-1].sum())
