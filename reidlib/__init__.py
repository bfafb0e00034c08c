"""Person re-identification as a course you can run: the Bag of Tricks baseline on a thin library.

`import reidlib as rl` gives the names below; each module is loaded at the first use of one of its names.
"""

import importlib

__version__ = "0.1.0"

_ROOMS = {
    "recipe": "Recipe preset_table warmup_multistep",
    "data": "Shots Split load",
    "checks": "Report check",
    "images": "ImageStore decode",
    "batches": "PKSampler augment crop_flip draw_crops draw_erasing draw_flips erase generator normalise",
    "losses": "CenterLoss batch_hard_triplet cross_triplet hardest",
    "systems": "build",
    "systems.bag_of_tricks": "BagOfTricks trunk",
    "systems.pcb": "PCB",
    "systems.aligngan": "AlignGAN",
    "train": "checkpoints epoch_row fit load_or_train restore",
    "embedding": "embed",
    "evaluate": "Ranking Scores score",
    "reranking": "expand rerank",
    "statistics": "compare verification",
    "figures": "Picture plot_batch plot_identity save show_shots",
    "plots": "plot_ap_histogram plot_cmc plot_log plot_matrix plot_schedule plot_split",
    "browser": "RankedBrowser",
    "pairs": "part_similarities plot_parts similarity_maps",
    "ranked": "extremes plot_ranked plot_similarity visualize",
    "layouts": "project",
    "ladder": "added erasing_gains left_out plot_erasing plot_ladder published_gains",
    "published": "compare_published markdown results_tables",
    "jobs": "grid",
    "repeats": "run",
    "measuring": "measure measure_all targets",
    "results": "collect environment open_run read_csv result_line run_folder write_csv write_result",
}
_WHOLE = ("alignment", "hidden", "sysu")  # rooms that are used by their own names: rl.sysu.score
_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}
__all__ = sorted([*_HOME, *_WHOLE])


def __getattr__(name):
    if name in _WHOLE:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"reidlib has no {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__():
    return __all__
