"""Tiny random generative models, written by transformers; chat templates in the real layouts."""

from pathlib import Path
from typing import Any

from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)

from baselines.tiny_tokenizers import gemma_tokenizer, qwen_tokenizer

Card = dict[str, Any]

TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
_LOCATE = "Locate: {phrase}. Answer in JSON."

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}"
    "{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{% for c in m.content %}"
    "{% if c.type == 'image' %}<start_of_image>{% else %}{{ c.text }}{% endif %}{% endfor %}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def _gemma_config(tokenizer: Any) -> Gemma3Config:
    return Gemma3Config(
        text_config={
            **TEXT,
            "vocab_size": len(tokenizer),
            "query_pre_attn_scalar": 8,
            "sliding_window": 64,
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "image_size": 56,
            "patch_size": 14,
        },
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("<end_of_image>"),
        image_token_id=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
    )


def write_gemma(folder: Path) -> Card:
    """The shape of MedGemma: Gemma 3 with a SigLIP tower, squashed square images."""
    tokenizer = gemma_tokenizer(
        ["<start_of_turn>", "<end_of_turn>"],
        {
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        },
    )
    model = Gemma3ForConditionalGeneration(_gemma_config(tokenizer))
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    images = Gemma3ImageProcessor(size={"height": 56, "width": 56})
    processor = Gemma3Processor(images, tokenizer, chat_template=GEMMA_CHAT, image_seq_length=4)
    processor.save_pretrained(folder)
    return {
        "family": "hf_vlm",
        "vlm": {
            "prompt": _LOCATE,
            "codec": "gemma_json",
            "picture": "pad square",
            "coordinates": "pad square",
            "max_new_tokens": 16,
            "multi_image": True,
        },
    }


_QWEN_SPECIALS = [
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]


def _qwen_ids(tokenizer: Any) -> dict[str, int]:
    number = tokenizer.convert_tokens_to_ids
    return {
        "image_token_id": number("<|image_pad|>"),
        "video_token_id": number("<|video_pad|>"),
        "vision_start_token_id": number("<|vision_start|>"),
        "vision_end_token_id": number("<|vision_end|>"),
    }


def _finish_qwen(model: Any, tokenizer: Any, folder: Path) -> None:
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)


def write_qwen25(folder: Path) -> Card:
    """Qwen2.5-VL: coordinates in pixels of the resized image."""
    tokenizer = qwen_tokenizer(_QWEN_SPECIALS)
    text = {**TEXT, "vocab_size": len(tokenizer)}
    text["rope_parameters"] = {
        "rope_type": "default",
        "mrope_section": [1, 1, 2],
        "rope_theta": 1e4,
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 4,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [0],
        "window_size": 112,
    }
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **_qwen_ids(tokenizer))
    _finish_qwen(Qwen2_5_VLForConditionalGeneration(config), tokenizer, folder)
    size = {"shortest_edge": 3136, "longest_edge": 12544}
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(size=size),
        tokenizer,
        Qwen2VLVideoProcessor(),
        chat_template=CHATML,
    )
    processor.save_pretrained(folder)
    return {
        "family": "hf_vlm",
        "vlm": {
            "prompt": _LOCATE,
            "codec": "qwen_px",
            "coordinates": "multiples 28 min 3136 max 12544",
            "max_new_tokens": 16,
            "multi_image": True,
        },
    }


def write_qwen3(folder: Path) -> Card:
    """Qwen3-VL: coordinates in thousandths."""
    tokenizer = qwen_tokenizer(_QWEN_SPECIALS)
    text = {**TEXT, "vocab_size": len(tokenizer)}
    text["rope_parameters"] = {
        "rope_type": "default",
        "mrope_section": [1, 1, 2],
        "rope_theta": 1e4,
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 4,
        "out_hidden_size": 32,
        "patch_size": 16,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **_qwen_ids(tokenizer))
    _finish_qwen(Qwen3VLForConditionalGeneration(config), tokenizer, folder)
    size = {"shortest_edge": 4096, "longest_edge": 16384}
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(size=size, patch_size=16),
        tokenizer,
        Qwen2VLVideoProcessor(patch_size=16),
        chat_template=CHATML,
    )
    processor.save_pretrained(folder)
    return {
        "family": "hf_vlm",
        "vlm": {
            "prompt": _LOCATE,
            "codec": "qwen_1000",
            "coordinates": "multiples 32 min 4096 max 16384",
            "max_new_tokens": 16,
            "multi_image": True,
        },
    }
