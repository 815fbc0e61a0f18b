"""One identity, one key."""

import hashlib

import pytest

from harness.identity import key_of


def test_a_key_is_the_hash_of_the_canonical_json() -> None:
    text = b'{"a":[1,2.5],"b":"\\u00e9"}'
    assert key_of({"b": "é", "a": (1, 2.5)}) == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_without_a_canonical_form_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        key_of({"a": value})


def test_keys_that_json_would_write_alike_are_refused() -> None:
    with pytest.raises(TypeError, match=r"identity.a\[1\]: key 1"):
        key_of({"a": [0, {1: 2}]})
