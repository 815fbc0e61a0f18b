"""PNG, JPEG, TIFF or DICOM to an 8-bit grey picture in the original frame, MONOCHROME1 inverted."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import PIL.Image
import PIL.ImageFile
import PIL.TiffImagePlugin
from jaxtyping import UInt8

from harness.dicom import DicomRefused, dicom_size, is_dicom, read_dicom
from harness.errors import BenchError
from harness.intensity import window_by_percentile

T = TypeVar("T")

# A film of 43 x 35 cm at 0.07 mm has 31 million pixels; what has more than this is no film.
MAX_PIXELS = 80_000_000

# What Pillow and pydicom raise on damaged content. A missing attribute or key is among it: a
# header that lacks what the pixels need.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    struct.error,
    zlib.error,
)

# Pillow finds PNG, JPEG and BMP always, TIFF because it is imported above.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_ORIENTATION = 0x0112  # EXIF tag

# How the stored pixels become upright, by EXIF orientation (JEITA CP-3451 table 6).
_UPRIGHT: dict[int, Callable[[Any], Any]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(np.transpose(pixels), 2),
    8: np.rot90,
}
_SIDES_SWAPPED = (5, 6, 7, 8)


class ImageUnreadable(BenchError):
    """An image that cannot be read: it leaves the pool, the same for all models, and is counted.

    The message names the image id and the file's name but no folder: ids of restricted data may
    be printed, paths of a user's machine need not be.
    """

    def __init__(self, image_id: str, file: Path, reason: str) -> None:
        super().__init__(
            f"image {image_id} ({file.name}): {reason}. Expected a PNG, JPEG, TIFF or DICOM film. "
            "Restore the file or take the image out of the index."
        )
        self.image_id = image_id
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        """What pickle needs, so that a worker process can hand the error on."""
        return _unreadable, (self.image_id, self.args[0], self.reason)


def _unreadable(image_id: str, message: str, reason: str) -> ImageUnreadable:
    error = ImageUnreadable(image_id, Path(), reason)
    error.args = (message,)
    return error


@dataclass(frozen=True)
class Picture:
    """Grey pixels and the size of the original, which a decoder may have divided by `reduced`.

    The last column and row of a reduced picture may be only partly filled: the original covers
    `width / reduced` x `height / reduced` of its pixels.
    """

    pixels: UInt8[np.ndarray, "_ _"]
    width: int
    height: int
    reduced: int = 1


@dataclass(frozen=True)
class Image:
    """One image as a model meets it: an id and a file, read when asked."""

    image_id: str
    file: Path

    def read(self, target: int | None = None) -> UInt8[np.ndarray, "_ _"]:
        """Grey pixels of the original frame, (height, width); with `target`, possibly smaller.

        Args and Raises: as `picture`.
        """
        return self.picture(target).pixels

    def size(self) -> tuple[int, int]:
        """Width and height of the upright original, from the header alone.

        Raises:
            ImageUnreadable: as `picture`.
        """
        return _guarded(self, lambda: _size(self.file))

    def picture(self, target: int | None = None) -> Picture:
        """The grey pixels and the original's size.

        A JPEG of which both sides are at least twice `target` is reduced by 2, 4 or 8 inside the
        decoder, and both stay at least `target`; any other image comes whole. More than 8 bits
        become 8 by the film's own window (DICOM), else by percentiles.

        Args:
            target: the side in pixels that a model will resize to; None asks for every pixel.

        Raises:
            ImageUnreadable: the file is missing, empty, truncated, too large or no picture.
        """
        return _guarded(self, lambda: _decode(self.file, target))


def _guarded(image: Image, work: Callable[[], T]) -> T:
    """What `work` returns, every way of failing turned into `ImageUnreadable`."""
    try:
        if image.file.stat().st_size == 0:
            raise DicomRefused("the file is empty (0 bytes)")
        return work()
    except DicomRefused as refusal:
        reason = str(refusal)
    except FileNotFoundError:
        reason = "the file is missing"
    except (PermissionError, IsADirectoryError) as error:
        reason = f"the file cannot be opened ({error.strerror})"
    except PIL.UnidentifiedImageError:
        reason = "the content is no picture in a known format"
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        reason = f"it has more than {MAX_PIXELS:,} pixels"
    except _damaged() as error:
        # Pillow names the path only in messages caught above, pydicom never.
        reason = f"the file is truncated or damaged ({type(error).__name__}: {error})"
    raise ImageUnreadable(image.image_id, image.file, reason.rstrip("."))


def _damaged() -> tuple[type[Exception], ...]:
    """What damaged content raises; evaluated on failure only, so pydicom is imported late."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*_DAMAGED, BytesLengthException, InvalidDicomError)


def _size(file: Path) -> tuple[int, int]:
    if is_dicom(file):
        return dicom_size(file)
    with PIL.Image.open(file, formats=_FORMATS) as opened:
        width, height = opened.size
        turned = _orientation(opened) in _SIDES_SWAPPED
    return (height, width) if turned else (width, height)


def _decode(file: Path, target: int | None) -> Picture:
    if is_dicom(file):
        pixels = read_dicom(file, MAX_PIXELS)
        return Picture(pixels, pixels.shape[1], pixels.shape[0])
    with PIL.Image.open(file, formats=_FORMATS) as opened:
        return _decode_opened(opened, target)


def _decode_opened(opened: PIL.ImageFile.ImageFile, target: int | None) -> Picture:
    width, height = opened.size
    if width * height > MAX_PIXELS:
        raise PIL.Image.DecompressionBombError
    orientation = _orientation(opened)
    if opened.format in ("JPEG", "MPO"):
        # "L" asks the decoder for the luminance that is stored, instead of RGB and back. A turned
        # film is not reduced: its partly filled column would no longer be the last.
        small = target if target and orientation == 1 else None
        opened.draft("L", (small, small) if small else opened.size)
    reduced = round(width / opened.size[0])
    grey = np.ascontiguousarray(_UPRIGHT.get(orientation, np.asarray)(_grey(opened)))
    if orientation in _SIDES_SWAPPED:
        width, height = height, width
    return Picture(grey, width, height, reduced)


def _orientation(opened: PIL.ImageFile.ImageFile) -> int:
    # Not `opened.getexif`: that of PNG decodes the picture in search of a late EXIF block.
    return int(PIL.Image.Image.getexif(opened).get(_ORIENTATION, 1))


def _grey(opened: PIL.ImageFile.ImageFile) -> Any:
    if opened.mode in ("I;16", "I;16B", "I;16L", "I;16N"):
        return window_by_percentile(np.asarray(opened).astype(np.uint16))
    if opened.mode in ("I", "F"):
        return window_by_percentile(np.asarray(opened))
    if any("16" in str(part) for tile in opened.tile for part in tile[3:]):
        # Pillow has no mode for more than 8 bits per colour and would drop the lower half.
        raise DicomRefused("it is a 16-bit colour picture; save it as 16-bit grey")
    return np.asarray(opened.convert("L"))
