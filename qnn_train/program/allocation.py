"""How many bits for which tensor: codes searched under a budget of spins or of bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod

from qnn_train.arguments import checked
from qnn_train.errors import AssemblyError
from qnn_train.network import Architecture

__all__ = ["Allocation", "allocate_bits"]

MAX_EXHAUSTIVE = 256


@dataclass(frozen=True, eq=False)
class Allocation:
    """Codes chosen for the tensors of a network.

    Attributes
    ----------
    codes : tuple of str
        One for each tensor, see `parameter_code`.
    architecture : Architecture
        The network with these codes.
    cost : float
        What it costs, at most the budget.
    score : float
        How good it is.
    scored : int
        Number of architectures that were scored.
    """

    codes: tuple[str, ...]
    architecture: Architecture
    cost: float
    score: float
    scored: int


@checked
def allocate_bits(
    build: Callable[[tuple[str, ...]], Architecture],
    choices: Sequence[Sequence[str]],
    *,
    score: Callable[[Architecture], float],
    cost: Callable[[Architecture], float],
    budget: float,
    max_exhaustive: int = MAX_EXHAUSTIVE,
) -> Allocation:
    """Choose a code for every tensor so that the score is highest within the budget.

    Where there are few combinations, all that fit are scored. Else greedily: begin with the first
    choice of each tensor, and move one tensor to its next choice as long as a move that fits raises
    the score, always the one that raises it most for each unit of cost. The greedy way may stop
    below the optimum.

    Parameters
    ----------
    build : callable
        Makes the architecture of a tuple of codes, such as
        ``lambda codes: layered_network((16, 4, 1), weights=codes)``.
    choices : sequence of sequence of str
        Codes that each tensor may have, cheapest first.
    score : callable
        Larger is better: accuracy after a short training, or minus a loss. It decides what is
        learned, so there is no default; it is called once for each architecture that fits.
    cost : callable
        ``lambda a: spins_needed(a, inputs)`` for spins, ``lambda a: a.n_bits`` for bits of the
        program, ``lambda a: a.storage_bits`` for memory.
    budget : float
        Largest cost.
    max_exhaustive : int
        Largest number of combinations that are all tried.

    Raises
    ------
    AssemblyError
        A tensor without choices, choices that are not cheapest first where not all combinations
        are tried, or none of the architectures that were tried fits.

    Examples
    --------
    >>> from qnn_train import layered_network
    >>> best = allocate_bits(
    ...     lambda codes: layered_network((4, 2, 1), weights=codes),
    ...     [("binary", "ternary", "3bit")] * 2,
    ...     score=lambda network: network.layers[1].weights.bits,
    ...     cost=lambda network: network.n_bits,
    ...     budget=15,
    ... )
    >>> best.codes, best.cost
    (('binary', '3bit'), 14)
    """
    if not choices or not all(choices):
        raise AssemblyError("a tensor without a code to choose")
    search = _Search(build, score, cost, budget)
    if prod(len(codes) for codes in choices) <= max_exhaustive:
        found = [search.look(codes) for codes in product(*choices)]
        best = max((one for one in found if one), key=lambda one: one.score, default=None)
    else:
        best = _climb(search, choices)
    if best is None:
        raise AssemblyError(f"no choice of codes costs at most {budget}")
    return replace(best, scored=search.scored)


def _climb(search: _Search, choices: Sequence[Sequence[str]]) -> Allocation | None:
    at = [0] * len(choices)
    here = search.look(tuple(codes[0] for codes in choices))
    while here is not None:
        moves = []
        for tensor, codes in enumerate(choices):
            if at[tensor] + 1 < len(codes):
                one = search.look(
                    (*here.codes[:tensor], codes[at[tensor] + 1], *here.codes[tensor + 1 :])
                )
                if one is not None and one.cost < here.cost:
                    raise AssemblyError(
                        f"{one.codes[tensor]} costs less than {here.codes[tensor]}",
                        hint="name the choices of a tensor cheapest first",
                    )
                if one is not None and one.score > here.score:
                    moves.append((_rate(here, one), tensor, one))
        if not moves:
            return here
        _, tensor, here = max(moves, key=lambda move: move[0])
        at[tensor] += 1
    return None


def _rate(here: Allocation, there: Allocation) -> float:
    more = there.cost - here.cost
    return (there.score - here.score) / more if more > 0 else float("inf")


@dataclass
class _Search:
    """Scores the architectures that fit, each once."""

    build: Callable[[tuple[str, ...]], Architecture]
    score: Callable[[Architecture], float]
    cost: Callable[[Architecture], float]
    budget: float
    scored: int = 0
    known: dict[tuple[str, ...], Allocation | None] = field(default_factory=dict)

    def look(self, codes: tuple[str, ...]) -> Allocation | None:
        """Return what these codes make, or None where it costs too much."""
        if codes not in self.known:
            architecture = self.build(codes)
            cost, self.known[codes] = self.cost(architecture), None
            if cost <= self.budget:
                self.scored += 1
                score = self.score(architecture)
                self.known[codes] = Allocation(codes, architecture, cost, score, self.scored)
        return self.known[codes]
