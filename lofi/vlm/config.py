"""Settings of the small multi-image model: where it starts, what episodes it sees, how long."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.errors import BenchError, unknown
from lofi.config import Data, Settings, Training, override, preset_yaml

PRESETS = Path(__file__).parent / "presets"


class Episodes(Settings):
    """How conversations are made.

    Each has `turns` images, every one after the first seen after the examples before it, so one
    conversation trains 0 to `turns` - 1 examples at once. A step shares `images` distinct images,
    drawn in `groups` of one finding each. `made_up` is the share of conversations whose finding
    has a name that only the examples explain; `mixed` the share of those with two findings, where
    the name decides which examples count. Both rise over the first `curriculum` share of steps.
    """

    turns: int = Field(5, ge=2)
    images: int = Field(64, ge=8)
    groups: int = Field(8, ge=2)
    made_up: float = Field(0.6, ge=0, le=1)
    mixed: float = Field(0.6, ge=0, le=1)
    curriculum: float = Field(0.3, ge=0, le=1)


class Hints(Settings):
    """Extra losses of training, each read by a linear map that is thrown away afterwards.

    `weight`: which finding is meant, at the end of an example's boxes (`example_layer`) and where
    the question ends (`question_layer`). `where`: which cells of the picture the answer covers,
    where the question ends, two layers later (`where_layer`). `maps`: the tower's maps of findings.
    """

    weight: float = Field(0.3, ge=0)
    where: float = Field(2.0, ge=0)
    maps: float = Field(2.0, ge=0)
    example_layer: int = Field(4, ge=1)
    question_layer: int = Field(6, ge=1)
    where_layer: int = Field(8, ge=1)


class Tower(Settings):
    """The image tower's sizes, and how it is first taught maps of findings of `cells` x `cells`."""

    side: int = Field(128, gt=0)  # pixels; a token is 32 x 32 of them
    widths: tuple[int, int] = (128, 256)
    layers: tuple[int, int] = (2, 2)
    heads: tuple[int, int] = (4, 8)
    cells: int = Field(16, gt=0)
    steps: int = Field(2000, ge=0)
    batch_size: int = Field(64, gt=1)
    optimizer: Literal["adamw", "muon"] = "muon"
    learning_rate: float = Field(2e-3, gt=0)
    seed: int = 0


class Changes(Settings):
    """What is changed of a training picture, each at most so much; geometry is only moved."""

    shift: float = Field(0.06, ge=0, lt=0.5)  # share of the side
    gain: float = Field(0.15, ge=0, lt=1)
    tone: float = Field(0.25, ge=0)  # of the exponent's logarithm
    noise: float = Field(0.04, ge=0)


class VlmConfig(Settings):
    """All of one model and its training.

    `init`: a LoFi (a folder, or a shipped checkpoint by name), whose decoder and words are taken;
    without one they start fresh.
    """

    name: str = "vlm-tiny"
    init: str = ""
    fresh: str = "lofi-tiny"  # the LoFi preset whose sizes a fresh start has
    kind: Literal["vlm"] = "vlm"
    extra_layers: int = Field(4, ge=0)
    tower: Tower = Tower()
    changes: Changes = Changes()
    episodes: Episodes = Episodes()
    hints: Hints = Hints()
    data: Data = Data()
    training: Training = Training()


def refuse_deep_hints(hints: Hints, layers: int) -> None:
    """Do nothing if a decoder of so many layers has those that the hints read.

    Raises:
        BenchError: it has fewer.
    """
    deepest = max(hints.example_layer, hints.question_layer, hints.where_layer)
    if deepest > layers:
        raise BenchError(
            f"hints: layer {deepest} is read, the decoder has {layers}. Expected at most {layers}. "
            "Raise extra_layers, or lower hints.example_layer, question_layer and where_layer."
        )


def preset_names() -> list[str]:
    """The names of the shipped presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def read_vlm_preset(name: str, overrides: Mapping[str, Any] | None = None) -> VlmConfig:
    """The settings of a shipped preset, with dotted overrides applied.

    >>> read_vlm_preset("vlm-tiny", {"training.steps": 7}).training.steps
    7

    Raises:
        BenchError: no such preset, or a value or key that does not fit.
    """
    if name not in preset_names():
        raise unknown("preset", name, preset_names())
    values: dict[str, Any] = preset_yaml(PRESETS / f"{name}.yaml")
    override(values, overrides or {})
    try:
        return VlmConfig.model_validate(values)
    except ValueError as error:
        raise BenchError(f"{name}: {error}") from error
