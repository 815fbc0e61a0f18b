"""Family `openclip`: OpenAI CLIP, OpenCLIP, SigLIP, BiomedCLIP, CheXzero and their kin.

Loaded by open_clip from a folder with `open_clip_config.json`, or from a checkpoint file and the
card's `architecture` (a name of open_clip). Geometry, mean and std are those of the weights unless
the card sets its own.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import torch

from baselines.card_schema import Card
from baselines.checkpoint_files import load_strictly, read_tensors
from baselines.dual import DualEncoder, TextTower, Towers, dual_encoder
from baselines.offline import go_offline
from baselines.pixels import PixelRules
from baselines.weights import Weights
from harness.errors import BenchError
from harness.geometry import read_geometry

Tensor = torch.Tensor
CONFIG = "open_clip_config.json"

# Buffers of OpenAI's own checkpoints that are no weights.
_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")


def load(card: Card, weights: Weights, device: str = "cpu") -> DualEncoder:
    """The dual encoder of a card.

    Raises:
        BenchError: the folder does not hold what the card says.
    """
    go_offline()
    model, tokenizer = _from_folder(card, weights)
    model = model.eval().to(device)
    limit = getattr(tokenizer, "context_length", None) or 77
    text = TextTower(
        tokenize=lambda texts: tokenizer(list(texts)).to(device),
        embed=lambda tokens: model.encode_text(tokens),
        count=lambda texts: [_token_count(tokenizer, text) for text in texts],
    )
    if card.text and card.text.max_tokens != limit:
        raise BenchError(
            f"{card.name}: text.max_tokens is {card.text.max_tokens}, its tokenizer cuts at {limit}"
        )
    towers = Towers(
        pixels=_pixel_rules(card, model.visual.preprocess_cfg),
        embed=lambda pixels: model.encode_image(pixels),
        text=text,
        patches=_patches(model, card),
    )
    return dual_encoder(card, weights, towers, device)


def _from_folder(card: Card, weights: Weights) -> tuple[Any, Any]:
    if (weights.folder / CONFIG).is_file():
        return _from_config(card, weights)
    if not card.architecture or not card.source.files:
        raise BenchError(
            f"{card.name}: no {CONFIG} in {weights.folder.name}. Expected it there, or "
            "'architecture' and source.files on the card."
        )
    model = open_clip.create_model(card.architecture, pretrained=None)
    state = _released(weights.file(card.source.files[0]))
    load_strictly(model, open_clip.factory.convert_state_dict(model, state), card.name)
    return model, open_clip.get_tokenizer(card.architecture)


def _released(file: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint, as released (CheXzero) or as training keeps them (BMC-CLIP)."""
    try:
        state = read_tensors(file)
    except BenchError:
        state = read_tensors(file, inside="state_dict")
    named = {key.removeprefix("module."): value for key, value in state.items()}
    return {key: value for key, value in named.items() if key not in _NOT_WEIGHTS}


def _from_config(card: Card, weights: Weights) -> tuple[Any, Any]:
    """As open_clip's `local-dir:`, with a BERT's configuration read from this machine too."""
    folder = weights.folder
    name = f"local-dir:{folder}"
    text = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
    changes: dict[str, Any] = {}
    hub_name = text.get("hf_model_name")
    if hub_name:
        local = str(_bert_folder(card, weights))
        changes["text_cfg"] = {**text, "hf_model_name": local, "hf_model_pretrained": False}
    model, *_ = open_clip.create_model_and_transforms(name, **changes)
    if hub_name and not (folder / "tokenizer_config.json").is_file():
        tokenizer = open_clip.tokenizer.HFTokenizer(
            changes["text_cfg"]["hf_model_name"],
            context_length=text.get("context_length", 77),
            **text.get("tokenizer_kwargs", {}),
        )
        return model, tokenizer
    return model, open_clip.get_tokenizer(name)


def _bert_folder(card: Card, weights: Weights) -> Path:
    """Where the configuration of the text tower lies: the second repository of the card."""
    for found in weights.also.values():
        return found
    raise BenchError(
        f"{card.name}: its text tower needs the configuration of a second repository; name it "
        "under source.also."
    )


def _pixel_rules(card: Card, config: dict[str, Any]) -> PixelRules:
    rules = card.image
    return PixelRules(
        geometry=read_geometry(rules.geometry or official_geometry(config)),
        mean=rules.mean or tuple(config["mean"]),
        std=rules.std or tuple(config["std"]),
        scale=rules.scale,
        stretch=rules.stretch,
    )


def official_geometry(config: dict[str, Any]) -> str:
    """The geometry of open_clip's own evaluation transform (open_clip `transform.py`).

    >>> official_geometry({"size": 224, "resize_mode": "shortest", "interpolation": "bicubic"})
    'shortest 224, crop 224'
    """
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    across = f"{width}x{height}" if width != height else str(width)
    how = "" if config["interpolation"] in ("bicubic", "random") else " bilinear"
    mode = config["resize_mode"]
    if mode == "squash":
        return f"squash {across}{how}"
    if width != height:
        raise BenchError(f"open_clip input of {across} with resize mode {mode}: not supported")
    if mode == "longest":
        fill = f" fill {config['fill_color']}" if config.get("fill_color") else ""
        return f"longest {width}{how}, pad {width}{fill}"
    return f"shortest {width}{how}, crop {width}"


def _token_count(tokenizer: Any, text: str) -> int:
    """Tokens before truncation; open_clip's own BPE adds two marks, others add theirs."""
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is None:
        cleaned = tokenizer.clean_fn(text)
        return len(tokenizer.encode(cleaned)) + 2
    cleaned = tokenizer.clean_fn(text)
    return len(inner(cleaned, truncation=False, verbose=False)["input_ids"])


def _patches(model: Any, card: Card) -> Callable[[Tensor], Tensor] | None:
    """How patches come into the text's space, or None where they do not."""
    if card.patches is None or card.patches.projection == "none":
        return None
    visual = model.visual
    if hasattr(visual, "trunk"):
        return lambda pixels: _timm_patches(visual, pixels)
    if getattr(visual, "proj", None) is not None:
        return lambda pixels: _vit_patches(visual, pixels)
    raise BenchError(f"{card.name}: patches.projection: this vision tower has no projection")


def _grid(visual: Any, pixels: Tensor) -> Tensor:
    """The last block's patch tokens after the final norm, (n, rows, columns, width)."""
    found = visual.forward_intermediates(
        pixels, indices=1, normalize_intermediates=True, intermediates_only=True
    )
    return found["image_intermediates"][-1].permute(0, 2, 3, 1)


def _vit_patches(visual: Any, pixels: Tensor) -> Tensor:
    return _grid(visual, pixels) @ visual.proj


def _timm_patches(visual: Any, pixels: Tensor) -> Tensor:
    """Each patch as if it were the whole image: through the pooling head, alone (SigLIP)."""
    grid = _grid(visual, pixels)
    trunk = visual.trunk
    tokens = grid.reshape(-1, 1, grid.shape[-1])
    pooled = trunk.attn_pool(tokens) if getattr(trunk, "attn_pool", None) else tokens[:, 0]
    vectors = visual.head(trunk.head(trunk.fc_norm(pooled)))
    return vectors.reshape(*grid.shape[:3], -1)
