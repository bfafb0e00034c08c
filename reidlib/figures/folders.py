"""Ranked lists as folders of copied images."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from reidlib.evaluation.scores import Scores
from reidlib.evaluation.sysu import SysuScores
from reidlib.figures.ranked import first_trial
from reidlib.progress import progress


def visualize(
    scores: Scores | SysuScores, folder: Path | str, k: int = 20, queries: Sequence[int] | None = None
) -> Path:
    """Copy queries and their ranked lists into the folders that the reference implementation's visualize mode writes.

    Each query has a folder `folder`/visualization/<set>/<query>/ with query_top000_name_<file> and, from 001,
    gallery_topNNN_name_<file>. <set> is the name of the query Shots up to "/"; <query> is the query's file name, or its
    path if file names repeat. The lists hold what the metric ranks; the reference's hold junk too.

    Parameters
    ----------
    scores : Scores or SysuScores
        With embeddings, as `score` returns them. Of several trials, the first one's lists are copied.
    folder : path
        Created if missing. Lists of an earlier call are replaced.
    k : int
        Gallery images in a list.
    queries : sequence of int, optional
        Indices into the query Shots; by default all.

    Returns
    -------
    Path
        The folder of the set.

    Raises
    ------
    FileNotFoundError
        If an image is missing; nothing is written then.

    References
    ----------
    `--mode visualize` of https://github.com/wangguanan/Pytorch-Person-REID-Baseline-Bag-of-Tricks.
    """
    scores = first_trial(scores)
    files, names = scores.query.files(), _folder_names(scores.query.paths.tolist())
    queries = range(len(files)) if queries is None else queries
    few = len(queries) < 100  # too quick for a progress bar
    copies = {}
    for i in progress(queries, "ranking", few=few):
        gallery = map(scores.gallery.file, scores.ranking(int(i), k).index)
        copies[names[i]] = [("query_top000", files[i])]
        copies[names[i]] += [(f"gallery_top{rank:03d}", file) for rank, file in enumerate(gallery, start=1)]
    missing = sorted({file for images in copies.values() for _, file in images if not file.is_file()})
    if missing:
        raise FileNotFoundError(f"{missing[0]} is missing, {len(missing)} image(s) in all; restore them and try again")
    target = Path(folder) / "visualization" / scores.query.name.split("/")[0]
    for name, images in progress(copies.items(), "copying ranked lists", few=few):
        _copy(images, target / name)
    return target


def _folder_names(paths: list[str]) -> list[str]:
    """A distinct name for each path: its last part, else the whole path, else the path with its position."""
    for names in ([Path(path).name for path in paths], [path.replace("/", "_") for path in paths]):
        if len(set(names)) == len(paths):
            return names
    return [f"{i:05d}_{name}" for i, name in enumerate(names)]


def _copy(images: Sequence[tuple[str, Path]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*_top[0-9][0-9][0-9]_name_*"):  # of another model's list
        old.unlink()
    for prefix, file in images:
        shutil.copyfile(file, folder / f"{prefix}_name_{file.name}")
