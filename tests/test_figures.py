"""The figures say what the numbers say, carry alt text, leave no trace in matplotlib and save the same bytes twice."""

from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import font_manager
from matplotlib.patches import Rectangle
from PIL import Image

import reidlib as rl
from reidlib.data import Shots, Split
from reidlib.data.augment import normalise
from reidlib.evaluation.score import score
from reidlib.figures import diagrams, plots, ranked, shots, style
from reidlib.figures.ranked import visualize
from reidlib.settings import shortened
from reidlib.train.rows import BOOKKEEPING

pytestmark = pytest.mark.filterwarnings("error")


def drawn(folder: Path, part: str, people: list[tuple[int, int]]) -> Shots:
    """Shots of (pid, camid) pairs with a plain picture each: the colour of the shirt is the person."""
    (folder / part).mkdir()
    names = [f"{pid:04d}_c{cam}s1_{n:06d}_00.png" for n, (pid, cam) in enumerate(people)]
    for name, (pid, _) in zip(names, people):
        picture = Image.new("RGB", (16, 32), (200, 200, 200))
        picture.paste((40 * (pid % 6), 90, 250 - 40 * (pid % 6)), (4, 8, 12, 24))
        picture.save(folder / part / name)
    pids, camids = (np.array(column, np.int64) for column in zip(*people))
    return Shots(f"tiny/{part}", folder / part, np.array(names), pids, camids)


@pytest.fixture
def split(tmp_path) -> Split:
    train = drawn(tmp_path, "train", [(p, c) for p in (1, 2, 3) for c in (1, 2, 3) if (p, c) != (3, 3)])
    query = drawn(tmp_path, "query", [(4, 1), (5, 2), (6, 3), (7, 1)])  # nobody in the gallery is person 7
    gallery = drawn(tmp_path, "gallery", [(p, c) for p in (4, 5, 6) for c in (1, 2, 3)] + [(0, 1), (0, 2), (-1, 3)])
    return Split("tiny", train, query, gallery)


@pytest.fixture
def scores(split):
    def features(images, seed):
        noise = np.random.default_rng(seed).normal(0, 0.5, (len(images), 8))
        return torch.from_numpy(np.eye(8)[images.pids % 8] + noise).float()

    return score(features(split.query, 0), features(split.gallery, 1), split.query, split.gallery)


def texts(fig) -> list[str]:
    return [text.get_text() for ax in fig.axes for text in ax.texts]


def frames(fig, colour: str) -> list[Rectangle]:
    wanted = matplotlib.colors.to_rgba(colour)
    return [p for p in fig.axes[0].patches if not p.get_fill() and p.get_edgecolor() == wanted]


ROWS = [
    {"epoch": e, "iteration": 10 * e, "loss": 4 / e, "ce": 3 / e, "triplet": 1 / e, "acc": 1 - 1 / e, "lr": 1e-3 / e}
    | {"seconds": 1.0, "images_per_s": 64.0}
    for e in (1, 2, 3)
]
BOXES = {
    "image": (0, 0, "data", "3 × 64 × 32"), "trunk": (1, 0, "layer", ""), "triplet": (1, 1, "loss", "margin 0.3"),
}  # fmt: skip
DRAWINGS = {
    "diagram": lambda split, scores: diagrams.plot_diagram(BOXES, [("image", "trunk"), ("trunk", "triplet")]),
    "shots": lambda split, scores: shots.show_shots(split.train, [0, 3], title="Two shots"),
    "identity": lambda split, scores: shots.plot_identity(split.train, [1, 3]),
    "batch": lambda split, scores: shots.plot_batch(np.zeros((4, 32, 16, 3), np.uint8), pids=[1, 1, 2, 2]),
    "split": lambda split, scores: shots.plot_split(split),
    "log": lambda split, scores: plots.plot_log(ROWS),
    "schedule": lambda split, scores: plots.plot_schedule({"warm": [1e-5, 1e-4, 1e-4], "flat": [1e-4] * 3}),
    "cmc": lambda split, scores: plots.plot_cmc({"this": scores}),
    "ap": lambda split, scores: plots.plot_ap_histogram(scores),
    "matrix": lambda split, scores: plots.plot_matrix([[1.0, np.nan]], ["a"], ["b", "c"], title="mAP"),
    "ranked": lambda split, scores: ranked.plot_ranked(scores, [0, 3], k=12, ignored=True, columns=5),
    "similarity": lambda split, scores: ranked.plot_similarity(scores),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_figure_draws_without_warning_says_what_it_shows_and_leaves_matplotlib_alone(name, split, scores):
    before = dict(matplotlib.rcParams)
    fig = DRAWINGS[name](split, scores)
    data, metadata = fig._repr_mimebundle_()
    kind = f"image/{'jpeg' if fig.photos else 'png'}"
    assert set(data) == {kind, "text/plain"}
    assert data["text/plain"] == metadata[kind]["alt"] == fig.alt
    assert len(fig.alt) > 30
    assert "nan" not in fig.alt
    assert dict(matplotlib.rcParams) == before


def test_the_alt_text_of_batches_schedules_and_tables():
    batch = shots.plot_batch(np.zeros((4, 32, 16, 3), np.uint8), pids=[1, 1, 2, 2])
    assert batch.alt == "A training batch: 4 images of 32 x 16 pixels of 2 identities."
    schedule = plots.plot_schedule({"steps": [1e-3, 1e-4]})
    assert schedule.alt == "Learning rate by epoch: steps starts at 0.001, reaches 0.001 and ends at 0.0001"
    table = plots.plot_matrix([[61.5, 80.2]], ["market"], ["none", "all"], "mAP", ylabel="trained on", xlabel="tricks")
    assert table.alt == "mAP (trained on / tricks). market / none: 61.5; market / all: 80.2."


def test_words_under_a_batch_and_their_lines():
    fig = shots.plot_batch(np.zeros((2, 32, 16, 3), np.uint8), ["A\ncamera 1", "A\ncamera 2"])
    assert fig.alt == "A training batch: 2 images of 32 x 16 pixels: A camera 1; A camera 2.", "words are no identities"
    assert texts(fig) == ["A", "camera 1", "A", "camera 2"]


def test_a_diagram_has_its_boxes_where_they_belong_and_arrows_between_facing_sides():
    fig = diagrams.plot_diagram(BOXES, [("image", "trunk"), ("trunk", "triplet")], "Net")
    assert fig.alt == "Net. image (3 × 64 × 32) to trunk; trunk to triplet (margin 0.3)."
    explained = ["filled: numbers", "solid: a layer", "dashed: a loss"]
    assert texts(fig)[-3:] == explained, "the kinds that occur are explained, no other"
    boxes, arrows = ([p for p in fig.axes[0].patches if type(p).__name__ == kind]
                     for kind in ("FancyBboxPatch", "FancyArrowPatch"))  # fmt: skip
    image, trunk, triplet = (box.get_bbox() for box in boxes)
    assert image.x1 < trunk.x0 == triplet.x0
    assert image.y0 == trunk.y0 < triplet.y0, "row 0 is above row 1: the axis points down"
    (right, down) = (arrow._posA_posB for arrow in arrows)
    assert np.allclose(right, [(image.x1, (image.y0 + image.y1) / 2), (trunk.x0, (trunk.y0 + trunk.y1) / 2)])
    assert np.allclose(down, [((trunk.x0 + trunk.x1) / 2, trunk.y1), ((trunk.x0 + trunk.x1) / 2, triplet.y0)])
    with pytest.raises(KeyError):
        diagrams.plot_diagram(BOXES, [("image", "nothing")])


@pytest.mark.parametrize("name", ["shots", "cmc", "ranked"])
def test_a_figure_saved_or_drawn_again_has_the_same_bytes(name, split, scores, tmp_path):
    fig = DRAWINGS[name](split, scores)
    paths = [style.save_figure(fig, name, tmp_path / folder) for folder in ("one", "two")]
    paths.append(style.save_figure(DRAWINGS[name](split, scores), name, tmp_path / "three"))
    assert len({path.read_bytes() for path in paths}) == 1
    assert paths[0].name == f"{name}.{'jpg' if fig.photos else 'png'}"
    with Image.open(paths[0]) as image:
        assert image.size == tuple(int(inches * style.FILE_DPI) for inches in fig.get_size_inches())
        assert not set(image.info) & {"Software", "Creation Time", "exif"}


@pytest.mark.parametrize("name", ["", "a/b", "cmc.png", "../cmc"])
def test_save_refuses_a_name_with_a_folder_or_an_ending(name):
    with pytest.raises(ValueError, match="plain name"):
        style.save_figure(style.Picture(), name)


def test_save_writes_to_the_figures_folder_of_the_repository_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "project", lambda: tmp_path)
    assert style.save_figure(plots.plot_matrix([[1]], ["a"], ["b"]), "table") == tmp_path / "figures" / "table.png"


def test_every_symbol_has_a_glyph_in_the_font_of_the_style_sheet():
    font = font_manager.get_font(font_manager.findfont("DejaVu Sans", fallback_to_default=False))
    assert all(font.get_char_index(ord(symbol)) for symbol in "✓✗–·×")


def test_captions_name_person_and_camera_also_of_junk_and_distractors(split):
    fig = shots.show_shots(split.gallery, [0, 9, 11])
    assert texts(fig) == ["person 0004", "camera 1", "distractor", "camera 1", "junk", "camera 3"]
    assert len(shots.show_shots(split.gallery, split.gallery.pids == 4).axes[0].images) == 3
    fig = shots.show_shots(split.gallery, [0, 11], words=["query", "ignored"])
    assert texts(fig) == ["query", "person 0004", "camera 1", "ignored", "junk", "camera 3"]
    with pytest.raises(ValueError, match="longer"):
        shots.show_shots(split.gallery, [0, 11], words=["query"])


def test_no_image_selected_is_an_error(split):
    with pytest.raises(ValueError, match="no images"):
        shots.show_shots(split.train, [])


def test_an_identity_has_a_picture_in_each_camera_that_saw_it_and_a_note_in_the_others(split):
    fig = shots.plot_identity(split.train, [1, 3])
    assert len(fig.axes[0].images) == 5
    assert texts(fig).count("not seen") == 1
    assert {"camera 3", "person\n0001", "person\n0003"} <= set(texts(fig))
    with pytest.raises(ValueError, match="no identity \\[99\\]"):
        shots.plot_identity(split.train, [1, 99])


def test_a_missing_and_a_broken_image_become_a_box_with_the_file_name(split):
    split.train.file(0).unlink()
    split.train.file(1).write_bytes(split.train.file(1).read_bytes()[:60])
    fig = shots.show_shots(split.train, [0, 1, 2])
    boxes = ["".join(text.split("\n")) for text in texts(fig) if text.startswith("no image")]
    assert boxes == [f"no image{split.train.paths[i]}" for i in (0, 1)]
    assert len(fig.axes[0].images) == 1


def test_a_normalised_batch_is_shown_in_its_own_colours(split):
    pixels = torch.randint(0, 256, (2, 8, 4, 3), dtype=torch.uint8)
    shown = shots.plot_batch(normalise(pixels)).axes[0].images
    for image, original in zip(shown, pixels):
        np.testing.assert_allclose(np.asarray(image.get_array()), original.numpy() / 255, atol=0.01)
    with pytest.raises(ValueError, match=r"\(2, 8, 4\)"):
        shots.plot_batch(pixels[..., 0])


def test_the_camera_bars_add_up_to_the_sets(split):
    bars = {
        bars.get_label(): sum(bar.get_height() for bar in bars) for bars in shots.plot_split(split).axes[1].containers
    }
    assert bars == {"train 8": 8, "query 4": 4, "gallery, people 9": 9, "gallery, others 3": 3}


def test_the_log_draws_each_part_of_the_loss_and_the_rate_on_panels_of_their_own():
    losses, accuracy, rate = plots.plot_log([row | {"center": 0.1} for row in ROWS]).axes
    assert [line.get_label() for line in losses.lines] == ["loss", "ce", "triplet", "center"]
    assert list(losses.lines[0].get_xdata()) == [10, 20, 30]
    assert list(accuracy.lines[0].get_ydata()) == [100 * row["acc"] for row in ROWS]
    assert list(rate.lines[0].get_ydata()) == [row["lr"] for row in (ROWS[0], *ROWS)]
    assert rate.lines[0].get_drawstyle() == "steps-pre"  # the rate of an epoch holds from the end of the one before
    with pytest.raises(ValueError, match="no rows"):
        plots.plot_log([])


def test_the_log_of_a_training_draws_its_losses_and_none_of_the_loops_own_columns(tiny, crowd, tmp_path):
    system = rl.build(tiny, crowd.train, "cpu")
    row = next(rl.fit(system, crowd.train, tmp_path))
    lines = plots.plot_log([row]).axes[0].lines
    assert [line.get_label() for line in lines] == ["loss", "ce", "triplet"]
    assert set(row) - set(BOOKKEEPING) == {"loss", "ce", "triplet", "acc"}


def test_the_cmc_curve_is_that_of_the_scores_and_models_differ_in_line_and_marker(scores):
    lines = plots.plot_cmc({"one": scores, "two": scores}, top=5).axes[0].lines
    np.testing.assert_allclose(lines[0].get_ydata(), 100 * scores.cmc[:5])
    assert f"mAP {100 * scores.mAP:.1f}" in lines[0].get_label()
    assert lines[0].get_linestyle() != lines[1].get_linestyle()
    assert lines[0].get_marker() != lines[1].get_marker()


def test_the_band_of_a_cmc_curve_is_the_interval_of_each_rank(scores):
    (band,) = plots.plot_cmc({"one": scores}, top=5).axes[0].collections
    corners = band.get_paths()[0].vertices
    for rank in range(1, 6):
        edges = corners[corners[:, 0] == rank, 1]
        np.testing.assert_allclose([edges.min(), edges.max()], 100 * np.array(scores.interval(f"rank-{rank}")))


def test_the_ap_histogram_counts_valid_queries_only(scores):
    fig = plots.plot_ap_histogram(scores)
    assert sum(bar.get_height() for bar in fig.axes[0].patches) == scores.num_valid == 3
    assert f"mean {100 * scores.mAP:.1f} %" in fig.alt


def test_a_matrix_is_cividis_and_writes_light_on_dark_and_dark_on_light():
    fig = plots.plot_matrix([[0.0, 100.0, np.nan]], ["market"], ["a", "b", "c"], fmt=".0f")
    low, high, none = fig.axes[0].texts
    assert (low.get_text(), high.get_text(), none.get_text()) == ("0", "100", "–")
    assert (low.get_color(), high.get_color()) == ("white", style.INK)
    assert fig.axes[0].images[0].get_cmap().name == "cividis"
    with pytest.raises(ValueError, match=r"\(1, 2\), but 2 rows"):
        plots.plot_matrix([[1, 2]], ["a", "b"], ["c", "d"])


@pytest.mark.parametrize("ignored", [False, True])
def test_a_ranked_list_marks_right_wrong_and_ignored_by_symbol_colour_and_line(scores, ignored):
    ranking = scores.ranking(0, 12, ignored)
    fig = ranked.plot_ranked(scores, [0], k=12, ignored=ignored)
    right, left_out = int(ranking.match.sum()), int(ranking.ignored.sum())
    wrong = len(ranking.index) - right - left_out
    marks = [text for text in texts(fig) if text[0] in "✓✗–" and ":" not in text]
    assert [sum(mark[0] == symbol for mark in marks) for symbol in "✓✗–"] == [right, wrong, left_out]
    assert (right, left_out) == (2, 2 if ignored else 0)
    looks = (style.BLUE, right, "-"), (style.VERMILLION, wrong, "--"), (style.GREY, left_out, ":")
    for colour, count, _ in looks:
        assert len(frames(fig, colour)) == count
    assert len({frames(fig, colour)[0].get_linestyle() for colour, count, _ in looks if count}) == 2 + ignored


def test_ranks_skip_ignored_images_so_that_the_first_match_stands_at_its_rank(scores):
    for i in np.flatnonzero(scores.valid):
        fig = ranked.plot_ranked(scores, [i], k=12, ignored=True)
        first = next(text for text in texts(fig) if text.startswith("✓"))
        assert first == f"✓ {scores.first_match[i]}"
        assert f"rank {scores.first_match[i]}" in texts(fig)
        assert f"{100 * scores.ap[i]:.1f} %" in texts(fig)


def test_under_each_image_stand_its_similarity_and_camera_and_under_the_query_who_it_is(scores):
    ranking = scores.ranking(1, 5)
    shown = texts(ranked.plot_ranked(scores, [1], k=5))
    below = [f"{s:.2f} · c{scores.gallery.camids[j]}" for s, j in zip(ranking.similarity, ranking.index)]
    assert [text for text in shown if " · c" in text] == below
    assert {"query 1", "person 0005", "camera 2"} <= set(shown)


def test_a_query_without_match_says_so_and_a_first_match_beyond_the_list_stands_out(scores):
    assert "no match in\nthe gallery" in texts(ranked.plot_ranked(scores, [3], k=3))
    scores.first_match[0] = 9
    fig = ranked.plot_ranked(scores, [0], k=3)
    assert next(text for text in fig.axes[0].texts if text.get_text() == "rank 9").get_color() == style.VERMILLION
    with pytest.raises(ValueError, match="k=0"):
        ranked.plot_ranked(scores, [0], k=0)


def test_the_alt_text_reads_a_list_in_order(scores):
    words = {True: "right", False: "wrong"}
    told = ", ".join(words[match] for match in scores.ranking(2, 4).match.tolist())
    assert f"Query 2, person 0006, camera 3: AP {100 * scores.ap[2]:.1f} %" in ranked.plot_ranked(scores, [2], k=4).alt
    assert f"the list reads {told}." in ranked.plot_ranked(scores, [2], k=4).alt


class Fixed:
    def __init__(self, ap):
        self.ap = np.array(ap)
        self.valid = ~np.isnan(self.ap)


@pytest.mark.parametrize(
    ("ap", "n", "expected"),
    [
        ([0.5, np.nan, 0.9, 0.1, 0.9, 0.3, 0.2], 1, [2, 0, 3]),
        ([0.5, np.nan, 0.9, 0.1, 0.9, 0.3, 0.2], 2, [2, 4, 0, 5, 6, 3]),
        ([0.5, 0.5, 0.5, 0.5, 0.5], 1, [0, 2, 4]),
        ([np.nan, 0.2, 0.7], 2, [2, 1]),
    ],
)
def test_extremes_are_best_median_and_worst_of_the_valid_with_ties_by_index(ap, n, expected):
    assert ranked.extremes(Fixed(ap), n).tolist() == expected


def test_similarities_are_counted_without_what_the_metric_ignores(scores):
    fig = ranked.plot_similarity(scores)
    assert "matches: 6," in fig.alt  # three queries, two other cameras each
    assert "other identities: 24," in fig.alt  # of 12 images: 2 matches, 1 of the same camera, 1 junk
    assert "nearest other identity of a query: 3," in fig.alt


def test_similarities_are_drawn_if_nobody_is_wrong_too(split):
    gallery = split.gallery[split.gallery.pids == 4]
    fig = ranked.plot_similarity(score(torch.eye(4)[:1], torch.eye(4)[:3], split.query[:1], gallery))
    assert fig.alt.endswith("matches: 2, median 0.00; other identities: none; nearest other identity of a query: none.")
    assert [text.get_text() for text in fig.axes[0].get_legend().get_texts()] == ["matches"]


@pytest.mark.parametrize("ignored", [False, True])
def test_of_several_trials_the_first_is_drawn(tmp_path, ignored):
    query = drawn(tmp_path, "query", [(1, 3), (2, 6), (3, 3)])
    gallery = drawn(tmp_path, "gallery", [(pid, cam) for pid in (1, 2, 3, 4) for cam in (1, 1, 2, 2, 4, 5)])
    features = np.random.default_rng(0).normal(size=(len(query) + len(gallery), 8)).astype(np.float32)
    q, g = torch.from_numpy(features[:3]), torch.from_numpy(features[3:])
    scores = rl.sysu.score(q, g, query, gallery, trials=3, draw=rl.sysu.seeded(0))
    first = ranked.plot_ranked(scores.trial(0), [0, 1], k=20, ignored=ignored)
    assert ranked.plot_ranked(scores, [0, 1], k=20, ignored=ignored).alt == first.alt
    assert style.encode(ranked.plot_ranked(scores, [0], ignored=ignored), 50) == style.encode(
        ranked.plot_ranked(scores.trial(0), [0], ignored=ignored), 50
    )
    assert ("ignored" in first.alt) == ignored
    assert ranked.plot_similarity(scores).alt == ranked.plot_similarity(scores.trial(0)).alt
    folders = [visualize(each, tmp_path / name, k=3) for each, name in ((scores, "a"), (scores.trial(0), "b"))]
    names = [sorted(file.relative_to(folder) for file in folder.rglob("*.png")) for folder in folders]
    assert names[0] == names[1]
    assert ranked.extremes(scores, 1).tolist()


def test_extremes_of_nothing_valid_is_an_error():
    with pytest.raises(ValueError, match="no query has a match"):
        ranked.extremes(Fixed([np.nan, np.nan]))


def test_visualize_writes_the_layout_of_the_reference_implementation_without_junk(scores, tmp_path):
    place = visualize(scores, tmp_path / "run", k=4)
    assert place == tmp_path / "run" / "visualization" / "tiny"
    assert sorted(path.name for path in place.iterdir()) == scores.query.paths.tolist()
    for i, name in enumerate(scores.query.paths):
        index = scores.ranking(i, 4).index
        expected = [f"gallery_top{rank:03d}_name_{scores.gallery.paths[j]}" for rank, j in enumerate(index, 1)]
        assert sorted(path.name for path in (place / name).iterdir()) == [*expected, f"query_top000_name_{name}"]
        copied = (place / name / expected[0]).read_bytes()
        assert copied == scores.gallery.file(index[0]).read_bytes()
        assert not any("_name_-" in file for file in expected)


def test_a_set_without_training_images_is_drawn(split):
    alt = shots.plot_split(replace(split, train=split.train[:0])).alt
    assert "Train images per identity: none." in alt
    assert "train 0, query" in alt


def test_visualize_again_with_a_shorter_list_leaves_nothing_of_the_longer(scores, tmp_path):
    place = visualize(scores, tmp_path, k=6)
    (place / scores.query.paths[1] / "gallery_top1050_name_x.jpg").touch()
    (place / scores.query.paths[1] / "my_top3_name_x.jpg").touch()
    visualize(scores, tmp_path, k=2, queries=[1])
    assert [len(list((place / name).iterdir())) for name in scores.query.paths] == [7, 3 + 1, 7, 7]


def test_a_world_has_a_folder_without_a_colon_which_windows_refuses(scores, tmp_path):
    world = replace(scores, compared=replace(scores.compared, query=replace(scores.query, name="toy:alike=1/query")))
    assert visualize(world, tmp_path, k=1, queries=[0]) == tmp_path / "visualization" / "toy_alike=1"


def test_visualize_names_a_missing_image_before_it_writes_anything(scores, tmp_path):
    lost = scores.gallery.file(scores.ranking(2, 1).index[0])
    lost.unlink()
    with pytest.raises(FileNotFoundError, match=lost.name):
        visualize(scores, tmp_path / "run", k=3)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (["a/1.png", "b/1.png"], ["a_1.png", "b_1.png"]),
        (["1/2_a.png", "1_2/a.png", "2/a.png"], ["00000_1_2_a.png", "00001_1_2_a.png", "00002_2_a.png"]),
        ([f"{i}/{i}{240 * 'x'}.png" for i in "012"], [shortened(f"{i}{240 * 'x'}.png", 200) for i in "012"]),
    ],
)
def test_visualize_keeps_apart_queries_whose_files_have_the_same_name(split, tmp_path, names, folders):
    root, some = split.query.root, split.query[: len(names)]
    for old, new in zip(some.files(), names):
        (root / new).parent.mkdir()
        old.rename(root / new)
    query = Shots("tiny/query", root, np.array(names), some.pids, some.camids)
    scores = score(torch.eye(3)[: len(names)], torch.eye(3)[split.gallery.pids % 3], query, split.gallery)
    target = visualize(scores, tmp_path, k=1)
    assert sorted(path.name for path in target.iterdir()) == folders
    for folder, file in zip(folders, query.files()):
        (copied,) = (target / folder).glob("query_*")
        assert copied.read_bytes() == file.read_bytes()


def test_a_dollar_in_a_name_begins_no_formula_and_a_log_axis_keeps_its_powers():
    drawn = {}
    for name in ("costs $5, not $6", r"$\nonsense$", "plain"):
        fig = plots.plot_schedule({name: [1e-5, 1e-3]})
        fig.axes[0].set_title(name)
        drawn[name] = style.encode(fig, 100)
        legend = fig.axes[0].get_legend().get_texts()[0]
        assert (legend.get_text(), legend.get_parse_math()) == (name, False)
        assert not fig.axes[0].title.get_parse_math()
        powers = [label for label in fig.axes[0].get_yticklabels() if "10^{-4}" in label.get_text()]
        assert powers
        assert all(label.get_parse_math() for label in powers)
    assert len(set(drawn.values())) == 3
