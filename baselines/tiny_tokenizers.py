"""Tokenizers of the real classes with the smallest vocabulary that spells any text.

One token per byte or character, no merges; special tokens as each model has them.
"""

import string
from collections.abc import Sequence
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from transformers import BertTokenizer, CLIPTokenizer, GemmaTokenizer, Qwen2Tokenizer
from transformers.models.siglip2 import Siglip2Tokenizer


def _numbered(tokens: Sequence[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def clip_tokenizer() -> Any:
    """CLIP's, 77 tokens."""
    letters = sorted(ByteLevel.alphabet())
    ends = [f"{letter}</w>" for letter in letters]
    vocabulary = _numbered([*letters, *ends, "<|startoftext|>", "<|endoftext|>"])
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _gemma_vocabulary() -> dict[str, int]:
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁"]
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    return _numbered([*specials, *fallback, *string.printable[:94]])


def siglip_tokenizer() -> Any:
    """SigLIP 2's: lower-cases, pads right, hands out no attention mask, 64 tokens."""
    return Siglip2Tokenizer(
        vocab=_gemma_vocabulary(),
        merges=[],
        padding_side="right",
        model_input_names=["input_ids"],
        model_max_length=64,
    )


def gemma_tokenizer(specials: Sequence[str] = ()) -> Any:
    """Gemma's, with further special tokens."""
    tokenizer = GemmaTokenizer(vocab=_gemma_vocabulary(), merges=[], add_bos_token=True)
    tokenizer.add_special_tokens({"additional_special_tokens": list(specials)})
    return tokenizer


def qwen_tokenizer(specials: Sequence[str] = ()) -> Any:
    """Qwen2's byte-level one, with further special tokens."""
    letters = sorted(ByteLevel.alphabet())
    tokenizer = Qwen2Tokenizer(vocab=_numbered([*letters, "<|endoftext|>"]), merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": list(specials)})
    return tokenizer


def bert_tokenizer(length: int = 512) -> Any:
    """BERT's, lower-casing, one character per piece."""
    letters = string.printable[:94]
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [f"##{letter}" for letter in letters]
    vocabulary = _numbered([*specials, *letters, *pieces])
    return BertTokenizer(vocab=vocabulary, model_max_length=length)
