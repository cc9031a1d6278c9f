"""Model files: what is read, and what is refused with file and line."""

from __future__ import annotations

import contextlib
import itertools
import json
import zipfile

import numpy as np
import pytest
import scipy.sparse as sp

from cim_hal import IsingModel, ModelError, read_model

TRIANGLE = "3 3\n1 2 1\n2 3 1\n1 3 1\n"


@pytest.fixture
def write(tmp_path):
    def _write(text: str, name: str = "graph.txt"):
        file = tmp_path / name
        file.write_text(text)
        return file

    return _write


def test_a_triangle_has_a_cut_of_two(write):
    graph = read_model(write(TRIANGLE))
    assert graph.is_graph
    assert graph.model.cut([[1, 1, -1], [1, 1, 1]]).tolist() == [2, 0]


def test_an_edge_without_weight_weighs_one(write):
    assert read_model(write("2 1\n1 2\n")).model.cut([1, -1]) == 1


def test_npz_gives_couplings_and_field(tmp_path):
    J, h = np.array([[0, 1.5], [1.5, 0]]), np.array([0.5, -1])
    np.savez(tmp_path / "model.npz", J=J, h=h)
    file = read_model(tmp_path / "model.npz")
    assert not file.is_graph
    assert (file.model.J == J).all()
    assert (file.model.h == h).all()


def test_npz_without_field_has_none(tmp_path):
    np.savez(tmp_path / "model.npz", J=np.zeros((2, 2)))
    assert not read_model(tmp_path / "model.npz").model.h.any()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1: '' is not a G-set header"),
        ("hello world\n", "1: 'hello world' is not a G-set header"),
        ("3 9\n", "3 spins and 9 edges do not make a graph"),
        ("2 1\n1 2 3 4\n", "2: '1 2 3 4' is not an edge"),
        ("2 1\n1 x 3\n", "2: '1 x 3' is not an edge"),
        ("2 1\n1 3 1\n", "edge 1 joins 1 and 3"),
        ("2 1\n1 1 1\n", "edge 1 joins 1 and 1"),
        ("3 2\n1 2 1\n", "the header says 2 edges, the file has 1"),
        ("3 1\n1 2 1\n2 3 1\n", "the file has more than 1"),
        ("2 1\n1 2 nan\n", "nan"),
    ],
)
def test_a_malformed_graph_is_refused_with_its_line(write, text, says):
    with pytest.raises(ModelError, match=says):
        read_model(write(text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere.txt: No such file"):
        read_model(tmp_path / "nowhere.txt")


def test_a_folder_is_not_a_model(tmp_path):
    with pytest.raises(ModelError, match="is not a file"):
        read_model(tmp_path)


def test_binary_text_is_refused(tmp_path):
    file = tmp_path / "graph.txt"
    file.write_bytes(b"\xff\xfe\x00binary")
    with pytest.raises(ModelError, match="not a text file"):
        read_model(file)


def test_npz_without_couplings_says_what_it_holds(tmp_path):
    np.savez(tmp_path / "model.npz", Q=np.zeros((2, 2)))
    with pytest.raises(ModelError, match="holds Q"):
        read_model(tmp_path / "model.npz")


def test_npz_with_pickled_objects_is_refused(tmp_path):
    np.savez(tmp_path / "model.npz", J=np.array([{}], dtype=object))
    with pytest.raises(ModelError, match="not a readable"):
        read_model(tmp_path / "model.npz")


def test_garbage_named_npz_is_refused(write):
    with pytest.raises(ModelError, match="not a readable"):
        read_model(write("garbage", "model.npz"))


def test_the_maximum_cut_and_its_degeneracy_are_those_of_the_reference(shared_dir, write):
    graphs = json.loads((shared_dir / "instances/small/cubic_and_moebius.json").read_text())
    small = {name: graph for name, graph in graphs.items() if graph["n"] <= 10}
    assert len(small) >= 25
    for graph in small.values():
        lines = [f"{graph['n']} {len(graph['edges'])}"]
        lines += [f"{i + 1} {j + 1} 1" for i, j in graph["edges"]]
        model = read_model(write("\n".join(lines))).model
        cuts = model.cut(np.array(list(itertools.product((-1, 1), repeat=graph["n"]))))
        assert cuts.max() == graph["max_cut"]
        assert (cuts == cuts.max()).sum() == graph["degeneracy"]


def test_a_gset_graph_is_read_whole(shared_dir):
    model = read_model(shared_dir / "instances/gset/G22.txt").model
    assert (model.n_spins, model.J.nnz // 2) == (2000, 19990)


J = np.array([[0, 1.0, -2.0], [1.0, 0, 0.5], [-2.0, 0.5, 0]])
WRONG = {
    "complex": J + 0j,
    "bool": J > 0,
    "text": J.astype(str),
    "dates": J.astype("datetime64[s]"),
}


def test_an_offset_belongs_to_the_model(tmp_path):
    np.savez(tmp_path / "model.npz", J=J, h=[1, 2, 3], offset=5.0)
    model = read_model(tmp_path / "model.npz").model
    assert (model.offset, model.h.tolist()) == (5.0, [1, 2, 3])


@pytest.mark.parametrize("name", ["H", "Q", "field", "E0", "Offset"])
def test_a_member_that_is_not_read_is_refused_by_its_name(tmp_path, name):
    np.savez(tmp_path / "model.npz", J=J, **{name: np.zeros(3)})
    with pytest.raises(ModelError, match=f"holds {name} beside J"):
        read_model(tmp_path / "model.npz")


def test_text_beside_a_model_is_told(tmp_path):
    np.savez(tmp_path / "model.npz", J=J, encoding=np.array("J is ours"))
    with pytest.warns(UserWarning, match="the text encoding, which is not read"):
        assert (read_model(tmp_path / "model.npz").model.J == J).all()


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("member", ["J", "h", "offset"])
def test_members_of_another_kind_are_refused(tmp_path, member, value):
    members = {"J": J, "h": np.zeros(3), "offset": 0.0}
    members[member] = {"J": value, "h": value[0], "offset": value[0, 1]}[member]
    np.savez(tmp_path / "model.npz", **members)
    with pytest.raises(ModelError, match=member):
        read_model(tmp_path / "model.npz")


@pytest.mark.parametrize("name", ["model.npy", "model.npz"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_bare_array_is_read_whatever_its_name(tmp_path, name, order):
    Q = np.asarray(np.arange(9.0).reshape(3, 3), order=order)
    for matrix, reading, model in (
        (J, None, IsingModel.from_couplings(J)),
        (J, "maxcut", IsingModel.from_maxcut(J)),
        (Q, "qubo", IsingModel.from_qubo(Q)),
    ):
        with (tmp_path / name).open("wb") as file:
            np.save(file, np.asarray(matrix, order=order))
        read = read_model(tmp_path / name, format=reading)
        assert (read.model.J == model.J).all()
        assert read.is_graph is (reading == "maxcut")
    with pytest.raises(ModelError, match=r"pass format \(--format\) qubo"):
        read_model(tmp_path / name)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "dia", "bsr"])
def test_a_sparse_matrix_of_scipy_is_read(tmp_path, form):
    sp.save_npz(tmp_path / "model.npz", sp.coo_array(J).asformat(form))
    read = read_model(tmp_path / "model.npz")
    assert read.model.is_sparse
    assert (read.model.J.toarray() == J).all()


def test_a_sparse_matrix_with_indices_outside_is_refused(tmp_path):
    names = {"indices": [0, 9], "indptr": [0, 1, 2], "data": [1.0, 1.0]}
    members = {name: np.array(value) for name, value in names.items()}
    for changed in ({}, {"shape": np.array([10**9, 10**9])}, {"more": np.zeros(1)}):
        all_members = {"format": b"csr", "shape": np.array([2, 2]), **members, **changed}
        np.savez(tmp_path / "model.npz", **all_members)
        with pytest.raises(ModelError, match=r"model\.npz"):
            read_model(tmp_path / "model.npz")


@pytest.mark.parametrize("name", ["model.npy", "model.npz"])
@pytest.mark.parametrize("shape", ["(99999999, 99999999)", "(3, 4)", "(-1, -1)", "(2,", "()"])
def test_a_header_that_promises_other_bytes_than_follow_allocates_nothing(tmp_path, name, shape):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(72)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ModelError, match=name):
        read_model(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "inside.npz", "w") as archive:
        archive.writestr("J.npy", data)
    with pytest.raises(ModelError, match=r"inside\.npz"):
        read_model(tmp_path / "inside.npz")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_in_an_archive_is_refused(tmp_path):
    np.savez(tmp_path / "model.npz", J=J)
    with zipfile.ZipFile(tmp_path / "model.npz", "a") as archive:
        archive.writestr("J.npy", archive.read("J.npy"))
    with pytest.raises(ModelError, match="holds J twice"):
        read_model(tmp_path / "model.npz")


@pytest.mark.parametrize("name", ["graph.txt", "model"])
def test_an_archive_under_the_name_of_a_text_is_refused(tmp_path, name):
    with (tmp_path / name).open("wb") as file:
        np.savez(file, J=J)
    with pytest.raises(ModelError, match=r"end with \.npz"):
        read_model(tmp_path / name)


def test_any_damage_of_an_archive_is_a_refusal_or_the_same_model(tmp_path):
    np.savez(tmp_path / "model.npz", J=J)
    whole = (tmp_path / "model.npz").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(4, len(whole))] ^= 1 << rng.integers(8)
        (tmp_path / "model.npz").write_bytes(damaged[: rng.integers(10, 2 * len(whole))])
        with contextlib.suppress(ModelError):
            assert (read_model(tmp_path / "model.npz").model.J == J).all()


@pytest.mark.parametrize("path", [None, 3, {"J": 1}, [[0, 1], [1, 0]]])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ModelError, match="not a path"):
        read_model(path)


def test_a_format_that_is_not_there_is_refused(write):
    with pytest.raises(ModelError, match="one of maxcut, qubo, ising"):
        read_model(write(TRIANGLE), format="gset")
