"""Chat sequences for the language model, and the small tokenizer of models trained from scratch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from lofi.losses import IGNORED

HEAD = "<start_of_turn>user\n"
MIDDLE = "\n<end_of_turn>\n<start_of_turn>model\n"
END = "\n<end_of_turn>\n"
IMAGE = "[multimodal]"
PAD, BOS = "<pad>", "<bos>"

# Fixed strings of the templates: one token each in a fresh tokenizer, so that a box costs 19
# tokens and a tiny model spends nothing on learning punctuation.
FIXED = (
    MIDDLE, END, HEAD, "```\n[[", "]]\n```", "```\n[]\n```", "],[",
    '\nDetect all instances of "', '".', "\nDescribe the regions: [[", "]]",
    "\nDescribe the image.", "```",
)  # fmt: skip


@dataclass(frozen=True)
class Sequences:
    """Padded text tokens after the image tokens, and the label of each position's *next* token."""

    ids: Int[Tensor, "r length"]
    labels: Int[Tensor, "r length"]

    @property
    def count(self) -> int:
        """How many tokens of answers there are."""
        return int((self.labels != IGNORED).sum())

    def to(self, device: Any) -> "Sequences":
        """The same on a device."""
        return Sequences(self.ids.to(device), self.labels.to(device))

    def rows(self, index: Tensor | slice) -> "Sequences":
        """Some of the rows."""
        return Sequences(self.ids[index], self.labels[index])


class Prompts:
    r"""Prompts and answers as token ids around a prefix of image tokens.

    A sequence is `<bos><start_of_turn>user\n`, the image tokens, a new line, the instruction,
    `\n<end_of_turn>\n<start_of_turn>model\n`, the answer and `\n<end_of_turn>\n`. The loss
    covers the answer and its end.
    """

    def __init__(self, tokenizer: Any, max_tokens: int):
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        bos = tokenizer.bos_token_id
        self.head = torch.tensor([bos, *self._ids(HEAD)])
        self.pad = tokenizer.pad_token_id or 0
        end = self._ids(END)
        texts = tokenizer.batch_decode([[one] for one in end])
        self.stop = tuple(
            one for one, text in zip(end, texts, strict=True) if "<end_of_turn>" in text
        )
        if not self.stop:
            raise ValueError("the tokenizer has no token for <end_of_turn>")

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def question(self, prompt: str) -> list[int]:
        """The ids that follow the image tokens, up to where the answer begins."""
        return self._ids("\n" + prompt + MIDDLE)

    def training(self, pairs: Sequence[tuple[str, str]]) -> Sequences:
        """Prompts with their answers, padded on the right; too long answers are cut (`lengths`)."""
        rows = []
        for prompt, answer in pairs:
            question, reply = self.question(prompt), self._ids(answer + END)
            room = self.max_tokens - len(question)
            rows.append((question, reply[: max(room, 0)]))
        length = max((len(q) + len(a) for q, a in rows), default=1)
        ids = torch.full((len(rows), length), self.pad)
        labels = torch.full((len(rows), length), IGNORED)
        for row, (question, reply) in enumerate(rows):
            whole = torch.tensor(question + reply)[:length]
            ids[row, : len(whole)] = whole
            first = len(question) - 1  # the last token of the question predicts the answer's first
            labels[row, first : len(whole) - 1] = whole[len(question) :]
        return Sequences(ids, labels)

    def lengths(self, pairs: Sequence[tuple[str, str]]) -> list[int]:
        """Tokens of each prompt with its whole answer; above `max_tokens` the answer is cut."""
        if not pairs:
            return []
        texts = ["\n" + prompt + MIDDLE for prompt, _ in pairs]
        texts += [answer + END for _, answer in pairs]
        ids = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        both = zip(ids[: len(pairs)], ids[len(pairs) :], strict=True)
        return [len(question) + len(reply) for question, reply in both]

    def text(self, ids: Sequence[int]) -> str:
        """An answer as text, up to its end."""
        return (
            str(self.tokenizer.decode(list(ids), skip_special_tokens=False))
            .split("<end_of_turn>")[0]
            .strip()
        )


def train_tokenizer(texts: Iterable[str], size: int) -> Any:
    """A small tokenizer: byte-pair words in lower case, single digits, templates as one token.

    Unknown characters fall back to bytes, so every text has ids and its own text back (in lower
    case).
    """
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE(byte_fallback=False))
    raw.normalizer = normalizers.Lowercase()
    split = Regex(r"\d| ?[^\s\d\[\],.\"`]+|\s|[\[\],.\"`]")
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(split, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    special = [PAD, BOS, IMAGE]
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(FIXED),
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    raw.add_tokens([AddedToken(text, normalized=False) for text in FIXED])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token=PAD, bos_token=BOS, clean_up_tokenization_spaces=False
    )


def token_ids(tokenizer: Any, texts: Sequence[str], length: int) -> Int[Tensor, "n length"]:
    """Ids of the text tower, cut and padded to `length`, with the tokenizer's special tokens.

    SigLIP 2 was trained on text in lower case, `<eos>` behind it and padding to the right,
    whatever the tokenizer's file says, and pools the last position. A small tokenizer makes lower
    case itself and adds nothing.

    Source: Tschannen et al. 2025 (arXiv 2502.14786), section 2.1.
    """
    out = tokenizer(
        [text.lower() for text in texts],
        padding="max_length",
        padding_side="right",
        truncation=True,
        max_length=length,
        return_tensors="pt",
    )
    return out["input_ids"]


def token_counts(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """Tokens of each text for the text tower, special tokens included, before it is cut."""
    found = tokenizer([text.lower() for text in texts], verbose=False)
    return [len(ids) for ids in found["input_ids"]]
