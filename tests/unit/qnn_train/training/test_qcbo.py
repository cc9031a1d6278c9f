"""Programs for a machine: as many spins as was said, or a refusal that says what fits."""

from __future__ import annotations

import numpy as np
import pytest

from cim_hal import CapabilityError, open_device
from qnn_train import (
    DataError,
    Recipe,
    TrainedModel,
    load_digits,
    prepare,
    run_recipe,
)
from qnn_train.data import PooledLevels
from qnn_train.program import ProgramSize
from tests.support.descending import Descending

PAIR = load_digits().pair(3, 6)


def test_the_program_has_as_many_spins_as_was_said_before():
    preparation = prepare(Recipe(hidden=2, readout="trained"), PAIR)
    assert ProgramSize.of(preparation.assemble()).spins == preparation.spins


def test_a_program_that_does_not_fit_is_refused_with_one_that_does():
    capabilities = Descending(max_spins=300).describe()
    with pytest.raises(CapabilityError, match="--train-samples 16 fits") as caught:
        prepare(Recipe(), PAIR).check_fits(capabilities)
    assert caught.value.details["required"] == 355
    prepare(Recipe(train_samples=16), PAIR).check_fits(capabilities)
    with pytest.raises(CapabilityError):
        prepare(Recipe(train_samples=17), PAIR).check_fits(capabilities)


def test_a_network_too_large_for_any_images_says_so():
    with pytest.raises(CapabilityError, match="smaller --grid"):
        prepare(Recipe(hidden=30), PAIR).check_fits(Descending(max_spins=300).describe())


def test_more_images_than_there_are_is_refused():
    with pytest.raises(DataError, match="between 2 and"):
        prepare(Recipe(train_samples=1000), PAIR)


def test_inputs_of_more_levels_cost_no_bits_but_those_of_longer_sums():
    signs, levels = prepare(Recipe(), PAIR), prepare(Recipe(levels=2), PAIR)
    assert np.abs(levels.inputs).max() == 4
    assert levels.architecture.n_bits == signs.architecture.n_bits
    assert ProgramSize.of(levels.assemble()).spins == levels.spins <= 1.2 * signs.spins
    # parts may differ in size, and none is larger than was said
    for batch in (3, 5):
        part = levels.task.largest_part(batch)
        assert part.qcbo.n_bits <= levels.spins_of(batch)


def test_a_network_trained_on_levels_is_kept_with_them(tmp_path):
    with open_device(Descending(max_spins=550)) as session:
        recipe = Recipe(levels=2, iterations=3)
        outcome = run_recipe(prepare(recipe, PAIR), session, iterations=3, n_runs=8)
    outcome.model.save(tmp_path / "model.npz")
    model = TrainedModel.load(tmp_path / "model.npz")
    assert isinstance(model.features, PooledLevels)
    found = model.predict(PAIR.test.images)
    np.testing.assert_array_equal(found, outcome.model.predict(PAIR.test.images))
