"""Long texts in pieces a model can read: whole sentences, packed up to its limit of tokens."""

import re
from collections.abc import Callable, Sequence

CountTokens = Callable[[Sequence[str]], Sequence[int]]

_SENTENCE = re.compile(r"(?<=[.!?;])\s+")


def chunk_text(text: str, limit: int, count: CountTokens) -> list[str]:
    """The text as consecutive chunks of at most `limit` tokens each.

    Sentences are packed greedily; one that alone is longer is split at words, so that no token is
    lost. A text within the limit is one chunk, itself.

    >>> chunk_text("One two. Three four five. Six.", 5, lambda ts: [len(t.split()) for t in ts])
    ['One two. Three four five.', 'Six.']
    """
    if count([text])[0] <= limit:
        return [text]
    pieces: list[str] = []
    for sentence in _SENTENCE.split(text):
        if count([sentence])[0] <= limit:
            pieces.append(sentence)
        else:
            pieces += _pack(sentence.split(), limit, count)
    return _pack(pieces, limit, count)


def _pack(pieces: Sequence[str], limit: int, count: CountTokens) -> list[str]:
    chunks: list[str] = []
    current = ""
    for piece in pieces:
        longer = f"{current} {piece}" if current else piece
        if current and count([longer])[0] > limit:
            chunks.append(current)
            longer = piece
        current = longer
    return [*chunks, current] if current else chunks
