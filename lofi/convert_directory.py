"""Released weights put into base models and written as a LoFi directory."""

from dataclasses import dataclass
from pathlib import Path

from lofi.build import build
from lofi.checkpoint import save_pretrained
from lofi.config import LofiConfig, parse
from lofi.convert import Released, fill, read_released
from lofi.model import LofiModel


@dataclass(frozen=True)
class Converted:
    """The model, and the keys of the file that found no place (or places that found no key)."""

    model: LofiModel
    unmatched: tuple[str, ...]


def settings_of(
    released: Released, *, encoder: str, decoder: str, gguf_file: str = ""
) -> LofiConfig:
    """The settings a released file stands for; `encoder` and `decoder` are local base models."""
    given = released.arguments
    return parse(
        {
            "name": "lofi-released",
            "towers": {"pretrained": encoder, "channels": 3},
            "decoder": {"pretrained": decoder, "gguf_file": gguf_file},
            "tokens": {
                "count": len(released.pooling["probe"]),
                "pool": 2 if given.get("pool2x2", True) else 1,
                "kind": "heads",
            },
        },
        "released checkpoint",
    )


def convert(
    file: Path, out: Path, *, encoder: str = "", decoder: str = "", gguf_file: str = ""
) -> Converted:
    """Read a released checkpoint, put it into its base models, write the directory.

    The adapters are merged: the directory needs neither `peft` nor the base models again. An empty
    `decoder` part means that the decoder was not tuned and keeps the base model's weights.
    """
    released = read_released(file)
    given = released.arguments
    config = settings_of(
        released,
        encoder=encoder or str(given.get("model_name", "")),
        decoder=decoder or str(given.get("decoder_name", "")),
        gguf_file=gguf_file,
    )
    model = build(config)
    unmatched = list(released.unmatched)
    unmatched += fill(model.towers, released.towers, what="state_dict")
    unmatched += fill(model.pooling, released.pooling, what="poolings")
    unmatched += fill(model.projection, released.projection, what="projection")
    if released.decoder:
        tied = {**released.decoder}
        tied.setdefault("lm_head.weight", tied.get("model.embed_tokens.weight"))
        unmatched += fill(model.decoder, tied, what="decoder")
        model.decoder.tie_weights()
    record = {"converted_from": file.name, "arguments": {k: str(v) for k, v in given.items()}}
    save_pretrained(model, out, record=record)
    return Converted(model, tuple(unmatched))
