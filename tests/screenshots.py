"""The pictures of both browsers in README and docs, from 05 and its trained toy run, in JupyterLab.

python tests/screenshots.py
"""

import tempfile
from pathlib import Path

import front_ends
import nbformat
from PIL import Image

TWO = """reranked = rl.score(scores.q, scores.g, query, gallery, rerank=rl.rerank)
rl.RankedBrowser(scores, reranked, run_dir=run, names=("plain", "re-ranked"))"""

SEARCH = """people = rl.Gallery(system)
people.add(gallery[(gallery.pids > 0) & (gallery.pids % 2 == 0)])
people.set_threshold(scores, false_alarms=0.1)
rl.SearchBrowser(people, query[query.pids % 2 == 0], k=8)"""


def explained(page, browser, fields) -> None:
    """Fill in fields by their labels, and ask what made the query and the first card similar."""
    for label, value in fields.items():
        browser.get_by_label(label).fill(value)
        page.keyboard.press("Enter")
    page.wait_for_timeout(1000)
    browser.locator(".rb-card").first.focus()
    for key in ("p", "s"):
        page.keyboard.press(key)
        page.wait_for_timeout(1000)


def light(page, browser) -> None:
    """A query of middling AP, the pair with its best wrong answer, and what made the two similar."""
    explained(page, browser, {"First match beyond rank": "2", "AP from, in %": "30"})


def dark(page, browser) -> None:
    """Two models, on the query where they differ most."""
    browser.get_by_label("Order").select_option("models differ most")
    page.wait_for_timeout(1000)
    browser.locator(".rb-card").nth(3).focus()
    page.keyboard.press("ArrowLeft")


def search(page, browser) -> None:
    """An image with answers on both sides of the threshold, the first of them beside it, and why they are alike."""
    explained(page, browser, {"Go to": "8"})


def take(name: str, act, cell: str | None = None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        notebook = front_ends.short_notebook(Path(scratch))
        if cell:
            content = nbformat.read(notebook, 4)
            content.cells[-2:] = [nbformat.v4.new_code_cell(cell)]
            nbformat.write(content, notebook)
        with front_ends.chromium(1200, 1100) as page, front_ends.lab(notebook, dark=act is dark) as url:
            front_ends.run_all(page, url)
            browser = page.locator(".reid-browser")
            browser.wait_for()
            act(page, browser)
            file = front_ends.ROOT / "figures" / f"{name}.png"
            browser.screenshot(path=file)
    Image.open(file).convert("RGB").quantize(256).save(file, optimize=True)
    print(file.name, file.stat().st_size)


if __name__ == "__main__":
    take("browser_light", light)
    take("browser_dark", dark, TWO)
    take("search_browser", search, SEARCH)
