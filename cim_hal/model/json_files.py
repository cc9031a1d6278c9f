"""Model files of JSON: bqpjson, and what dimod writes with ``to_serializable``.

Both hold an objective over spins or over bits 0 and 1, with variables of any names or numbers:

- bqpjson 1.0.0 (https://bqpjson.readthedocs.io): scale * (quadratic + linear terms + offset);
- a ``BinaryQuadraticModel`` of dimod, schema 3.0.0: biases and pairs as lists.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Annotated, Any, Literal, NoReturn

import numpy as np
import scipy  # not scipy.sparse: it takes 0.4 s, and dense models do not need it
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cim_hal.errors import ModelError
from cim_hal.model.ising import IsingModel
from cim_hal.model.pairs import symmetric_matrix
from cim_hal.model.text_files import MAX_FILE_SPINS
from cim_hal.text import counted
from cim_hal.toml_files import first_problem

__all__ = ["is_json", "read_json"]

Place = Annotated[int, Field(ge=0)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Linear(_Table):
    id: Place
    coeff: float


class _Quadratic(_Table):
    id_head: Place
    id_tail: Place
    coeff: float


class _Bqpjson(_Table):
    """The members of bqpjson; the last four say nothing of the objective."""

    version: Literal["0.1.0", "1.0.0"]
    variable_ids: list[Place]
    variable_domain: Literal["spin", "boolean"]
    scale: float
    offset: float
    linear_terms: list[_Linear]
    quadratic_terms: list[_Quadratic]
    id: Place
    metadata: dict[str, Any]
    description: str = ""
    solutions: list[Any] = []


class _Schema(_Table):
    bqm_schema: Literal["3.0.0"]


class _Bqm(_Table):
    """The members of a binary quadratic model of dimod."""

    type: Literal["BinaryQuadraticModel"]
    version: _Schema
    use_bytes: Literal[False]
    index_type: str
    bias_type: str
    num_variables: Place
    num_interactions: Place
    variable_labels: list[Any]
    variable_type: Literal["SPIN", "BINARY"]
    offset: float
    info: dict[str, Any]
    linear_biases: list[float]
    quadratic_biases: list[float]
    quadratic_head: list[Place]
    quadratic_tail: list[Place]


def is_json(text: str) -> bool:
    """Whether the text of a file is an object of JSON; no other format begins with a brace."""
    return text.lstrip()[:1] == "{"


def read_json(text: str, file: str) -> tuple[IsingModel, str, tuple[Any, ...]]:
    """Return the model of a text, the name of its format, and the label of each spin.

    Raises
    ------
    ModelError
        It is malformed, says something twice, or is of another format.
    """
    table = _parsed(text, file)
    try:
        if table.get("type") == "BinaryQuadraticModel":
            return _of_bqm(_Bqm.model_validate(table), file)
        if "variable_domain" in table:
            return _of_bqpjson(_Bqpjson.model_validate(table), file)
    except ValidationError as error:
        raise ModelError(f"{file}: {first_problem(error)}") from None
    members = ", ".join(list(table)[:8]) or "nothing"
    raise ModelError(
        f"{file} is JSON of an unknown kind: it holds {members}",
        hint="bqpjson and binary quadratic models of dimod are read",
    )


def _parsed(text: str, file: str) -> dict[str, Any]:
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            twice = next(name for name, count in counts.items() if count > 1)
            raise ModelError(f"{file} holds {twice[:40]!r} twice")
        return found

    def refuse(word: str) -> NoReturn:
        raise ModelError(f"{file} holds {word[:40]}, which is no finite number")

    def real(word: str) -> float:
        return value if math.isfinite(value := float(word)) else refuse(word)

    try:
        return json.loads(text, object_pairs_hook=members, parse_constant=refuse, parse_float=real)
    except (ValueError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{file} is no JSON: {error}") from None


def _of_bqpjson(table: _Bqpjson, file: str) -> tuple[IsingModel, str, tuple[Any, ...]]:
    places = {variable: place for place, variable in enumerate(table.variable_ids)}
    if len(places) < len(table.variable_ids):
        raise ModelError(f"{file}: a variable stands twice among variable_ids")
    try:
        spins = [places[term.id] for term in table.linear_terms]
        rows = [places[term.id_head] for term in table.quadratic_terms]
        columns = [places[term.id_tail] for term in table.quadratic_terms]
    except KeyError as error:
        raise ModelError(f"{file}: the variable {error} is not among variable_ids") from None
    if len(set(spins)) < len(spins):
        raise ModelError(f"{file}: a variable has two linear terms")
    linear = np.zeros(len(places))
    linear[spins] = [table.scale * term.coeff for term in table.linear_terms]
    biases = [table.scale * term.coeff for term in table.quadratic_terms]
    terms = linear, rows, columns, biases, table.scale * table.offset
    model = _model(terms, file, is_spin=table.variable_domain == "spin")
    return model, f"bqpjson ({table.variable_domain})", tuple(table.variable_ids)


def _of_bqm(table: _Bqm, file: str) -> tuple[IsingModel, str, tuple[Any, ...]]:
    n, m = table.num_variables, table.num_interactions
    lengths = [
        *(len(each) for each in (table.quadratic_biases, table.quadratic_head)),
        len(table.quadratic_tail),
    ]
    sizes = {len(table.linear_biases), len(table.variable_labels)}
    if sizes != {n} or lengths != [m] * 3:
        raise ModelError(
            f"{file}: it says {counted(n, 'variable')} and "
            f"{counted(m, 'interaction')}, and lists others"
        )
    if max([*table.quadratic_head, *table.quadratic_tail], default=-1) >= n:
        raise ModelError(f"{file}: an interaction is of a variable beyond the last, {n - 1}")
    pairs = table.quadratic_head, table.quadratic_tail, table.quadratic_biases
    terms = np.array(table.linear_biases), *pairs, table.offset
    model = _model(terms, file, is_spin=table.variable_type == "SPIN")
    return model, f"dimod ({table.variable_type})", _labels(table.variable_labels, file)


def _labels(listed: list[Any], file: str) -> tuple[Any, ...]:
    try:
        labels = tuple(map(_hashable, listed))
        if len(set(labels)) == len(labels):
            return labels
    except (TypeError, RecursionError):
        what = "a label is no text, number, or list of them"
        raise ModelError(f"{file}: {what}") from None
    raise ModelError(f"{file}: a label stands twice among variable_labels")


def _hashable(label: Any) -> Any:
    """Return a label as dimod reads it: its tuples became lists."""
    return tuple(map(_hashable, label)) if isinstance(label, list) else label


def _model(given: Any, file: str, *, is_spin: bool) -> IsingModel:
    """Make the model of linear and quadratic terms over spins, or over bits."""
    linear, rows, columns, biases, offset = given
    n = len(linear)
    if not 1 <= n <= MAX_FILE_SPINS:
        raise ModelError(
            f"{file} has {counted(n, 'variable')}", hint=f"1 to {MAX_FILE_SPINS} are read"
        )
    first, second = np.sort(np.array([rows, columns], np.int64).reshape(2, -1), axis=0)
    if (first == second).any():
        raise ModelError(f"{file}: a quadratic term is of one variable")
    if len(np.unique(first * n + second)) < len(first):
        raise ModelError(f"{file}: a pair of variables has two terms", hint="each pair once")
    terms = symmetric_matrix(first, second, np.array(biases, float), n)
    try:
        if is_spin:
            return IsingModel.from_couplings(-terms, -linear, offset)
        is_dense = isinstance(terms, np.ndarray)
        diagonal: Any = np.diag(linear) if is_dense else scipy.sparse.diags_array(linear)
        return IsingModel.from_qubo(0.5 * terms + diagonal, offset)
    except ModelError as error:
        raise ModelError(f"{file}: {error.message}") from None
