"""Settings of the small multi-image model: where it starts, what episodes it sees, how long."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from harness.errors import BenchError, unknown
from lofi.config import Data, Settings, Training

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
    """Extra losses of training: which finding is meant, read from inner layers by a linear map.

    At the end of an example's boxes (`example_layer`), and where the question ends
    (`question_layer`); the maps are thrown away afterwards.
    """

    weight: float = Field(0.3, ge=0)
    example_layer: int = Field(4, ge=1)
    question_layer: int = Field(6, ge=1)


class Imitation(Settings):
    """How the tower is learned from a LoFi tower with convolutions: `layers` stand for its stem."""

    layers: int = Field(3, ge=1)
    steps: int = Field(1200, gt=0)
    batch_size: int = Field(48, gt=1)
    learning_rate: float = Field(1.5e-3, gt=0)
    seed: int = 0


class VlmConfig(Settings):
    """All of one model and its training. `init`: a LoFi folder; without one it starts fresh."""

    name: str = "vlm-tiny"
    init: str = ""
    fresh: str = "lofi-tiny"  # the LoFi preset whose sizes a fresh start has
    kind: Literal["vlm"] = "vlm"
    extra_layers: int = Field(4, ge=0)
    imitation: Imitation = Imitation()
    episodes: Episodes = Episodes()
    hints: Hints = Hints()
    data: Data = Data()
    training: Training = Training()


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
    values: dict[str, Any] = yaml.safe_load((PRESETS / f"{name}.yaml").read_text())
    for dotted, value in (overrides or {}).items():
        *parents, last = dotted.split(".")
        inner = values
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    try:
        return VlmConfig.model_validate(values)
    except ValueError as error:
        raise BenchError(f"{name}: {error}") from error
