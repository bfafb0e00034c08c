"""Draw figures/house.png: the wings of the library in the order of imports, and which imports which.

python tools/house.py
"""

import ast
from itertools import product
from pathlib import Path

from matplotlib.patches import Arc

from reidlib.figures.style import BLUE, GREY, INK, Picture, save_figure, styled

PACKAGE = Path(__file__).resolve().parents[1] / "reidlib"
WINGS = {  # in the order of imports, with what goes through each
    "recipe": "every choice of a run: one frozen Recipe",
    "toy": "drawn people → images on disk",
    "data": "files → Shots → decoded once → P × K batches",
    "systems": "images → features → losses → one step",
    "train": "steps → epochs → checkpoints; images → embeddings",
    "evaluation": "embeddings → ranks → mAP, CMC, intervals",
    "search": "embeddings → names, or nobody; export",
    "figures": "scores → charts and ranked lists",
    "browser": "scores → the same, alive",
    "runs": "recipe → run → result.json → rows; grids of them",
    "studies": "rows → this project's own tables",
    "course": "exercises of the notebooks",
}
BASE = ("settings", "models", "files", "progress", "provenance")  # drawn with the recipe


def wing(module: str) -> str:
    """The wing of a module, as of "reidlib.data.images"."""
    name = module.split(".")[1]
    return "recipe" if name in BASE else name


def imports() -> set[tuple[str, str]]:
    """Pairs (importing wing, imported wing), the wings that are here."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        here = wing(".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts))
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("reidlib"):
                base = node.module.split(".")
                modules = [node.module] if len(base) > 1 else [f"reidlib.{alias.name}" for alias in node.names]
                found |= {(here, wing(module)) for module in modules}
    return {(a, b) for a, b in found if a != b and a in WINGS and b in WINGS}


@styled
def draw() -> Picture:
    """The picture: a line for each wing, an arc for each pair of them in which the lower imports the upper."""
    edges = imports()
    here = [name for name in WINGS if (PACKAGE / name).is_dir() or name == "recipe"]
    fig = Picture(figsize=(9.8, 0.46 * len(here) + 0.3), layout="constrained")
    ax = fig.subplots()
    ax.set(xlim=(0, 10), ylim=(len(here) - 0.5, -0.5))
    ax.axis("off")
    for y, name in enumerate(here):
        ax.text(0, y, name, color=BLUE, weight="bold", va="center")
        ax.text(1.35, y, WINGS[name], color=INK, va="center")
        ax.plot(6.1, y, "o", color=BLUE, markersize=5)
    for (low, a), (high, b) in product(enumerate(here), repeat=2):
        if (a, b) in edges:
            height = abs(low - high)
            ax.add_patch(
                Arc((6.1, (low + high) / 2), 0.62 * height, height, theta1=-90, theta2=90, color=GREY, alpha=0.6)
            )
    fig.alt = "The wings of reidlib, each importing only those above it: " + "; ".join(
        f"{a} imports {', '.join(b for b in here if (a, b) in edges) or 'none'}" for a in here
    )
    return fig


if __name__ == "__main__":
    print(save_figure(draw(), "house"))
