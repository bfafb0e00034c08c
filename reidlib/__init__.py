"""Person re-identification as a course you can run: the Bag of Tricks baseline on a thin library.

`import reidlib as rl` gives the names that `__init__.pyi` lists; a module is loaded at the first use of one of its
names.
"""

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

# Flat names from before the library had packages, and those of the commands: reidlib.NAME is the module on the right.
FLAT = {
    "alignment": "studies", "batches": "data", "checks": "data", "cluster": "runs", "cosine": "evaluation",
    "counting": "evaluation", "embedding": "train", "hidden": "studies", "images": "data", "infrared": "data",
    "jobs": "runs", "ladder": "studies", "layouts": "data", "losses": "systems", "marks": "browser",
    "measuring": "runs", "pairs": "figures", "plots": "figures", "published": "studies", "ranked": "figures",
    "reranking": "evaluation", "results": "runs", "statistics": "evaluation", "sysu": "evaluation",
}  # fmt: skip
HOMES = {name: f"{package}.{name}" for name, package in FLAT.items()} | {
    "evaluate": "evaluation.score",
    "publish": "runs.publish",
    "repeats": "runs.grid",
}


class _Flat(MetaPathFinder, Loader):
    """Finds `reidlib.jobs` in `reidlib.runs.jobs`, and so on: one module under both names, also for `python -m`."""

    def find_spec(self, fullname, path=None, target=None):
        package, _, name = fullname.partition(".")
        if package != __name__ or name not in HOMES:
            return None
        return ModuleSpec(fullname, self, origin=find_spec(f"{__name__}.{HOMES[name]}").origin)  # sys.argv[0] of -m

    def exec_module(self, module):
        sys.modules[module.__name__] = _home(module.__name__)  # the import returns what lies there

    def get_code(self, fullname):
        home = _home(fullname).__spec__
        return home.loader.get_code(home.name)


def _home(fullname: str):
    return import_module(f"{__name__}.{HOMES[fullname.partition('.')[2]]}")


sys.meta_path.append(_Flat())
