"""Families of models: seeds, and targets that are optima."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal.study.exhaustion import all_energies
from cim_hal.study.families import FAMILIES, draw, target_of


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_seed_is_a_model_and_another_seed_is_another(kind):
    one, same, other = (draw(kind, 12, (seed,), kind) for seed in (1, 1, 2))
    assert one.target == same.target
    np.testing.assert_array_equal(one.model.J, same.model.J)
    assert not np.array_equal(one.model.J, other.model.J) or kind == "portfolio"
    assert one.target.source == "enumerated"


@pytest.mark.parametrize("seed", range(5))
def test_the_planted_energy_is_the_optimum(seed):
    model, energy = FAMILIES["planted"](np.random.default_rng(seed), 14)
    assert energy == pytest.approx(all_energies(model).min())
    assert target_of(model, energy, (seed,)).energy == pytest.approx(energy)


def test_a_tabu_search_finds_a_planted_optimum():
    model, energy = FAMILIES["planted"](np.random.default_rng(3), 40)
    found = target_of(model, None, (3,))
    assert found.source == "tabu search"
    assert found.energy == pytest.approx(energy)


def test_a_cubic_graph_has_three_edges_a_vertex():
    model, _ = FAMILIES["cubic"](np.random.default_rng(0), 30)
    assert (np.count_nonzero(model.J, axis=1) == 3).all()


@pytest.mark.parametrize(("kind", "n"), [("cubic", 7), ("cubic", 2), ("planted", 2)])
def test_sizes_that_a_family_cannot_have_are_refused(kind, n):
    with pytest.raises(ValueError, match=f"n = {n}"):
        draw(kind, n, (0,), kind)
