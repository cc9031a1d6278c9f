from __future__ import annotations

import pytest

from cim_hal.errors import VersionError
from cim_hal.protocol.wire.version import agree


def test_the_newest_common_version_is_taken():
    assert agree(((1, 0), (1, 7)), ours=((1, 2), (1, 4))) == (1, 4)
    assert agree(((1, 3), (1, 3)), ours=((1, 0), (1, 9))) == (1, 3)


@pytest.mark.parametrize("theirs", [((2, 0), (2, 1)), ((0, 1), (0, 9))])
def test_ranges_apart_are_refused_with_both_in_the_sentence(theirs):
    with pytest.raises(VersionError, match=r"1\.0 to 1\.4") as caught:
        agree(theirs, ours=((1, 0), (1, 4)))
    assert caught.value.details["client"].startswith(str(theirs[0][0]))


def test_a_range_the_wrong_way_round_is_refused():
    with pytest.raises(VersionError):
        agree(((1, 9), (1, 0)))
