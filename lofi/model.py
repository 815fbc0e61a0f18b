"""LoFi: two SigLIP towers, multimodal tokens pooled from patches, a causal language model."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    SiglipConfig,
    SiglipModel,
)

from lofi.config import LofiConfig
from lofi.losses import IGNORED
from lofi.pooling import AttentionPooling, pool_grid, position_codes
from lofi.prompt import END, Prompts, train_tokenizer


class LofiModel(nn.Module):
    """Image and text embeddings, and answers of a language model that sees the image.

    Source: arXiv 2603.19451; layout after the released code of the same line (arXiv 2608.00976).
    """

    def __init__(
        self,
        config: LofiConfig,
        towers: SiglipModel,
        decoder: Gemma3ForCausalLM,
        *,
        tokenizer: Any,
        text_tokenizer: Any,
    ):
        super().__init__()
        self.config = config
        self.tokenizer, self.text_tokenizer = tokenizer, text_tokenizer
        self.prompts = Prompts(tokenizer, config.decoder.max_tokens)
        self.towers = towers
        self.decoder = decoder
        vision = towers.config.vision_config
        inner = decoder.config.hidden_size
        self.pooling = AttentionPooling(
            vision.hidden_size,
            vision.num_attention_heads,
            mlp=max(vision.hidden_size // 4, 1),
            count=config.tokens.count,
            independent=config.tokens.kind == "heads",
        )
        self.projection = nn.Sequential(
            nn.Linear(vision.hidden_size, inner), nn.GELU(), nn.Linear(inner, inner)
        )

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:
        """Write the model as a directory; see `lofi.checkpoint.save_pretrained`."""
        from lofi.checkpoint import save_pretrained

        save_pretrained(self, Path(folder), **options)

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "cpu") -> "LofiModel":
        """The model of a directory; see `lofi.checkpoint.from_pretrained`."""
        from lofi.checkpoint import from_pretrained

        return from_pretrained(Path(folder), device)

    def embed_images(
        self, pixels: Float[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n p d"]]:
        """Unit embeddings, and the patch tokens the multimodal tokens are pooled from."""
        out = self.towers.vision_model(pixel_values=pixels)
        return F.normalize(out.pooler_output.float(), dim=-1), out.last_hidden_state

    def patches(self, pixels: Float[Tensor, "n c h w"]) -> Float[Tensor, "n p d"]:
        """The patch tokens alone: the tower's pooling head is not run."""
        vision = self.towers.vision_model
        hidden = vision.encoder(inputs_embeds=vision.embeddings(pixels)).last_hidden_state
        return vision.post_layernorm(hidden)

    def embed_texts(self, ids: Int[Tensor, "n length"]) -> Float[Tensor, "n d"]:
        """Unit embeddings of texts padded to the tower's length."""
        out = self.towers.text_model(input_ids=ids)
        return F.normalize(out.pooler_output.float(), dim=-1)

    @property
    def scale(self) -> Tensor:
        """The multiplier of the cosine."""
        return self.towers.logit_scale.exp()

    @property
    def bias(self) -> Tensor:
        """The offset of the logit."""
        return self.towers.logit_bias

    def image_tokens(self, patches: Float[Tensor, "n p d"]) -> Float[Tensor, "n k e"]:
        """The multimodal tokens put before a prompt."""
        pooled = pool_grid(patches, self.config.tokens.pool)
        return self.projection(self.pooling(pooled))

    def prefix(
        self, head: Int[Tensor, " h"], tokens: Float[Tensor, "r k e"]
    ) -> Float[Tensor, "r hk e"]:
        """Embeddings of the opening and the image; the embedding layer scales text, not images."""
        opening = self.decoder.get_input_embeddings()(head)[None].expand(len(tokens), -1, -1)
        return torch.cat([opening.to(tokens.dtype), tokens], dim=1)

    def answer_logits(
        self,
        prefix: Float[Tensor, "r hk e"],
        ids: Int[Tensor, "r length"],
        labels: Int[Tensor, "r length"],
    ) -> tuple[Float[Tensor, "tokens vocabulary"], Int[Tensor, " tokens"]]:
        """Logits where an answer's token is predicted, and those tokens.

        The padding stands behind each sequence, so the causal mask alone hides it. Logits are
        computed for answers only: with Gemma's 262,144 words they are the largest tensor.
        """
        text = self.decoder.get_input_embeddings()(ids).to(prefix.dtype)
        hidden = self.decoder.model(
            inputs_embeds=torch.cat([prefix, text], dim=1), use_cache=False
        ).last_hidden_state[:, prefix.shape[1] :]
        kept = labels != IGNORED
        return self.decoder.lm_head(hidden[kept]), labels[kept]


def build(config: LofiConfig, texts: Iterable[str] = ()) -> LofiModel:
    """A model ready for training: pretrained parts loaded, fresh parts initialized, adapters added.

    `texts` teach the small tokenizer of fresh parts; the start is decided by the training seed.
    """
    fresh = not (config.towers.pretrained and config.decoder.pretrained)
    small = train_tokenizer(texts, config.data.vocabulary) if fresh else None
    torch.manual_seed(config.training.seed)
    model = LofiModel(
        config,
        _towers(config, small),
        _decoder(config, small),
        tokenizer=_tokenizer(config.decoder.pretrained, small, config.decoder.gguf_file),
        text_tokenizer=_tokenizer(config.towers.pretrained, small),
    )
    if config.tokens.spatial_start:
        _start_at_places(model)
    return adapt(model)


def _tokenizer(pretrained: str, small: Any, gguf_file: str = "") -> Any:
    extra = {"gguf_file": gguf_file} if gguf_file else {}
    return AutoTokenizer.from_pretrained(pretrained, **extra) if pretrained else small


def _towers(config: LofiConfig, tokenizer: Any) -> SiglipModel:
    sizes = config.towers
    if sizes.pretrained:
        return SiglipModel.from_pretrained(sizes.pretrained)
    shared = {
        "hidden_size": sizes.hidden_size,
        "intermediate_size": 4 * sizes.hidden_size,
        "num_attention_heads": sizes.heads,
    }
    vision = {
        "num_hidden_layers": sizes.layers,
        "image_size": sizes.image_size,
        "patch_size": sizes.patch_size,
        "num_channels": sizes.channels,
    }
    text = {
        "num_hidden_layers": sizes.text_layers,
        "vocab_size": len(tokenizer),
        **_special_ids(tokenizer),
        "max_position_embeddings": sizes.max_tokens,
        "projection_size": sizes.hidden_size,
    }
    settings = SiglipConfig(vision_config={**shared, **vision}, text_config={**shared, **text})
    model = SiglipModel(settings)
    with torch.no_grad():  # transformers starts both at 0
        model.logit_scale.fill_(math.log(sizes.start_scale))
        model.logit_bias.fill_(sizes.start_bias)
    return model


def _decoder(config: LofiConfig, tokenizer: Any) -> Gemma3ForCausalLM:
    sizes = config.decoder
    if sizes.pretrained:
        extra = {"gguf_file": sizes.gguf_file} if sizes.gguf_file else {}
        return AutoModelForCausalLM.from_pretrained(sizes.pretrained, **extra)
    settings = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        **_special_ids(tokenizer),
        hidden_size=sizes.hidden_size,
        intermediate_size=sizes.mlp_size,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=1,
        head_dim=sizes.head_dim,
        query_pre_attn_scalar=sizes.head_dim,
        layer_types=["full_attention"] * sizes.layers,
        max_position_embeddings=2048,
        sliding_window=512,
        initializer_range=1 / math.sqrt(sizes.hidden_size),
    )
    return Gemma3ForCausalLM(settings)


def _special_ids(tokenizer: Any) -> dict[str, int]:
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.convert_tokens_to_ids(END),
    }


@torch.no_grad()
def _start_at_places(model: LofiModel) -> None:
    embeddings = model.towers.vision_model.embeddings
    side = math.isqrt(embeddings.num_positions)
    codes = position_codes(side, embeddings.embed_dim)
    embeddings.position_embedding.weight.copy_(codes * 0.5)
    pooled = pool_grid(codes[None], model.config.tokens.pool)[0]
    model.pooling.start_at_places(pooled)


def adapt(model: LofiModel) -> LofiModel:
    """The model with its low-rank adapters and with everything frozen that is not trained.

    With an encoder rank, each linear layer of both towers whose name matches (and has no "head")
    gets an adapter, and parameters with "head" in their name are trained whole, as in the released
    code. Scale and bias are always trained.
    """
    from peft import LoraConfig, inject_adapter_in_model

    settings = model.config.adapters
    if settings.encoder_rank:
        names = _linear_names(model.towers, settings.encoder_targets)
        lora = LoraConfig(
            r=settings.encoder_rank, lora_alpha=settings.encoder_rank, target_modules=names
        )
        inject_adapter_in_model(lora, model.towers)
        for name, parameter in model.towers.named_parameters():
            parameter.requires_grad_("lora_" in name or "head" in name)
    if settings.freeze_encoder:
        model.towers.requires_grad_(False)
    if settings.decoder_rank:
        names = _linear_names(model.decoder, settings.decoder_targets)
        lora = LoraConfig(
            r=settings.decoder_rank, lora_alpha=settings.decoder_rank, target_modules=names
        )
        inject_adapter_in_model(lora, model.decoder)
    if not settings.freeze_encoder:
        model.towers.logit_scale.requires_grad_(True)
        model.towers.logit_bias.requires_grad_(True)
    return model


def _linear_names(module: nn.Module, targets: tuple[str, ...]) -> list[str]:
    return [
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear) and name.split(".")[-1] in targets and "head" not in name
    ]
