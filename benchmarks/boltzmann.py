"""A CIM as a sampler of Boltzmann distributions: how near, and a Boltzmann machine trained by it.

    python benchmarks/boltzmann.py
    python benchmarks/boltzmann.py --train      # needs dwave-pytorch-plugin and einops

Oscillators with noise s, under a constant pump of twice the threshold, where a lone one has the
amplitude 1, move in a potential: their amplitudes have the density exp(-2 U / s^2), and where the
wells are deep their signs have that of Boltzmann, at a temperature that s and the gain of the
couplings set. A machine scales couplings by their norm, so the gain says the temperature and the
model does not: `Oscillators` fits it to the samples of each call by pseudolikelihood.

A row is one random model. What is compared is the divergence of 6,000 samples from the exact
distribution at the temperature that fits best; exact samples, as many, are the control, as few
samples have a divergence too.
"""

from __future__ import annotations

import argparse
from typing import Any, Self

import dimod
import numpy as np
import scipy.optimize
import scipy.stats

from cim_hal import IsingModel, PumpSchedule, open_device
from cim_hal.interop.dimod import CIMSampler, from_bqm

CONSTANT = PumpSchedule((2.0,), round_trips=2000)
NOISE = 0.4
N_SAMPLES = 6000
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "noisy oscillators, constant pump, gain 0.3": (
        "emulator-mean-field",
        {"schedule": CONSTANT, "settings": {"coupling_gain": 0.3, "noise": NOISE}},
    ),
    "the same, gain 1": (
        "emulator-mean-field",
        {"schedule": CONSTANT, "settings": {"coupling_gain": 1.0, "noise": NOISE}},
    ),
    "SimCIM, constant pump, noise 0.3, gain 0.3": (
        "emulator-simcim",
        {"schedule": CONSTANT, "settings": {"coupling_gain": 0.3, "noise": 0.3}},
    ),
    "measurement feedback, its own ramp": ("emulator", {}),
    "simulated bifurcation, its own ramp": ("emulator-dsb", {}),
}


# ---- distributions --------------------------------------------------------------------------


def states(n: int) -> np.ndarray:
    return 2 * ((np.arange(2**n)[:, None] >> np.arange(n)[::-1]) & 1) - 1


def exact(model: IsingModel, beta: float = 1.0) -> np.ndarray:
    """Return the Boltzmann distribution over `states`."""
    energies = -beta * model.energy(states(model.n_spins))
    weights = np.exp(energies - energies.max())
    return weights / weights.sum()


def shares(spins: np.ndarray) -> np.ndarray:
    """Return how often each of `states` was seen."""
    n = spins.shape[1]
    places = (np.asarray(spins, int) + 1) // 2 @ (1 << np.arange(n)[::-1])
    return np.bincount(places, minlength=2**n) / len(spins)


def divergence(seen: np.ndarray, expected: np.ndarray) -> float:
    """Return the sum of p ln(p / q)."""
    there = seen > 0
    return float((seen[there] * np.log(seen[there] / expected[there])).sum())


def temperature(model: IsingModel, spins: np.ndarray) -> float:
    """Return the inverse temperature of greatest pseudolikelihood."""
    fields = np.asarray(spins * (spins @ model.J + model.h))

    def loss(beta: float) -> float:
        return float(np.logaddexp(0, -2 * beta * fields).mean())

    return float(scipy.optimize.minimize_scalar(loss, bounds=(1e-3, 50), method="bounded").x)


# ---- a sampler ------------------------------------------------------------------------------


class Oscillators(dimod.Sampler):
    """Noisy oscillators as a sampler of dimod at inverse temperature 1, which fits its gain.

    The temperature of each answer is measured, and sets the gain of the next call: ``rate`` is the
    gain for couplings whose rows have the norm 1.
    """

    parameters: dict[str, Any] = {"num_reads": [], "seed": []}  # noqa: RUF012  dimod asks for it
    properties: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, rate: float = 0.6) -> None:
        self.rate, self.beta = rate, 1.0
        self._inner = CIMSampler("emulator-mean-field")

    def sample(
        self, bqm: dimod.BinaryQuadraticModel, num_reads: int = 1000, seed: int = 0
    ) -> dimod.SampleSet:
        """Return samples of the bqm, and fit the gain of the next call to them."""
        model = from_bqm(bqm)[0]
        gain = self.rate * np.sqrt((np.asarray(model.J) ** 2).sum(axis=1).mean())
        allowed = float(np.clip(gain, 0.05, 5))  # what a job may set
        settings = {"coupling_gain": allowed, "noise": NOISE}
        found = self._inner.sample(
            bqm, num_reads=num_reads, seed=seed, schedule=CONSTANT, settings=settings
        )
        spins = found.record.sample[:, [found.variables.index(v) for v in bqm.variables]]
        self.beta = temperature(model, spins)
        if gain == allowed:
            self.rate /= float(np.clip(self.beta, 0.5, 2))
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()


class Exact(dimod.Sampler):
    """Independent samples of the exact distribution: the control."""

    parameters: dict[str, Any] = {"num_reads": [], "seed": []}  # noqa: RUF012
    properties: dict[str, Any] = {}  # noqa: RUF012

    def sample(
        self, bqm: dimod.BinaryQuadraticModel, num_reads: int = 1000, seed: int = 0
    ) -> dimod.SampleSet:
        """Return independent samples."""
        model, labels = from_bqm(bqm)
        drawn = np.random.default_rng(seed).choice(2 ** len(labels), num_reads, p=exact(model))
        return dimod.SampleSet.from_samples_bqm((states(len(labels))[drawn], labels), bqm)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Plain(CIMSampler):
    """A machine as it is, which knows no temperature: the other control."""

    parameters: dict[str, Any] = {"num_reads": [], "seed": []}  # noqa: RUF012


# ---- models ---------------------------------------------------------------------------------


def random_model(n: int, seed: int) -> IsingModel:
    """Couplings and fields of width 0.3."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(size=(n, n)) * 0.3, 1)
    return IsingModel.from_couplings(upper + upper.T, rng.normal(size=n) * 0.3)


def nearness(model: IsingModel, spins: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Return the inverse temperature, the divergence at it, and that of as many exact samples."""
    seen = shares(spins)
    found = scipy.optimize.minimize_scalar(
        lambda beta: divergence(seen, exact(model, beta)), bounds=(0.01, 20), method="bounded"
    )
    expected = exact(model, found.x)
    drawn = np.random.default_rng(seed).multinomial(len(spins), expected) / len(spins)
    return float(found.x), float(found.fun), divergence(drawn, expected)


def compare(n: int, n_models: int) -> None:
    print(f"{n} spins, {n_models} models: divergence, that of exact samples, their difference")
    for name, (target, options) in WAYS.items():
        rows = []
        with open_device(target) as session:
            for seed in range(n_models):
                model = random_model(n, seed)
                samples = session.sample(model, n_runs=N_SAMPLES, seed=seed, **options)
                rows.append(nearness(model, samples.spins, seed))
        betas, found, control = np.array(rows).T
        print(
            f"  {name}: {found.mean():.4f}, {control.mean():.4f}, {interval(found - control)}; "
            f"inverse temperature {betas.min():.2f} to {betas.max():.2f}",
            flush=True,
        )


def interval(values: np.ndarray) -> str:
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
    return f"{values.mean():.4f} +- {half:.4f}"


# ---- training -------------------------------------------------------------------------------


def train(sampler: Any, n: int = 8, seed: int = 0, steps: int = 60) -> float:
    """Return the divergence of data from a Boltzmann machine of the plugin, trained by a sampler.

    The data have the distribution of a random model; both distributions are exact, only the steps
    of the training see samples.
    """
    import torch
    from dwave.plugins.torch.models import GraphRestrictedBoltzmannMachine
    from dwave.plugins.torch.samplers import DimodSampler

    torch.manual_seed(seed)
    data = exact(random_model(n, 100 + seed))
    drawn = np.random.default_rng(seed).choice(2**n, 5000, p=data)
    observed = torch.tensor(states(n)[drawn], dtype=torch.float32)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    machine = GraphRestrictedBoltzmannMachine(range(n), pairs)
    machine.set_quadratic(dict.fromkeys(pairs, 0.01))
    optimizer = torch.optim.Adam(machine.parameters(), lr=0.03)
    for step in range(steps):
        options = {"num_reads": 1000, "seed": 1000 * seed + step}
        reads = DimodSampler(machine, sampler, prefactor=1.0, sample_kwargs=options).sample()
        optimizer.zero_grad()
        machine.quasi_objective(observed, reads).backward()
        optimizer.step()
    bqm = dimod.BinaryQuadraticModel.from_ising(*machine.to_ising(1.0))
    model, labels = from_bqm(bqm)
    order = np.argsort(labels)
    learned = IsingModel.from_couplings(np.asarray(model.J)[np.ix_(order, order)], model.h[order])
    return divergence(data, exact(learned))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--spins", type=int, nargs="+", default=[6, 8, 10])
    options = parser.parse_args()
    if not options.train:
        for n in options.spins:
            compare(n, options.models)
        return
    uniform = [divergence(exact(random_model(8, 100 + s)), np.full(256, 1 / 256)) for s in range(5)]
    print(f"uniform: {interval(np.array(uniform))}")
    makers = {"exact samples": Exact, "noisy oscillators": Oscillators}
    for name, make in makers.items():
        with make() as sampler:
            print(f"{name}: {interval(np.array([train(sampler, seed=s) for s in range(5)]))}")
    with Plain("emulator-mean-field") as sampler:
        print(f"as it is: {interval(np.array([train(sampler, seed=s) for s in range(5)]))}")


if __name__ == "__main__":
    main()
