"""What is wrong with the built pages: links that lead nowhere, pictures without words, headings out of order."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HEADING = re.compile(r"h[1-6]")


class Page(HTMLParser):
    """The ids, links and pictures without words of a page, and the levels of the headings of its article."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.wordless: list[str] = []
        self.levels: list[int] = []
        self.article = False
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {value for name in ("id", "name") if (value := given.get(name))}
        self.links += [value for name in ("href", "src") if (value := given.get(name))]
        if tag == "img" and not (given.get("alt") or "").strip() and given.get("aria-hidden") != "true":
            self.wordless.append(given.get("src") or "?")
        self.article |= tag == "article"
        if self.article and HEADING.fullmatch(tag):
            self.levels.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        self.article &= tag != "article"


def faults(site: Path) -> list[str]:
    """A line for each fault of the pages below a folder."""
    pages = {file: Page(file) for file in sorted(site.rglob("*.html")) if "_static" not in file.parts}
    found = []
    for file, page in pages.items():
        name = file.relative_to(site).as_posix()
        found += [f"{name}: {link} leads nowhere" for link in dict.fromkeys(page.links) if not leads(file, link, pages)]
        found += [f"{name}: no alt text for {source}" for source in page.wordless]
        found += [f"{name}: a heading of level {level} {why}" for level, why in misplaced(page.levels)]
    return found


def leads(file: Path, link: str, pages: dict[Path, Page]) -> bool:
    """Whether a link of a page leads outside, or to a file that is there and to an id that it has."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    known = pages.get(target)
    return target.exists() and (not parts.fragment or known is None or unquote(parts.fragment) in known.ids)


def misplaced(levels: list[int]) -> list[tuple[int, str]]:
    """The headings that skip a level, and a second one of level 1."""
    out = [(level, f"follows one of level {above}") for above, level in zip([0, *levels], levels) if level > above + 1]
    return out + [(1, "is not the only one")] * (levels.count(1) > 1)
