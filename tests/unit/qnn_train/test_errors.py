from __future__ import annotations

import pytest

from cim_hal import CimError
from qnn_train import errors

LEAVES = [errors.AssemblyError, errors.CheckpointError, errors.DataError, errors.ModelFileError]


@pytest.mark.parametrize("cls", LEAVES)
def test_an_error_of_training_is_also_a_value_error_with_a_code_of_its_own(cls):
    assert issubclass(cls, errors.TrainingError)
    assert issubclass(cls, ValueError)
    assert cls.code.startswith("training.")
    with pytest.raises(CimError, match="odd") as caught:
        raise cls("odd")
    assert caught.value.message == "odd"


def test_codes_are_unique_and_the_table_is_whole():
    assert len({cls.code for cls in LEAVES}) == len(LEAVES)
    assert {cls.__name__ for cls in (errors.TrainingError, *LEAVES)} == set(errors.__all__)
