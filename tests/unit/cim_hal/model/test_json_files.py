"""Model files of JSON: energies as their own packages compute them, and what is refused."""

from __future__ import annotations

import itertools
import json

import dimod
import numpy as np
import pytest

from cim_hal import ModelError, read_model

STATES = np.array(list(itertools.product([-1, 1], repeat=3)))
# The example of the format's page, https://bqpjson.readthedocs.io
EXAMPLE = {
    "description": "a simple model",
    "id": 0,
    "linear_terms": [{"coeff": 1.3, "id": 2}, {"coeff": -0.7, "id": 6}],
    "metadata": {},
    "offset": 0.0,
    "quadratic_terms": [
        {"coeff": -0.2, "id_head": 4, "id_tail": 2},
        {"coeff": 1.5, "id_head": 6, "id_tail": 2},
    ],
    "scale": 1.0,
    "variable_domain": "spin",
    "variable_ids": [2, 4, 6],
    "version": "1.0.0",
}


def _read(tmp_path, table, **options):
    path = tmp_path / "model.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    return read_model(path, **options)


@pytest.mark.parametrize("domain", ["spin", "boolean"])
def test_bqpjson_is_scale_times_terms_and_offset(tmp_path, domain):
    file = _read(tmp_path, EXAMPLE | {"variable_domain": domain, "scale": 2.0, "offset": 0.5})
    b = STATES if domain == "spin" else (STATES + 1) // 2
    inside = 1.3 * b[:, 0] - 0.7 * b[:, 2] - 0.2 * b[:, 0] * b[:, 1] + 1.5 * b[:, 0] * b[:, 2] + 0.5
    np.testing.assert_allclose(file.model.energy(STATES), 2.0 * inside, atol=1e-14)
    assert (file.format, file.labels, file.is_graph) == (f"bqpjson ({domain})", (2, 4, 6), False)


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_a_model_of_dimod_has_its_energies_and_labels(tmp_path, vartype):
    pairs = {("a", ("t", 1)): 3.0, (7, "a"): -0.25}
    bqm = dimod.BQM({"a": 1.0, ("t", 1): -2.0, 7: 0.0}, pairs, 0.5, vartype)
    file = _read(tmp_path, bqm.to_serializable())
    assert file.labels == ("a", ("t", 1), 7)
    values = STATES if vartype == "SPIN" else (STATES + 1) // 2
    expected = bqm.energies((values, list(file.labels)))
    np.testing.assert_allclose(file.model.energy(STATES), expected, atol=1e-14)


def test_a_large_model_stays_sparse(tmp_path):
    bqm = dimod.BQM({}, {(i, i + 1): 1.0 for i in range(3000)}, "BINARY")
    file = _read(tmp_path, bqm.to_serializable())
    assert file.model.is_sparse
    x = np.ones(3001)
    assert file.model.energy(x) == 3000


BQM = dimod.BQM({0: 1.0, 1: 2.0}, {(0, 1): 3.0}, "SPIN").to_serializable()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "it holds nothing"),
        ({"J": []}, "it holds J"),
        ('{"id": 1, "id": 2}', "'id' twice"),
        ('{"scale": NaN}', "no finite number"),
        ('{"scale": 1', "no JSON"),
        ('{"a":' + "[" * 100_000, "no JSON"),
        (EXAMPLE | {"scale": "1"}, "scale"),
        (EXAMPLE | {"sale": 1.0}, "sale"),
        (EXAMPLE | {"version": "2.0.0"}, "version"),
        (EXAMPLE | {"variable_ids": [2, 4, 4]}, "twice among variable_ids"),
        (EXAMPLE | {"variable_ids": [2, 4]}, "6 is not among"),
        (EXAMPLE | {"variable_ids": [], "linear_terms": [], "quadratic_terms": []}, "0 variables"),
        (EXAMPLE | {"linear_terms": EXAMPLE["linear_terms"] * 2}, "two linear terms"),
        (EXAMPLE | {"quadratic_terms": EXAMPLE["quadratic_terms"] * 2}, "two terms"),
        (
            EXAMPLE | {"quadratic_terms": [{"coeff": 1.0, "id_head": 2, "id_tail": 2}]},
            "of one variable",
        ),
        (EXAMPLE | {"scale": 1e308, "linear_terms": [{"coeff": 1e308, "id": 2}]}, "model.json"),
        (BQM | {"num_variables": 3}, "3 variables"),
        (BQM | {"quadratic_head": [5]}, "beyond the last"),
        (BQM | {"quadratic_biases": [1.0, 2.0]}, "1 interaction,"),
        (BQM | {"variable_labels": [1, True]}, "label stands twice"),
        (BQM | {"variable_labels": [{"a": 1}, 2]}, "a label is no"),
        ('{"solutions": [1e999]}', "1e999"),
        (BQM | {"use_bytes": True}, "use_bytes"),
        (BQM | {"type": "DiscreteQuadraticModel"}, "unknown kind"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path, table, says):
    with pytest.raises(ModelError, match=says):
        _read(tmp_path, table)


def test_a_member_said_twice_among_many_is_found_at_once(tmp_path):
    """Counting each name for itself took three minutes; the time limit of tests ends that."""
    with pytest.raises(ModelError, match="'k299999' twice"):
        _read(tmp_path, "{" + ",".join(f'"k{i}":0' for i in [*range(300_000), 299_999]) + "}")


def test_a_format_is_refused_where_the_file_says_it(tmp_path):
    with pytest.raises(ModelError, match="leave it out"):
        _read(tmp_path, EXAMPLE, format="qubo")


def test_a_binary_file_of_dimod_is_named(tmp_path):
    path = tmp_path / "model.bqm"
    with dimod.BQM({"a": 1.0}, {}, "SPIN").to_file() as stream:
        path.write_bytes(stream.read())
    with pytest.raises(ModelError, match="from_bqm"):
        read_model(path)
