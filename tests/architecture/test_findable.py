"""From the name of a module one finds its tests."""

from __future__ import annotations

import pytest
from source_tree import ROOT, modules

TESTS = ROOT / "tests"
ELSEWHERE: dict[str, str] = {}


def homes(module: str) -> list[str]:
    """Return where the tests of a module may be, best first."""
    *folders, name = module.split(".")
    mirrored = f"unit/{'/'.join(folders)}/test_{name}.py"
    return [mirrored, *(f"{kind}/test_{name}.py" for kind in ("physics", "training", "property"))]


@pytest.mark.parametrize(
    "module",
    sorted(m.name for m in modules().values() if m.path.stem not in ("__init__", "__main__")),
)
def test_a_module_has_tests_of_its_name(module):
    candidates = [ELSEWHERE[module]] if module in ELSEWHERE else homes(module)
    assert any((TESTS / path).is_file() for path in candidates), f"none of {candidates}"


def test_exceptions_are_of_modules_that_exist():
    assert set(ELSEWHERE) <= set(modules())
