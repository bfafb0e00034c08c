"""Gallery: the people whom a system knows, searched exactly, kept in one file."""

import json
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reidlib.data.labels import spelled
from reidlib.data.shots import DISTRACTOR, Shots
from reidlib.evaluation.cosine import Cosine, without_direction
from reidlib.evaluation.counting import COLUMNS
from reidlib.evaluation.scores import Scores
from reidlib.files import few, write_whole
from reidlib.search.answers import NOBODY, Answers
from reidlib.search.identity import model_of, refuse, refuse_scores
from reidlib.search.nearest import nearest
from reidlib.search.open_set import OpenSet, open_set
from reidlib.systems import System
from reidlib.train.embedding import Picture, embed, pictures_of

FORMAT = "reidlib gallery 1"
FIELDS = ("names", "cameras", "sources")
Images = Shots | Picture | Iterable[Picture] | Tensor  # a tensor: embeddings (N, D) that were computed before
Entries = tuple[Iterable[Cosine], np.ndarray]


class Gallery:
    """Named people, to be searched for those on new images; see `add`, `search`, `set_threshold` and `save`.

    Parameters
    ----------
    system : a trained system, of this library or of your own
    average : a person's entry is the mean of the embeddings of all of the person's images; default: each image is one
    half : keep embeddings in half precision: half of the memory, and similarities that differ by up to 0.001
    """

    def __init__(self, system: System, average: bool = False, half: bool = False) -> None:
        self.system, self.average, self.dtype = system, average, torch.float16 if half else torch.float32
        self.model = model_of(system)
        self.names: list[str] = []  # (N,) of each enrolled image
        self.cameras: list[str] = []  # (N,) "" if unknown
        self.sources: list[str] = []  # (N,) its file; "" of a picture in memory
        self.threshold: float | None = None  # the least similarity of somebody who is known
        self.measured: dict[str, Any] = {}  # what the threshold was found on
        self._blocks: list[Tensor] = []  # (n, D) each, COLUMNS rows but for the last
        self._ready: Entries | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        rule = "" if self.threshold is None else f", known from {self.threshold:.3f} on"
        return f"Gallery({len(set(self.names)):,} people, {len(self):,} images, of {self.model['recipe']}{rule})"

    def add(
        self, images: Images, names: str | int | Iterable[Any] | None = None, cameras: Any = None, more: bool = False
    ) -> None:
        """Enrol images of people.

        Parameters
        ----------
        images : N images, whatever `embed` takes, or their embeddings, a floating-point tensor (N, D)
        names : whose each image is, (N,), or one for all, spelled as labels are; of Shots by default their pids
        cameras : where each was taken, (N,), or one for all, kept as `cameras`; of Shots by default their camids
        more : these are further images of people who may be enrolled already

        Raises
        ------
        ValueError : a name that is enrolled already, missing or "nobody", too few names, an embedding that is not
            finite or of another length than those before, or a system that was trained on since the gallery was made
        """
        if isinstance(images, Shots):
            if names is None and (images.pids <= DISTRACTOR).any():
                raise ValueError(
                    f"{images.name} holds junk or distractors, which have no name: add shots[shots.pids > 0]"
                )
            names = images.pids.tolist() if names is None else names
            cameras = images.camids.tolist() if cameras is None else cameras
        emb, pictures = self._embedded(images)
        names, cameras = (_labels(kind, each, len(emb)) for kind, each in (("names", names), ("cameras", cameras)))
        if wrong := [i for i, name in enumerate(names) if name in ("", NOBODY)]:
            said = f"the name of image {wrong[0]} is {names[wrong[0]]!r}"
            raise ValueError(f"{said}: give somebody's name for each image, or one for all of them")
        if not more and (twice := sorted(set(names) & set(self.names))):
            raise ValueError(
                f"already enrolled: {few(twice)}. Another person needs another name; add(..., more=True) adds images "
                "of the same person, and remove(name) takes the old ones out"
            )
        self._append(emb.to(self.dtype))
        self.names += names
        self.cameras += cameras
        self.sources += [str(each.absolute()) if isinstance(each, Path) else "" for each in pictures]

    def remove(self, name: str | int) -> None:
        """Take out all images of a person. ValueError for a name that is not enrolled."""
        gone = {spelled(str(name)), str(name)}  # a file of an older version may hold a name as it was given
        keep = [other not in gone for other in self.names]
        if all(keep):
            raise ValueError(f"{name!r} is not enrolled: {few(sorted(set(self.names))) or 'the gallery is empty'}")
        blocks, self._blocks = self._blocks, []
        for block, part in zip(blocks, torch.tensor(keep).split(COLUMNS), strict=True):
            self._append(block[part])
        for field in FIELDS:
            setattr(self, field, [value for value, kept in zip(getattr(self, field), keep, strict=True) if kept])

    def search(self, images: Images, k: int = 5) -> Answers:
        """The k most similar entries for each image, best first; all of them if there are fewer.

        Exact: similarities are cosines in float64 of the embeddings that are kept, and of two exactly as similar
        entries the one that was enrolled first comes first. ValueError for an empty gallery and for what `add` refuses.
        """
        if not self.names or k < 1:
            raise ValueError("the gallery is empty: add(images, names)" if k > 0 else f"k={k}: ask for one or more")
        q, pictures = self._embedded(images)
        blocks, first = self._entries()
        index, similarity = nearest(q, blocks, min(k, len(first)))
        index = first[index]
        found = [[Path(self.sources[j]) if self.sources[j] else None for j in line] for line in index.tolist()]
        names = np.array([[self.names[j] for j in line] for line in index.tolist()])
        return Answers(names, similarity.astype(np.float32), index, self.threshold, pictures, found)

    def set_threshold(self, value: float | Scores, false_alarms: float = 0.01, seed: int = 0) -> OpenSet | None:
        """From which similarity on somebody is known: a number, or found on people whom the model was not trained on.

        Parameters
        ----------
        value : the similarity, or scores of a test set, as from `rl.score` and `rl.measure`: half of its people are
            enrolled, the others are strangers; see `open_set`, whose result is returned
        false_alarms : the share of strangers' images that may be taken for somebody. A gallery of more people than
            were enrolled in the test gives more
        seed : of the draw of who is enrolled

        Raises
        ------
        ValueError : no such similarity, or scores of another model than the gallery's
        """
        if not isinstance(value, Scores):
            if not isinstance(value, Real) or not -1 <= value <= 1:
                raise ValueError(f"threshold={value!r}: similarities are cosines, numbers between -1 and 1")
            self.threshold, self.measured = float(value), {"chosen": "by hand"}
            return None
        refuse_scores(value, self.model, self.system)
        found = open_set(value, seed=seed, average=self.average)
        self.measured = found.summary(false_alarms)
        self.threshold = self.measured["threshold"]
        if 0 < false_alarms < 1 / (strangers := self.measured["their_images"]):
            few_images = f"{strangers} images of strangers cannot tell a rate of {false_alarms:g}"
            warnings.warn(f"{few_images}: the threshold is above all of them", stacklevel=2)
        return found

    def save(self, path: str | os.PathLike) -> Path:
        """Write the gallery to one file, without pickled objects, for `Gallery.load`. The system is not in it."""
        about = {
            "format": FORMAT, "model": self.model, "average": self.average, "half": self.dtype == torch.float16,
            "threshold": self.threshold, "measured": self.measured,
        }  # fmt: skip
        arrays = {name: np.array(getattr(self, name), np.str_) for name in FIELDS}
        arrays |= {f"block{i:06d}": block.numpy() for i, block in enumerate(self._blocks)}
        arrays["about"] = np.array(json.dumps(about))
        write_whole(Path(path), lambda stream: np.savez(stream, allow_pickle=False, **arrays))
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike, system: System) -> "Gallery":
        """A gallery as it was saved, to be searched with the model that it was made with.

        Raises
        ------
        FileNotFoundError, ValueError : no such file; a damaged file, or one of another model
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such gallery; Gallery.save writes one")
        try:
            with np.load(path) as file:
                about = json.loads(str(file["about"]))
                fields = {name: file[name].tolist() for name in FIELDS}
                blocks = [torch.from_numpy(file[name]) for name in sorted(file.files) if name.startswith("block")]
                written = about["format"]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} is no gallery, or is damaged or cut off: enrol its people again") from error
        if written != FORMAT:
            raise ValueError(f"{path} is a {written!r}, and this reidlib reads {FORMAT!r}: enrol its people again")
        refuse(str(path), about["model"], system)
        gallery = cls(system, about["average"], about["half"])
        vars(gallery).update(fields, threshold=about["threshold"], measured=about["measured"], _blocks=blocks)
        return gallery

    def _embedded(self, images: Images) -> tuple[Tensor, list[Any]]:
        """Embeddings float32 (N, D) that are sound and fit those of the gallery, and the pictures."""
        pictures: list[Any]
        if isinstance(images, Tensor):
            if images.ndim != 2 or not images.is_floating_point() or not len(images):
                raise ValueError(f"embeddings must be floating point (N, D), not {images.dtype} {tuple(images.shape)}")
            emb, pictures = F.normalize(images.detach().float().cpu()), [None] * len(images)
        else:
            refuse("the gallery", self.model, self.system)
            pictures = pictures_of(images)
            emb = embed(self.system, images if isinstance(images, Shots) else pictures)
        if bad := without_direction(emb):
            of = f" ({pictures[bad[0]]})" if isinstance(pictures[bad[0]], Path) else ""
            raise ValueError(f"the embedding of image {bad[0]}{of} {bad[1]}: check its model")
        if self._blocks and emb.shape[1] != (there := self._blocks[0].shape[1]):
            raise ValueError(f"embeddings of {emb.shape[1]} numbers, of the gallery {there}: another model's?")
        return emb, pictures

    def _append(self, emb: Tensor) -> None:
        """Rows behind those that are there, in blocks of COLUMNS."""
        if self._blocks and len(self._blocks[-1]) < COLUMNS:
            emb = torch.cat([self._blocks.pop(), emb])
        self._blocks += [part.clone() for part in emb.split(COLUMNS)] if len(emb) else []
        self._ready = None

    def _entries(self) -> Entries:
        """What is searched, in blocks, and the enrolled image that each row is of; of averages the person's first."""
        if self.dtype == torch.float16 and not self.average:  # float32 a block at a time, not all of it
            return (Cosine(block[:1], block) for block in map(Tensor.float, self._blocks)), np.arange(len(self))
        if self._ready is None:
            blocks, first = self._means() if self.average else (self._blocks, np.arange(len(self)))
            self._ready = [Cosine(block[:1], block) for block in blocks], first
        return self._ready

    def _means(self) -> tuple[Sequence[Tensor], np.ndarray]:
        """The mean embedding of each person, in the order of enrolment, and the person's first image."""
        _, first, which = np.unique(np.array(self.names), return_index=True, return_inverse=True)
        total = torch.zeros(len(first), self._blocks[0].shape[1], dtype=torch.float64)
        for block, part in zip(self._blocks, torch.from_numpy(which).split(COLUMNS), strict=True):
            total.index_add_(0, part, block.double())
        order = np.argsort(first)
        return F.normalize(total[torch.from_numpy(order)]).float().split(COLUMNS), first[order]


def _labels(kind: str, given: Any, count: int) -> list[str]:
    """One label an image, or one for all; "" for None and NaN. ValueError if there are more or fewer."""
    given = given.tolist() if isinstance(given, torch.Tensor | np.ndarray) else given
    if isinstance(given, bytes):
        raise ValueError(f"{kind} are text or numbers, not bytes")
    given = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given] * count
    if len(given) != count:
        raise ValueError(f"{len(given)} {kind} for {count} images: one an image is needed")
    return ["" if each is None or each != each else spelled(str(each)) for each in given]
