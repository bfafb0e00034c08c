"""Which gallery images a trial of SYSU-MM01's protocol takes: the authors' permutations, or seeded ones of our own."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

FILE = "rand_perm_cam.mat"
REMEDY = (
    "it comes with the evaluation code of SYSU-MM01's authors, see data/README.md; without it, "
    "draw=sysu.seeded() draws anew, comparable in expectation"
)


@dataclass(frozen=True)
class Official:
    """The permutations of a rand_perm_cam.mat: `cells` holds for each (camera, pid) one (trials, images), 1-based."""

    file: Path
    cells: dict[tuple[int, int], np.ndarray] = field(repr=False)
    name = "official"

    def order(self, camera: int, pid: int, images: int, trial: int) -> np.ndarray:
        """The images of one camera and identity, counted from 0, in the order that a trial takes them, (images,)."""
        cell = self.cells.get((camera, pid), np.empty((0, 0), int))
        if cell.shape[1] != images:
            raise ValueError(
                f"{self.file} permutes {cell.shape[1]} images of identity {pid} in camera {camera}, but the gallery "
                f"has {images}: the images are not those of SYSU-MM01, or not all; {REMEDY}"
            )
        if trial >= len(cell):
            raise ValueError(f"{self.file} holds {len(cell)} trials: trials={trial + 1} is more than it can give")
        return cell[trial].astype(np.int64) - 1


@dataclass(frozen=True)
class Seeded:
    """Permutations from a seed: those of one camera and identity depend on nothing else in the gallery."""

    seed: int
    name = property(lambda self: f"seeded {self.seed}")

    def order(self, camera: int, pid: int, images: int, trial: int) -> np.ndarray:
        """The images of one camera and identity, counted from 0, in the order that a trial takes them, (images,)."""
        return np.random.default_rng([self.seed, trial, camera, pid]).permutation(images)


def seeded(seed: int = 0) -> Seeded:
    """A draw of our own: comparable with published numbers in expectation, and not identical."""
    if seed < 0:
        raise ValueError(f"seeded({seed}): a seed is 0 or more")
    return Seeded(seed)


def official(path: str | Path) -> Official:
    """The authors' draw, from rand_perm_cam.mat or from the folder of SYSU-MM01 that has it in exp.

    Images are numbered by the order of their names. FileNotFoundError where it is not there, ValueError where the file
    holds something else; it is used for ten trials at most. Source: the evaluation code of Wu et al. (ICCV 2017).
    """
    places = [Path(path).expanduser() / below for below in ("", FILE, f"exp/{FILE}")]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"no {FILE} at {places[0]} or in it or its exp: {REMEDY}")
    return Official(file, _cells(file))


def found(folder: str | Path) -> Official | Seeded:
    """The official draw where the data set's folder has it, else the seeded one."""
    return official(folder) if Path(folder, "exp", FILE).is_file() else seeded()


def _cells(file: Path) -> dict[tuple[int, int], np.ndarray]:
    from scipy.io import loadmat  # only here, so that a toy evaluation need not load it

    try:
        cameras = loadmat(file)["rand_perm_cam"].ravel()
        cells = {
            (camera, pid): cell
            for camera, people in enumerate(cameras, 1)
            for pid, cell in enumerate(people.ravel(), 1)
            if cell.size
        }
        sound = all((np.sort(cell, 1) == np.arange(1, cell.shape[1] + 1)).all() for cell in cells.values())
    except Exception as error:  # on what is no such file SciPy raises nearly anything
        raise ValueError(f"{file} is no {FILE} ({type(error).__name__}: {error}); {REMEDY}") from error
    if not sound:
        raise ValueError(f"{file}: a row of it is no permutation of 1, 2, ...; {REMEDY}")
    return cells


def take(gallery, cameras: tuple[int, ...], most: int, draw: Official | Seeded, trial: int) -> np.ndarray:
    """The gallery images of a trial, at most so many of each camera and identity: positions (n,) int64, rising."""
    order = np.lexsort((gallery.paths, gallery.pids, gallery.camids))
    order = order[np.isin(gallery.camids[order], cameras)]
    if not len(order):
        raise ValueError(f"the gallery has no image of cameras {cameras}: nothing to draw from")
    camids, pids = gallery.camids[order], gallery.pids[order]
    starts = np.flatnonzero((np.diff(camids) != 0) | (np.diff(pids) != 0)) + 1
    taken = []
    for one in np.split(order, starts):
        camera, pid = int(gallery.camids[one[0]]), int(gallery.pids[one[0]])
        taken.append(one[draw.order(camera, pid, len(one), trial)[:most]])
    return np.sort(np.concatenate(taken))
