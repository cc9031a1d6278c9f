"""The house by numbers: small files, short functions, imports that point one way."""

from __future__ import annotations

from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import chain

import pytest
from source_tree import PACKAGES, imports, modules

MAX_LINES = 450
MAX_BODY = 15  # of nine functions in ten
MAX_LEVELS = 12


def test_no_module_is_too_long_to_read():
    too_long = {m.name: m.n_lines for m in modules().values() if m.n_lines > MAX_LINES}
    assert too_long == {}


def test_nine_functions_in_ten_fit_a_glance():
    lengths = sorted(n for n, _ in chain.from_iterable(m.body_lines() for m in modules().values()))
    assert lengths[int(0.9 * len(lengths))] <= MAX_BODY


@pytest.mark.parametrize("with_types", [False, True], ids=["at run time", "with types"])
def test_imports_have_no_circles(with_types):
    try:
        order = list(TopologicalSorter(imports(with_types=with_types)).static_order())
    except CycleError as error:
        pytest.fail(f"imports run in a circle: {' <- '.join(error.args[1])}")
    assert len(order) == len(modules())


def test_chains_of_imports_are_short():
    graph = imports(with_types=False)

    @cache
    def chain_of(module: str) -> tuple[str, ...]:
        package = module.split(".", maxsplit=1)[0]
        below = [chain_of(name) for name in graph[module] if name.split(".")[0] == package]
        return (module, *max(below, key=len, default=()))

    longest = max((chain_of(name) for name in modules() if name.startswith("cim_hal")), key=len)
    assert len(longest) <= MAX_LEVELS, " > ".join(longest)


def test_every_package_tells_type_checkers_that_it_is_typed():
    roots = {name: module.path.parent for name, module in modules().items() if name in PACKAGES}
    assert all((root / "py.typed").is_file() for root in roots.values())
    assert set(roots) == set(PACKAGES)


def test_all_text_of_commands_is_printed_at_one_place_where_it_is_escaped():
    prints = ("click.echo(", "click.secho(", " print(", "sys.stdout.write(", "sys.stderr.write(")
    commands = [m for m in modules().values() if ".cli" in m.name]
    assert len(commands) > 15
    found = [m.name for m in commands if any(word in m.path.read_text("utf-8") for word in prints)]
    assert found == []
