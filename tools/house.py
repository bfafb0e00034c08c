"""Draw figures/house.png: the packages of the library in the order of imports, and which imports which.

python tools/house.py
"""

import ast
from itertools import product
from pathlib import Path

from matplotlib.patches import Arc

from reidlib.figures.style import BLUE, GREY, INK, Picture, save_figure, styled

PACKAGE = Path(__file__).resolve().parents[1] / "reidlib"
PACKAGES = {  # in the order of imports, with what goes through each
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
TOP = ("settings", "models", "recipe", "files", "progress", "provenance")  # no packages, and drawn with the recipe
ORDER = (*TOP, *(name for name in PACKAGES if name not in TOP))


def name_of(file: Path) -> str:
    """The module in a file, as "reidlib.data.images"; a package has the name of its folder."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(file): file for file in PACKAGE.rglob("*.py")}


def home(module: str) -> str:
    """The package of a module, or its name if it lies on the top floor."""
    return module.split(".")[1]


def imports(module: str) -> set[str]:
    """The modules of the library that a module imports anywhere in it."""
    package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    names = set()
    for node in ast.walk(ast.parse(FILES[module].read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(filter(None, (base, node.module)))
            members = {f"{source}.{alias.name}" for alias in node.names}
            names |= members if members <= FILES.keys() else {source, *members}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name in FILES and name not in (module, "reidlib")}


# the package itself and the commands lead to everything
GRAPH = {module: imports(module) for module in FILES if module != "reidlib" and not module.endswith("__main__")}


def edges() -> set[tuple[str, str]]:
    """Pairs (importing package, imported package); the top floor counts as the recipe."""
    drawn = {name: "recipe" if name in TOP else name for name in ORDER}
    pairs = {(drawn[home(module)], drawn[home(name)]) for module, names in GRAPH.items() for name in names}
    return {(a, b) for a, b in pairs if a != b}


@styled
def draw() -> Picture:
    """The picture: a line for each package, an arc for each pair of them in which the lower imports the upper."""
    pairs = edges()
    here = [name for name in PACKAGES if (PACKAGE / name).is_dir() or name == "recipe"]
    fig = Picture(figsize=(9.8, 0.46 * len(here) + 0.3), layout="constrained")
    ax = fig.subplots()
    ax.set(xlim=(0, 10), ylim=(len(here) - 0.5, -0.5))
    ax.axis("off")
    for y, name in enumerate(here):
        ax.text(0, y, name, color=BLUE, weight="bold", va="center")
        ax.text(1.35, y, PACKAGES[name], color=INK, va="center")
        ax.plot(6.1, y, "o", color=BLUE, markersize=5)
    for (low, a), (high, b) in product(enumerate(here), repeat=2):
        if (a, b) in pairs:
            height = abs(low - high)
            ax.add_patch(
                Arc((6.1, (low + high) / 2), 0.62 * height, height, theta1=-90, theta2=90, color=GREY, alpha=0.6)
            )
    fig.alt = "The packages of reidlib, each importing only those above it: " + "; ".join(
        f"{a} imports {', '.join(b for b in here if (a, b) in pairs) or 'none'}" for a in here
    )
    return fig


if __name__ == "__main__":
    print(save_figure(draw(), "house"))
