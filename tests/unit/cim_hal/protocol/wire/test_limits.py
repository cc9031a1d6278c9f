from __future__ import annotations

import pytest
from pydantic import ValidationError

from cim_hal.protocol.wire.limits import MAX_BUFFER_BYTES, Limits


def test_a_row_of_amplitudes_of_the_largest_model_fills_one_buffer():
    assert 4 * Limits().max_spins == MAX_BUFFER_BYTES
    Limits(max_spins=MAX_BUFFER_BYTES // 4, chunk_bytes=MAX_BUFFER_BYTES)


@pytest.mark.parametrize("name", ["chunk_bytes", "max_spins"])
def test_nothing_is_promised_that_a_buffer_cannot_hold(name):
    with pytest.raises(ValidationError, match=name):
        Limits(**{name: getattr(Limits(), name) + 1})


@pytest.mark.parametrize("name", sorted(Limits.model_fields))
def test_no_limit_is_zero(name):
    with pytest.raises(ValidationError, match=name):
        Limits(**{name: 0})


def test_what_one_user_may_have_fits_what_all_may_have():
    limits = Limits()
    assert limits.user_sessions <= limits.max_sessions
    assert limits.user_uploads <= limits.max_uploads
    assert limits.user_queue_length <= limits.queue_length


def test_a_user_has_half_of_what_is_shared_unless_told_otherwise_or_alone():
    limits = Limits(kept_jobs=9, cache_entries=100, user_cache_entries=30, user_kept_bytes=2**40)
    assert limits.share("kept_jobs") == 4
    assert limits.share("cache_entries") == 30
    assert limits.share("kept_bytes") == limits.kept_bytes
    assert Limits(kept_jobs=1).share("kept_jobs") == 1
    alone = limits.for_one_user()
    assert (alone.share("kept_jobs"), alone.share("cache_entries")) == (9, 30)
