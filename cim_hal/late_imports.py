"""Names that a package imports when they are first used, and the version of the distribution."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from importlib import import_module
from typing import Any

__all__ = ["imported"]


def imported(package: str, name: str, names: Collection[str], modules: Iterable[str]) -> Any:
    """Return what a package exports as `name`; for the `__getattr__` of the package.

    Of its `modules`, given relative to the package, the first that exports the name is asked, and
    none is imported for another name than those in `names`.
    """
    if name == "__version__":
        from importlib.metadata import version

        return version("cim-hal")
    for module in modules if name in names else ():
        source = import_module(f"{package}.{module}")
        if name in source.__all__:
            found = getattr(source, name)
            setattr(sys.modules[package], name, found)
            return found
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
