"""Rows in a file: whole lines only, and tables of them."""

from __future__ import annotations

import csv
import json
import resource
from dataclasses import asdict, replace

import pyarrow.parquet as pq
import pytest

from cim_hal.errors import StudyError
from cim_hal.study.rows import Row, RowFile, differences, export_csv, export_parquet, read_rows

ROW = Row(
    *({"noise": 0.5, "coupling_bits": 8}, "m", "", 8, 0, 1, "machine", 64, 3, -1.0),
    *("enumerated", -1.0, -1.0, 0.0, 1, 0.0, 0.0, "", ""),
)


def test_rows_come_back_and_a_line_that_was_cut_does_not(tmp_path):
    file = RowFile(tmp_path)
    for batch in range(3):
        file.add(replace(ROW, batch=batch))
    file.close()
    path = tmp_path / "rows.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    data = path.read_bytes()
    assert [row.batch for row in read_rows(tmp_path)] == [0, 1]
    assert path.read_bytes() == data  # who only reads changes nothing
    again = RowFile(tmp_path)
    assert [row.batch for row in again.rows.values()] == [0, 1]
    again.add(replace(ROW, batch=2))
    again.close()
    once_more = RowFile(tmp_path)
    assert [row.batch for row in once_more.rows.values()] == [0, 1, 2]
    assert once_more.rows[ROW.key] == ROW
    once_more.close()


def test_rows_of_one_job_differ_in_what_a_job_decides():
    trained = replace(ROW, infeasibility=0.5, calls=12)
    assert differences(ROW, replace(ROW, device_s=1.0, software="newer")) == []
    assert differences(ROW, trained) == []  # a row from before it had these
    assert differences(trained, replace(trained, calls=13)) == ["calls"]
    assert differences(trained, replace(trained, infeasibility=0.6, spins_sha256="other")) == [
        *("network", "infeasibility"),
    ]


@pytest.mark.parametrize("target", [0.0, 1e-15])
def test_a_target_of_about_zero_is_no_unit_of_energies(target):
    assert replace(ROW, target=target).gap is None
    assert replace(ROW, target=-2.0).gap == 0.5
    assert replace(ROW, target=-2.0, energy_mean=-2.0 + 1e-15).gap == 0  # within rounding


@pytest.mark.parametrize(
    "line",
    [
        *("{}", "[1, 2]", "no json", '{"factors": 3}'),
        *(
            json.dumps({**asdict(ROW), name: value})
            for name, value in (
                *(("successes", -3), ("successes", 999), ("successes", "3"), ("runs", 0)),
                *(("factors", 3), ("energy_mean", float("nan")), ("target", float("inf"))),
            )
        ),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line):
    (tmp_path / "rows.jsonl").write_text(f"{line}\n")
    with pytest.raises(StudyError, match=r"rows\.jsonl, line 1 is no row"):
        RowFile(tmp_path)


@pytest.mark.parametrize("fields", [{}, {"colour": "red"}])
def test_rows_of_another_schema_are_refused_by_its_number(tmp_path, fields):
    line = json.dumps({**asdict(ROW), "schema": 2} | fields)
    (tmp_path / "rows.jsonl").write_text(f"{line}\n")
    with pytest.raises(StudyError, match=r"line 1: rows of schema 2; .* reads those of 1"):
        read_rows(tmp_path)


def test_a_row_that_names_no_schema_is_of_the_first(tmp_path):
    line = json.dumps({name: value for name, value in asdict(ROW).items() if name != "schema"})
    (tmp_path / "rows.jsonl").write_text(f"{line}\n")
    assert read_rows(tmp_path) == [ROW]


def test_a_disk_that_is_full_keeps_the_rows_before_and_takes_the_next_where_there_is_room(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = RowFile(tmp_path)
    file.add(ROW)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, ((tmp_path / "rows.jsonl").stat().st_size + 40, limits[1])
    )
    try:
        with pytest.raises(StudyError, match=r"cannot be written: File too large") as failed:
            file.add(replace(ROW, batch=1))
        assert "--resume" in failed.value.hint
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        file.close()
    again = RowFile(tmp_path)
    again.add(replace(ROW, batch=1))
    again.close()
    assert [row.batch for row in read_rows(tmp_path)] == [0, 1]


def test_a_job_that_gave_no_number_leaves_no_row(tmp_path):
    file = RowFile(tmp_path)
    with pytest.raises(StudyError, match="no finite number"):
        file.add(replace(ROW, energy_mean=float("nan")))
    file.close()
    assert read_rows(tmp_path) == []


def test_both_tables_have_the_same_columns_and_values(tmp_path):
    rows = [ROW, replace(ROW, factors={"noise": 1.0, "coupling_bits": 2}, batch=1)]
    table = pq.read_table(export_parquet(rows, tmp_path))
    with export_csv(rows, tmp_path).open() as file:
        lines = list(csv.DictReader(file))
    assert table.column_names == list(lines[0])
    assert table.column("factor.noise").to_pylist() == [0.5, 1.0]
    assert str(table.schema.field("calls").type) == "int64"  # though all are null
    assert [line["factor.coupling_bits"] for line in lines] == ["8", "2"]
    assert {line["schema"] for line in lines} == {"1"}
    assert set(table.column("schema").to_pylist()) == {1}
    assert table.schema.metadata[b"cim_hal.study.rows"] == b"1"


HOSTILE = [
    *(None, True, -1, 1.5, 2**63, -(2**63) - 1, 10**400, float("nan"), float("inf"), "", "x"),
    *([], [1], {}, {"noise": [1]}, {"noise": None}, {"noise": 10**400}, {"": {}}),
]


@pytest.mark.parametrize("field", asdict(ROW))
def test_a_hostile_field_is_refused_or_can_be_written_as_a_table(tmp_path, field):
    refused = 0
    for value in HOSTILE:
        (tmp_path / "rows.jsonl").write_text(f"{json.dumps({**asdict(ROW), field: value})}\n")
        try:
            rows = read_rows(tmp_path)
        except StudyError as error:
            refused += field in error.message
        else:
            export_csv(rows, tmp_path)
            export_parquet(rows, tmp_path)
    assert refused >= 12


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"configurations": 99}, "configurations = 99 of runs = 64"),
        ({"energy_min": 9.0}, "energy_min = 9.0 above energy_mean = -1.0"),
        ({"infeasibility": 1.0, "no_infeasibility": "none"}, "and there is one"),
        *(({"schema": schema}, "schema") for schema in (True, 1.0, [1], "1", 10**400)),
    ],
)
def test_figures_that_no_job_has_are_named(tmp_path, fields, says):
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(asdict(ROW) | fields)}\n")
    with pytest.raises(StudyError, match=f"line 1.*{says}"):
        read_rows(tmp_path)


def test_a_job_that_stands_twice_is_refused_where_the_lines_differ(tmp_path):
    lines = [json.dumps(asdict(row)) + "\n" for row in (ROW, ROW, replace(ROW, successes=4))]
    (tmp_path / "rows.jsonl").write_text("".join(lines[:2]))
    assert len(read_rows(tmp_path)) == 2
    (tmp_path / "rows.jsonl").write_text("".join(lines))
    with pytest.raises(StudyError, match="line 3: a line before says otherwise"):
        read_rows(tmp_path)
