"""reid check | train | grid | embed | search | export: the library from the shell. The same: python -m reidlib."""

import argparse
import csv
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import reidlib as rl
from reidlib.data.layouts import IMAGES, PARTS, images_in
from reidlib.files import few, write_whole
from reidlib.runs import command, grid

MODEL = "the folder of a run, the name or .safetensors file of a published model, or a .pth file of another project"
PICTURES = "image files, or folders with images in them"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 for a finding of `check` and `search`, else as `command.stoppable` says."""
    word, *rest = given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    options = rest if word in ("train", "grid") else parser().parse_args(given)
    return command.stoppable(lambda: COMMANDS[word](options), f"reid {word}")


def parser() -> argparse.ArgumentParser:
    """The options of every command but `train` and `grid`."""
    made = argparse.ArgumentParser(prog="reid", description=__doc__, epilog="reid COMMAND --help lists its options.")
    words = made.add_subparsers(required=True, metavar="COMMAND")
    of = {word: words.add_parser(word, help=do.__doc__, description=do.__doc__) for word, do in COMMANDS.items()}
    of["check"].add_argument("data", help="a built-in data set, a folder, a CSV table, or package.module:function")
    for word in ("embed", "search", "export"):
        of[word].add_argument("model", help=MODEL)
        of[word].add_argument("--feature", help="what the model gives: after or before the BNNeck; of PCB G or H")
        of[word].add_argument("--device", help="such as cpu or cuda:1; default: the GPU if there is one")
    of["embed"].add_argument("images", nargs="+", help=PICTURES)
    of["embed"].add_argument("--out", required=True, metavar="FILE", help=".npz (paths, embeddings) or .csv")
    of["search"].add_argument("gallery", help="a file of --save, or a folder with a sub-folder for each person")
    of["search"].add_argument("images", nargs="+", help=PICTURES)
    of["search"].add_argument("-k", type=int, default=5, help="answers for each image (5)")
    of["search"].add_argument("--average", action="store_true", help="compare with the mean of each person's images")
    of["search"].add_argument("--threshold", type=float, help="the similarity from which on somebody is known")
    of["search"].add_argument("--save", metavar="FILE", help="write the gallery, to be searched again")
    of["export"].add_argument("out", help="the file to write, such as model.onnx")
    of["export"].add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="default: as in training")
    of["export"].add_argument("--normalised", action="store_true", help="take normalised floats instead of pixels")
    of["export"].add_argument("--half", action="store_true", help="half precision")
    for word in ("check", "search"):
        of[word].add_argument("--json", action="store_true", help="print JSON")
    return made


def check(options: argparse.Namespace) -> int:
    """List all that is wrong with a data set; the exit status is 1 if anything is."""
    report = rl.check(rl.load(options.data))
    plain = {"name": report.name, "images": report.images, "problems": [each._asdict() for each in report.problems]}
    print(json.dumps(plain, indent=1) if options.json else report)
    return int(not report.ok)


def embed(options: argparse.Namespace) -> None:
    """Write a row of numbers for each image to a .npz or .csv file."""
    if not options.out.endswith((".npz", ".csv")):
        raise ValueError(f"--out {options.out}: write .npz or .csv")
    out, files = command.writable("--out", options.out), pictures(options.images)
    emb = rl.embed(model(options), files).numpy()
    if out.suffix == ".npz":
        arrays = {"paths": np.array(list(map(str, files))), "embeddings": emb}
        write_whole(out, lambda stream: np.savez(stream, allow_pickle=False, **arrays))
    else:
        rows = [{"path": str(file)} | {f"x{i}": float(x) for i, x in enumerate(row)} for file, row in zip(files, emb)]
        rl.write_csv(rows, out)


def search(options: argparse.Namespace) -> int:
    """Say who is on each image; the exit status is 1 if nobody on any of them is known."""
    source, files = Path(options.gallery), pictures(options.images)
    people = sorted(path for path in source.glob("[!.]*") if path.is_dir())
    if source.is_dir() and not people:
        raise ValueError(f"{source} has no sub-folders: it needs one for each person, with the person's images")
    if people and (loose := images_in(source)):
        raise ValueError(f"{source} holds sub-folders and loose images: {few(sorted(loose))}; put each in a person's")
    if nobody := [path.name for path in people if path.name in PARTS or re.fullmatch(r"-\d+|0+", path.name)]:
        raise ValueError(
            f"{source} has sub-folders that are no person: {few(nobody)}. Give the folder that has one for "
            "each person (of a data set, its gallery/), without 0 and -1, which are distractors and junk"
        )
    if options.save:
        command.writable("--save", options.save)
    system = model(options)
    gallery = rl.Gallery(system, options.average) if people else rl.Gallery.load(source, system)
    if options.average and not gallery.average:
        raise ValueError(f"--average: {source} was saved without it; give the folder of its people")
    for person in people:
        gallery.add(pictures([person]), person.name)
    if options.threshold is not None:
        gallery.set_threshold(options.threshold)
    answers = gallery.search(files, options.k)
    if options.save:
        gallery.save(options.save)
    rows = answers.rows()
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        table = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return int(answers.known is not None and not answers.known.any())


def export(options: argparse.Namespace) -> None:
    """Write a model as an ONNX file."""
    out, size = command.writable("out", options.out), options.size and tuple(options.size)
    difference = rl.export(model(options), out, size, not options.normalised, options.half)
    print(json.dumps({"file": options.out, "largest_difference": difference}))


def model(options: argparse.Namespace) -> Any:
    path = Path(options.model).expanduser()
    if path.name != options.model and not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; a model is {MODEL}")
    read = rl.restore if path.is_dir() else rl.foreign if re.match(r"\.(pth|pt|tar)\b", path.suffix) else rl.pretrained
    system = read(options.model, device=options.device)
    if options.feature:
        if not hasattr(system, "feature"):
            raise ValueError(f"--feature: {type(system).__name__} has one feature only")
        system.feature = options.feature
    return system


def pictures(words: Sequence[str | Path]) -> list[Path]:
    """The image files that words name, those of folders sorted; ValueError if a folder has none."""
    files: list[Path] = []
    for path in map(Path, words):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        found = []
        for folder, below, _ in os.walk(path):
            below[:] = [name for name in below if not name.startswith(".")]  # thumbnails and copies of some program
            found += [Path(folder, name) for name in images_in(Path(folder))]
        if path.is_dir() and not found:
            raise ValueError(f"{path} holds no images ({', '.join(sorted(IMAGES))})")
        files += sorted(found) if path.is_dir() else [path]
    return files


COMMANDS: dict[str, Callable[[Any], int | None]] = {
    "check": check, "train": command.main, "grid": grid.main, "embed": embed, "search": search, "export": export
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
