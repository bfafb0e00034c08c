"""SearchBrowser without a screen: whose the answers are, the line of the threshold, images of the reader's own."""

import base64

import numpy as np
import pytest
from test_browser import ask, state_size

import reidlib as rl


@pytest.fixture
def gallery(tiny, crowd):
    made = rl.Gallery(rl.build(tiny, np.array([1, 1, 2, 2]), "cpu"))
    made.add(crowd.gallery)
    return made


@pytest.fixture
def page(gallery, crowd, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    return rl.SearchBrowser(gallery, crowd.query, k=5)


def cards(page, field):
    return [card[field] for card in page.view["lists"][0]["cards"]]


def test_the_answers_are_those_of_a_search_and_the_line_stands_where_the_threshold_is(page, gallery, crowd):
    answers = gallery.search(crowd.query, k=5)
    for i in range(len(crowd.query)):
        assert cards(page, "index") == answers.positions[i].tolist()
        assert cards(page, "person") == answers.names[i].tolist()
        values = answers.similarities[i].astype(float)
        for limit in (*values - 1e-5, values[0] + 1e-5, -1.0):  # of a batch of one the last bits differ
            assert not ask(page, "known_from", value=limit)
            passed = int((values >= limit).sum())
            assert page.view["lists"][0]["at"] == passed
            assert cards(page, "word") == ["known"] * passed + ["below"] * (5 - passed)
            who = answers.names[i, 0] if passed else "nobody"
            assert page.view["query"]["person"] == who
            assert page.view["lists"][0]["result"].startswith(f"{who} · most similar: {answers.names[i, 0]}, ")
        ask(page, "step")
    assert page.view["place"] == f"{len(crowd.query)} of {len(crowd.query)}", "it stops at the end"
    assert gallery.threshold is None, "the gallery stays as it is"


def test_without_a_threshold_there_is_no_line_and_nobody_is_named(page):
    assert "line" not in page.view["lists"][0]
    assert set(cards(page, "word")) == {"answer"}
    assert page.view["lists"][0]["result"].startswith("most similar: ")
    assert page.view["query"].keys() >= {"title", "file", "person", "camera"}, "what the page's script reads"


def test_an_image_of_the_readers_own_is_searched_for_and_an_answer_too(page, gallery, crowd):
    file = crowd.gallery.files()[3]
    dropped = base64.b64encode(file.read_bytes()).decode()
    assert not ask(page, "ask", name="../C:\\my pictures/it is me.jpg", data=dropped)
    assert (cards(page, "index")[0], cards(page, "similarity")[0]) == (3, "1.00")
    assert page.asked[1].parent.samefile(page.folder.name), "no path of a page leads out of its folder"
    assert page.view["query"]["image"]
    assert page.view["place"] == f"2 of {len(crowd.query) + 1}"
    j = cards(page, "index")[2]
    assert not ask(page, "make_query", j=j)
    assert cards(page, "index")[0] == j
    assert not ask(page, "step", by=-2)
    assert page.view["place"].startswith("1 of ")
    assert not ask(page, "jump", to=file.name)
    assert page.view["query"]["file"] == file.name


def test_an_image_that_is_sent_again_while_the_kernel_was_busy_is_searched_once(page, crowd):
    dropped = base64.b64encode(crowd.gallery.files()[3].read_bytes()).decode()
    for _ in range(2):
        page._handle_custom_msg({"action": "ask", "id": "one:7", "name": "a.png", "data": dropped}, [])
    assert (len(page.asked), page.answered) == (len(crowd.query) + 1, "one:7")


def test_a_number_with_zeros_before_it_is_a_part_of_a_name(page, crowd):
    pid = f"{crowd.query.pids[-1]:04d}"
    assert not ask(page, "jump", to=pid)
    assert pid in str(page.asked[page.position])
    assert not ask(page, "jump", to="1")
    assert page.position == 1
    assert "no image '9999'" in ask(page, "jump", to="9999")


def test_a_pair_is_explained(page):
    page.gallery.system = page.gallery.system.eval()
    j = cards(page, "index")[1]
    assert not ask(page, "look", j=j)
    assert [each["file"] for each in page.pair["cards"][:1]] == [page.view["query"]["file"]]
    assert not ask(page, "explain")
    assert page.pair["words"].startswith(f"Cosine {cards(page, 'similarity')[1]}")


@pytest.mark.parametrize(
    ("action", "arguments", "message"),
    [
        ("ask", {"name": "a.jpg", "data": base64.b64encode(b"no image").decode()}, "a.jpg"),
        ("ask", {"name": "a.jpg", "data": None, "size": 9_000_000}, "a.jpg has 9 MB"),
        ("ask", {"name": "missing.jpg"}, "missing.jpg"),
        ("jump", {"to": "999"}, "no image '999'"),
        ("lists", {"k": 21}, "k=21"),
        ("known_from", {"value": "high"}, "high"),
        ("look", {"j": 999}, "not in the list"),
        ("explain", {}, "choose a pair first"),
        ("make_query", {"j": -1}, "no enrolled image -1"),
        ("filter", {}, "no action 'filter'"),
    ],
)
def test_what_goes_wrong_is_shown_and_the_page_goes_on(page, action, arguments, message):
    before = page.view
    assert message in ask(page, action, **arguments)
    assert page.view == before
    assert not ask(page, "step")
    assert page.view["place"].startswith("2 of ")


def test_what_cannot_be_shown_is_refused_and_images_without_files_have_no_picture(gallery, crowd):
    with pytest.raises(ValueError, match="the page shows files, not a ndarray"):
        rl.SearchBrowser(gallery, np.zeros((8, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="the gallery is empty"):
        rl.SearchBrowser(rl.Gallery(gallery.system), crowd.query)
    with pytest.raises(ValueError, match="k=0"):
        rl.SearchBrowser(gallery, crowd.query, k=0)
    bare = rl.Gallery(gallery.system)
    bare.add(rl.embed(gallery.system, crowd.gallery), "somebody")
    assert len(cards(rl.SearchBrowser(bare, crowd.query, k=1), "image")) == 1
    page = rl.SearchBrowser(bare, crowd.query, k=2)
    assert cards(page, "image") == [None, None]
    assert "has no file" in ask(page, "make_query", j=0)
    assert state_size(page) < 100_000
