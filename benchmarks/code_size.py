"""Print how many lines the three packages have, of which kind, and by folder.

``python benchmarks/code_size.py`` counts the checkout; with ``--since COMMIT`` it also prints what
came and went since a commit, by folder.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath

PACKAGES = ("cim_hal", "emulator", "qnn_train")
KINDS = ("code", "docstrings", "comments", "imports", "blank")
ROOT = Path(__file__).parents[1]


def kinds_of(text: str) -> Counter[str]:
    """Return the lines of a module by kind; a line of code with a comment behind it is code."""
    kind = dict.fromkeys(range(1, text.count("\n") + 1), "blank")
    outside = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in outside:
            continue
        found = "comments" if token.type == tokenize.COMMENT else "code"
        for line in range(token.start[0], token.end[0] + 1):
            if kind[line] == "blank" or found == "code":
                kind[line] = found
    for node in ast.walk(ast.parse(text)):
        if (what := _kind(node)) is not None:
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                kind[line] = what
    return Counter(kind.values())


def _kind(node: ast.AST) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return "docstrings" if isinstance(node.value.value, str) else None
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "imports"
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
        return "imports"
    return None


def folder(path: str) -> str:
    """Return the folder of a file of a package, two deep at most."""
    return "/".join(PurePosixPath(path).parent.parts[:2])


def here() -> dict[str, str]:
    """Return the text of all modules of the checkout by path."""
    files = [file for name in PACKAGES for file in sorted((ROOT / name).rglob("*.py"))]
    return {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in files}


def at(commit: str) -> dict[str, str]:
    """Return the text of all modules at a commit by path."""
    names = _git("ls-tree", "-r", "--name-only", commit, *PACKAGES).splitlines()
    return {name: _git("show", f"{commit}:{name}") for name in names if name.endswith(".py")}


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words],
        cwd=ROOT,
        check=True,
        capture_output=True,
        encoding="utf-8",
    ).stdout


def print_kinds(texts: dict[str, str]) -> None:
    """Print a row for each folder, and one for all."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path, text in texts.items():
        counts = kinds_of(text) + Counter(modules=1)
        found[folder(path)] += counts
        found["all"] += counts
    print("| folder | modules | lines |", *(f"{kind} |" for kind in KINDS))
    print("|---|---|---|" + "---|" * len(KINDS))
    for name, counts in sorted(found.items(), key=lambda row: (row[0] == "all", row[0])):
        cells = [counts["modules"], sum(counts[kind] for kind in KINDS)]
        print(f"| {name} |", *(f"{n:,} |" for n in (*cells, *(counts[k] for k in KINDS))))


def print_growth(before: dict[str, str], after: dict[str, str]) -> None:
    """Print what came since: lines by folder, and modules that are new or gone."""
    lines: Counter[str] = Counter()
    for sign, texts in ((-1, before), (1, after)):
        for path, text in texts.items():
            lines[folder(path)] += sign * text.count("\n")
    print("\n| folder | lines since |\n|---|---|")
    for name, n in sorted(lines.items(), key=lambda row: -row[1]):
        print(f"| {name} | {n:+,} |")
    new = after.keys() - before.keys()
    print(f"\n{sum(lines.values()):+,} lines; {len(new)} new modules of")
    print(f"{sum(after[path].count(chr(10)) for path in new):,} lines;", end=" ")
    print(f"{len(before.keys() - after.keys())} modules are gone")


if __name__ == "__main__":
    print_kinds(now := here())
    if sys.argv[1:2] == ["--since"]:
        print_growth(at(sys.argv[2]), now)
