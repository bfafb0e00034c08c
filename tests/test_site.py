"""The tools behind make docs: what they find wrong with pages, and the ranked-image browser without a kernel."""

import os
import re
import sys

import front_ends
import pytest

import reidlib as rl

sys.path.insert(0, str(rl.project() / "tools"))
import pages
import recorded

GOOD = '<article><h1 id="top">A</h1><h2>B</h2><img src="a.png" alt="a dot"><a href="#top">up</a></article>'
OTHER = '<article><h1>C</h1><a href="index.html#top">A</a> <a href="https://example.org/x">out</a></article>'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<h2>", "<h2>", []),
        ("index.html#top", "no.html", ["other.html: no.html leads nowhere"]),
        ("index.html#top", "index.html#no", ["other.html: index.html#no leads nowhere"]),
        ("#top", "#no", ["index.html: #no leads nowhere", "other.html: index.html#no leads nowhere"]),
        ('src="a.png"', 'src="b.png"', ["index.html: b.png leads nowhere"]),
        ("a dot", " ", ["index.html: no alt text for a.png"]),
        ("<h2>", "<h3>", ["index.html: a heading of level 3 follows one of level 1"]),
        ("<h2>", "<h1>", ["index.html: a heading of level 1 is not the only one"]),
    ],
)
def test_a_fault_of_the_site_has_a_line(old, new, said, tmp_path):
    (tmp_path / "a.png").touch()
    for name, content in (("index", GOOD), ("other", OTHER)):
        (tmp_path / f"{name}.html").write_text(content.replace(old, new))
    assert pages.faults(tmp_path) == said


@pytest.fixture
def widget(crowd, tiny):
    system = rl.build(tiny, crowd.train)
    scores = rl.score(rl.embed(system, crowd.query), rl.embed(system, crowd.gallery), crowd.query, crowd.gallery)
    return rl.RankedBrowser(scores, system=system, k=4)


def test_the_recorded_page_shows_what_the_widget_shows(widget, tmp_path):
    if not front_ends.CHROMIUM and not os.environ.get("REID_NEED_BROWSER"):
        pytest.skip("no Chromium here; apt-get install chromium brings it")
    said = recorded.script(recorded.record(widget))
    (tmp_path / "page.html").write_text(f"<div class=recorded-browser></div><script>{said}</script>")
    widget.order_by("worst first")
    with front_ends.chromium() as page:
        page.set_default_timeout(20_000)
        page.goto((tmp_path / "page.html").as_uri())
        follow(page, widget)
        page.locator(".rb-card").first.focus()
        for key, act in (("ArrowDown", lambda: widget.step(1)), ("End", lambda: widget.step(99))):
            page.keyboard.press(key)
            act()
            follow(page, widget)
        page.get_by_label("Order").select_option("by index")
        widget.order_by("by index")
        follow(page, widget)
        page.locator(".rb-card").nth(1).click()
        widget.make_query(widget.view["lists"][0]["cards"][1]["index"])
        follow(page, widget)
        page.keyboard.press("Escape")
        widget.back()
        follow(page, widget)
        for key in "ps":
            page.locator(".rb-card").first.press(key)
        widget.look(widget.view["lists"][0]["cards"][0]["index"])
        widget.explain()
        page.locator(".rb-words", has_text=widget.pair["words"].splitlines()[0]).wait_for()
        assert page.locator(".rb-heat[src^=blob]").count() == len(widget.pair["maps"]) == 2
        page.locator(".rb-card").first.press("m")
        page.get_by_role("alert").filter(has_text="no kernel").wait_for()


def follow(page, widget):
    """Wait until the page shows what the widget shows: its place, query, list, status and every image."""
    view = widget.view
    place = page.locator(".rb-place", has_text=re.compile(f"^{re.escape(view['place'])}$"))
    query = page.locator(f".rb-query img[alt='{view['query']['alt']}']")
    page.locator(".rb-stage").filter(has=query).wait_for()  # not the place alone: '1 of 6' is also part of another
    place.wait_for()
    assert page.locator(".rb-result").text_content() == view["lists"][0]["result"]
    cards = page.locator(".rb-card img")
    assert [each.get_attribute("alt") for each in cards.all()] == [card["alt"] for card in view["lists"][0]["cards"]]
    drawn = "[...document.querySelectorAll('.rb-stage img')].every((image) => image.naturalWidth > 0)"
    page.wait_for_function(drawn)
    assert page.locator(".rb-status").text_content() == view["status"]
