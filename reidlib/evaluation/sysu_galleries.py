"""The galleries of SYSU-MM01's protocol: which images a trial draws, and which of them a probe ignores."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from reidlib.data.shots import Shots

PLACES = np.array([0, 1, 2, 2, 4, 5, 6])  # of cameras 1 to 6: 2 and 3 are in one room; 0 is no place
FILE = "rand_perm_cam.mat"
REMEDY = (
    "it comes with the evaluation code of SYSU-MM01's authors, see data/README.md; without it, "
    "draw=sysu.seeded() draws anew, comparable in expectation"
)


def same_place(q_pid: np.ndarray, q_cam: np.ndarray, g_pid: np.ndarray, g_cam: np.ndarray) -> np.ndarray:
    """What a probe ignores: every image of its own place, of any pid (Market's rule: only those of its own pid)."""
    return PLACES[q_cam] == PLACES[g_cam]


def people(gallery: Shots) -> Shots:
    """The people of a gallery as a gallery of one entry a person, ordered by pid.

    A person seen in one place only has that place's camera; a person seen in several has camera 0, so that `same_place`
    ignores a person only if no image is left outside the probe's place.
    """
    _, first, person = np.unique(gallery.pids, return_index=True, return_inverse=True)
    place = PLACES[gallery.camids]
    elsewhere = np.bincount(person, place != place[first][person])
    return replace(gallery[first], camids=np.where(elsewhere > 0, 0, gallery.camids[first]))


@dataclass(frozen=True)
class Official:
    """The permutations of a rand_perm_cam.mat: `cells` maps (camera, pid) to an array (trials, images), from 1."""

    file: Path
    cells: dict[tuple[int, int], np.ndarray] = field(repr=False)
    name = "official"

    def order(self, camera: int, pid: int, images: int, trial: int) -> np.ndarray:
        """The images of one camera and identity, counted from 0, in the order that a trial takes them, (images,)."""
        cell = self.cells.get((camera, pid), np.empty((0, 0), int))
        if cell.shape[1] != images:
            raise ValueError(
                f"{self.file} permutes {cell.shape[1]} images of identity {pid} in camera {camera}, but the gallery "
                f"has {images}: these are not the images of SYSU-MM01, or not all of them; {REMEDY}"
            )
        if trial >= len(cell):
            raise ValueError(f"{self.file} holds {len(cell)} trials: trials={trial + 1} is more than it has")
        return cell[trial].astype(np.int64) - 1


@dataclass(frozen=True)
class Seeded:
    """Permutations from a seed; that of one camera and identity depends on nothing else in the gallery."""

    seed: int

    @property
    def name(self) -> str:
        return f"seeded {self.seed}"

    def order(self, camera: int, pid: int, images: int, trial: int) -> np.ndarray:
        """The images of one camera and identity, counted from 0, in the order that a trial takes them, (images,)."""
        return np.random.default_rng([self.seed, trial, camera, pid]).permutation(images)


Draw = Official | Seeded


def seeded(seed: int = 0) -> Seeded:
    """Galleries drawn from a seed, 0 or more: comparable with published numbers in expectation, but not identical."""
    if seed < 0:
        raise ValueError(f"seeded({seed}): a seed is 0 or more")
    return Seeded(seed)


def official(path: str | Path) -> Official:
    """The authors' galleries, for ten trials.

    Parameters
    ----------
    path : str or Path
        rand_perm_cam.mat, or the folder of SYSU-MM01 that has it in exp. It numbers images by the order of their names.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ValueError
        If the file holds something else.

    References
    ----------
    The evaluation code of Wu et al. (ICCV 2017).
    """
    candidates = [Path(path).expanduser() / below for below in ("", FILE, f"exp/{FILE}")]
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"no {FILE} at {candidates[0]} or in it or its exp: {REMEDY}")
    return Official(file, _cells(file))


def default_draw(folder: str | Path) -> Draw:
    """The official draw if the data set's folder has it, else the seeded one."""
    return official(folder) if Path(folder, "exp", FILE).is_file() else seeded()


def _cells(file: Path) -> dict[tuple[int, int], np.ndarray]:
    from scipy.io import loadmat  # slow to import, and needed for this file only

    try:
        cameras = loadmat(file)["rand_perm_cam"].ravel()
        cells = {
            (camera, pid): cell
            for camera, identities in enumerate(cameras, 1)
            for pid, cell in enumerate(identities.ravel(), 1)
            if cell.size
        }
        sound = all((np.sort(cell, 1) == np.arange(1, cell.shape[1] + 1)).all() for cell in cells.values())
    except Exception as error:  # SciPy raises nearly anything for a file of another kind
        raise ValueError(f"{file} is no {FILE} ({type(error).__name__}: {error}); {REMEDY}") from error
    if not sound:
        raise ValueError(f"{file}: a row of it is no permutation of 1, 2, ...; {REMEDY}")
    return cells


def drawn(gallery: Shots, cameras: tuple[int, ...], most: int, draw: Draw, trial: int) -> np.ndarray:
    """The gallery images of a trial, at most `most` of each camera and identity: positions (n,) int64, ascending."""
    order = np.lexsort((gallery.paths, gallery.pids, gallery.camids))
    order = order[np.isin(gallery.camids[order], cameras)]
    if not len(order):
        raise ValueError(f"the gallery has no image of cameras {cameras}: nothing to draw from")
    camids, pids = gallery.camids[order], gallery.pids[order]
    starts = np.flatnonzero((np.diff(camids) != 0) | (np.diff(pids) != 0)) + 1
    taken = []
    for cell in np.split(order, starts):
        camera, pid = int(gallery.camids[cell[0]]), int(gallery.pids[cell[0]])
        taken.append(cell[draw.order(camera, pid, len(cell), trial)[:most]])
    return np.sort(np.concatenate(taken))
