"""What an image processor of transformers does to a picture, read from its settings."""

from typing import Any

from harness.errors import BenchError

_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}


def official_geometry(processor: Any) -> str:
    """The steps of a processor of the CLIP, SigLIP or ViT kind, as `read_geometry` reads them.

    Raises:
        BenchError: the processor does something else; the card then has to say it.
    """
    steps: list[str] = []
    if processor.do_resize:
        steps.append(_resize(processor))
    if getattr(processor, "do_center_crop", False):
        crop = _plain(processor.crop_size)
        steps.append(f"crop {crop['width']}x{crop['height']} floor")
    if getattr(processor, "do_pad", False):
        raise _unknown(processor, "do_pad")
    return ", ".join(steps)


def official_scale(processor: Any) -> float:
    """By what a processor multiplies values of 0-255."""
    return float(processor.rescale_factor) if getattr(processor, "do_rescale", True) else 1.0


def _resize(processor: Any) -> str:
    size = _plain(processor.size)
    how = _RESAMPLE[int(processor.resample)]
    if set(size) == {"height", "width"}:
        return f"squash {size['width']}x{size['height']} {how}"
    if set(size) == {"shortest_edge"}:
        return f"shortest {size['shortest_edge']} {how}"
    if set(size) == {"shortest_edge", "longest_edge"}:
        return f"shortest {size['shortest_edge']} max {size['longest_edge']} {how}"
    raise _unknown(processor, f"size {size}")


def _plain(size: Any) -> dict[str, int]:
    return {key: value for key, value in dict(size).items() if value is not None}


def _unknown(processor: Any, what: str) -> BenchError:
    return BenchError(
        f"{type(processor).__name__}: {what}: no geometry is known for it. Set image.geometry on "
        "the card."
    )
