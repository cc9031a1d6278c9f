r"""dimod, both ways: machines as samplers of dimod, and samplers of dimod as machines.

dimod's energy is :math:`\sum_{i<j} q_{ij} s_i s_j + \sum_i b_i s_i + c` (its docs, "Binary
Quadratic Models"), so that J = -q and h = -b. Needs the extra ``dimod``.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

import dimod
import numpy as np
import scipy

from cim_hal import DevicePool, Session, open_device
from cim_hal.errors import DriverFaultError, JobCancelledError, ModelError, TargetError
from cim_hal.machine.capabilities import Capabilities
from cim_hal.machine.driver import Driver, Readout
from cim_hal.machine.options import Option
from cim_hal.machine.registry import emulated
from cim_hal.model.conversion import whole_number, with_article
from cim_hal.model.ising import IsingModel, check_model
from cim_hal.model.pairs import symmetric_matrix
from cim_hal.text import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cim_hal.machine.config import MachineConfig
    from cim_hal.machine.driver import Program, StopToken
    from cim_hal.machine.options import OptionValue
    from cim_hal.model.sampleset import SampleSet

__all__ = ["CIMSampler", "SamplerDriver", "driver_factory", "from_bqm", "to_bqm"]

CHUNK = 8  # reads of a sampler that cannot be interrupted, from one look for a stop to the next
OWN = {"self", "bqm", "num_reads", "seed", "interrupt_function"}  # arguments that a job decides


# ---- models ---------------------------------------------------------------------------------


def from_bqm(bqm: dimod.BinaryQuadraticModel) -> tuple[IsingModel, list[Hashable]]:
    """Return the Ising model of a binary quadratic model, and the label of each spin.

    Energies are equal, x = (1 + s) / 2 for binary variables; the given model is not changed.

    Raises
    ------
    ModelError
        It has no variables, or a bias that is not finite or out of range.

    Examples
    --------
    >>> model, labels = from_bqm(dimod.BQM({"a": 1.0}, {("a", "b"): -2.0}, 0.5, "SPIN"))
    >>> model.J.tolist(), model.h.tolist(), model.offset, labels
    ([[0.0, 2.0], [2.0, 0.0]], [-1.0, -0.0], 0.5, ['a', 'b'])
    """
    if not isinstance(bqm, dimod.BinaryQuadraticModel):
        what = f"the model is {with_article(type(bqm).__name__)}, not a dimod.BinaryQuadraticModel"
        raise ModelError(what, hint="dimod.BQM.from_qubo and from_ising make one of a mapping")
    if not bqm.num_variables:
        raise ModelError("the model has no variables")
    labels = list(bqm.variables)
    vectors = bqm.change_vartype(dimod.SPIN, inplace=False).to_numpy_vectors(labels)
    (rows, columns, biases), n = vectors.quadratic, len(labels)
    J = symmetric_matrix(rows, columns, -biases, n)
    return IsingModel.from_couplings(J, -vectors.linear_biases, float(vectors.offset)), labels


def to_bqm(
    model: IsingModel, labels: Sequence[Hashable] | None = None
) -> dimod.BinaryQuadraticModel:
    """Return the binary quadratic model of spins with the energies of an Ising model.

    Parameters
    ----------
    model : IsingModel
    labels : sequence of hashables, length n, optional
        Names of the spins; by default 0 to n - 1.

    Raises
    ------
    ModelError
        Two labels are equal, or there are more or fewer than spins.
    """
    check_model(model)
    names = list(range(model.n_spins)) if labels is None else list(labels)
    if len(set(names)) != model.n_spins or len(names) != model.n_spins:
        what = f"{len(names)} labels, {len(set(names))} of them different"
        raise ModelError(what, hint=f"the model has {counted(model.n_spins, 'spin')}")
    return _bqm(model.J, model.h, model.offset, names)


# ---- machines as samplers -------------------------------------------------------------------


class CIMSampler(dimod.Sampler):
    """A machine as a sampler of dimod, a context manager that closes what it opened.

    Parameters
    ----------
    target : str, path, MachineConfig, Session or DevicePool
        As `cim_hal.open_device` takes it; a session or pool that is open stays open.
    **options : str, int, float or bool
        Options of the driver that the target names.

    Examples
    --------
    >>> with CIMSampler("emulator-mean-field") as sampler:
    ...     found = sampler.sample_ising({}, {("a", "b"): -1.0}, num_reads=4, seed=1)
    >>> float(found.first.energy)
    -1.0
    """

    def __init__(
        self,
        target: str | MachineConfig | Session | DevicePool = "emulator",
        **options: OptionValue,
    ) -> None:
        self._stack = ExitStack()
        if isinstance(target, Session | DevicePool):
            if options:
                raise TargetError("options are for a driver that is still to be built")
            self._session = target
        else:
            self._session = self._stack.enter_context(open_device(target, options=options or None))

    @property
    def parameters(self) -> dict[str, list[str]]:
        """Arguments of `sample`; settings of the machine are in the property ``settings``."""
        return {
            "num_reads": [],
            "seed": [],
            "schedule": [],
            "coupling_bits": [],
            "settings": ["settings"],
        }

    @property
    def properties(self) -> dict[str, Any]:
        """What the machine says of itself: the fields of `cim_hal.Capabilities` by name."""
        return self._session.capabilities.model_dump()

    def sample(
        self, bqm: dimod.BinaryQuadraticModel, *, num_reads: int = 1, **parameters: Any
    ) -> dimod.SampleSet:
        """Return `num_reads` samples of a binary quadratic model, in its vartype and labels.

        More reads than the machine makes in one job are several jobs.

        Parameters
        ----------
        bqm : dimod.BinaryQuadraticModel
            It is not changed.
        num_reads : int
        seed : int, optional
            The same seed, the same samples, on a machine whose runs are reproducible.
        schedule : PumpSchedule, optional
        settings : mapping of str to float, optional
        coupling_bits : int, optional
            As of `cim_hal.Session.sample`.

        Returns
        -------
        dimod.SampleSet
            Its ``info`` has ``records``, a `RunRecord` as a dict for each job, and ``timing`` with
            ``device_s``, the seconds of the machine.

        Raises
        ------
        CimError
            As of `cim_hal.Session.sample`.
        """
        given = self.remove_unknown_kwargs(**parameters)
        num_reads = whole_number("num_reads", num_reads, ModelError, 1)
        if isinstance(bqm, dimod.BinaryQuadraticModel) and not bqm.num_variables:
            none = np.zeros((num_reads, 0), np.int8)
            return dimod.SampleSet.from_samples_bqm((none, []), bqm)
        model, labels = from_bqm(bqm)
        parts = list(self._jobs(model, num_reads, given))
        spins = np.concatenate([part.spins for part in parts])
        values = spins if bqm.vartype is dimod.SPIN else (spins + 1) // 2
        info = {
            "timing": {"device_s": sum(part.record.device_s for part in parts)},
            "records": [part.record.model_dump() for part in parts],
        }
        return dimod.SampleSet.from_samples_bqm((values, labels), bqm, info=info)

    def close(self) -> None:
        """Close what was opened for this sampler."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _jobs(
        self, model: IsingModel, num_reads: int, given: Mapping[str, Any]
    ) -> Iterator[SampleSet]:
        most = self._session.capabilities.max_runs
        n_jobs = -(-num_reads // most)
        options = {name: value for name, value in given.items() if value is not None}
        seeds: list[int | None] = [options.pop("seed", None)]
        if n_jobs > 1 and seeds[0] is not None:
            whole = whole_number("seed", seeds[0], ModelError, 0)
            drawn = np.random.SeedSequence(whole).generate_state(n_jobs, np.uint64)
            seeds = [int(seed) >> 1 for seed in drawn]
        for job in range(n_jobs):
            n_runs, seed = min(most, num_reads - job * most), seeds[job % len(seeds)]
            yield self._session.sample(model, n_runs=n_runs, seed=seed, **options)


# ---- samplers as machines -------------------------------------------------------------------


class SamplerDriver(Driver):
    """A sampler of dimod as a machine.

    Parameters
    ----------
    sampler : dimod.Sampler
    max_spins : int
        Most spins of a model.
    **arguments
        Of its ``sample``, the same for each job.
    """

    def __init__(self, sampler: dimod.Sampler, max_spins: int = 10_000, **arguments: Any) -> None:
        self._sampler, self._max_spins, self._arguments = sampler, max_spins, arguments
        self._known = set(sampler.parameters or ())

    def describe(self) -> Capabilities:
        """Return what is known of it: real couplings, a field, no pump that means anything.

        Its runs are reproducible if it takes a seed and no limit of time.
        """
        kind = type(self._sampler)
        summary = (inspect.getdoc(kind) or "").partition("\n\n")[0]
        return Capabilities(
            name=f"dimod:{kind.__module__}:{kind.__qualname__}"[:200],
            description=" ".join(summary.split())[:1000],
            max_spins=self._max_spins,
            coupling_bits=None,
            has_field=True,
            reproducible="seed" in self._known and "timeout" not in self._known,
            properties={"dimod": dimod.__version__},
        )

    def run(self, program: Program, stop: StopToken) -> Readout:
        """Sample until there are as many runs as asked for.

        Raises
        ------
        JobCancelledError
            It was stopped.
        DriverFaultError
            The sampler returned nothing.
        """
        bqm, n_done, parts = (
            _bqm(program.coupling, program.field, 0.0, list(range(program.n_spins))),
            0,
            [],
        )
        seeds = np.random.SeedSequence(program.seed)
        while n_done < program.n_runs:
            (seed,) = seeds.spawn(1)
            found = self._sampler.sample(bqm, **self._call(program.n_runs - n_done, seed, stop))
            if stop.is_set():
                raise JobCancelledError(f"cancelled after {counted(n_done, 'run')}")
            rows = _rows(found, program.n_spins, program.n_runs - n_done)
            if not len(rows):
                raise DriverFaultError(f"{type(self._sampler).__name__} returned no samples")
            parts.append(rows)
            n_done += len(rows)
            stop.deliver(rows)
            stop.progress(n_done, program.n_runs, "runs")
        return Readout(np.concatenate(parts))

    def close(self) -> None:
        """Close the sampler, where it has something to close."""
        close = getattr(self._sampler, "close", None)
        if callable(close):
            close()

    def _call(self, n_left: int, seed: np.random.SeedSequence, stop: StopToken) -> dict[str, Any]:
        """Return the arguments of one call."""
        is_interruptible = "interrupt_function" in self._known
        job = {
            "num_reads": n_left if is_interruptible else min(n_left, CHUNK),
            "seed": int(seed.generate_state(1)[0]) >> 1,
            "interrupt_function": stop.is_set,
        }
        return self._arguments | {name: job[name] for name in job.keys() & self._known}


def driver_factory(name: str) -> Callable[..., Driver]:
    """Return the factory of the driver of a sampler: the target ``dimod:module:Sampler``.

    Its options are the arguments of the sampler's ``sample`` that are one text or number.

    Raises
    ------
    TargetError
        There is no such sampler.
    """
    kind = _sampler_class(name)
    taken = inspect.signature(kind.sample).parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY

    @emulated
    def make(
        *, max_spins: Annotated[int, Option(description="of a model", low=1)] = 10_000, **rest: Any
    ) -> Driver:
        return SamplerDriver(kind(), max_spins, **rest)

    make.__doc__ = inspect.getdoc(kind)
    own = inspect.signature(make, eval_str=True).parameters["max_spins"]
    theirs = [
        parameter.replace(kind=keyword)
        for parameter in taken
        if parameter.name not in OWN
        and parameter.kind in {keyword, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    ]
    cast("Any", make).__signature__ = inspect.Signature([own, *theirs])
    return make


def _sampler_class(name: str) -> Any:
    hint = "write dimod:MODULE:CLASS, such as dimod:dwave.samplers:TabuSampler"
    module, _, attribute = name.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise TargetError(f"there is no sampler {name!r}: {error}", hint=hint) from error
    if not (inspect.isclass(kind) and issubclass(kind, dimod.Sampler)):
        raise TargetError(f"{name!r} is no class of a dimod.Sampler", hint=hint)
    return kind


def _bqm(J: Any, h: NDArray[Any], offset: float, names: list[Any]) -> dimod.BinaryQuadraticModel:
    """Return the model of spins with these couplings, field and offset."""
    upper: Any = scipy.sparse.triu(scipy.sparse.csr_array(J), 1).tocoo()
    linear, biases = (-np.asarray(each, np.float64) for each in (h, upper.data))
    return cast("Any", dimod.BinaryQuadraticModel).from_numpy_vectors(
        linear, (upper.row, upper.col, biases), offset, "SPIN", variable_order=names
    )


def _rows(found: dimod.SampleSet, n_spins: int, most: int) -> NDArray[np.int8]:
    """Return at most so many samples, rows of spins, those that occurred several times as often."""
    samples = found.change_vartype(dimod.SPIN, inplace=False)
    record: Any = samples.record
    columns = [samples.variables.index(spin) for spin in range(n_spins)]
    rows = np.asarray(record.sample, np.int8)[:, columns]
    ends = np.cumsum(np.minimum(np.asarray(record.num_occurrences, np.int64), most))
    n_rows = min(most, int(ends[-1])) if len(ends) else 0
    return rows[np.searchsorted(ends, np.arange(n_rows), side="right")]
