"""Model files: what is read, and what is refused with file and line."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from cim_hal import ModelError, read_model

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
