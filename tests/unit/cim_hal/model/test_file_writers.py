"""What is written is read with equal energies, and nothing is dropped without a word."""

from __future__ import annotations

import io
import itertools
import json
import os

import dimod
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.io import mmwrite

from cim_hal import IsingModel, ModelError, read_model, write_model
from cim_hal.model.file_writers import LAYOUTS, SUFFIXES

N = 5
STATES = np.array(list(itertools.product([-1, 1], repeat=N)))
ENDINGS = {layout: suffix for suffix, layout in SUFFIXES.items()} | {
    "scipy": ".npz",
    "dimod": ".json",
}


def _model(seed, *, field, offset, sparse=False):
    rng = np.random.default_rng(seed)
    J = np.triu(rng.integers(-3, 4, (N, N)) * rng.choice([1.0, 0.1, 1e-7]), 1)
    J[:, -1] = 0  # the last spin may stand alone
    full = sp.csr_array(J + J.T) if sparse else J + J.T
    return IsingModel.from_couplings(full, rng.normal(size=N) if field else None, offset)


def _again(path, model, layout, **options):
    assert write_model(path, model, layout=layout, **options) == layout
    return read_model(path).model


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("field", [False, True])
@pytest.mark.parametrize("offset", [0.0, -2.5])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_model_is_read_as_it_was_written(tmp_path, layout, field, offset, sparse):
    path = tmp_path / f"model{ENDINGS[layout]}"
    for seed in range(4):
        model = _model(seed, field=field, offset=offset, sparse=sparse)
        has_place = layout in {"bqpjson", "dimod", "npz"}
        keeps_field = has_place or layout in {"coo", "qbsolv", "biqmac"}
        if field and not keeps_field:
            with pytest.raises(ModelError, match="has a field"):
                write_model(path, model, layout=layout)
            continue
        constant = model.to_qubo()[1] if layout in {"qbsolv", "biqmac"} else offset
        if abs(constant) > model.energy_tolerance and not has_place:
            with pytest.raises(ModelError, match="no place"):
                write_model(path, model, layout=layout)
        again = _again(path, model, layout, drop_offset=True)
        assert again.n_spins == N
        dropped = 0.0 if has_place else constant
        apart = model.energy(STATES) - dropped - again.energy(STATES)
        np.testing.assert_allclose(apart, 0.0, atol=8 * model.energy_tolerance)


def test_nothing_but_the_energy_decides_the_text(tmp_path):
    model = IsingModel.from_maxcut([[0, 2, 0], [2, 0, -1.5], [0, -1.5, 0]])
    write_model(tmp_path / "g.txt", model)
    assert (tmp_path / "g.txt").read_text() == "3 2\n1 2 2\n2 3 -1.5\n"
    write_model(tmp_path / "g.coo", IsingModel.from_couplings(np.zeros((2, 2)), [1, 0]))
    assert (tmp_path / "g.coo").read_text() == "# vartype: SPIN\n0 0 -1\n1 1 0\n"


@pytest.mark.parametrize("packed", [".gz", ".bz2", ".xz"])
def test_text_is_compressed_by_its_suffix(tmp_path, packed):
    model = _model(1, field=False, offset=0.0)
    path = tmp_path / f"model.txt{packed}"
    write_model(path, model)
    np.testing.assert_array_equal(_toarray(read_model(path).model.J), model.J)
    first = path.read_bytes()
    write_model(path, model)
    assert path.read_bytes() == first


def test_dimod_reads_what_is_written_for_it(tmp_path):
    model = _model(2, field=True, offset=1.5)
    write_model(tmp_path / "m.json", model, layout="dimod")
    table = json.loads((tmp_path / "m.json").read_text())
    bqm = dimod.BinaryQuadraticModel.from_serializable(table)
    np.testing.assert_allclose(bqm.energies(STATES), model.energy(STATES), atol=1e-12)
    write_model(tmp_path / "m.coo", _model(2, field=True, offset=0.0))
    from dimod.serialization import coo

    with (tmp_path / "m.coo").open() as stream:
        bqm = coo.load(stream)
    np.testing.assert_allclose(
        bqm.energies(STATES), read_model(tmp_path / "m.coo").model.energy(STATES), atol=1e-12
    )


def test_what_cannot_be_written_is_refused(tmp_path):
    model = _model(1, field=False, offset=0.0)
    for path, options, says in (
        ("m.doc", {}, "no suffix of a model file"),
        ("m", {}, "no suffix"),
        ("m.txt", {"layout": "lp"}, "layout"),
        ("nowhere/m.txt", {}, "cannot write"),
        ("m.txt", {"drop_offset": 1}, "drop_offset"),
    ):
        with pytest.raises(ModelError, match=says):
            write_model(tmp_path / path, model, **options)
    assert list(tmp_path.iterdir()) == []
    large = IsingModel.from_couplings(sp.csr_array((100_000, 100_000)))
    with pytest.raises(ModelError, match="layout scipy"):
        write_model(tmp_path / "m.npz", large)


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("suffix", ["", ".x", *SUFFIXES])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_read_as_itself_under_any_suffix_or_refused(tmp_path, layout, suffix, packed):
    path, model = tmp_path / f"m{suffix}{packed}", _model(1, field=False, offset=0.0)
    try:
        write_model(path, model, layout=layout, drop_offset=True)
    except ModelError as error:
        assert "would not be read" in error.message  # noqa: PT017
        assert list(tmp_path.iterdir()) == []
        return
    again = read_model(path).model
    apart = model.energy(STATES) - again.energy(STATES)
    np.testing.assert_allclose(apart, apart[0], atol=8 * model.energy_tolerance)


def test_a_link_stays_one_and_a_pipe_is_refused(tmp_path):
    model = _model(1, field=False, offset=0.0)
    (tmp_path / "link.json").symlink_to(tmp_path / "m.json")
    write_model(tmp_path / "link.json", model)
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "m.json").is_file()
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ModelError, match="regular file"):
        write_model(tmp_path / "pipe.json", model)


# ---- Matrix Market ------------------------------------------------------------------------------


def _matrix_market(matrix, **options):
    stream = io.BytesIO()
    mmwrite(stream, matrix, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["coordinate", "array"])
def test_a_matrix_of_matrix_market_needs_a_format(tmp_path, kind):
    W = np.array([[0.0, 2, 0], [2, 0, -1], [0, -1, 0]])
    path = tmp_path / "w.mtx"
    path.write_bytes(_matrix_market(sp.coo_array(W) if kind == "coordinate" else W))
    with pytest.raises(ModelError, match="maxcut, qubo or ising"):
        read_model(path)
    np.testing.assert_array_equal(_toarray(read_model(path, format="maxcut").model.J), -W)
    np.testing.assert_array_equal(_toarray(read_model(path, format="ising").model.J), W)


def test_a_matrix_that_was_written_here_says_that_it_is_no_graph(tmp_path):
    write_model(tmp_path / "j.mtx", _model(1, field=False, offset=0.0))
    assert read_model(tmp_path / "j.mtx").format == "mtx (ising)"
    with pytest.raises(ModelError, match="says that it holds J"):
        read_model(tmp_path / "j.mtx", format="maxcut")


def _toarray(J):
    return J if isinstance(J, np.ndarray) else J.toarray()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("%%MatrixMarket matrix coordinate real general\n", "sizes"),
        ("%%MatrixMarket matrix coordinate real general\n9 9 99999999999\n", "more than it"),
        ("%%MatrixMarket matrix array real general\n99999 99999\n1\n", "more than it holds"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 x\n", "mtx:3: 'x'"),
        ("%%MatrixMarket matrix coordinate real symmetric\n2 2 1\n2 1 1_0\n", "1_0"),
        ("%%MatrixMarket matrix coordinate real symmetric\n2 2 1\n2 1 1 7\n", "2 1 1 7"),
        ("%%MatrixMarket matrix coordinate integer symmetric\n2 2 1\n2 1 1.5\n", "no integer"),
        ("%%MatrixMarket matrix coordinate real symmetric\n2 2 1\n2 1 1e400\n", "mtx:3:"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 2\n1 2 1\n1 2 1\n", "twice"),
        ("%%MatrixMarket matrix coordinate complex general\n2 2 1\n1 2 1 1\n", "real"),
        ("%%MatrixMarket matrix coordinate real general\n2 3 1\n1 2 1\n", "shape|square"),
    ],
)
def test_a_malformed_matrix_of_matrix_market_is_refused(tmp_path, text, says):
    (tmp_path / "m.mtx").write_text(text)
    with pytest.raises(ModelError, match=says):
        read_model(tmp_path / "m.mtx", format="ising")
