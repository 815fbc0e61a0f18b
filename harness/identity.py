"""Keys: the SHA-256 of everything that decides a number, written in one canonical way."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def key_of(identity: Mapping[str, Any]) -> str:
    """The SHA-256 of `identity` as canonical JSON: sorted keys, every digit of a float.

    Raises:
        ValueError: it holds NaN or infinity.
        TypeError: it holds something JSON has no form for, or a mapping key that is not a string.

    >>> key_of({"a": 1, "b": [2.5]}) == key_of({"b": [2.5], "a": 1})
    True
    >>> key_of({"a": 1}) == key_of({"a": 1.0})
    False
    """
    _require_string_keys(identity, "identity")
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _require_string_keys(value: Any, where: str) -> None:
    # json.dumps would write the keys 1 and "1" alike.
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where}: key {key!r} is not a string")
            _require_string_keys(part, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            _require_string_keys(part, f"{where}[{index}]")
