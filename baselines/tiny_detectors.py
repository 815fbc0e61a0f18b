"""Tiny random open-vocabulary detectors, written by transformers."""

from pathlib import Path
from typing import Any

from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessor,
    Owlv2Processor,
    SwinConfig,
)

from baselines.tiny_tokenizers import bert_tokenizer, clip_tokenizer

Card = dict[str, Any]


def write_grounding_dino(folder: Path) -> Card:
    """GroundingDINO: a Swin backbone, a BERT, ten queries."""
    tokenizer = bert_tokenizer(256)
    backbone = SwinConfig(
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        image_size=64,
        out_indices=[2, 3, 4],
    )
    text = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=256,
    )
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        num_queries=10,
        d_model=64,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_feature_levels=4,
        max_text_len=256,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 107}
    processor = GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer)
    processor.save_pretrained(folder)
    return {"family": "hf_detector", "detector": {"threshold": 0.01, "full_stop": True}}


def write_owlv2(folder: Path) -> Card:
    """OWLv2: pads to a square at the bottom right."""
    tokenizer = clip_tokenizer(16)
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    config = Owlv2Config(
        text_config={
            **tower,
            "vocab_size": len(tokenizer),
            "num_hidden_layers": 1,
            "max_position_embeddings": 16,
        },
        vision_config={**tower, "num_hidden_layers": 1, "image_size": 64, "patch_size": 16},
        projection_dim=32,
    )
    Owlv2ForObjectDetection(config).save_pretrained(folder)
    images = Owlv2ImageProcessor(size={"height": 64, "width": 64})
    Owlv2Processor(images, tokenizer).save_pretrained(folder)
    return {
        "family": "hf_detector",
        "detector": {"threshold": 0.01, "coordinates": "pad square corner"},
    }
