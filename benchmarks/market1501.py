"""The reference recipe on the real Market-1501, in one command that goes on where it was left.

    python benchmarks/market1501.py --mobilenet mobilenet_v2_dequantised.pth     # on a GPU: half an hour
    python benchmarks/market1501.py --dataset toy --epochs 1 --iterations 2      # on toy data, to see that it runs

ResNet-50 from scratch by the reference recipe; MobileNetV2 by the same recipe, from the ImageNet weights in the file
that is named (its name stands in the row) and from scratch; ResNet-50 from scratch for 350 epochs, its milestones moved
along. `--weights imagenet` starts the first from ImageNet instead, where torchvision can fetch the weights. After each
run the rows of all that are finished are printed and written to results/market1501.csv. Other options go to
reidlib.train as they are.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import reidlib as rl

ROOT = Path(__file__).parents[1]


def runs(mobilenet: str | None) -> dict[str, list[str]]:
    """Name -> options of reidlib.train, the most wanted first."""
    small = ["--backbone", "mobilenet_v2"]
    found = {"resnet50": [], "mobilenet": [*small, "--weights", mobilenet or ""], "mobilenet-scratch": small}
    if not mobilenet:
        del found["mobilenet"]
    longer = ["--epochs", "350", "--milestones", "117", "204"]  # 40 and 70 of 120, in proportion
    return found | {"resnet50-longer": longer}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="market")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--mobilenet", metavar="FILE", help="ImageNet weights of MobileNetV2; left out without them")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "market1501", metavar="FOLDER")
    parser.add_argument("--csv", type=Path, default=ROOT / "results" / "market1501.csv", metavar="FILE")
    options, others = parser.parse_known_args()
    if options.mobilenet and not Path(options.mobilenet).is_file():
        parser.error(f"no file {options.mobilenet}")
    for name, chosen in runs(options.mobilenet).items():
        start, weights = time.perf_counter(), options.weights if name == "resnet50" else "none"
        if not (options.runs / name / "result.json").is_file():
            standard = ["--dataset", options.dataset, "--weights", weights, "--run-dir", str(options.runs / name)]
            subprocess.run([sys.executable, "-m", "reidlib.train", *standard, *chosen, *others], check=True)
        print(f"{name}: {(time.perf_counter() - start) / 60:.1f} minutes, training and test")
        rl.write_csv(rl.collect(options.runs), options.csv)
        print(*map(rl.result_line, rl.read_csv(options.csv)), sep="\n", flush=True)


if __name__ == "__main__":
    main()
