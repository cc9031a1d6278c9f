"""Tables in files: what is read, and what is refused with which sentence."""

from __future__ import annotations

import numpy as np
import pytest

from qnn_train.data import tables
from qnn_train.data.tables import read_table
from qnn_train.errors import DataError


@pytest.fixture(name="csv_of")
def _csv_of(tmp_path):
    def write(text, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_has_numbers_truth_values_text_and_gaps(csv_of, delimiter, end):
    rows = ["size,big,colour", "1.5,True,red", "NA,false,", '-2e3,TRUE,"a b"']
    text = end.join(rows).replace(",", delimiter) + end
    table = read_table(csv_of(text, encoding="utf-8-sig"))
    assert [column.kind for column in table.columns.values()] == ["number", "boolean", "text"]
    assert table.n_rows == 3
    np.testing.assert_array_equal(table.columns["size"].values, [1.5, np.nan, -2000])
    assert table.columns["big"].values.tolist() == [1, 0, 1]
    assert table.columns["colour"].values.tolist() == ["red", "", "a b"]
    assert table.columns["colour"].missing.tolist() == [False, True, False]


def test_a_stray_text_among_numbers_makes_a_column_unusable_and_names_its_row(csv_of):
    text = "a,b\n" + "".join(f"{n},1\n" for n in range(9)) + "oops,1\n"
    column = read_table(csv_of(text)).columns["a"]
    assert (column.kind, column.why) == (
        "unusable",
        "'oops' in row 10, where most cells are numbers",
    )


def test_numbers_with_a_comma_are_no_categories(csv_of):
    """A spreadsheet of many countries writes them so, between semicolons."""
    table = read_table(csv_of("a;b;c\n5,1;1,2;1,2\n4;NA;red\n1.024,5;-3,5;2,1\n"))
    kinds = [column.kind for column in table.columns.values()]
    assert kinds == ["unusable", "unusable", "text"]
    assert table.columns["a"].why == "'5,1' is a number with a comma; numbers have a point"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("a,b\n", "has no rows"),
        ("1,2\n3,4\n", "begins with numbers"),
        (",a\n0,1\n", "index=False"),
        ("a,a\n0,1\n", "several columns 'a'"),
        ("a,b\n0,1\n0\n", "row 2 of"),
        ('a,b\n0,"1\n', "cannot read"),
    ],
)
def test_a_csv_that_is_no_table_is_refused(csv_of, text, sentence):
    with pytest.raises(DataError, match=sentence):
        read_table(csv_of(text))


def test_other_files_are_refused(csv_of, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"\.csv, \.parquet, \.npz"):
        read_table(csv_of("a\n1\n", "table.xlsx"))
    with pytest.raises(DataError, match="UTF-8"):
        read_table(csv_of("ä\n1\n", encoding="latin-1"))
    with pytest.raises(DataError, match="cannot read"):
        read_table(csv_of("a\n1\n", "table.npz"))
    np.savez(tmp_path / "pickled.npz", a=np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match="allow_pickle"):
        read_table(tmp_path / "pickled.npz")
    monkeypatch.setattr(tables, "MAX_CELLS", 3)
    with pytest.raises(DataError, match="more than 3 cells"):
        read_table(csv_of("a,b\n1,2\n3,4\n"))


def test_an_npz_has_x_and_y_or_an_array_for_each_column(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, X=np.arange(6).reshape(3, 2), y=np.array(["a", "b", "a"]))
    assert list(read_table(path).columns) == ["X0", "X1", "y"]
    np.savez(path, X=np.eye(2), columns=np.array(["p", "q"]), when=np.array(["x", "y"], "U1"))
    assert list(read_table(path).columns) == ["p", "q", "when"]
    np.savez(path, a=np.arange(3), b=np.arange(4))
    with pytest.raises(DataError, match="3 and 4 rows"):
        read_table(path)
    np.savez(path, a=np.zeros((2, 2, 2)))
    with pytest.raises(DataError, match="3 dimensions"):
        read_table(path)


def test_parquet_keeps_types_and_gaps(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {
        "size": [1, None, 3],
        "big": [True, False, None],
        "colour": ["red", None, "blue"],
        "when": pyarrow.array([0, 1, 2], pyarrow.timestamp("s")),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    found = read_table(tmp_path / "a.parquet").columns
    kinds = {name: column.kind for name, column in found.items()}
    assert kinds == {"size": "number", "big": "boolean", "colour": "text", "when": "unusable"}
    np.testing.assert_array_equal(found["size"].values, [1, np.nan, 3])
    assert found["when"].why.startswith("type timestamp")
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot read"):
        read_table(tmp_path / "b.parquet")


def test_parquet_without_its_reader_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="pip install 'pyarrow"):
        read_table(tmp_path / "a.parquet")


def test_a_column_that_is_not_there_has_names_that_are_close(csv_of):
    table = read_table(csv_of("Species,width\na,1\n"))
    with pytest.raises(DataError, match="did you mean 'Species'"):
        table.column("species")
    with pytest.raises(DataError, match="it has Species, width"):
        table.column("zzz")
