"""Graphs of networkx: energies and cuts as networkx itself computes them."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from cim_hal import ModelError
from cim_hal.interop.networkx import from_graph, maxcut_from_graph


def _graph(n, seed):
    rng = np.random.default_rng(seed)
    graph = nx.gnp_random_graph(n, 0.5, seed=seed)
    graph.add_node("alone")
    for _, _, data in graph.edges(data=True):
        data["weight"] = float(rng.normal())
    return graph


@pytest.mark.parametrize("n", [8, 2100])
def test_a_cut_is_that_of_networkx(n):
    graph = _graph(8, 1) if n == 8 else nx.path_graph(n)
    model, nodes = maxcut_from_graph(graph)
    assert nodes == list(graph)
    assert model.is_sparse == (n > 2000)
    spins = np.random.default_rng(2).choice([-1, 1], model.n_spins)
    up = [node for node, spin in zip(nodes, spins, strict=True) if spin > 0]
    assert model.cut(spins) == pytest.approx(nx.cut_size(graph, up, weight="weight"))


def test_weights_are_couplings_and_attributes_of_nodes_a_field():
    graph = nx.Graph([("a", "b", {"J": -2}), ("b", "c")])
    graph.nodes["c"]["h"] = 0.5
    model, nodes = from_graph(graph, weight="J", field="h")
    assert nodes == ["a", "b", "c"]
    np.testing.assert_array_equal(model.J, [[0, -2, 0], [-2, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(model.h, [0, 0, 0.5])


@pytest.mark.parametrize(
    ("graph", "match"),
    [
        (nx.DiGraph([(0, 1)]), "directed"),
        (nx.MultiGraph([(0, 1), (0, 1)]), "parallel"),
        (nx.Graph([(0, 0)]), "to itself"),
        (nx.Graph(), "no nodes"),
        (nx.Graph([(0, 1, {"weight": "2"})]), "real number"),
        (nx.Graph([(0, 1, {"weight": None})]), "real number"),
        (nx.Graph([(0, 1, {"weight": float("nan")})]), "nan"),
        ([(0, 1)], "networkx.Graph"),
    ],
)
def test_what_is_no_simple_graph_is_refused(graph, match):
    with pytest.raises(ModelError, match=match):
        maxcut_from_graph(graph)
