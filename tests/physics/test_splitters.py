"""The vacuum that splitters let in: its covariance, and what it makes of light."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp

from emulator import EulerMaruyama, TruncatedWigner
from emulator.dynamics.base import JobInputs
from emulator.dynamics.splitters import SharedVacuum, SplitterNoise, splitter_noise
from emulator.noise import Draw, NoiseKey
from emulator.products.coupling import CouplingMatrix

MANY = 20_000
PAIR = np.array([[0.0, 1.0], [1.0, 0.0]])
RING = np.roll(np.eye(4), 1, 0) + np.roll(np.eye(4), -1, 0)
SHAPES = {"dense": np.asarray, "sparse": sp.csr_array}


def graph(n: int, degree: int, seed: int = 0) -> np.ndarray:
    """Circulant couplings of both signs."""
    row = np.zeros(n)
    row[1 : 1 + degree] = np.random.default_rng(seed).normal(size=degree)
    J = np.array([np.roll(row, k) for k in range(n)])
    return J + J.T


def matrix_of(J: object, dtype: object = np.float64) -> CouplingMatrix:
    return CouplingMatrix.of(J, np.zeros(J.shape[0]), largest_code=None, dtype=dtype)


def factor_of(noise: SplitterNoise) -> np.ndarray:
    n_pulses, n_noises = len(noise.vacuum), noise.n_noises
    padded = np.zeros((n_noises, -(-n_noises // 16) * 16))
    padded[:, :n_noises] = np.eye(n_noises)
    out = np.zeros((n_pulses, padded.shape[1]))
    if n_noises:
        SharedVacuum(noise, 1)  # shapes fit
        noise.factor.multiply(padded, out)
    return out[:, :n_noises]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("J", "strength", "loss"),
    [
        (PAIR, 0.4, 1.0),
        (PAIR, 1.0, 1.0),  # a dark mode
        (-PAIR, 0.9, 1.3),
        (RING, 0.5, 1.0),
        (graph(12, 2), 0.2, 1.0),
        (graph(12, 5), 0.25, 1.2),  # rows add up to more than the loss
        (np.zeros((3, 3)), 0.5, 1.2),
    ],
)
def test_the_covariance_is_that_of_the_loss(shape, J, strength, loss):
    coupling = matrix_of(SHAPES[shape](J))
    natural = coupling.as_floats(np.float64).matrix()
    natural = natural.toarray() if sp.issparse(natural) else natural
    assert strength * np.linalg.eigvalsh(natural)[-1] <= loss + 1e-12
    noise = splitter_noise(coupling, strength=strength, loss=loss, dtype=np.dtype(float))
    factor = factor_of(noise)
    expected = 0.5 * (loss * np.eye(len(J)) - strength * natural)
    np.testing.assert_allclose(np.diag(noise.vacuum) + factor @ factor.T, expected, atol=1e-11)


def test_sparse_couplings_have_a_noise_for_each_pair():
    J = sp.csr_array(graph(600, 2))
    noise = splitter_noise(matrix_of(J), strength=0.3, loss=1.0, dtype=np.dtype(np.float32))
    assert noise.n_noises == sp.triu(J, 1).nnz == 1200
    assert noise.vacuum.dtype == np.float32
    assert (noise.vacuum > 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_couplings_that_would_amplify_are_refused_with_what_would_do(start, shape):
    J = SHAPES[shape](np.ones((80, 80)) - np.eye(80))
    machine = TruncatedWigner(coupling_gain=0.5, saturation=10.0)
    inputs = JobInputs(matrix_of(J), NoiseKey.from_seed(1))
    with pytest.raises(ValueError, match=r"gain 4\.444, and splitters lose 1\.01") as refusal:
        machine.start(inputs, first_run=0, n_runs=1)
    assert "Raise coupling_loss by 3.43 or more" in str(refusal.value)
    TruncatedWigner(coupling_gain=0.5, coupling_loss=3.46).start(inputs, first_run=0, n_runs=1)
    TruncatedWigner(coupling_gain=0.11).start(inputs, first_run=0, n_runs=1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("runs", [16, 5])
def test_shared_vacuum_is_the_same_for_a_run_in_any_block(shape, runs):
    coupling = matrix_of(SHAPES[shape](graph(12, 3)), np.float32)
    noise = splitter_noise(coupling, strength=0.2, loss=1.0, dtype=np.dtype(np.float32))
    whole, part = SharedVacuum(noise, 64), SharedVacuum(noise, runs)
    whole.draw(Draw.of_seed(2, round_trip=9))
    part.draw(Draw.of_seed(2, round_trip=9, first_run=32))
    for side in (0, 1):
        some = whole.values[:, 64 * side :][:, 32 : 32 + runs]
        np.testing.assert_array_equal(part.values[:, runs * side :][:, :runs], some)
    before = whole.values.copy()
    whole.draw(Draw.of_seed(2, round_trip=10))
    assert abs(np.corrcoef(before.ravel(), whole.values.ravel())[0, 1]) < 4 / before.size**0.5


def settled(coupling: CouplingMatrix, machine: TruncatedWigner, pump: float, time: float):
    block = machine.start(JobInputs(coupling, NoiseKey.from_seed(1)), first_run=0, n_runs=MANY)
    for _ in range(round(time / machine.time_step)):
        block.advance(pump)
    return block


@pytest.mark.parametrize(
    ("shape", "corrected", "integrator"),  # each two of them in every way
    [
        pytest.param("dense", True, None, marks=pytest.mark.slow),
        pytest.param("dense", False, EulerMaruyama(), marks=pytest.mark.slow),
        pytest.param("sparse", True, EulerMaruyama(), marks=pytest.mark.slow),
        ("sparse", False, None),
    ],
)
def test_passive_couplings_keep_the_vacuum_of_every_mode(shape, corrected, integrator):
    A, dt = 20.0, 0.02
    options = {} if integrator is None else {"integrator": integrator}
    machine = TruncatedWigner(
        saturation=A,
        coupling_gain=0.6,
        coupling_loss=0.3,
        ordering_corrections=corrected,
        time_step=dt,
        precision="double",
        **options,
    )
    J = graph(5, 2)
    block = settled(matrix_of(SHAPES[shape](J)), machine, 0.0, 6.0)
    for mode in np.linalg.eigh(J)[1].T:
        for quadrature in (block.c, block.s):
            variance = 4 * A**2 * np.var(mode @ quadrature)
            # Euler's (rate) dt; and 1 / A^2 without the corrections
            allowed = 4 * np.sqrt(2 / MANY) + (2 * dt if integrator else 0) + 3 / A**2
            assert variance == pytest.approx(1, rel=allowed)


@pytest.mark.parametrize("pump", [0.0, 0.3])
@pytest.mark.parametrize("dt", [0.005, 0.05, 0.3])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_of_any_length_keeps_the_uncertainty_of_every_mode(shape, dt, pump):
    # the covariance of one step without saturation, from the scalars that the kernel gets
    machine = TruncatedWigner(
        saturation=1e6, coupling_gain=0.6, coupling_loss=0.1, time_step=dt, precision="double"
    )
    coupling = matrix_of(SHAPES[shape](graph(5, 2)))
    J, kick = coupling.as_floats(np.float64).matrix(), machine.kick_constants(coupling.unit)
    splitters, flow = machine.splitters(coupling), machine.flow_constants(pump)
    J = J if isinstance(J, np.ndarray) else J.toarray()
    F = factor_of(splitters)
    spread = np.eye(5) + kick.coupling * J
    noise = kick.noise**2 * (F @ F.T + np.diag(splitters.vacuum.astype(float)))
    shares = kick.before * spread + kick.after * np.eye(5)
    product, vacuum = 1.0, 0.25 * machine.saturation**-2
    values, modes = np.linalg.eigh(J)
    for gain in (flow.gain_c, flow.gain_s):
        step = gain**2 * spread
        added = gain**2 * np.diag(modes.T @ shares @ noise @ shares @ modes)
        product = product * added / (1 - np.diag(modes.T @ step @ modes) ** 2) / vacuum
    assert kick.before + kick.after == pytest.approx(1)
    lost = 1 - np.exp(-machine.passive_loss * dt) * (1 + kick.coupling * values)
    if pump == 0:
        np.testing.assert_allclose(product, 1, rtol=lost.max() ** 2 / 6)
    assert (product > 1 - 1e-9).all()


@pytest.mark.parametrize(
    ("loss", "sign"), [pytest.param(0.0, 1, marks=pytest.mark.slow), (0.4, -1)]
)
def test_a_mode_of_a_pumped_pair_is_squeezed_as_its_own_loss_says(sign, loss):
    # G / (G -/+ p) of vacuum, G = 1 + j - xi lambda: the uncertainty relation with room
    A, xi, pump, dt = 1e4, 0.4, 0.4, 0.01
    machine = TruncatedWigner(
        saturation=A, coupling_gain=xi, coupling_loss=loss, time_step=dt, precision="double"
    )
    block = settled(matrix_of(sign * PAIR), machine, pump, 12.0)
    for side in (1, -1):
        mode, G = np.array([1, side]) / np.sqrt(2), 1 + loss - sign * side * xi
        x, p = (4 * A**2 * np.var(mode @ quadrature) for quadrature in (block.c, block.s))
        allowed = 4 * np.sqrt(2 / MANY) + 2 * G * dt
        assert x == pytest.approx(G / (G - pump), rel=allowed)
        assert p == pytest.approx(G / (G + pump), rel=allowed)
        assert x * p > 1 - 2 * allowed


def euler(J: np.ndarray, *, A: float, xi: float, j: float, pumps, dt: float, runs: int):
    """Final c of the corrected Wigner equation, by explicit Euler and eigenvectors of the loss."""
    rng = np.random.default_rng(5)
    n, eps = len(J), A**-2
    loss = (1 + j) * np.eye(n) - xi * J
    values, vectors = np.linalg.eigh(0.5 * (loss - eps * np.eye(n)))
    root = vectors * np.sqrt(values)
    c, s = rng.normal(size=(2, n, runs)) / (2 * A)
    width = np.sqrt(dt) / A
    for p in pumps:
        square = c * c + s * s
        kicks = (
            np.sqrt(square) * rng.normal(size=(n, runs)) + root @ rng.normal(size=(n, runs))
            for _ in range(2)
        )
        c, s = (
            x + dt * ((sign * p + eps - square) * x - loss @ x) + width * kick
            for x, sign, kick in zip((c, s), (1, -1), kicks, strict=True)
        )
    return c


@pytest.mark.slow
@pytest.mark.parametrize(("gain", "loss", "stated"), [(0.5, 0.0, 0.776), (0.8, 0.4, 0.930)])
def test_a_moebius_ladder_is_cut_as_often_as_by_an_independent_integrator(
    shared_dir, gain, loss, stated
):
    graphs = json.loads((shared_dir / "instances/small/cubic_and_moebius.json").read_text())
    W = np.zeros((8, 8))
    W[tuple(np.transpose(graphs["moebius8"]["edges"]))] = 1
    W += W.T
    A, time, runs, dt = 3.0, 10.0, 8000, 0.02

    def share(c: np.ndarray) -> float:
        spins = np.where(c < 0, -1, 1)
        cuts = (W.sum() - (spins * (W @ spins)).sum(axis=0)) / 4
        return float(np.mean(cuts == graphs["moebius8"]["max_cut"]))

    machine = TruncatedWigner(saturation=A, coupling_gain=gain, coupling_loss=loss, time_step=dt)
    inputs = JobInputs(matrix_of(-W, np.float32), NoiseKey.from_seed(1))
    block = machine.start(inputs, first_run=0, n_runs=runs)
    for pump in np.linspace(0, 2, round(time / dt)):
        block.advance(pump)
    xi = gain / np.sqrt(3)
    pumps = np.linspace(0, 2, round(time / dt))
    theirs = share(euler(-W, A=A, xi=xi, j=loss, pumps=pumps, dt=dt, runs=runs))
    ours = share(block.amplitudes())
    error = np.sqrt((ours * (1 - ours) + theirs * (1 - theirs)) / runs)
    assert abs(ours - theirs) < 2 * error
    assert abs(ours - stated) < 3 * error  # .839 and .945 with independent noise
