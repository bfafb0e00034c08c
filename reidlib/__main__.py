"""reid check | train | grid | embed | search | export: the library from the shell. The same: python -m reidlib."""

import argparse
import contextlib
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import reidlib as rl
from reidlib.data.layouts import IMAGES

MODEL = "the folder of a run, the name or .safetensors file of a published model, or a .pth file of another project"
PICTURES = "image files, or folders with images in them"
WORDS = {
    "check": "list all that is wrong with a data set: exit status 1 if anything is",
    "train": "train and test a model; its own options: reid train --help",
    "grid": "run a notebook for every combination of parameters; its own options: reid grid --help",
    "embed": "write a row of numbers for each image to a .npz or .csv file",
    "search": "who is on each image: exit status 1 if nobody on any of them is known",
    "export": "write a model as an ONNX file",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 for a finding of `check` and `search`, 2 for what cannot be done, 130 for Ctrl-C."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in (["train"], ["grid"]):
        from reidlib.runs import command, grid

        passed_on = command.main if given[0] == "train" else grid.main
        return command.stoppable(lambda: passed_on(given[1:]))
    made = parser()
    options = made.parse_args(given)
    try:
        return int(globals()[options.command](options))
    except (ValueError, OSError, ImportError) as error:
        made.exit(2, f"reid {options.command}: {error}\n")
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The options of every command but `train` and `grid`."""
    made = argparse.ArgumentParser(prog="reid", description=__doc__)
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    of = {word: commands.add_parser(word, help=text, description=text) for word, text in WORDS.items()}
    of["check"].add_argument("data", help="a built-in data set, a folder, a CSV table, or package.module:function")
    for word in ("embed", "search", "export"):
        of[word].add_argument("model", help=MODEL)
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
    report = rl.check(rl.load(options.data))
    plain = {"name": report.name, "images": report.images, "problems": [each._asdict() for each in report.problems]}
    print(json.dumps(plain, indent=1) if options.json else report)
    return int(not report.ok)


def embed(options: argparse.Namespace) -> int:
    out, files = Path(options.out), pictures(options.images)
    if out.suffix not in (".npz", ".csv"):
        raise ValueError(f"--out {out}: write .npz or .csv")
    emb = rl.embed(model(options), files).numpy()
    if out.suffix == ".npz":
        np.savez(out, paths=np.array(list(map(str, files))), embeddings=emb)
    else:
        rows = [{"path": str(file)} | {f"x{i}": float(x) for i, x in enumerate(row)} for file, row in zip(files, emb)]
        rl.write_csv(rows, out)
    return 0


def search(options: argparse.Namespace) -> int:
    source, system = Path(options.gallery), model(options)
    files = pictures(options.images)
    if source.is_dir():
        gallery = rl.Gallery(system, average=options.average)
        for person in sorted(each for each in source.iterdir() if each.is_dir()):
            gallery.add(pictures([str(person)]), person.name)
    else:
        gallery = rl.Gallery.load(source, system)
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


def export(options: argparse.Namespace) -> int:
    size = None if options.size is None else tuple(options.size)
    difference = rl.export(model(options), options.out, size, not options.normalised, options.half)
    print(json.dumps({"file": options.out, "largest_difference": difference}))
    return 0


def model(options: argparse.Namespace) -> Any:
    path = Path(options.model).expanduser()
    read = rl.restore if path.is_dir() else rl.foreign if path.suffix in (".pth", ".pt", ".tar") else rl.pretrained
    return read(options.model, device=options.device)


def pictures(words: Sequence[str]) -> list[Path]:
    """The image files that words name, those of folders sorted; ValueError if a folder has none."""
    files: list[Path] = []
    for path in map(Path, words):
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGES) if path.is_dir() else [path]
        if not found:
            raise ValueError(f"{path} holds no images ({', '.join(sorted(IMAGES))})")
        files += found
    return files


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # of reid search ... | head
        sys.exit(main())
