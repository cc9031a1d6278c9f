"""Graphs of networkx as models, their nodes as labels of spins. Needs the extra ``networkx``."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import networkx as nx
import numpy as np

from cim_hal.errors import ModelError
from cim_hal.model.conversion import with_article
from cim_hal.model.ising import IsingModel
from cim_hal.model.pairs import symmetric_matrix

__all__ = ["from_graph", "maxcut_from_graph"]


def from_graph(
    graph: nx.Graph[Any], *, weight: str = "weight", field: str | None = None
) -> tuple[IsingModel, list[Hashable]]:
    """Return the model whose couplings J are the weights of edges, and the node of each spin.

    Nodes without edges are spins too.

    Parameters
    ----------
    graph : networkx.Graph
    weight : str
        Attribute of edges; an edge without it counts 1.
    field : str, optional
        Attribute of nodes that is their field h; a node without it has none.

    Raises
    ------
    ModelError
        The graph is directed, has parallel edges, an edge from a node to itself or no nodes, or a
        weight or field is no finite real number.

    Examples
    --------
    >>> graph = nx.Graph([("a", "b", {"weight": 2}), ("b", "c")])
    >>> model, nodes = from_graph(graph)
    >>> model.J.tolist(), nodes
    ([[0.0, 2.0, 0.0], [2.0, 0.0, 1.0], [0.0, 1.0, 0.0]], ['a', 'b', 'c'])
    """
    _check(graph)
    nodes = list(graph)
    J = _weights(graph, nodes, weight)
    h = None if field is None else [graph.nodes[node].get(field, 0.0) for node in nodes]
    return IsingModel.from_couplings(J, h), nodes


def maxcut_from_graph(
    graph: nx.Graph[Any], *, weight: str = "weight"
) -> tuple[IsingModel, list[Hashable]]:
    """Return the model of MAX-CUT, J = -weight, and the node of each spin; as `from_graph`.

    `IsingModel.cut` of its samples is what ``networkx.cut_size`` says of the nodes of one sign.
    """
    _check(graph)
    nodes = list(graph)
    return IsingModel.from_maxcut(_weights(graph, nodes, weight)), nodes


def _check(graph: Any) -> None:
    if not isinstance(graph, nx.Graph):
        raise ModelError(
            f"the graph is {with_article(type(graph).__name__)}", hint="pass a networkx.Graph"
        )
    if graph.is_directed():
        what, hint = "the graph is directed", "graph.to_undirected() says how edges are joined"
        raise ModelError(what, hint=hint)
    if graph.is_multigraph():
        what = "the graph may have parallel edges"
        raise ModelError(what, hint="sum their weights, or choose one, into a networkx.Graph")
    loop = next(iter(nx.selfloop_edges(graph)), None)
    if loop is not None:
        what = f"the node {loop[0]!r} has an edge to itself"
        raise ModelError(what, hint="remove it: a spin has no coupling to itself")
    if not len(graph):
        raise ModelError("the graph has no nodes")


def _weights(graph: nx.Graph[Any], nodes: list[Hashable], weight: str) -> Any:
    """Return the symmetric matrix of weights, dense or sparse."""
    place = {node: index for index, node in enumerate(nodes)}
    edges = list(graph.edges(data=weight, default=1))
    for first, second, value in edges:
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            what = f"the edge {first!r}, {second!r} has the {weight} {value!r}"
            raise ModelError(what, hint="it must be a real number")
    rows, columns = ([place[edge[end]] for edge in edges] for end in (0, 1))
    values = np.array([edge[2] for edge in edges]) if edges else np.zeros(0)
    return symmetric_matrix(rows, columns, values, len(nodes))
