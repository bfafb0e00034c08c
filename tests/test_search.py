"""Gallery: known people and nobody, exact answers, one file; and what it refuses."""

import importlib
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import reidlib as rl
from reidlib.evaluation.cosine import Cosine
from reidlib.search import nearest as module
from reidlib.search.nearest import nearest


@pytest.fixture
def system(tiny):
    return rl.build(tiny, np.array([1, 1, 2, 2]), "cpu")


@pytest.fixture
def gallery(system, crowd):
    made = rl.Gallery(system)
    made.add(crowd.gallery)
    return made


def unit(*shape, seed=0):
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))
    return torch.nn.functional.normalize(x)


def blocks(x, n):
    return [Cosine(part[:1], part) for part in x.split(n)]


@pytest.mark.parametrize("rows", [7, 64, 1000])
def test_the_nearest_are_those_of_a_sort_in_float64_whatever_the_blocks(rows):
    q, g = unit(230, 16), unit(300, 16, seed=1)
    index, similarity = nearest(q, blocks(g, rows), 9)
    exact = torch.nn.functional.normalize(q.double()) @ torch.nn.functional.normalize(g.double()).T
    order = exact.numpy().argsort(1, kind="stable")[:, ::-1][:, :9]
    assert (index == order).all()
    np.testing.assert_allclose(similarity, np.take_along_axis(exact.numpy(), order, 1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("rows", [5, 40])
def test_of_equal_similarities_the_lower_position_comes_first(rows, monkeypatch):
    """Guards: many ties in one block, and ties across blocks, with few candidates and with many."""
    g = unit(4, 8).repeat(30, 1)
    for crowded in (0, 4, 1000):
        monkeypatch.setattr(module, "CROWDED", crowded)
        index, _ = nearest(unit(4, 8)[[2, 0]] * 3, blocks(g, rows), 4)
        assert index.tolist() == [[2, 6, 10, 14], [0, 4, 8, 12]]


def test_it_ranks_as_score_does(system, crowd, gallery):
    q, g = rl.embed(system, crowd.query), rl.embed(system, crowd.gallery)
    scores = rl.score(q, g, crowd.query, crowd.gallery, same_camera="keep")
    answers = gallery.search(crowd.query, k=12)
    for i in range(len(crowd.query)):
        ranking = scores.ranking(i, k=12)
        assert answers.positions[i].tolist() == ranking.index.tolist()
        assert (answers.similarities[i] == ranking.similarity).all()
        assert answers.names[i].tolist() == crowd.gallery.pids[ranking.index].astype(str).tolist()


def test_a_search_takes_whatever_embed_takes(crowd, gallery):
    file = crowd.query.files()[0]
    with Image.open(file) as image:
        given = (file, str(file), [file], (each for each in [file]), image.convert("RGB"), np.asarray(image),
                 crowd.query[0], rl.embed(gallery.system, file))  # fmt: skip
        answers = [gallery.search(images, k=3) for images in given]
    for other in answers[1:]:
        assert (other.names == answers[0].names).all()
    large = Image.open(file).resize((300, 500))
    assert gallery.search(large, k=3).names.shape == (1, 3), "an image of another size is resized as in training"


def test_known_or_nobody_goes_by_the_threshold(crowd, gallery):
    answers = gallery.search(crowd.query)
    assert answers.known is None
    with pytest.raises(ValueError, match=r"no threshold.*set_threshold"):
        _ = answers.who
    level = float(np.median(answers.similarities[:, 0]))
    gallery.set_threshold(level)
    answers = gallery.search(crowd.query)
    assert (answers.known == (answers.similarities[:, 0] >= np.float32(level))).all()
    assert 0 < answers.known.sum() < 6
    assert [who == "nobody" for who in answers.who] == (~answers.known).tolist()
    assert gallery.measured == {"chosen": "by hand"}


def test_a_person_is_removed_and_enrolled_again(crowd, gallery):
    before = gallery.search(crowd.query, k=12)
    gallery.remove(8)  # a pid, as in add
    assert len(gallery) == 10
    assert "8" not in gallery.search(crowd.query, k=12).names
    gallery.add(crowd.gallery[crowd.gallery.pids == 8])
    after = gallery.search(crowd.query, k=12)
    assert (np.sort(after.names, 1) == np.sort(before.names, 1)).all()
    assert (after.similarities == before.similarities).all()
    with pytest.raises(ValueError, match="'otto' is not enrolled"):
        gallery.remove("otto")


def test_many_small_additions_and_a_removal_are_the_same_as_one(system, monkeypatch):
    """Guards: rows that go astray where blocks end."""
    monkeypatch.setattr("reidlib.search.gallery.COLUMNS", 8)
    x, names = unit(30, 16), [f"p{i % 5}" for i in range(30)]
    made, whole = rl.Gallery(system), rl.Gallery(system)
    for i in range(30):
        made.add(x[[i]], names[i], more=True)
    made.remove("p3")
    keep = [i for i in range(30) if names[i] != "p3"]
    whole.add(x[keep], [names[i] for i in keep])
    assert [len(block) for block in made._blocks] == [8, 8, 8]
    ours, theirs = (each.search(unit(4, 16, seed=2), k=24) for each in (made, whole))
    assert (ours.positions == theirs.positions).all()
    assert (ours.names == theirs.names).all()


def test_a_search_holds_one_tile_of_similarities_at_a_time(system, monkeypatch):
    """Guards: a gallery of a million rows, and all of its similarities with many queries in memory at once."""
    monkeypatch.setattr("reidlib.search.gallery.COLUMNS", 8)
    monkeypatch.setattr(module, "ROWS", 4)
    tile, shapes = Cosine.tile, []
    monkeypatch.setattr(Cosine, "tile", lambda *given: shapes.append(tile(*given).shape) or tile(*given))
    for options in ({}, {"half": True}, {"average": True}):
        gallery = rl.Gallery(system, **options)
        gallery.add(unit(30, 16), [str(i) for i in range(30)])
        gallery.search(unit(9, 16, seed=2), k=3)
    assert set(shapes) == {(4, 8), (4, 6), (1, 8), (1, 6)}


def test_averages_are_the_normalised_means_of_a_persons_images(system):
    x, q = unit(6, 16), unit(3, 16, seed=3)
    gallery = rl.Gallery(system, average=True)
    gallery.add(x, ["b", "a", "b", "c", "a", "b"])
    answers = gallery.search(q, k=9)
    means = torch.stack([torch.nn.functional.normalize(x[i].mean(0), dim=0) for i in ([0, 2, 5], [1, 4], [3])])
    order = (q @ means.T).argsort(1, descending=True)
    assert answers.names.tolist() == np.array(["b", "a", "c"])[order].tolist()
    np.testing.assert_allclose(answers.similarities, (q @ means.T).gather(1, order), atol=1e-6)
    assert answers.positions.tolist() == np.array([0, 1, 3])[order].tolist(), "a person's first image"


def test_half_precision_changes_similarities_by_little(system):
    x, q = unit(60, 16), unit(5, 16, seed=3)
    full, half = rl.Gallery(system), rl.Gallery(system, half=True)
    for each in (full, half):
        each.add(x, [str(i) for i in range(60)])
    assert half._blocks[0].dtype == torch.float16
    a, b = (each.search(q, k=1) for each in (full, half))
    np.testing.assert_allclose(a.similarities, b.similarities, atol=1e-3)


@pytest.mark.parametrize("half", [False, True])
def test_a_gallery_is_saved_and_loaded(half, crowd, system, tmp_path):
    gallery = rl.Gallery(system, half=half)
    gallery.add(crowd.gallery)
    gallery.set_threshold(0.9)
    loaded = rl.Gallery.load(gallery.save(tmp_path / "door.gallery"), system)
    a, b = (each.search(crowd.query, k=4) for each in (gallery, loaded))
    assert (a.positions == b.positions).all()
    assert (a.similarities == b.similarities).all()
    assert repr(loaded) == repr(gallery)
    assert loaded.cameras == crowd.gallery.camids.astype(str).tolist()
    assert loaded.measured == gallery.measured


def test_a_file_that_is_cut_off_damaged_or_of_another_kind_is_refused(gallery, system, tmp_path, monkeypatch):
    content = gallery.save(tmp_path / "whole").read_bytes()
    wrong = bytearray(content)
    wrong[content.index(b"block000000") + 200] ^= 1
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "pickled.npz", about=np.array([{}], dtype=object))
    files = {"cut": content[:-400], "half": content[: len(content) // 2], "empty": b"", "flipped": bytes(wrong)}
    files |= {name: (tmp_path / f"{name}.npz").read_bytes() for name in ("other", "pickled")}
    for name, part in files.items():
        (tmp_path / name).write_bytes(part)
        with pytest.raises(ValueError, match=f"{name} is no gallery, or is damaged or cut off: enrol"):
            rl.Gallery.load(tmp_path / name, system)
    monkeypatch.setattr("reidlib.search.gallery.FORMAT", "reidlib gallery 0")
    with pytest.raises(ValueError, match="whole is a 'reidlib gallery 1', and this reidlib reads 'reidlib gallery 0'"):
        rl.Gallery.load(tmp_path / "whole", system)
    with pytest.raises(FileNotFoundError, match="nothing: no such gallery"):
        rl.Gallery.load(tmp_path / "nothing", system)


def test_a_gallery_of_another_model_is_refused_by_name(gallery, tiny, tmp_path):
    file = gallery.save(tmp_path / "door")
    other = rl.build(tiny.replace(seed=2), np.array([1, 1, 2, 2]), "cpu")
    with pytest.raises(ValueError, match=r"door is of another model, toy-.*seed1.*recipe is .*weights is"):
        rl.Gallery.load(file, other)
    large = rl.build(tiny.replace(height=64), np.array([1, 1, 2, 2]), "cpu")
    with pytest.raises(ValueError, match=r"size is \[32, 16\] there and \[64, 16\] here"):
        rl.Gallery.load(file, large)


def test_a_model_that_was_trained_on_since_is_refused(gallery, crowd):
    """Guards: embeddings from before and after an update in one gallery."""
    with torch.no_grad():
        gallery.system.bnneck.weight[3] += 1e-4
    for use in (lambda: gallery.search(crowd.query), lambda: gallery.add(crowd.query, "new")):
        with pytest.raises(ValueError, match=r"the gallery is of another model.*weights is"):
            use()


def test_what_cannot_be_enrolled_or_searched_says_so(gallery, system, crowd):
    empty = rl.Gallery(system)
    with pytest.raises(ValueError, match="the gallery is empty"):
        empty.search(crowd.query)
    x = unit(2, 16)
    for call, said in {
        lambda: gallery.search(crowd.query, k=0): "k=0",
        lambda: gallery.search(unit(1, 15)): "15 numbers, of the gallery 16",
        lambda: gallery.search(torch.zeros(0, 16)): r"floating point \(N, D\)",
        lambda: gallery.search([]): "no images to embed",
        lambda: gallery.search(x * torch.nan): "image 0 holds NaN or infinity",
        lambda: gallery.add(x * torch.tensor([[1.0], [0.0]]), "new"): "image 1 is all zeros",
        lambda: gallery.add(x): "the name of image 0 is ''.*for each image, or one for all",
        lambda: gallery.add(x, ["new"]): "1 names for 2 images",
        lambda: gallery.add(x, "new", cameras=[1]): "1 cameras for 2 images",
        lambda: gallery.add(x, ["new", " "]): "the name of image 1 is ''",
        lambda: gallery.add(x, [np.nan, "new"]): "the name of image 0 is ''",
        lambda: gallery.add(x, ["new", None]): "the name of image 1 is ''",
        lambda: gallery.add(x, "nobody"): "the name of image 0 is 'nobody'",
        lambda: gallery.set_threshold(float("nan")): "threshold=nan: similarities are cosines",
        lambda: gallery.set_threshold(60): "threshold=60: similarities are cosines",
        lambda: gallery.add(x, ["new", "8"]): "already enrolled: 8. .*more=True",
    }.items():
        with pytest.raises(ValueError, match=said):
            call()
    assert len(gallery) == 12, "nothing of it was enrolled"
    gallery.add(x, ["new", 8], more=True)
    gallery.add(x, 9, cameras=4, more=True)
    assert gallery.names[-4:] == ["new", "8", "9", "9"]
    assert gallery.cameras[-3:] == ["", "4", "4"]
    distractors = crowd.gallery[:2]
    distractors.pids[0] = 0
    with pytest.raises(ValueError, match="junk or distractors, which have no name"):
        rl.Gallery(system).add(distractors)


def test_a_model_that_gives_nan_is_named_with_the_file(gallery, system, crowd, monkeypatch):
    monkeypatch.setattr(system, "embed", lambda images: torch.full((len(images), 16), torch.nan))
    with pytest.raises(ValueError, match=r"image 0 \(.*\.png\) holds NaN or infinity"):
        gallery.search(crowd.query)


def test_one_name_in_two_spellings_is_one_person(system):
    """Guards: a person who is enrolled twice, and stays enrolled when the name is removed."""
    gallery, emb = rl.Gallery(system, average=True), torch.eye(4)
    gallery.add(emb, ["anna", " anna ", "Jos\u00e9", "Jose\u0301"])
    assert set(gallery.names) == {"anna", "Jos\u00e9"}
    assert gallery.search(emb[:1]).names.shape == (1, 2)
    with pytest.raises(ValueError, match="already enrolled: Jos"):
        gallery.add(emb[:1], "Jose\u0301")
    gallery.remove("Jose\u0301 ")
    assert set(gallery.names) == {"anna"}


def test_a_row_is_known_where_its_own_similarity_reaches_the_threshold(system):
    gallery = rl.Gallery(system)
    gallery.add(torch.eye(3), ["a", "b", "c"])
    gallery.set_threshold(0.5)
    rows = gallery.search(torch.tensor([[1.0, 0.1, 0.0]])).rows()
    assert [(row["name"], row["known"]) for row in rows] == [("a", True), ("b", False), ("c", False)]
    assert json.loads(json.dumps(rows)) == rows


def test_a_threshold_comes_from_scores_of_plain_objects_too(system):
    """`score` takes any objects with these five; such scores have no image to compare the model by."""

    class Labelled:
        pids, camids = np.repeat(np.arange(1, 21), 2), np.tile([1, 2], 20)
        paths = np.array([f"{i}.jpg" for i in range(40)])

        def __init__(self, root):
            self.root = root

        def __len__(self):
            return 40

    emb = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    scores = rl.score(emb, emb, Labelled("query"), Labelled("gallery"))
    gallery = rl.Gallery(system)
    gallery.add(emb, np.arange(40))
    assert gallery.set_threshold(scores, false_alarms=0.5).test == "test, seed 0"


def test_a_notebook_shows_pictures_with_words(gallery, crowd, tmp_path):
    gallery.set_threshold(1.0)
    gallery.add(unit(1, 16), "<b>otto</b>")
    answers = gallery.search([*crowd.query.files(), np.zeros((40, 20, 3), np.uint8)], k=13)
    page = answers._repr_html_()
    assert page.count("<img") == 7 + 7 * 12, "an embedding without an image is a name alone"
    assert page.count("<b>nobody</b>") == 7
    assert page.count("<th") == 2
    assert repr(answers).splitlines()[1].split() == ["query", "who", "the", "most", "similar,", "best", "first"]
    assert "<b>otto" not in page
    assert str(crowd.query.files()[0].parent) not in page, "a committed notebook holds no path of a machine"
    crowd.gallery.files()[0].unlink()
    assert answers._repr_html_().count("<img") == 7 + 7 * 11
    assert len(gallery.search(crowd.query.files() * 5, k=1)._repr_html_()) < 300_000
    assert "30 queries, the first 20" in repr(gallery.search(crowd.query.files() * 5, k=1))


def test_the_rows_of_answers_are_plain_values(gallery, crowd):
    rows = gallery.search(crowd.query, k=2).rows()
    assert [row["rank"] for row in rows] == [1, 2] * 6
    assert set(rows[0]) == {"query", "rank", "name", "similarity"}
    gallery.set_threshold(0.0)
    assert gallery.search(crowd.query, k=2).rows()[0]["known"] is True


def test_a_system_from_outside_the_library_works(crowd, tmp_path, monkeypatch):
    (tmp_path / "mean.py").write_text(
        "import torch\n"
        "class Mean(torch.nn.Module):\n"
        "    flip = False\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.scale = torch.nn.Parameter(torch.ones(1))\n"
        "    @classmethod\n"
        "    def from_recipe(cls, recipe, ids):\n"
        "        return cls()\n"
        "    @torch.inference_mode()\n"
        "    def embed(self, images):\n"
        "        parts = torch.nn.functional.adaptive_avg_pool2d(images, (2, 1)).flatten(1)\n"
        "        return torch.nn.functional.normalize(self.scale * parts)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("mean")
    system = rl.build(rl.Recipe.for_dataset("toy", model="mean:Mean", height=32, width=16), crowd.train, "cpu")
    gallery = rl.Gallery(system)
    gallery.add(crowd.gallery)
    again = rl.Gallery.load(gallery.save(tmp_path / "mean.gallery"), system)
    assert again.search(crowd.query, k=1).names[:, 0].tolist() == crowd.query.pids.astype(str).tolist()
    sys.modules.pop("mean")


def test_pids_may_be_a_tensor(system):
    gallery, x = rl.Gallery(system), unit(2, 8)
    gallery.add(x, torch.tensor([3, 4]))
    assert gallery.names == ["3", "4"]
    with pytest.raises(ValueError, match="names are text or numbers, not bytes"):
        gallery.add(x, b"ab")
