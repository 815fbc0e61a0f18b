"""Tiny random generative models of other layouts: tiles, encoder-decoder, no chat template."""

from pathlib import Path
from typing import Any

from transformers import (
    CLIPImageProcessor,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    SiglipImageProcessor,
)

from baselines.tiny_tokenizers import bart_tokenizer, gemma_tokenizer, qwen_tokenizer
from baselines.tiny_vlms import TEXT

Card = dict[str, Any]

_SIGLIP: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
    "vision_use_head": False,
}
_QWEN: dict[str, Any] = {**TEXT, "model_type": "qwen2"}
del _QWEN["head_dim"]


def _chatml(image: str) -> str:
    return (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}"
        "{% if c.type == 'image' %}" + image + "\n{% else %}{{ c.text }}{% endif %}{% endfor %}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def _ends_with(model: Any, tokenizer: Any, mark: str) -> None:
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(mark)
    model.generation_config.pad_token_id = tokenizer.pad_token_id


def write_internvl(folder: Path) -> Card:
    """InternVL 3: tiles of the film, thousandths of the whole."""
    tokenizer = qwen_tokenizer(
        ["<|im_start|>", "<|im_end|>"],
        {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    )
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "image_size": [56, 56],
        "patch_size": [14, 14],
    }
    config = InternVLConfig(
        text_config={**_QWEN, "vocab_size": len(tokenizer)},
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    model = InternVLForConditionalGeneration(config)
    _ends_with(model, tokenizer, "<|im_end|>")
    model.save_pretrained(folder)
    size = {"height": 56, "width": 56}
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(size=size, crop_to_patches=True, max_patches=4),
        tokenizer,
        InternVLVideoProcessor(size=size),
        image_seq_length=4,
        chat_template=_chatml("<IMG_CONTEXT>"),
    )
    processor.save_pretrained(folder)
    prompt = (
        "Please provide the bounding box coordinate of the region this sentence describes: "
        "<ref>{phrase}</ref>"
    )
    return _vlm(prompt=prompt, codec="internvl", coordinates="squash 56", multi_image=True)


def write_llava_onevision(folder: Path) -> Card:
    """The shape of RadVLM: tiles of 384 px in the original, phrases in lower case."""
    tokenizer = qwen_tokenizer(["<|im_start|>", "<|im_end|>", "<image>", "<video>"])
    config = LlavaOnevisionConfig(
        text_config={**_QWEN, "vocab_size": len(tokenizer)},
        vision_config=_SIGLIP,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[56, 56], [56, 112], [112, 56], [112, 112]],
    )
    model = LlavaOnevisionForConditionalGeneration(config)
    _ends_with(model, tokenizer, "<|im_end|>")
    model.save_pretrained(folder)
    size = {"height": 56, "width": 56}
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=config.image_grid_pinpoints),
        tokenizer,
        LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=_chatml("<image>"),
    )
    processor.save_pretrained(folder)
    prompt = "Please locate the following sentence: {phrase}"
    return _vlm(prompt=prompt, codec="radvlm", coordinates="squash 56", lower=True)


def write_paligemma(folder: Path) -> Card:
    """PaliGemma: no chat, location tokens with y first."""
    tokenizer = gemma_tokenizer()
    images = SiglipImageProcessor(size={"height": 56, "width": 56}, image_seq_length=16)
    processor = PaliGemmaProcessor(images, tokenizer)  # adds the location tokens
    config = PaliGemmaConfig(
        text_config={**TEXT, "model_type": "gemma", "vocab_size": len(tokenizer)},
        vision_config={**_SIGLIP, "projection_dim": 32},
        projection_dim=32,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = PaliGemmaForConditionalGeneration(config)
    _ends_with(model, tokenizer, "<eos>")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return _vlm(
        prompt="<image>detect {phrase}",  # the processor adds the end of line
        codec="paligemma",
        coordinates="squash 56",
        layout="paligemma",
    )


def write_florence(folder: Path) -> Card:
    """Florence-2: encoder and decoder, a task token, location tokens."""
    tokenizer = bart_tokenizer({"image_token": "<image>"})
    tokenizer.add_tokens([f"<loc_{number}>" for number in range(1000)])
    vision = {
        "depths": [1, 1, 1, 1],
        "embed_dim": [8, 16, 16, 32],
        "num_heads": [1, 2, 2, 4],
        "num_groups": [1, 2, 2, 4],
        "window_size": 2,
        "projection_dim": 32,
    }
    text = {
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 512,
    }
    image_id = tokenizer.convert_tokens_to_ids("<image>")
    config = Florence2Config(text_config=text, vision_config=vision, image_token_id=image_id)
    model = Florence2ForConditionalGeneration(config)
    model.save_pretrained(folder)
    size = {"height": 64, "width": 64}
    images = CLIPImageProcessor(size=size, do_center_crop=False, image_seq_length=5)
    Florence2Processor(images, tokenizer).save_pretrained(folder)
    return _vlm(
        prompt="<CAPTION_TO_PHRASE_GROUNDING>{phrase}",
        codec="florence",
        coordinates="squash 64",
        layout="florence",
    )


def _vlm(**rules: Any) -> Card:
    return {"family": "hf_vlm", "vlm": {"max_new_tokens": 16, **rules}}
