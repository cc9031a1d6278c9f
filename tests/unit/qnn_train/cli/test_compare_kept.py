"""Rows that are kept in a file."""

from __future__ import annotations

import pytest

from qnn_train.cli.compare import KeptRows
from qnn_train.errors import CheckpointError


def test_a_row_is_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"score": 0.5}

    file = tmp_path / "rows.json"
    for _ in range(2):
        assert KeptRows(file, {"of": "iris"}).row("first", make) == {"score": 0.5}
    assert made == [1]
    KeptRows(None, {}).row("first", make)
    assert len(made) == 2


@pytest.mark.parametrize("text", ["", "[]", '{"subject": {}}', '{"subject": 1, "rows": 2}'])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    file = tmp_path / "rows.json"
    file.write_text(text)
    with pytest.raises(CheckpointError, match="holds no rows"):
        KeptRows(file, {})


def test_rows_of_another_subject_are_refused_by_what_differs(tmp_path):
    file = tmp_path / "rows.json"
    KeptRows(file, {"hidden": "8", "data": "a"}).row("first", dict)
    with pytest.raises(CheckpointError, match="other values of data, sweeps"):
        KeptRows(file, {"hidden": "8", "data": "b", "sweeps": "1"})
