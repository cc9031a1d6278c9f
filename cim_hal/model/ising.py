r"""The Ising model: couplings, field, offset, and its energy.

.. math:: E(\sigma) = -\tfrac12\,\sigma^T J \sigma - h^T \sigma + E_0,
          \qquad \sigma \in \{-1, +1\}^n

The sign is that of the coherent-Ising-machine literature (for instance Eq. 1 of
doi:10.1038/s42005-022-00927-x). Other conventions are converted in this module only.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy  # not scipy.sparse: it takes 0.4 s, and dense models do not need it

from cim_hal.errors import ModelError
from cim_hal.model.conversion import (
    SMALL,
    Couplings,
    CsrArray,
    is_sparse,
    is_symmetric,
    real_array,
    real_couplings,
    real_number,
    require,
    row_blocks,
    type_for,
    with_article,
)
from cim_hal.model.energies import (
    ROUNDING,
    ExactSums,
    check_range,
    largest,
    magnitude_sum,
)
from cim_hal.model.pairs import Pairs
from cim_hal.text import counted, html_table

if TYPE_CHECKING:
    import scipy.sparse as sp
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Change", "Couplings", "IsingModel", "check_model"]


@dataclass(frozen=True, eq=False)
class Change:
    """The origin of a model: its base, which may be collected, and the changed couplings.

    Attributes
    ----------
    base : weak reference to IsingModel
    pairs : Pairs
    """

    base: weakref.ref[IsingModel]
    pairs: Pairs


@dataclass(frozen=True, eq=False)
class IsingModel:
    """An immutable Ising model: couplings, field and offset.

    Make one with `from_couplings`, `from_qubo` or `from_maxcut`.

    Parameters
    ----------
    J : float64, int8 or int16 array, or scipy CSR array of float64, shape (n, n)
        Symmetric, finite, zero diagonal. It becomes read-only, and is not copied: 100,000 spins
        with int8 couplings take 10 GB.
    h : float64 array, shape (n,)
        Field, finite.
    offset : float
        Constant term of the energy.
    origin : Change, optional
        The model and changes it was made from by `with_changes`; a session sends only those.

    Raises
    ------
    ModelError
        J is not square, finite and symmetric with a zero diagonal, or the shape of h differs. The
        largest magnitude in J and h is neither 0 nor at least 1e-300, or all of them sum up to
        more than 1e303.

    Notes
    -----
    A pickled or copied model has no origin.

    Examples
    --------
    >>> model = IsingModel.from_couplings([[0, 1], [1, 0]])
    >>> model.energy([[1, 1], [1, -1]])
    array([-1.,  1.])
    """

    J: Couplings
    h: NDArray[np.float64]
    offset: float = 0.0
    origin: Change | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        _check_types(self.J, self.h)
        _check_couplings(self.J, "J")
        if self.h.shape != _shape(self.J)[:1]:
            what = f"h has shape {self.h.shape}, J has shape {self.J.shape}"
            raise ModelError(what, hint=f"h must have shape {_shape(self.J)[:1]}")
        if not np.isfinite(self.h).all():
            bad = int(np.flatnonzero(~np.isfinite(self.h))[0])
            raise ModelError(f"h[{bad}] = {self.h[bad]} is not finite")
        object.__setattr__(self, "offset", real_number("offset", self.offset, ModelError))
        change = Change, type(None)
        require("origin", self.origin, change, ModelError, hint="with_changes makes it")
        check_range(_values(self.J), self.h, self.offset)
        for array in (_values(self.J), self.h):
            array.flags.writeable = False

    def __repr__(self) -> str:
        n_couplings = np.count_nonzero(_values(self.J)) // 2
        field = ", with a field" if self.h.any() else ""
        offset = f", offset {self.offset:.12g}" if self.offset else ""
        size = f"{counted(self.n_spins, 'spin')}, {counted(int(n_couplings), 'coupling')}"
        return f"IsingModel({size}{field}{offset})"

    def _repr_html_(self) -> str:
        values = np.abs(_values(self.J)[_values(self.J) != 0])
        spread = f"{values.min():.6g} to {values.max():.6g}" if len(values) else "none"
        storage = "sparse" if self.is_sparse else f"dense, {self.J.dtype}"
        rows = [("magnitudes of J", spread), ("storage of J", storage)]
        return html_table(repr(self), ("", ""), rows)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.J, self.h, self.offset)

    @classmethod
    def from_couplings(
        cls,
        J: ArrayLike | CsrArray | sp.sparray | sp.spmatrix,
        h: ArrayLike | None = None,
        offset: float = 0,
    ) -> Self:
        """Make a model from couplings `J` (n, n), dense or scipy-sparse, and field `h` (n,).

        The model has a copy of them, as float64; dense int8 and int16 arrays keep their type.

        Raises
        ------
        ModelError
            As of the class; or a value is no real number, or float64 would round it.
        """
        couplings = real_couplings("J", J, ModelError, keeps_small=True)
        field = np.zeros(_shape(couplings)[:1]) if h is None else real_array("h", h, ModelError)
        return cls(couplings, field, offset)

    @classmethod
    def from_qubo(
        cls, Q: ArrayLike | CsrArray | sp.sparray | sp.spmatrix, offset: float = 0
    ) -> Self:
        r"""Make the model whose energy is :math:`x^T Q x + c` at :math:`x = (1 + \sigma)/2`.

        Parameters
        ----------
        Q : array or scipy-sparse array, shape (n, n)
            Any square matrix; only :math:`Q + Q^T` matters. The diagonal is the linear part.
        offset : float
            The constant c.

        Raises
        ------
        ModelError
            `Q` is not square, not finite, out of range, or not of real numbers.
        """
        quadratic = real_couplings("Q", Q, ModelError)
        offset = real_number("offset", offset, ModelError)
        _check_entries(quadratic, "Q")
        check_range(_values(quadratic), np.zeros(0), offset, name="Q")
        symmetric = (quadratic + quadratic.T) * 0.5
        diagonal = symmetric.diagonal()
        row_sums = np.asarray(symmetric.sum(axis=1)).ravel()
        constant = offset + 0.25 * (row_sums.sum() + diagonal.sum())
        return cls(_hollow(symmetric) * -0.5, -0.5 * row_sums, float(constant))

    @classmethod
    def from_maxcut(cls, W: ArrayLike | CsrArray | sp.sparray | sp.spmatrix) -> Self:
        r"""Make the model of MAX-CUT with symmetric weights `W`: :math:`J = -W`.

        See Also
        --------
        IsingModel.cut : the weight cut by a sample of such a model.
        """
        weights = real_couplings("W", W, ModelError, keeps_small=True)
        _check_couplings(weights, "W")
        least = np.array([-float(_values(weights).min(initial=0))])  # its negative may not fit
        couplings = weights.astype(type_for(weights, least), copy=False)
        return cls(-couplings, np.zeros(_shape(weights)[0]))

    def with_changes(
        self, rows: ArrayLike, columns: ArrayLike, values: ArrayLike, *, h: ArrayLike | None = None
    ) -> IsingModel:
        """Return a model with other couplings at some pairs; a session sends only the changes.

        Parameters
        ----------
        rows, columns : integer arrays, shape (pairs,)
            Pairs in any order, each once.
        values : array, shape (pairs,)
            New values of ``J[row, column]`` and ``J[column, row]``.
        h : array, shape (n,), optional
            New field; by default unchanged.

        Raises
        ------
        ModelError
            A pair is out of range, on the diagonal or repeated, or a value is not finite.

        Examples
        --------
        >>> model = IsingModel.from_couplings([[0, 1], [1, 0]])
        >>> model.with_changes([0], [1], [-3]).J.tolist()
        [[0.0, -3.0], [-3.0, 0.0]]
        """
        pairs = Pairs.of(rows, columns, values, self.n_spins)
        field = self.h if h is None else real_array("h", h, ModelError)
        origin = Change(weakref.ref(self), pairs)
        return IsingModel(pairs.put(self.J), field, self.offset, origin)

    def to_qubo(self) -> tuple[NDArray[np.float64] | CsrArray, float]:
        """Return symmetric ``Q`` (n, n) and ``c`` with ``x @ Q @ x + c`` equal to the energy."""
        off_diagonal = self.J * -2.0
        diagonal = -2.0 * self.h - np.asarray(off_diagonal.sum(axis=1)).ravel()
        if isinstance(off_diagonal, np.ndarray):
            quadratic: Any = off_diagonal + np.diag(diagonal)
        else:
            quadratic = scipy.sparse.csr_array(off_diagonal + scipy.sparse.diags_array(diagonal))
        return quadratic, float(self.offset - 0.25 * (quadratic.sum() + diagonal.sum()))

    @property
    def n_spins(self) -> int:
        """Number of spins n."""
        return len(self.h)

    @property
    def is_sparse(self) -> bool:
        """Whether `J` is stored as CSR."""
        return not isinstance(self.J, np.ndarray)

    @cached_property
    def energy_tolerance(self) -> float:
        r"""Difference below which two energies are equal; wherever energies are compared.

        :math:`2^{-50}\,\big(\tfrac12\sum_{ij}|J_{ij}| + \sum_i |h_i| + |E_0|\big)`, the order of
        the rounding errors of float64.
        """
        return ROUNDING * (self.magnitude + abs(self.offset))

    @cached_property
    def magnitude(self) -> float:
        r"""Sum of all magnitudes, :math:`\tfrac12\sum_{ij}|J_{ij}| + \sum_i |h_i|`.

        No energy is further from the offset.
        """
        return float(0.5 * magnitude_sum(_values(self.J)) + np.abs(self.h).sum())

    @cached_property
    def _sums(self) -> ExactSums:
        return ExactSums(self.J, self.h)

    def local_field(self, spins: ArrayLike) -> NDArray[np.float64]:
        r"""Return :math:`J\sigma + h` for spins of shape (..., n); float64, same shape."""
        sigma = self._as_spins(spins)
        J, flat = self.J, sigma.reshape(-1, self.n_spins)
        if isinstance(J, np.ndarray) and J.dtype != np.float64:  # no float64 copy of all of J
            product = np.concatenate([J[some] @ flat.T for some in row_blocks(J)])
        else:
            product = J @ flat.T
        return product.T.reshape(sigma.shape) + self.h

    def energy(self, spins: ArrayLike) -> NDArray[np.float64]:
        """Return the energies of spins of shape (..., n) in {-1, +1}; float64, shape (...).

        Equal spins have equal energies: sums are exact and rounded once, so that an energy depends
        neither on the others of a batch nor on the storage of `J`.

        Raises
        ------
        ModelError
            The last axis is not n, or a value is neither -1 nor +1.
        """
        sigma = self._as_spins(spins)
        interaction = self._sums.interaction(sigma.reshape(-1, self.n_spins))
        return (self.offset - interaction).reshape(sigma.shape[:-1])[()]  # of one vector a number

    def cut(self, spins: ArrayLike) -> NDArray[np.float64]:
        r"""Return the cut weight :math:`\frac14\sum_{ij} W_{ij}(1-\sigma_i\sigma_j)`, W = -J."""
        sigma = self._as_spins(spins)
        pairs = self._sums.interaction(sigma.reshape(-1, self.n_spins), field=False)
        all_pairs = self._sums.interaction(np.ones((1, self.n_spins)), field=False)
        return (0.5 * (pairs - all_pairs)).reshape(sigma.shape[:-1])[()]

    def _as_spins(self, spins: ArrayLike) -> NDArray[np.float64]:
        sigma = real_array("spins", spins, ModelError)
        if sigma.ndim == 0 or sigma.shape[-1] != self.n_spins:
            raise ModelError(
                f"spins have shape {sigma.shape}, the model has {counted(self.n_spins, 'spin')}",
                hint=f"the last axis must be {self.n_spins}",
            )
        if not (np.abs(sigma) == 1).all():
            raise ModelError("spins must be -1 or +1", hint="of bits x, 0 or 1, they are 2 x - 1")
        return sigma


def check_model(model: Any) -> None:
    """Raise a `ModelError` that says what to pass unless `model` is an `IsingModel`."""
    hint = "IsingModel.from_couplings, from_qubo and from_maxcut make one of a matrix"
    if hasattr(model, "model"):
        hint = "pass its attribute `model`"
    elif isinstance(model, (str, PathLike)):
        hint = "pass read_model(path).model"
    elif isinstance(model, Mapping):
        hint = "write the couplings into a matrix J, for IsingModel.from_couplings"
    require("the model", model, IsingModel, ModelError, hint=hint)


def _check_types(J: Any, h: Any) -> None:
    # no subclasses: masked arrays and np.matrix calculate otherwise
    matrices = (np.ndarray, scipy.sparse.csr_array) if is_sparse(J) else (np.ndarray,)
    for name, array, kinds in (("J", J, matrices), ("h", h, (np.ndarray,))):
        is_small = name == "J" and type(array) is np.ndarray and array.dtype in SMALL
        if type(array) not in kinds or not (is_small or array.dtype == np.float64):
            found = f"{with_article(type(array).__name__)} of {getattr(array, 'dtype', 'no type')}"
            raise ModelError(
                f"{name} is {found}, not an array of float64",
                hint="IsingModel.from_couplings converts lists and other arrays",
            )


def _values(J: Couplings) -> NDArray[Any]:
    return J if isinstance(J, np.ndarray) else np.asarray(J.data, np.float64)


def _shape(J: Couplings) -> tuple[int, ...]:
    return tuple(J.shape or ())  # `csr_array.shape` is not annotated


def _hollow(matrix: Couplings) -> Couplings:
    if isinstance(matrix, np.ndarray):
        hollow = matrix.copy()
        np.fill_diagonal(hollow, 0.0)
        return hollow
    hollow = scipy.sparse.csr_array(matrix - scipy.sparse.diags_array(matrix.diagonal()))
    hollow.eliminate_zeros()
    return hollow


def _check_entries(J: Couplings, name: str) -> None:
    """Refuse what is not square or not finite."""
    shape = _shape(J)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise ModelError(
            f"{name} has shape {shape}", hint="it must be square, (n, n), with n of at least 1"
        )
    if not np.isfinite(largest(_values(J))):
        raise ModelError(f"{name} has {_first_bad_entry(J)}", hint="every entry must be finite")


def _first_bad_entry(J: Couplings) -> str:
    entries = scipy.sparse.coo_array(J)
    at = int(np.flatnonzero(~np.isfinite(entries.data))[0])
    row, column = (int(index[at]) for index in entries.coords)
    return f"the entry [{row},{column}] = {entries.data[at]}"


def _check_symmetric(J: Couplings, name: str) -> None:
    difference = scipy.sparse.coo_array(J - J.T)
    if difference.data.any():
        at = int(np.argmax(np.abs(difference.data)))
        row, column = sorted(int(index[at]) for index in difference.coords)
        raise ModelError(
            f"{name} is not symmetric: {name}[{row},{column}] = {J[row, column]}, "
            f"{name}[{column},{row}] = {J[column, row]}",
            hint=f"pass ({name} + {name}.T) / 2 if only the sum matters",
        )


def _check_couplings(J: Couplings, name: str) -> None:
    _check_entries(J, name)
    if not isinstance(J, np.ndarray) or not is_symmetric(J):
        _check_symmetric(J, name)
    if J.diagonal().any():
        at = int(np.flatnonzero(J.diagonal())[0])
        raise ModelError(
            f"{name} has the diagonal entry {name}[{at},{at}] = {J.diagonal()[at]}",
            hint="it is a constant of the energy: set it to 0, and use offset",
        )
