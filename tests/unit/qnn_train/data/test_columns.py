"""What columns mean: features by name, categories, means, answers, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qnn_train.data.columns import TableHeader, answers_as_trained, answers_of
from qnn_train.data.tables import Column, Table
from qnn_train.errors import DataError


def table_of(**cells):
    columns = {name: Column.of_texts(name, list(map(str, each))) for name, each in cells.items()}
    return Table(Path("table.csv"), columns)


def header_of(table, target="y", *, drop=(), fill=False, train=None):
    rows = np.arange(table.n_rows) if train is None else np.array(train)
    answers = answers_of(table.columns[target], None)
    return TableHeader.of(table, answers, drop=drop, train=rows, fill=fill)


TABLE = table_of(
    size=[1, 2, 3, 6],
    colour=["red", "blue", "red", "blue"],
    big=["true", "false", "false", "true"],
    y=["a", "b", "a", "b"],
)


def test_numbers_truth_values_and_categories_become_features_in_any_order_of_columns():
    header = header_of(TABLE)
    assert header.features == ["size", "colour=blue", "colour=red", "big"]
    expected = [[1, 0, 1, 1], [2, 1, 0, 0], [3, 0, 1, 0], [6, 1, 0, 1]]
    np.testing.assert_array_equal(header.encode(TABLE), expected)
    turned = Table(TABLE.path, dict(reversed(TABLE.columns.items())))
    np.testing.assert_array_equal(header.encode(turned), expected)
    assert header_of(TABLE, drop=["colour"]).features == ["size", "big"]


def test_missing_numbers_are_refused_or_the_mean_of_the_training_rows():
    table = table_of(size=[1, "", 3, 60], kind=["a", "b", "", "a"], y=["a", "b", "a", "b"])
    with pytest.raises(DataError, match="'size': no value in row 2"):
        header_of(table)
    header = header_of(table, fill=True, train=[0, 1, 2])
    np.testing.assert_array_equal(
        header.encode(table), [[1, 1, 0], [2, 0, 1], [3, 0, 0], [60, 1, 0]]
    )
    assert header.n_missing(table) == 2
    with pytest.raises(DataError, match="not a Table"):
        header.encode("goods.csv")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "lacks 1 column.*'size'.*did you mean 'siza'"),
        ({"size": ["x", "y", "x", "y"]}, "text such as 'x'.*trained on a number"),
        ({"size": [1, "inf", 2, 3]}, "infinite in row 2"),
        ({"colour": ["red", "reed", "red", "red"]}, "'reed' in row 2.*did you mean 'red'"),
        ({"size": [1, "", 2, 3]}, "no value in row 2"),
    ],
)
def test_a_table_that_does_not_fit_the_model_is_refused(changes, sentence):
    header = header_of(TABLE)
    cells = {"size": [1, 2, 3, 6], "colour": ["red"] * 4, "big": ["true"] * 4} | changes
    if not changes:
        cells["siza"] = cells.pop("size")
    with pytest.raises(DataError, match=sentence):
        header.encode(table_of(**cells))


def test_columns_that_cannot_be_learnt_from_say_why():
    names = [f"passenger {n}" for n in range(8)]
    table = table_of(name=names, y=[0, 1] * 4)
    with pytest.raises(DataError, match=r"'name': 8 different texts.*--drop"):
        header_of(table)
    with pytest.raises(DataError, match="no column but 'y'"):
        header_of(table, drop=["name"])
    with pytest.raises(DataError, match="did you mean 'name'"):
        header_of(table, drop=["nme"])
    with pytest.raises(DataError, match="'e': has no values"):
        header_of(table_of(e=[""] * 4, y=[0, 1] * 2), fill=True)


@pytest.mark.parametrize(
    ("cells", "task", "found"),
    [
        (["a", "b", "a", "b"], None, "classification"),
        (["true", "false"] * 2, None, "classification"),
        ([0, 1, 0, 1], None, "classification"),
        ([0, 1, 0, 1], "regression", "regression"),
        ([0.5, 1, 0, 1], None, "regression"),
        (list(range(21)), None, "regression"),
        ([*range(21), *range(21)], "classification", "classification"),
    ],
)
def test_the_values_decide_the_task_unless_it_is_given(cells, task, found):
    assert answers_of(Column.of_texts("y", list(map(str, cells))), task).task == found


@pytest.mark.parametrize(
    ("cells", "task", "sentence"),
    [
        (["a", "b", "", "a"], None, "no value in row 3"),
        (["a", "b"] * 2, "regression", "regression needs numbers"),
        ([0.5, 1, 0, 1], "classification", "not whole"),
        (["a", "a"], None, "in every row"),
        (["a", "a", "b"], None, "one row only of class 'b'"),
    ],
)
def test_answers_that_cannot_be_predicted_say_why(cells, task, sentence):
    with pytest.raises(DataError, match=sentence):
        answers_of(Column.of_texts("y", list(map(str, cells))), task)


def test_answers_to_a_model_are_among_its_classes():
    column = Column.of_texts("y", ["1", "2", "1"])
    assert answers_as_trained(column, "classification", np.array([1, 2, 3])).tolist() == [1, 2, 1]
    assert answers_as_trained(column, "classification", np.array(["1", "2"])).tolist()[1] == "2"
    assert answers_as_trained(column, "regression", None).tolist() == [1.0, 2.0, 1.0]
    with pytest.raises(DataError, match="'2' in row 2 is no class"):
        answers_as_trained(column, "classification", np.array([1, 3]))
    with pytest.raises(DataError, match="classes are numbers"):
        answers_as_trained(Column.of_texts("y", ["a", "b"]), "classification", np.array([1, 3]))
