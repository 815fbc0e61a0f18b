"""One DICOM film to 8-bit grey, as a viewer shows it: rescale, window, polarity.

Source: DICOM PS3.3 C.7.6.3 (pixels), C.11.1 (modality LUT), C.11.2 (VOI LUT), C.11.6 (shape).
"""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from harness.intensity import (
    to_bytes,
    window_by_percentile,
    window_linear,
    window_linear_exact,
    window_sigmoid,
)

_WINDOWS = {
    "LINEAR": window_linear,
    "LINEAR_EXACT": window_linear_exact,
    "SIGMOID": window_sigmoid,
}


class DicomRefused(Exception):
    """Why a DICOM file gives no picture, in words that name no path."""


def is_dicom(file: Path) -> bool:
    """Whether the file begins as DICOM files do: 128 bytes, then "DICM"."""
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def dicom_size(file: Path) -> tuple[int, int]:
    """Width and height from the header.

    Raises:
        DicomRefused: it has no picture, or several.
    """
    import pydicom

    return _checked_size(pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_HEADER))


_HEADER = ["Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "SOPClassUID", "Modality"]


def _checked_size(film: Any) -> tuple[int, int]:
    if not film.get("Rows") or not film.get("Columns"):
        kind = film.get("Modality") or "unknown modality"
        raise DicomRefused(f"the DICOM file holds no picture ({kind})")
    frames = int(film.get("NumberOfFrames") or 1)
    if frames != 1:
        raise DicomRefused(f"the DICOM file holds {frames} frames where one film is expected")
    return int(film.Columns), int(film.Rows)


def read_dicom(file: Path, max_pixels: int) -> UInt8[np.ndarray, "_ _"]:
    """The film as a viewer shows it: its VOI table or window if it has one, else percentiles.

    Bone is bright: MONOCHROME1 and the presentation shape INVERSE are turned. Colour (secondary
    captures) becomes grey.

    Raises:
        DicomRefused: no pixels, several frames, too large, or no decoder for its compression.
    """
    import pydicom

    film = pydicom.dcmread(file)
    width, height = _checked_size(film)
    if width * height > max_pixels:
        raise DicomRefused(f"it has more than {max_pixels:,} pixels")
    raw = _stored_pixels(film)
    if raw.shape != (height, width):
        raise DicomRefused(f"its pixels have shape {raw.shape}, its header says {height, width}")
    grey = _windowed(raw, film)
    inverse = str(film.get("PresentationLUTShape", "")).upper() == "INVERSE"
    # A film may state its polarity in both tags; they mean one inversion (PS3.3 C.11.6.1.2).
    if film.get("PhotometricInterpretation") == "MONOCHROME1" or inverse:
        return np.asarray(255 - grey)
    return np.asarray(grey)


def _stored_pixels(film: Any) -> Any:
    if not any(name in film for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise DicomRefused("the DICOM file holds no pixels")
    if film.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise DicomRefused("the DICOM file holds a colour picture with a palette, not a film")
    from pydicom.pixels import pixel_array

    try:
        raw = pixel_array(film)  # colour comes back as RGB
    except (NotImplementedError, RuntimeError, ImportError) as error:
        if "missing dependencies" not in str(error) and "plugin" not in str(error):
            raise DicomRefused("its pixels are truncated or damaged") from error
        syntax = film.file_meta.TransferSyntaxUID.name
        raise DicomRefused(
            f"no decoder for {syntax} (pip install pylibjpeg pylibjpeg-openjpeg pylibjpeg-libjpeg)"
        ) from error
    return _luminance(raw) if raw.ndim == 3 else raw


def _luminance(raw: Any) -> Any:
    """RGB to grey by ITU-R 601, in the depth it was stored in."""
    return np.rint(raw @ np.array([0.299, 0.587, 0.114])).astype(raw.dtype)


def _windowed(raw: Any, film: Any) -> Any:
    """8 bits by the VOI table, else by the window, else as stored, else by percentiles."""
    if film.get("SamplesPerPixel") == 3:
        return raw if raw.dtype == np.uint8 else window_by_percentile(raw)
    from pydicom.pixels import apply_modality_lut, apply_voi

    values = apply_modality_lut(raw, film)
    if film.get("VOILUTSequence"):
        depth = int(film.VOILUTSequence[0].LUTDescriptor[2])
        return to_bytes(apply_voi(values, film) / (2**depth - 1))
    window = _first_window(film)
    if window is not None:
        name = str(film.get("VOILUTFunction") or "LINEAR").upper()
        grey = to_bytes(_WINDOWS.get(name, window_linear)(values.astype(np.float64), *window))
        if grey.min() != grey.max():
            return grey
    # No window, or one that shows nothing.
    if raw.dtype == np.uint8 and int(film.get("BitsStored", 8)) == 8:
        return raw
    return window_by_percentile(values)


def _first_window(film: Any) -> tuple[float, float] | None:
    center, width = (_first(film.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or not np.isfinite([center, width]).all() or width <= 0:
        return None
    return center, width


def _first(value: Any) -> float | None:
    """The first of a multi-valued number: films list alternatives, the first is the default."""
    if value is None or value == "":
        return None
    try:
        return float(value)
    except TypeError:
        return float(value[0]) if len(value) else None
