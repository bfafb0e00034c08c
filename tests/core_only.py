"""What must work where nothing but the wheel and what it requires is installed; a part that needs more says which.

python core_only.py [FOLDER ...]

It works in the current folder, where it draws a small crowd. A FOLDER holds what the extra export, groups, timm or
cluster brings, in this order; with it, the part must work.
"""

import pkgutil
import re
import sys
from importlib import import_module, metadata

import torch

import reidlib as rl
from reidlib import toy

assert metadata.version("reidlib") == rl.__version__
assert rl.__file__.startswith(sys.prefix)


def need(name, use, *arguments):
    try:
        use(*arguments)
    except ImportError as error:
        print(name, "needs", re.search(r"pip install ([\w -]+)$", str(error))[1])


for name in rl.__all__:
    need(name, getattr, rl, name)
for module in pkgutil.walk_packages(rl.__path__, "reidlib."):
    if not module.name.endswith("__main__"):
        need(module.name, import_module, module.name)

toy.draw("crowd", people=8)
split = rl.load("crowd")
small = dict(p=2, k=2, height=32, width=16, epochs=1, iterations=2, backbone="slim", weights="none")
recipe = rl.Recipe.for_dataset("crowd", **small)
for row in rl.fit(rl.build(recipe, split.train), split.train, "run"):
    rl.epoch_row(row)
system = rl.restore("run")
scores = rl.measure(system, split, "run")
rl.save_figure(rl.plot_ranked(scores, [0]), "ranked")

published = rl.pretrained("market-laptop")
files = split.gallery.files()[:2]
assert rl.embed(published, files).shape == (2, 1280)
gallery = rl.Gallery(published)
gallery.add(files, ["anna", "ben"])
assert gallery.search(files[0]).rows()[0]["name"] == "anna"
print(scores)

(command,) = metadata.distribution("reidlib").entry_points
reid = command.load()
assert reid(["check", "crowd"]) == 0
assert reid(["train", "--dataset", "crowd", *[str(word) for name in small for word in (f"--{name}", small[name])]]) == 0

uses = {
    "export": lambda: rl.export(system, "model.onnx"),
    "group": lambda: rl.group(torch.eye(30)),
    "timm": lambda: rl.trunk("timm:resnet18", "none"),
    "run_grid": lambda: rl.run_grid("none.ipynb", []),
}
for name, use in uses.items():
    need(name, use)
used = []
for folder, name in zip(sys.argv[1:], uses, strict=False):
    sys.path.append(folder)
    try:
        uses[name]()
    except FileNotFoundError:
        assert name == "run_grid"
    if name == "run_grid":
        rl.RankedBrowser(scores)
        list(map(import_module, ("ipykernel", "ipywidgets", "jupyterlab", "ray")))
    sys.path.remove(folder)
    used.append(name)
print("then used:", *used)
