"""Build the site, build/site/index.html: README, the pages of docs/, the notebooks as committed, and the reference.

    python tools/site.py      # or: make docs

Sphinx reads a copy of a part of the repository, so that every relative link works there as it does here.
No notebook is executed and nothing is fetched. The ranked-image browser's page is recorded, see tools/recorded.py.
"""

import re
import shutil
import sys
import tempfile
from inspect import isclass, isfunction
from pathlib import Path

import recorded
from pages import faults
from sphinx.cmd.build import main as sphinx

import reidlib as rl

ROOT = Path(__file__).resolve().parents[1]
SITE, SOURCE = ROOT / "build" / "site", ROOT / "build" / "site-source"
COPIED = ("docs", "notebooks", "figures", "results", "benchmarks", "data/README.md", "reidlib/weights")
COPIED += ("LICENSE", "CONTRIBUTING.md", "CHANGELOG.md")
NAME = re.compile(r"from (\S+) import (\w+) as \2$", re.M)  # a line of __init__.pyi
HERE = re.compile(r"\]\(#[^)]+\)")  # a link to a heading of the same notebook
PACKAGES = {
    "recipe": "Recipe", "settings": "Recipe", "data": "Data", "systems": "Systems", "train": "Training",
    "evaluation": "Evaluation", "search": "Search", "figures": "Figures", "browser": "Browser", "runs": "Runs",
    "studies": "This project's own tables", "course": "The course", "files": "Files", "provenance": "Provenance",
}  # fmt: skip
CONTENTS = """

```{{toctree}}
:hidden:
:caption: {caption}
{pages}
```
"""
GUIDES = ("browser", "your_data", "search", "pretrained", "running", "extending", "results", "faq")
PAGES = {
    "The course": [f"notebooks/{path.stem}" for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]
    + ["notebooks/solutions/README"],
    "Guides": [f"docs/{name}" for name in GUIDES],
    "Reference": ["reference", "docs/glossary", "docs/bibliography", "data/README", "reidlib/weights/market-laptop"],
    "Joining in": ["CONTRIBUTING", "CHANGELOG"],
}


def reference() -> str:
    """The public names, by package, as a page that autodoc fills."""
    names: dict[str, list[str]] = {}
    for module, name in NAME.findall((ROOT / "reidlib" / "__init__.pyi").read_text("utf-8")):
        package = module.lstrip(".").partition(".")[0] or name
        names.setdefault(PACKAGES[package], []).append(name)
    parts = ["# Reference", "Every public name is an attribute of `reidlib`, here `rl`: `import reidlib as rl`."]
    for title, members in names.items():
        listed = "\n".join(map(directive, members))
        parts.append(f"## {title}\n\n```{{eval-rst}}\n{listed}\n```")
    return "\n\n".join(parts)


def directive(name: str) -> str:
    """What has Sphinx describe a public name."""
    value = getattr(rl, name)
    if isfunction(value):
        return f".. autofunction:: reidlib.{name}"
    return f".. auto{'class' if isclass(value) else 'module'}:: reidlib.{name}\n   :members:\n   :exclude-members: set"


def stage() -> None:
    """Fill the folder that Sphinx reads."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    for name in filter(lambda name: (ROOT / name).exists(), COPIED):
        here, there = ROOT / name, SOURCE / name
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(here, there) if here.is_dir() else shutil.copy(here, there)
    for file in (SOURCE / "notebooks").glob("*.ipynb"):  # the ids of headings are small letters here, not in Jupyter
        file.write_text(HERE.sub(lambda link: link[0].lower(), file.read_text("utf-8")), "utf-8")
    contents = "".join(CONTENTS.format(caption=name, pages="\n".join(pages)) for name, pages in PAGES.items())
    (SOURCE / "index.md").write_text((ROOT / "README.md").read_text("utf-8") + contents, "utf-8")
    (SOURCE / "reference.md").write_text(reference(), "utf-8")
    static = SOURCE / "_static"
    static.mkdir()
    for style in (recorded.BROWSER / "browser.css", ROOT / "docs" / "site.css"):
        shutil.copy(style, static)
    with tempfile.TemporaryDirectory() as folder:
        (static / "browser.js").write_text(recorded.script(recorded.record(recorded.widget(Path(folder)))), "utf-8")


def build(options: list[str]) -> int:
    """The exit status: not 0 for a warning of Sphinx, and for a fault of the pages."""
    shutil.rmtree(SITE, ignore_errors=True)  # a page of an older build would be checked too
    failed = sphinx(["-c", str(ROOT / "docs"), "-W", "--keep-going", "-q", *options, str(SOURCE), str(SITE)])
    wrong = faults(SITE)
    sys.stderr.writelines(f"{fault}\n" for fault in wrong)
    return int(failed or bool(wrong))


if __name__ == "__main__":
    stage()
    sys.exit(build(sys.argv[1:]))
