"""The ranked-image browser in a real JupyterLab and as a Voilà app: notebook 05, driven by keys and mouse."""

import base64
import json
import os
import re
import shutil
from pathlib import Path

import front_ends
import nbformat
import pytest

import reidlib as rl
from reidlib import toy

if not os.environ.get("REID_NEED_BROWSER"):  # if it is set, a missing browser is a failure
    pytest.importorskip("playwright", reason="playwright is not installed; pip install -e .[dev] brings it")
    if not front_ends.CHROMIUM:
        pytest.skip("no Chromium here; apt-get install chromium brings it", allow_module_level=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A crowd of twelve people and a network of one training step: ready in seconds."""
    folder = tmp_path_factory.mktemp("lab")
    toy.draw(folder / "crowd", people=12)
    split = rl.load(folder / "crowd")
    size = dict(backbone="resnet18", weights="none", height=64, width=32)
    recipe = rl.Recipe.for_dataset(str(folder / "crowd"), p=2, k=2, epochs=1, iterations=1, **size)
    list(rl.fit(rl.build(recipe, split.train), split.train, folder / "run"))
    return folder / "run"


@pytest.fixture
def fresh(run, tmp_path):
    """A copy of the run without marks and exports."""
    return Path(shutil.copytree(run, tmp_path / "run"))


@pytest.fixture
def notebook(run, fresh, tmp_path):
    return front_ends.short_notebook(tmp_path, dataset=str(run.parent / "crowd"), run_dir=str(fresh))


# The browser's cell is active and all cells are still code: in JupyterLab arrows select a cell, and M makes it text.
UNTOUCHED = """() => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    const code = notebook.widgets.every((cell) => cell.model.type === "code");
    return code && notebook.activeCell.node.contains(document.querySelector(".reid-browser"));
}"""


DRAWN = """least => {
    const images = [...document.querySelectorAll(".reid-browser img[src^=blob]")];
    return images.length >= least && images.every((image) => image.complete && image.naturalWidth > 0);
}"""
FITS = """() => {
    const browser = document.querySelector(".reid-browser");
    return browser?.clientWidth < 520 && browser.scrollWidth <= browser.clientWidth;
}"""


class Reader:
    """A reader at the page: what they see and do."""

    def __init__(self, page):
        self.page = page
        self.browser = page.locator(".reid-browser")
        self.cards = self.browser.locator(".rb-card")

    def sees(self, place: str) -> None:
        """Wait until the page says which query of how many is shown."""
        self.browser.locator(".rb-place", has_text=re.compile(f"^{place}$")).wait_for()

    def sees_images(self, least: int) -> None:
        """Wait until at least so many images are there, and all of them are drawn."""
        self.page.wait_for_function(DRAWN, arg=least)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def focused(self) -> str:
        """What a screen reader calls the element that has the focus."""
        words = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.querySelector('img')?.alt"
        return self.page.evaluate(words)

    def sees_error(self, words: str) -> None:
        self.browser.get_by_role("alert").filter(has_text=words).wait_for()


def steps_and_finds(reader: Reader) -> None:
    reader.sees("1 of 20")
    reader.cards.first.focus()
    assert reader.focused().startswith("rank 1, ")
    reader.press("ArrowDown")
    reader.sees("2 of 20")
    reader.press("ArrowRight", "ArrowRight")
    assert re.fullmatch(r"rank 3, [\w ]+, camera \d, similarity -?\d\.\d\d, (right|wrong)", reader.focused())
    reader.browser.get_by_role("button", name="Next").click()
    reader.sees("3 of 20")
    reader.press("End")
    reader.sees("20 of 20")
    reader.browser.get_by_label("Query camera").select_option("2")
    reader.browser.locator(".rb-place", has_text=re.compile(r"^1 of 1?\d$")).wait_for()
    reader.browser.get_by_role("button", name="Clear").click()
    reader.sees("1 of 20")
    bar = reader.browser.locator(".rb-bars button:not([aria-label$=': 0 queries'])").first
    (count,) = re.findall(r"(\d+) quer", bar.get_attribute("aria-label"))
    bar.click()
    reader.sees(f"1 of {count}")
    bar.click()
    reader.sees("1 of 20")
    person = reader.browser.get_by_label("Person", exact=True)
    person.fill("9999")
    reader.press("Enter")
    reader.sees_error("no query passes this filter")
    assert person.input_value() == "", "the field shows what holds"
    reader.browser.get_by_label("Go to").fill("7")
    reader.press("Enter")
    reader.browser.get_by_role("img", name=re.compile("^query 7, person ")).first.wait_for()


def understands_and_keeps(reader: Reader, run) -> None:
    reader.cards.nth(1).focus()
    answer = reader.focused()
    reader.press("p")
    pair = reader.browser.get_by_role("region", name="Pair")
    pair.get_by_role("img", name=answer).wait_for()
    reader.press("s")
    pair.get_by_text(re.compile(r"^Cosine -?\d\.\d\d")).wait_for()
    reader.sees_images(1 + 10 + 2 + 2)
    assert pair.locator(".rb-heat:visible").count() == 2
    reader.press("Escape")
    pair.wait_for(state="hidden")
    reader.press("Enter")
    reader.browser.get_by_role("img", name=re.compile("^gallery image ")).wait_for()
    reader.press("Escape")
    reader.browser.get_by_role("img", name=re.compile("^query 7, ")).wait_for()
    reader.browser.get_by_label("Word").fill("half hidden")
    reader.press("Enter")
    reader.browser.get_by_text("Query 7 marked, saved in marks-crowd.json.").first.wait_for()
    assert list(json.loads((run / "marks-crowd.json").read_text())["marks"].values()) == ["half hidden"]
    reader.cards.first.focus()
    reader.press("f")
    reader.browser.get_by_text("Saved figures/ranked-crowd-query00007.jpg").first.wait_for()
    assert (run / "figures" / "ranked-crowd-query00007.jpg").stat().st_size > 5000
    reader.browser.get_by_role("button", name="Copy lists of 1 marked").click()
    reader.browser.get_by_text("Copied the lists of 1 marked").first.wait_for()
    (folder,) = (run / "visualization" / "crowd").iterdir()
    assert len(list(folder.glob("gallery_top0*"))) == 20
    reader.press("m")
    reader.browser.get_by_text("Query 7 no longer marked").first.wait_for()


def is_told(reader: Reader) -> None:
    """What a screen reader is given."""
    tree = reader.browser.aria_snapshot()
    for part in ('region "Ranked images of crowd/query"', 'list "Ranked list. AP ', 'status: "query 7, person '):
        assert part in tree
    card = r"- button \"rank 1, [\w ]+, camera \d, similarity -?\d\.\d\d, (right|wrong)"
    assert re.search(card, reader.browser.get_by_role("list").first.aria_snapshot())


def test_in_jupyterlab_it_is_browsed_by_keys_and_mouse_and_outlives_its_kernel(notebook, fresh):
    with front_ends.chromium() as page, front_ends.lab(notebook) as url:
        front_ends.run_all(page, url)
        reader = Reader(page)
        reader.browser.wait_for()
        assert not page.locator(".jp-OutputArea-output[data-mime-type*=error]").count()
        reader.sees_images(11)
        steps_and_finds(reader)
        understands_and_keeps(reader, fresh)
        assert page.evaluate(UNTOUCHED), "no key went past the browser to the notebook"
        is_told(reader)
        page.set_viewport_size({"width": 520, "height": 900})
        page.wait_for_function(FITS)  # nothing sticks out of a narrow page
        reader.cards.first.focus()
        page.evaluate(front_ends.RESTART)
        reader.press("ArrowDown")
        reader.sees_error("No answer from the kernel")
        assert page.locator(".jp-RenderedImage img").count(), "the static figure stays"
        assert reader.cards.count() >= 10


def test_as_an_app_it_does_the_same(notebook, fresh):
    with front_ends.chromium() as page, front_ends.voila(notebook) as url:
        page.goto(url, wait_until="commit")
        reader = Reader(page)
        reader.browser.wait_for()
        reader.sees_images(11)
        steps_and_finds(reader)
        understands_and_keeps(reader, fresh)
        is_told(reader)


SEARCH = """import reidlib as rl
split, system = rl.load({crowd!r}), rl.restore({run!r})
gallery = rl.Gallery(system)
gallery.add(split.gallery[split.gallery.pids > 0])
rl.SearchBrowser(gallery, split.query)"""
DROP = """async ([name, data]) => {
    const content = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([content], name));
    document.querySelector(".reid-browser").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
}"""


def test_in_jupyterlab_an_image_is_dropped_or_chosen_and_the_threshold_stands_between_the_answers(run, tmp_path):
    notebook, crowd = tmp_path / "search.ipynb", run.parent / "crowd"
    cell = nbformat.v4.new_code_cell(SEARCH.format(crowd=str(crowd), run=str(run)))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # else JupyterLab asks for one
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), notebook)
    enrolled = [file for file in rl.load(crowd).gallery.files() if not file.name.startswith(("-1", "0000"))]
    with front_ends.chromium() as page, front_ends.lab(notebook) as url:
        front_ends.run_all(page, url)
        reader = Reader(page)
        reader.browser.wait_for()
        reader.sees("1 of 20")
        reader.sees_images(11)
        assert not reader.browser.locator(".rb-line").count(), "no threshold, no line"
        reader.browser.get_by_label("Known from").fill("-1")
        reader.press("Enter")
        reader.browser.locator("li.rb-known + li.rb-line").wait_for()
        reader.browser.get_by_label("Choose").set_input_files(enrolled[5])
        reader.sees("2 of 21")
        first = reader.cards.first.locator("img")
        name = str(int(enrolled[5].name[:4]))
        assert first.get_attribute("alt") == f"rank 1, {name}, similarity 1.00, known"
        page.evaluate(DROP, ["it is me.jpg", base64.b64encode(enrolled[0].read_bytes()).decode()])
        reader.sees("3 of 22")
        reader.browser.get_by_label("Known from").fill("1.1")
        reader.press("Enter")
        reader.browser.locator("ol > li.rb-line:first-child").wait_for()
        reader.browser.get_by_text(re.compile("^nobody · most similar: ")).first.wait_for()
        page.evaluate(DROP, ["notes.jpg", base64.b64encode(b"no image").decode()])
        reader.sees_error("notes.jpg")
        reader.cards.nth(1).focus()
        reader.press("p", "s")
        reader.browser.get_by_role("region", name="Pair").get_by_text(re.compile(r"^Cosine -?\d\.\d\d")).wait_for()
        reader.press("Escape", "ArrowUp")
        reader.sees("2 of 22")
        reader.sees_images(11)
        page.screenshot(path=os.environ.get("REID_SCREENSHOT", str(tmp_path / "search.png")))
        assert page.evaluate(UNTOUCHED), "no key went past the page to the notebook"
