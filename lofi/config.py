"""LoFi's settings: what is built, what it learns from, and how long; presets are YAML files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.errors import BenchError, unknown
from harness.suite_yaml import plain_yaml

PRESETS = Path(__file__).parent / "presets"
LOSSES = ("sigmoid", "captioning", "grounding", "dense_captioning")
PARTS = ("towers", "tokens", "decoder", "adapters")  # what a LoFi directory decides of the settings


class Settings(BaseModel):
    """A frozen record that knows all its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LossWeights(Settings):
    """The factor of each loss; 0 removes its whole computation.

    Default: Ls + 5 (Lc + Lg + Ld), the sum as the paper is summarized.
    """

    sigmoid: float = Field(1.0, ge=0)
    captioning: float = Field(5.0, ge=0)
    grounding: float = Field(5.0, ge=0)
    dense_captioning: float = Field(5.0, ge=0)

    def without(self, loss: str) -> "LossWeights":
        """The same weights with one loss, or with `location` both location losses, at 0."""
        name = loss.replace("-", "_")
        if name == "location":
            return self.model_copy(update={"grounding": 0.0, "dense_captioning": 0.0})
        if name not in LOSSES:
            raise unknown("loss", loss, [*LOSSES, "location"])
        return self.model_copy(update={name: 0.0})

    def active(self) -> tuple[str, ...]:
        """The names of the losses that are computed at all."""
        return tuple(name for name in LOSSES if getattr(self, name) > 0)


class Towers(Settings):
    """The two SigLIP towers: `pretrained` (a folder or hub name) or sizes for a fresh start.

    `stem`: `patch` = SigLIP's linear patch embedding; `convolutions` = halvings by convolutions, to
    the same grid, before blocks that start as the identity (for fresh towers).
    """

    pretrained: str = ""
    image_size: int = Field(96, gt=0)
    patch_size: int = Field(8, gt=0)
    channels: Literal[1, 3] = 3
    hidden_size: int = 128
    layers: int = 6
    heads: int = 4
    text_layers: int = 3
    stem: Literal["patch", "convolutions"] = "patch"
    start_scale: float = Field(10.0, gt=0)  # of a fresh model, as SigLIP
    start_bias: float = -10.0
    max_tokens: int = 64  # of the text tower; longer text is read in chunks of whole sentences


class Tokens(Settings):
    """How patch tokens become `count` multimodal tokens.

    `kind`: `heads` = independent attention-pooling heads (faithful); `probes` = one head, `count`
    learned probes (cheap). `pool`: average pooling of the patch grid first. `spatial_start`: keys
    carry learned position codes, and each probe of a fresh model looks at its own place.
    """

    count: int = Field(128, gt=0)
    pool: int = Field(2, ge=1)
    kind: Literal["heads", "probes"] = "heads"
    spatial_start: bool = False


class Decoder(Settings):
    """The causal language model: `pretrained` or the sizes of a fresh Gemma 3."""

    pretrained: str = ""
    gguf_file: str = ""
    hidden_size: int = 128
    layers: int = 3
    heads: int = 4
    head_dim: int = 32
    mlp_size: int = 384
    max_tokens: int = 400  # text tokens of one sequence, prompt and answer


class Adapters(Settings):
    """LoRA ranks; 0 trains everything. `encoder_targets` also leaves every `head` trainable."""

    encoder_rank: int = Field(0, ge=0)
    encoder_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj")
    decoder_rank: int = Field(0, ge=0)
    decoder_targets: tuple[str, ...] = ("q_proj", "v_proj")
    freeze_encoder: bool = False


class Data(Settings):
    """What is trained on: `boxes` "lesion" or "region"; phrases drawn per image and step.

    `stream`: phantom studies drawn anew per chunk, each chunk shown `passes` times; 0: a fixed
    split.
    """

    dataset: str = "mimic-cxr"
    boxes: Literal["lesion", "region"] = "lesion"
    phrases_per_image: int = Field(1, ge=1)
    negatives: float = Field(0.0, ge=0, lt=1)  # share of grounding prompts whose answer is `[]`
    replace_normals: float = Field(0.0, ge=0, le=1)  # chance that a normal study is redrawn
    brightness: float = Field(0.0, ge=0)  # jitter of gain and offset; geometry is never changed
    shift: float = Field(
        0.0, ge=0, lt=0.5
    )  # largest translation, share of the side; boxes move too
    vocabulary: int = 2048  # largest size of a fresh tokenizer
    stream: int = Field(0, ge=0)
    passes: int = Field(1, ge=1)


class Training(Settings):
    """The schedule, how it is computed, and how often it is saved and validated."""

    steps: int = Field(1000, gt=0)
    batch_size: int = Field(64, gt=1)
    micro_batch: int = 0  # 0: the whole batch at once
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = Field(1e-3, gt=0)
    final_rate: float = Field(0.01, ge=0, le=1)  # share of the rate at the end of the cosine
    warmup: int = Field(100, ge=0)
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    activation_checkpointing: bool = False
    checkpoint_minutes: float = 5.0
    validate_every: int = 500
    validation_studies: int = 400


class LofiConfig(Settings):
    """All of one model and its training.

    `init`: a LoFi directory to train on from, whole; its towers, tokens, decoder and adapters are
    then used whatever a preset says of them, and an override of one is an error.
    """

    name: str = "lofi"
    init: str = ""
    towers: Towers = Towers()
    tokens: Tokens = Tokens()
    decoder: Decoder = Decoder()
    adapters: Adapters = Adapters()
    losses: LossWeights = LossWeights()
    location_mode: Literal["sum", "mean", "sample"] = "sum"
    duplicates: Literal["row-weighted", "mask", "full", "diagonal"] = "row-weighted"
    chunk: int = Field(4096, ge=0)  # images of the sigmoid loss computed at once; 0: all
    data: Data = Data()
    training: Training = Training()

    @model_validator(mode="after")
    def _sizes_fit(self) -> "LofiConfig":
        towers, pool = self.towers, self.tokens.pool
        if not towers.pretrained and towers.image_size % (towers.patch_size * pool):
            raise ValueError(
                f"image_size {towers.image_size} is not a multiple of patch_size "
                f"{towers.patch_size} x pool {pool}"
            )
        if not self.losses.active():
            raise ValueError("every loss has weight 0, so there is nothing to train")
        return self


def preset_names() -> list[str]:
    """The names of the shipped presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def read_preset(name: str, overrides: Mapping[str, Any] | None = None) -> LofiConfig:
    """The settings of a shipped preset or of a YAML file, with dotted overrides applied.

    >>> read_preset("lofi-tiny", {"training.steps": 7}).training.steps
    7

    Raises:
        BenchError: no such preset, an unknown key (with the nearest known one), a value that does
            not fit, a part of the model that `init` decides.
    """
    values, given = _resolve(name), overrides or {}
    override(values, given)
    values.setdefault("name", Path(name).stem)
    config = parse(values, where=name)
    if config.init:
        _refuse_parts(config.init, given)
    return config


def parse(values: Mapping[str, Any], where: str) -> LofiConfig:
    """The settings in a mapping; an unknown key is an error with the nearest known one."""
    _check_keys(values, LofiConfig, where)
    try:
        return LofiConfig.model_validate(dict(values))
    except ValueError as error:
        raise BenchError(f"{where}: {error}") from error


def _resolve(name: str, children: tuple[str, ...] = ()) -> dict[str, Any]:
    file = Path(name) if name.endswith((".yaml", ".yml")) else PRESETS / f"{name}.yaml"
    if not file.is_file():
        raise unknown("preset", name, preset_names())
    values = preset_yaml(file) or {}
    if not isinstance(values, dict):
        raise BenchError(f"{file}: found {type(values).__name__}. Expected a mapping of settings.")
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str) or parent in (name, *children):
        raise BenchError(
            f"{file}: extends: found {parent!r}. Expected the name of another preset that does not "
            "extend this one."
        )
    base = _resolve(parent, (name, *children))
    base.pop("name", None)
    return _merge(base, values)


def _merge(base: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in values.items():
        both = isinstance(value, Mapping) and isinstance(base.get(key), dict)
        base[key] = _merge(base[key], value) if both else value
    return base


def preset_yaml(file: Path) -> Any:
    """What the file of a preset holds.

    Raises:
        BenchError: it cannot be read, or is not YAML.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{file}: cannot be read: {error}. Expected a preset in YAML.") from error
    return plain_yaml(text, str(file))


def override(values: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """Put each value at its dotted place.

    Raises:
        BenchError: a place below something that is no mapping.
    """
    for dotted, value in overrides.items():
        _put(values, dotted, value)


def _refuse_parts(init: str, overrides: Mapping[str, Any]) -> None:
    for key, value in overrides.items():
        if key.partition(".")[0] in PARTS:
            raise BenchError(
                f"{key}={value} has no effect: with init={init} its {', '.join(PARTS[:-1])} and "
                f"{PARTS[-1]} are used. Leave out one of the two."
            )


def _put(values: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise BenchError(f"-o {dotted}: {parent!r} has no settings below it.")
    values[last] = value


def _check_keys(values: Mapping[str, Any], model: type[BaseModel], where: str) -> None:
    for key, value in values.items():
        if key not in model.model_fields:
            raise BenchError(f"{where}: {unknown('key', str(key), model.model_fields)}")
        inner = model.model_fields[key].annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(value, Mapping):
            _check_keys(value, inner, f"{where}: {key}")
