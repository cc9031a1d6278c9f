"""Methods of training and their oracles by name, each in a line; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["MACHINE", "ON_ALL", "ON_PARTS", "ORACLES", "QCBO_METHODS", "WAITS"]

QCBO_METHODS: Mapping[str, str] = MappingProxyType(
    {
        "qcgd": "conditional gradients, multipliers by bounded steps (CGAL)",
        "q-fw": "conditional gradients, multipliers by a constant step (Q-FW)",
        "homotopy": "conditional gradients, no multipliers, only the growing penalty",
        "penalty": "one penalty form, sampled again and again; the common baseline",
        "dlbo": "conditional gradients on parts coupled by first moments; a lower bound",
        "dlbo-2": "conditional gradients on parts coupled by first and second moments; "
        "a lower bound",
        "qph": "progressive hedging: parts one by one, pulled towards their mean",
        "qcgd-all": "conditional gradients with all images: the machine has the parameters, "
        "the host what belongs to one image",
        "penalty-all": "the same with one weight for all constraints, and no multipliers",
        "random": "random weights, as many as a call has runs; no machine is asked",
    }
)
ON_PARTS = ("dlbo", "dlbo-2", "qph")
ON_ALL = ("qcgd-all", "penalty-all")  # whose problems do not grow with images

MACHINE = "machine"
ORACLES: Mapping[str, str] = MappingProxyType(
    {
        MACHINE: "the Ising machine",
        "descent": "one-flip descents on the host, no machine",
        "annealing": "simulated annealing on the host, no machine",
        "exact": "proven minima on the host, no machine",
    }
)
# What takes its time before the first step is done.
WAITS: Mapping[str, str] = MappingProxyType(
    {
        MACHINE: "an emulator is compiled at its first use",
        "descent": "searching on the host",
        "annealing": "searching on the host",
        "exact": "proving minima, at most 60 s for each",
    }
)
