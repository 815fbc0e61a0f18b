"""LoFi: two SigLIP towers, multimodal tokens pooled from patches, a causal language model."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Gemma3ForCausalLM, SiglipModel

from lofi.config import LofiConfig
from lofi.losses import IGNORED
from lofi.pooling import AttentionPooling, pool_grid
from lofi.prompt import Prompts


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
            places=_places(config, vision) if config.tokens.spatial_start else 0,
        )
        self.projection = nn.Sequential(
            nn.Linear(vision.hidden_size, inner), nn.GELU(), nn.Linear(inner, inner)
        )

    def train(self, mode: bool = True) -> "LofiModel":
        """As of any module, but a frozen encoder stays in evaluation.

        Its batch normalization would else take the statistics of each batch, and store them.
        """
        super().train(mode)
        if self.config.adapters.freeze_encoder:
            self.towers.eval()
        return self

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

    def embed_patches(self, patches: Float[Tensor, "n p d"]) -> Float[Tensor, "n d"]:
        """The unit embeddings that the tower's pooling head makes of patch tokens."""
        return F.normalize(self.towers.vision_model.head(patches).float(), dim=-1)

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


def _places(config: LofiConfig, vision: Any) -> int:
    """The number of pooled patches the multimodal tokens are taken from."""
    return (vision.image_size // vision.patch_size // config.tokens.pool) ** 2
