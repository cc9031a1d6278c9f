"""Recipes by name, and recipes that cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qnn_train.errors import AssemblyError, DataError, TrainingError
from qnn_train.training import PRESETS, ProximalProblem, ProximalRecipe, default_preset, preset

SMALL = ProximalRecipe(sweeps=3, hidden=2, n_runs=4, round_trips=100, ladder=(0.1, 1.0))


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_recipe_makes_a_network(name):
    recipe = preset(name)
    outputs = 1 if recipe.readout == "majority" else 10
    assert recipe.architecture(outputs).n_inputs == recipe.grid**2


def test_the_recipe_of_all_pairs_has_one_bit_and_a_tenth():
    assert preset("pairs-4x4").architecture(1).bits_per_parameter <= 1.1


def test_a_recipe_that_cannot_be_is_refused(pair):
    with pytest.raises(TrainingError, match="no recipe"):
        preset("pears")
    with pytest.raises(AssemblyError, match="majority"):
        ProximalRecipe().architecture(10)
    with pytest.raises(AssemblyError, match="validation"):
        ProximalRecipe(validation=1.0)
    with pytest.raises(DataError, match="validation share"):
        ProximalProblem.of(replace(SMALL, train_samples=4, validation=0.01), pair)


def test_classes_choose_the_recipe():
    assert default_preset("fashion-mnist", 2) == "pairs-4x4"
    assert default_preset("fashion-mnist", 10) == "ten-classes-7x7"
    assert default_preset("digits", 10) == "ten-digits-8x8"
