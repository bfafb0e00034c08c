"""export(): a trained system as one ONNX file, for a runtime without torch."""

import copy
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reidlib.data.augment import normalise
from reidlib.files import write_whole
from reidlib.search.identity import model_of
from reidlib.systems import System

CLOSE = {False: 1e-5, True: 1e-2}  # how far an embedding may be from the system's own; True: half precision


class Embedder(nn.Module):
    """Images to what `embed` gives: pixels (B, H, W, 3) uint8 or normalised (B, 3, H, W), to L2-normalised (B, D)."""

    def __init__(self, system: Any, pixels: bool) -> None:
        super().__init__()
        self.system, self.pixels = system, pixels

    def forward(self, images: Tensor) -> Tensor:
        images = normalise(images) if self.pixels else images
        images = images.to(next(self.system.parameters()).dtype)
        emb = self.system.embed(images)
        return F.normalize(emb + self.system.embed(images.flip(3))) if self.system.flip else emb


def export(
    system: System, path: str | os.PathLike, size: tuple[int, int] | None = None, pixels: bool = True,
    half: bool = False,
) -> float:  # fmt: skip
    """Write a system as an ONNX file, and compare the file with the system on random images.

    The input is `images`, any number B of them; the output `emb` (B, D) is L2-normalised float32, as `rl.embed` gives
    it for plain files: with mirror images if the system's test has them, and visible images not turned into infrared
    ones. Resize images as in training: the file's metadata `reidlib` says how, and which weights these are.

    Parameters
    ----------
    system, path : a trained system, which stays as it is, and the file, such as model.onnx
    size : (height, width) of the images; default: as in training
    pixels : images are uint8 (B, H, W, 3) in RGB, and ImageNet's mean and standard deviation are applied inside;
        else they are normalised float32 (B, 3, H, W)
    half : weights and computation in half precision, in half of the file

    Returns
    -------
    The largest difference from the system in a number of an embedding, in float32 below 1e-5

    Raises
    ------
    ImportError : onnx, onnxscript or onnxruntime is not installed
    ValueError : the system cannot be exported, or the file does not compute the same; nothing is written
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401, which torch.onnx needs
    except ImportError:
        raise ImportError("export needs three packages: pip install onnx onnxscript onnxruntime") from None
    size = system.recipe.size if size is None else size
    if np.shape(size) != (2,) or min(size) < 1:
        raise ValueError(f"size={size}: it is the height and the width of an image in pixels")
    height, width = size
    about = model_of(system) | {"size": [height, width], "pixels": pixels, "half": half}
    twin: Any = copy.deepcopy(system)
    twin = twin.cpu().eval()
    if hasattr(twin, "precision"):
        twin.precision = "float32"
    some = torch.randint(0, 256, (5, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    some = some if pixels else normalise(some)
    try:
        expected = Embedder(twin, pixels)(some).numpy()  # before the tracing: `normalise` caches what it sees first
        content = _converted(Embedder(twin.half() if half else twin, pixels), some[:2], about)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (made,) = session.run(None, {"images": some.numpy()})
    except Exception as error:  # torch.onnx raises nearly anything
        why = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
        raise ValueError(f"{system.recipe.name()} cannot be exported to ONNX ({why})") from error
    difference = float(np.abs(made - expected).max())
    if not difference <= CLOSE[half]:
        raise ValueError(f"{system.recipe.name()} in ONNX differs from the system by {difference:.1e}: not written")
    write_whole(Path(path), content)
    return difference


def _converted(net: nn.Module, images: Tensor, about: dict[str, Any]) -> bytes:
    """The bytes of the ONNX file."""
    with warnings.catch_warnings(action="ignore"):  # about the exporter's own parts
        program = torch.onnx.export(
            net, (images,), dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},), input_names=["images"],
            output_names=["emb"], verbose=False,
        )  # fmt: skip
    assert program is not None
    program.model.metadata_props["reidlib"] = json.dumps(about)
    return program.model_proto.SerializeToString()
