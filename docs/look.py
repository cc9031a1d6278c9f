"""Look at the built pages as a reader without a network does.

python docs/look.py docs/_build/html              nothing in a page comes from elsewhere, and links
                                                  to elsewhere are well-formed (a second)
python docs/look.py docs/_build/html --browser    every page in a browser, wide and on a phone
    --pictures DIR writes what is seen, of the pages named by --page
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))
from chromium import Browser, find_browser

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WIDE, PHONE = (1280, 900), (390, 844)
ELSEWHERE = r"(?:https?:)?//"
LOADED = re.compile(
    rf"<(?:script|img|iframe|source|video|embed)\b[^>]*?\bsrc=[\"']?({ELSEWHERE}[^\"' >]*)"
    rf"|<link\b(?![^>]*rel=\"canonical\")[^>]*?\bhref=[\"']?({ELSEWHERE}[^\"' >]*)"
)
LINK = re.compile(r"<a\b[^>]*?\bhref=\"((?:[a-z]+:)?//[^\"]*)\"")
GOOD_LINK = re.compile(r"https://([a-z0-9-]+\.)+[a-z]{2,}(/([^\s<>]*[^\s<>.,;])?)?")
PLACEHOLDER = re.compile(r"(?i)//([^/]*\.)?(example|test|invalid|localhost)\b|\b(todo|fixme)\b")
STYLED = re.compile(rf"(?:url\([\"']?|@import\s+[\"'])({ELSEWHERE}[^\"')]*)")
# What an element says that makes the page wider than the window, for whoever has to find it.
WIDEST = """(() => {
    const limit = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= limit) return null;
    const inside = e => { for (let p = e.parentElement; p; p = p.parentElement)
        if (getComputedStyle(p).overflowX !== 'visible' && p !== document.body) return true;
        return false };
    const wide = [...document.body.querySelectorAll('*')].filter(e =>
        e.getBoundingClientRect().right > limit + 1 && !inside(e));
    return wide.slice(0, 3).map(e => e.outerHTML.slice(0, 120)).join(' | ') || 'too wide';
})()"""


def loaded_from_elsewhere(folder: Path) -> Iterator[str]:
    """Yield each page or style that names a script, style, font or picture of another computer."""
    for path in sorted(folder.rglob("*.html")):
        for found in LOADED.finditer(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(folder)}: {found[1] or found[2]}"
    for path in sorted(folder.rglob("*.css")):
        for found in STYLED.finditer(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(folder)}: {found[1]}"


def doubtful_links(folder: Path) -> Iterator[str]:
    """Yield each link to another computer that is not https, malformed, or a placeholder."""
    for path in sorted(folder.rglob("*.html")):
        for url in LINK.findall(path.read_text(encoding="utf-8")):
            if not GOOD_LINK.fullmatch(url) or PLACEHOLDER.search(url):
                yield f"{path.relative_to(folder)}: a link to {url}"


def seen_by(browser: Browser, path: Path, size: tuple[int, int]) -> Iterator[str]:
    """Open a page and yield what is wrong with it: errors, other computers, too wide."""
    browser.errors.clear()
    browser.look(*size)
    browser.visit(path.as_uri())
    browser.wait_for(f"document.readyState === 'complete' && location.href === '{path.as_uri()}'")
    yield from browser.errors
    loaded = browser.value("performance.getEntriesByType('resource').map(e => e.name)")
    yield from (f"asks for {url}" for url in loaded if not url.startswith(("file:", "data:")))
    if wide := browser.value(WIDEST):
        yield f"wider than {size[0]} px: {wide}"


def look(folder: Path, names: Iterable[str], pictures: Path | None) -> Iterator[str]:
    """Open every page, or those named, wide and on a phone."""
    path = find_browser()
    if path is None:
        raise SystemExit("there is no browser here (chromium)")
    pages = [folder / name for name in names] or sorted(folder.rglob("*.html"))
    with Browser(path) as browser:
        for page in pages:
            name = page.relative_to(folder)
            for size in (WIDE, PHONE):
                yield from (f"{name}: {fault}" for fault in seen_by(browser, page, size))
                if pictures:
                    browser.picture(pictures / f"{str(name).replace('/', '-')}-{size[0]}.png")


def main() -> int:
    """Print what is wrong, and return 1 if anything is."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("folder", type=lambda text: Path(text).resolve())
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--page", action="append", default=[])
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    faults = [*loaded_from_elsewhere(arguments.folder), *doubtful_links(arguments.folder)]
    if arguments.browser:
        faults += look(arguments.folder, arguments.page, arguments.pictures)
    for fault in faults:
        sys.stdout.write(f"{fault}\n")
    return int(bool(faults))


if __name__ == "__main__":
    raise SystemExit(main())
