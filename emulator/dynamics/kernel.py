"""How kernels are compiled: one decorator for loops over arrays, one for functions of scalars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from numba import njit
from numba.core import ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.ir_utils import mk_unique_var
from numba.core.untyped_passes import IRProcessing

from emulator.products.avx512 import prefer_wide_vectors

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["inlined", "kernel"]

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


def kernel(function: Function) -> Function:
    """Compile a loop over arrays: cached on disk, without Python's lock, in wide vectors.

    Division by zero gives what IEEE 754 says. A function compiled by this is not to be passed as
    an argument, which defeats the cache.
    """
    options = {"cache": True, "nogil": True, "error_model": "numpy", "pipeline_class": _Compiler}
    compiled: Any = njit(**options)(function)
    return compiled


def inlined(function: Function) -> Function:
    """Compile a function of scalars into each kernel that calls it."""
    compiled: Any = njit(inline="always")(function)
    return compiled
