"""Small pictures for a page: read on demand, scaled to what is shown, kept for a while."""

import io
import struct
from functools import lru_cache
from pathlib import Path

from PIL import Image

QUALITIES = (85, 70, 50)
UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)  # what PIL raises


def thumbnail(file: Path, box: tuple[int, int], most: int) -> bytes | None:
    """An image as a JPEG of at most `most` bytes that fits into `box` (width, height); never enlarged.

    None for a file that is missing or no image. A file that changes is read again.
    """
    try:
        return _encode(file, file.stat().st_mtime_ns, box, most)
    except UNREADABLE:
        return None


@lru_cache(512)
def _encode(file: Path, changed: int, box: tuple[int, int], most: int) -> bytes:
    with Image.open(file) as image:
        image.draft("RGB", box)  # a large JPEG is decoded at an eighth, a quarter or half of its size
        picture = image.convert("RGB")
    while True:
        picture.thumbnail(box)
        for quality in QUALITIES:
            body = io.BytesIO()
            picture.save(body, "JPEG", quality=quality, optimize=True)
            if body.tell() <= most:
                return body.getvalue()
        if min(box) <= 16:
            return body.getvalue()
        box = box[0] * 3 // 4, box[1] * 3 // 4
