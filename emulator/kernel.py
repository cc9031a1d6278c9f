"""How kernels and their parts are compiled, and a word to who waits."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache, update_wrapper
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from numba import njit
from numba.core import event, ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.ir_utils import mk_unique_var
from numba.core.untyped_passes import IRProcessing

from emulator.products.llvm import fused, prefer_wide_vectors

if sys.platform == "win32":
    fcntl: Any = None  # processes compile side by side
else:
    import fcntl

__all__ = ["CompilationTimer", "compilation_timed", "fused", "inlined", "kernel", "kernel_part"]

WAIT_S = 60.0  # for a process that compiles the same kernel
POLL_S = 0.02

log = logging.getLogger("emulator.compilation")

Function = TypeVar("Function", bound="Callable[..., Any]")


@register_pass(mutates_CFG=False, analysis_only=False)
class _PreferWideVectors(FunctionPass):
    """Call `prefer_wide_vectors` at the start of the function compiled."""

    _name = "prefer_wide_vectors"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> Any:
        func_ir = state.func_ir
        block = func_ir.blocks[min(func_ir.blocks)]
        values: list[Any] = [ir.Global("prefer_wide_vectors", prefer_wide_vectors, block.loc)]
        names = [ir.Var(block.scope, mk_unique_var(f"${name}"), block.loc) for name in ("f", "r")]
        values.append(ir.Expr.call(names[0], (), (), block.loc))
        for name, value in zip(names, values, strict=True):
            func_ir._definitions[name.name].append(value)  # noqa: SLF001  as numba's passes do
            block.insert_before_terminator(ir.Assign(value, name, block.loc))
        return True


class _Compiler(CompilerBase):
    """Numba's own pipeline, with wide vectors."""

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_PreferWideVectors, IRProcessing)
        passes.finalize()
        return [passes]


# No kernel is called as a function of C.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
_NO_ENTRY: dict[str, Any] = {"no_cpython_wrapper": True}


def kernel(function: Function) -> Function:
    """Compile a loop over arrays: cached on disk, without Python's lock, in wide vectors.

    Division by zero gives what IEEE 754 says. A function compiled by this is not to be passed as
    an argument, which defeats the cache.
    """
    compiled: Any = njit(cache=True, pipeline_class=_Compiler, **_OPTIONS)(function)
    _compile_in_turn(compiled)
    return compiled


def kernel_part(function: Function) -> Function:
    """Compile a loop over arrays that only kernels call: cached, without an entry from Python.

    With entries to its parts, the first job of a kind takes a tenth longer.
    """
    compiled: Any = njit(cache=True, pipeline_class=_Compiler, **_OPTIONS, **_NO_ENTRY)(function)
    _compile_in_turn(compiled)
    return cast("Function", _InKernels(compiled))


def _compile_in_turn(compiled: Any) -> None:
    """Let one process compile a kernel, and those that start beside it take it from the cache.

    A kernel is locked after those that call it, so that no two processes wait for each other.
    """
    compile_now, function = compiled.compile, compiled.py_func
    name = f"{function.__qualname__}-{function.__code__.co_firstlineno}.lock"
    lock = Path(compiled._cache.cache_path) / name  # noqa: SLF001

    def compile_in_turn(signature: Any) -> Any:
        with global_compiler_lock, _turn(lock), _garbage_kept():
            return compile_now(signature)

    compiled.compile = compile_in_turn


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Stop the garbage collector, which takes a twelfth of a compilation."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def _turn(place: Path) -> Iterator[None]:
    """Hold a lock file if it can be had; nobody is kept from compiling for longer than a minute."""
    with ExitStack() as stack:
        with suppress(OSError):  # it may not be written
            lock = stack.enter_context(place.open("a"))
            deadline = time.monotonic() + WAIT_S
            while not _is_taken(lock) and time.monotonic() < deadline:
                time.sleep(POLL_S)
        yield


def _is_taken(lock: IO[str]) -> bool:
    """Lock an open file until it is closed, if no other process has; True where locks are none."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def inlined(function: Function) -> Function:
    """Compile a function of scalars into each kernel that calls it.

    LLVM inlines it, and not Numba, which would infer its types anew at each call: the bits and the
    speed are the same, and kernels that draw noise are compiled in half the time.
    """
    compiled = njit(forceinline=True, **_OPTIONS, **_NO_ENTRY)(function)
    return cast("Function", _InKernels(compiled))


class _InKernels:
    """A function that kernels call, compiled apart for Python if Python calls it."""

    def __init__(self, compiled: Any) -> None:
        self.py_func = compiled.py_func
        self._from_python: Any = njit(**_OPTIONS)(compiled.py_func)
        self._in_kernels: Any = compiled
        self._numba_type_ = compiled._numba_type_  # what a kernel takes this object for
        update_wrapper(self, compiled.py_func)

    def __call__(self, *arguments: Any) -> Any:
        return self._from_python(*arguments)


class CompilationTimer(event.Listener):
    """Hears of kernels that are compiled, and not of those that come from the cache.

    Attributes
    ----------
    seconds : float
        Time in which any thread compiled.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()
        self._n_active = 0  # calls within each other, and of several threads
        self._started = 0.0

    def on_start(self, event: event.Event) -> None:  # noqa: ARG002
        """Start the clock."""
        _announce()
        with self._lock:
            if self._n_active == 0:
                self._started = time.perf_counter()
            self._n_active += 1

    def on_end(self, event: event.Event) -> None:  # noqa: ARG002
        """Stop the clock with the outermost call."""
        with self._lock:
            self._n_active -= 1
            if self._n_active == 0:
                self.seconds += time.perf_counter() - self._started


@contextmanager
def compilation_timed() -> Iterator[CompilationTimer]:
    """Measure how long kernels are compiled; the first one is logged, once per process."""
    timer = CompilationTimer()
    with event.install_listener("numba:compile", timer):
        yield timer


@cache
def _announce() -> None:
    log.warning(
        "compiling kernels, kept in a cache for later processes: the first job of a kind of "
        "machine and of couplings takes some seconds longer"
    )
