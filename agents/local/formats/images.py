"""Pictures as JSON carries them: Base64 of an image file, or rows of pixels."""

from __future__ import annotations

import base64
import binascii
import io
import re
from typing import Any

import numpy as np

#: what is read; each is decoded by code that many eyes have seen
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
#: a file of a megabyte can unpack to gigabytes
MOST_PIXELS = 50_000_000
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")


def picture_of(value: Any) -> Any:  # noqa: ANN401  # any JSON value; a PIL image
    """An RGB image. Raises `ValueError` for what is no picture, and for one of more than `MOST_PIXELS`."""
    from PIL import Image

    if not isinstance(value, str):
        return Image.fromarray(_pixels(value)).convert("RGB")
    try:
        data = base64.b64decode(_DATA_URL.sub("", value, count=1), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"the model takes an image file in Base64, and this is none: {error}") from error
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} × {image.height} pixels are more than {MOST_PIXELS:,}")
        return image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # SyntaxError: a broken PNG
        raise ValueError(f"the model takes {', '.join(_FORMATS)}, and cannot read this: {error}") from error


def _pixels(value: Any) -> Any:  # noqa: ANN401  # any JSON value; (height, width) or (height, width, 3), uint8
    try:
        pixels = np.asarray(value)
    except ValueError as error:  # ragged
        raise ValueError(f"the model takes rows of pixels of equal length: {error}") from error
    flat = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if not flat or not pixels.size or pixels.dtype.kind not in "iu" or pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(
            "the model takes an image file in Base64, or rows of pixels, each a whole number from 0 to 255 or three"
        )
    return pixels.astype(np.uint8)
