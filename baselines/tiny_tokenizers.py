"""Tokenizers of the real classes with the smallest vocabulary that spells any text.

One token per byte or character, no merges; special tokens as each model has them.
"""

import string
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BartTokenizer,
    BertTokenizer,
    CLIPTokenizer,
    GemmaTokenizer,
    Qwen2Tokenizer,
    Tipsv2Tokenizer,
)
from transformers.models.siglip2 import Siglip2Tokenizer


def _numbered(tokens: Sequence[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def clip_tokenizer(length: int = 77) -> Any:
    """CLIP's; OWLv2 reads 16 tokens."""
    letters = sorted(ByteLevel.alphabet())
    ends = [f"{letter}</w>" for letter in letters]
    vocabulary = _numbered([*letters, *ends, "<|startoftext|>", "<|endoftext|>"])
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=length)


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


def tips_tokenizer() -> Any:
    """TIPSv2's: lower-cases, pads right, 64 tokens."""
    return Tipsv2Tokenizer(vocab=_gemma_vocabulary(), merges=[])


def gemma_tokenizer(specials: Sequence[str] = (), named: Mapping[str, str] | None = None) -> Any:
    """Gemma's, with further special tokens; `named` ones become attributes, e.g. boi_token."""
    tokenizer = GemmaTokenizer(
        vocab=_gemma_vocabulary(), merges=[], add_bos_token=True, extra_special_tokens=named
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(specials)})
    return tokenizer


def qwen_tokenizer(specials: Sequence[str] = (), named: Mapping[str, str] | None = None) -> Any:
    """Qwen2's byte-level one, with further special tokens; `named` ones become attributes."""
    vocabulary = _numbered([*sorted(ByteLevel.alphabet()), "<|endoftext|>"])
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[], extra_special_tokens=named)
    tokenizer.add_special_tokens({"additional_special_tokens": list(specials)})
    return tokenizer


def bart_tokenizer(named: Mapping[str, str]) -> Any:
    """BART's byte-level one, as Florence-2 uses it."""
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = _numbered([*specials, *sorted(ByteLevel.alphabet())])
    return BartTokenizer(vocab=vocabulary, merges=[], extra_special_tokens=dict(named))


def bert_tokenizer(length: int = 512) -> Any:
    """BERT's, lower-casing, one character per piece."""
    letters = string.printable[:94]
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [f"##{letter}" for letter in letters]
    vocabulary = _numbered([*specials, *letters, *pieces])
    return BertTokenizer(vocab=vocabulary, model_max_length=length)
