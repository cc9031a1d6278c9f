"""Programs for a machine: as many spins as was said, or a refusal that says what fits."""

from __future__ import annotations

import pytest

from cim_hal import CapabilityError
from qnn_train import DataError, Recipe, load_digits, prepare
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
