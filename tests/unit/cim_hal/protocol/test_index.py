from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cim_hal.protocol.index import OrderedIndex

changes = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=60)


@given(changes, st.none() | st.integers(-1, 21))
def test_an_index_finds_what_a_sorted_list_of_all_would(moves, cursor):
    index, plain = OrderedIndex[str](), {}
    for adds, number in moves:
        if adds:
            index.add(number, f"item {number}")
            plain[number] = f"item {number}"
        else:
            index.discard(number)
            plain.pop(number, None)
    order = sorted(plain)
    assert len(index) == len(plain)
    assert list(index.after(cursor)) == [plain[n] for n in order if cursor is None or n > cursor]
    before = [plain[n] for n in reversed(order) if cursor is None or n < cursor]
    assert list(index.before(cursor)) == before
