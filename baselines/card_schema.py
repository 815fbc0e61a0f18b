"""What a card of a published model may say: one YAML file each, read by pydantic.

A card is all that a new model of a known family needs. Every section is optional unless the
family asks for it; an unknown key is an error.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from baselines.codecs import find_codec
from baselines.revisions import is_commit
from harness.errors import BenchError
from harness.geometry import read_geometry
from harness.heatmap import Interpolation

# The library is called open_clip, and so is its family in much that is written about it.
Family = Annotated[
    Literal[
        "openclip", "hf_dual", "checkpoint", "pair_scorer", "hf_vlm", "hf_detector", "external"
    ],
    BeforeValidator(lambda name: "openclip" if name == "open_clip" else name),
]
# What each family reads besides what all cards say; anything else would be ignored in silence.
READS: Mapping[str, tuple[str, ...]] = {
    "openclip": ("image", "text", "patches", "architecture", "embedding_size", "runtime.dtype"),
    "hf_dual": ("image", "text", "patches", "embedding_size", "runtime"),
    "checkpoint": ("image", "text", "patches", "architecture", "embedding_size", "runtime.dtype"),
    "pair_scorer": ("image", "text", "patches", "architecture", "runtime.dtype"),
    "hf_vlm": ("vlm", "runtime"),
    "hf_detector": ("detector", "runtime.dtype"),
    "external": ("external", "patches"),
}
Projection = Literal["none", "proj", "map_value", "trained"]


def _geometry(text: str) -> str:
    try:
        return str(read_geometry(text))
    except BenchError as error:
        raise ValueError(str(error)) from error


def _codec(name: str) -> str:
    try:
        find_codec(name)
    except BenchError as error:
        raise ValueError(str(error)) from error
    return name


GeometryText = Annotated[str, AfterValidator(_geometry)]
CodecName = Annotated[str, AfterValidator(_codec)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Section):
    """Where the weights come from.

    `hub` and `revision` name a Hugging Face repository, `also` others it needs at run time
    (``owner/name`` or ``owner/name@commit``); `url` is where a person gets files that no hub has.
    `files` must all be there; their SHA-256, where known, stand in `sha256` in the same order.
    """

    hub: str = ""
    revision: str = "main"
    also: tuple[str, ...] = ()
    url: str = ""
    files: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, which no one can move."""
        return is_commit(self.revision)


class Seen(_Section):
    """One data source the model was trained on; see `harness.models.TrainedOn`."""

    dataset: str
    split: str = "train"
    modality: Literal["images", "reports", "boxes"] = "images"


class ImageRules(_Section):
    """How a film becomes pixels where that is not left to the library's own transform.

    `scale` multiplies grey values 0-255 before mean and std; `stretch` spreads each film's values
    to 0-255 first. Without `geometry` the one of the library is used.
    """

    geometry: GeometryText = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scale: float = 1 / 255
    stretch: bool = False

    @model_validator(mode="after")
    def _both(self) -> "ImageRules":
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"mean has {len(self.mean)} numbers, std {len(self.std)}. Give both, one number "
                "per channel, or neither where the library knows them."
            )
        return self


class TextRules(_Section):
    """How a text becomes tokens. `padding` longest breaks SigLIP, whose last token is pooled."""

    max_tokens: int
    padding: Literal["max_length", "longest"] = "max_length"
    lower: bool = False
    strip_punctuation: bool = False
    template: str = "{}"


class PatchRules(_Section):
    """Heat maps from patches: how they come into the text's space, and smoothing in patches.

    `proj` and `none` were not trained for it and are weak controls; `map_value` sends each patch
    alone through the pooling head (SigLIP); `trained` patches were trained against text.
    """

    projection: Projection = "none"
    sigma: float = 0.0
    interpolation: Interpolation = "bilinear"


class VlmRules(_Section):
    """How a generative model is asked for boxes, and what its numbers mean.

    `picture` is what is done to a film before the library's processor; `coordinates` the geometry
    from the film to the frame of the numbers. `layout` is how image and words are arranged.
    `multi_image`: it takes several images in one conversation, so it can be shown solved examples;
    `context`: tokens of question, examples and answer together (0: as its configuration says);
    `trained_examples`: the most examples that a conversation of its training held (0: not told).
    """

    prompt: str
    codec: CodecName
    coordinates: GeometryText
    picture: GeometryText = ""
    layout: Literal["chat", "paligemma", "florence"] = "chat"
    system: str = ""
    max_new_tokens: int = 256
    lower: bool = False
    multi_image: bool = False
    context: int = 0
    trained_examples: int = 0
    processor: dict[str, object] = Field(default_factory=dict)


class DetectorRules(_Section):
    """How an open-vocabulary detector is asked.

    Boxes scored below `threshold` are not answers; without any box left the answer is "none".
    `coordinates` is the geometry from the film to the frame of the boxes: OWLv2 pads to a square.
    """

    threshold: float
    prompt: str = "{phrase}"
    lower: bool = True
    full_stop: bool = False
    coordinates: GeometryText = ""
    most: int = 100


class ExternalRules(_Section):
    """A model in an environment of its own; see `baselines.external` for the protocol.

    `setup` says how a person makes the environment and starts the worker; a card never names a
    command. Answers without boxes are read by `codec` in the frame of `coordinates`, which is also
    that of maps. `seconds` may pass until one batch is answered.
    """

    serves: tuple[Literal["ground", "embed", "score"], ...]
    setup: str
    codec: CodecName | Literal[""] = ""
    coordinates: GeometryText = ""
    seconds: float = 600.0

    @model_validator(mode="after")
    def _one_kind(self) -> "ExternalRules":
        if {"embed", "score"} <= set(self.serves):
            raise ValueError("serves: a model either embeds or scores pairs")
        return self


class Runtime(_Section):
    """How it runs on a GPU; on a CPU everything is float32."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    attention: Literal["sdpa", "eager"] = "sdpa"
    remote_code: bool = False


class Card(_Section):
    """A published model as data; weights that give another `embedding_size` are refused."""

    name: str
    title: str
    family: Family
    source: Source
    licence: str
    trained_on: tuple[Seen, ...] | None
    verified: Literal["real weights", "tiny random", "never"]
    gate: str = ""
    paper: str = ""
    note: str = ""
    architecture: str = ""
    image: ImageRules = ImageRules()
    text: TextRules | None = None
    embedding_size: int | None = None
    patches: PatchRules | None = None
    vlm: VlmRules | None = None
    detector: DetectorRules | None = None
    external: ExternalRules | None = None
    runtime: Runtime = Runtime()
    variants: dict[str, dict[str, object]] = Field(default_factory=dict)
    version: int = 1

    @model_validator(mode="after")
    def _complete(self) -> "Card":
        needed = {"hf_vlm": "vlm", "hf_detector": "detector", "external": "external"}
        section = needed.get(self.family, "")
        if section and getattr(self, section) is None:
            raise ValueError(f"family {self.family} needs a section {section!r}")
        if self.family in ("checkpoint", "pair_scorer") and not self.architecture:
            raise ValueError(f"family {self.family} needs 'architecture'")
        unread = [name for name in self._said() if not _reads(self.family, name)]
        if unread:
            raise ValueError(
                f"family {self.family} does not read {', '.join(map(repr, unread))}. It reads: "
                f"{', '.join(READS[self.family])}. Take out what would be ignored."
            )
        if self.runtime.remote_code and not self.source.pinned:
            raise ValueError("remote_code needs source.revision to be a commit of 40 hex digits")
        if len(self.source.sha256) not in (0, len(self.source.files)):
            raise ValueError("source.sha256 needs one hash per source.files, in the same order")
        if not (self.source.hub or self.source.url):
            raise ValueError("source needs a hub repository or a url")
        return self

    def _said(self) -> list[str]:
        """What the card says of the parts that not every family has, `runtime` key by key."""
        parts = {name.partition(".")[0] for names in READS.values() for name in names}
        said = sorted(
            name for name in parts & self.model_fields_set if getattr(self, name) is not None
        )
        runtime = sorted(f"runtime.{key}" for key in self.runtime.model_fields_set)
        return [name for name in said if name != "runtime"] + runtime


def _reads(family: str, name: str) -> bool:
    return name in READS[family] or name.partition(".")[0] in READS[family]
