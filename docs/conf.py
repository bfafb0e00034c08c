"""Settings of the site; tools/site.py builds it."""

import re
from itertools import zip_longest

from pybtex.plugin import register_plugin
from pybtex.style.formatting.plain import Style
from pybtex.style.labels import BaseLabelStyle

import reidlib

project, author, copyright = "reidlib", "the authors of reidlib", "the authors of reidlib, MIT licence"
version = release = reidlib.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "sphinxcontrib.bibtex"]
bibtex_bibfiles = ["references.bib"]
exclude_patterns = ["**/.ipynb_checkpoints", "reidlib/weights/about"]
html_theme, html_title = "sphinx_book_theme", "reidlib"
html_theme_options = {"show_toc_level": 2, "home_page_in_toc": True, "navbar_persistent": []}
html_static_path, html_css_files = ["../build/site-source/_static"], ["site.css"]
html_domain_indices = False
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "html_image"]
myst_heading_anchors = 3
autodoc_member_order, autodoc_typehints, autodoc_class_signature = "bysource", "none", "mixed"
napoleon_google_docstring = False


class Keys(BaseLabelStyle):
    """Entries are named by their keys."""

    def format_labels(self, entries):
        return [entry.key for entry in entries]


class Keyed(Style):
    """The plain style with keys as labels."""

    default_label_style = Keys


register_plugin("pybtex.style.formatting", "keyed", Keyed)

SECTION = re.compile(r"(Parameters|Raises|Returns|Yields)$")
ENTRY = re.compile(r"(\s*)([\w*, ]+?) : (.+)$")  # "query, gallery : the parts", on one line and those indented below it


def spread(app, what, name, obj, options, lines: list[str]) -> None:
    """Give the description of a parameter or an error lines of its own, as numpydoc wants it."""
    section, out = False, []
    for line, following in zip_longest(lines, lines[1:], fillvalue=""):
        if set(following) == {"-"}:
            section = bool(SECTION.match(line.strip()))
        entry = ENTRY.match(line) if section else None
        out += [f"{entry[1]}{entry[2]}", f"{entry[1]}    {entry[3]}"] if entry and not entry[1] else [line]
    lines[:] = out


def setup(app) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", spread, priority=100)  # before napoleon
