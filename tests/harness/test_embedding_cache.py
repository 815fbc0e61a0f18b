"""A cached vector is the model's own to the bit, or it is not there."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.embedding_cache import (
    EmbeddingIdentity,
    _digests,
    _Index,
    image_id,
    open_cache,
    text_id,
)
from tests.harness.cached_vectors import CARD, cache_of, matrix

BASE = EmbeddingIdentity(
    modality="text",
    family="clip",
    weights="w",
    adapter_version=1,
    preprocessing="squash-224",
    dtype="float32",
    text_policy="official",
    max_tokens=77,
    options={"layer": 1},
)


def test_an_empty_cache_finds_nothing(tmp_path: Path) -> None:
    found, vectors = cache_of(tmp_path).get(["a", "b"])
    assert found.tolist() == [False, False]
    assert vectors.shape == (2, 0)
    assert cache_of(tmp_path).get([])[0].shape == (0,)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_come_back_to_the_bit_in_the_order_asked(tmp_path: Path, dtype: type) -> None:
    rows = matrix(7).astype(dtype)
    ids = [f"image-{number}" for number in range(7)]
    cache_of(tmp_path).put(ids[:4], rows[:4])
    cache_of(tmp_path).put(ids[4:], rows[4:])
    order = [6, 0, 3, 3, 5, 1]
    found, vectors = cache_of(tmp_path).get([ids[place] for place in order])
    assert found.all()
    assert vectors.dtype == dtype
    assert vectors.tobytes() == rows[order].tobytes()


def test_what_is_not_there_is_marked_and_cannot_be_mistaken(tmp_path: Path) -> None:
    cache = cache_of(tmp_path)
    cache.put(["a"], matrix(1))
    found, vectors = cache.get(["x", "a"])
    assert found.tolist() == [False, True]
    assert np.isnan(vectors[0]).all()


def test_another_process_sees_what_was_put(tmp_path: Path) -> None:
    reader, writer = cache_of(tmp_path), cache_of(tmp_path)
    assert not reader.get(["a"])[0].any()
    writer.put(["a"], matrix(1))
    assert reader.get(["a"])[0].all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_refused_by_model_and_id(tmp_path: Path, value: float) -> None:
    rows = matrix(3)
    rows[1, 2] = value
    with pytest.raises(ValueError, match=r"clip-a.*non-finite in 1 of 3.*image-7"):
        cache_of(tmp_path).put(["a", "image-7", "b"], rows)
    assert not cache_of(tmp_path).get(["a"])[0].any()


@pytest.mark.parametrize(
    ("ids", "rows"),
    [
        (["a"], matrix(2)),
        (["a"], matrix(1)[0]),
        (["a"], np.ones((1, 2), int)),
        (["a", "a"], matrix(2)),
    ],
)
def test_rows_that_do_not_fit_their_ids_are_refused(
    tmp_path: Path, ids: list[str], rows: np.ndarray
) -> None:
    with pytest.raises((ValueError, TypeError), match=r"clip-a|matrix"):
        cache_of(tmp_path).put(ids, rows)


def test_no_rows_write_nothing(tmp_path: Path) -> None:
    cache_of(tmp_path).put([], matrix(0))
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_weights_hash_is_never_served_from_a_cache(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, weights="")
    assert not cache.usable
    cache.put(["a"], matrix(1))
    assert not cache.get(["a"])[0].any()


OTHER: dict[str, st.SearchStrategy[Any]] = {
    "adapter_version": st.integers(0, 10**6),
    "max_tokens": st.none() | st.integers(1, 10**6),
    "options": st.dictionaries(st.text(), st.integers() | st.text() | st.booleans(), max_size=3),
}


@pytest.mark.parametrize("name", [field.name for field in fields(EmbeddingIdentity)])
@given(data=st.data())
def test_changing_any_single_field_changes_the_key(name: str, data: st.DataObject) -> None:
    value = data.draw(OTHER.get(name, st.text()))
    changed = replace(BASE, **{name: value})
    assert (changed.key() == BASE.key()) == (value == getattr(BASE, name))


def test_a_key_does_not_depend_on_the_order_of_options() -> None:
    one, two = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    assert replace(BASE, options=one).key() == replace(BASE, options=two).key()


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": "v"},
        {"family": "siglip"},
        {"version": 3},
        {"preprocessing": "crop-224"},
        {"max_tokens": 64},
    ],
)
def test_another_card_finds_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    cache_of(tmp_path, "text").put(["a"], matrix(1))
    assert not cache_of(tmp_path, "text", **changes).get(["a"])[0].any()


def test_modality_dtype_policy_and_options_stand_apart_but_the_rows_name_does_not(
    tmp_path: Path,
) -> None:
    cache_of(tmp_path, "text").put(["a"], matrix(1))
    assert cache_of(tmp_path, "text", name="another row").get(["a"])[0].all()
    for other in (
        open_cache(CARD, "image", root=tmp_path),
        open_cache(CARD, "text", "bfloat16", root=tmp_path),
        open_cache(CARD, "text", text_policy="chunk-mean", root=tmp_path),
        open_cache(CARD, "text", options={"layer": 2}, root=tmp_path),
    ):
        assert not other.get(["a"])[0].any()


def test_texts_and_images_are_known_by_content(tmp_path: Path) -> None:
    assert text_id("No effusion.") != text_id("No effusion")
    one, same, other = (tmp_path / name for name in "123")
    one.write_bytes(b"pixels")
    same.write_bytes(b"pixels")
    other.write_bytes(b"pixelz")
    assert image_id(one) == image_id(same) != image_id(other)


def test_ids_that_share_their_first_bits_are_never_confused() -> None:
    ids = np.zeros((3, 32), np.uint8)
    ids[1, 31] = 1
    ids[2, 0] = 1
    shard, row = _Index([ids]).find(ids)
    for place in range(3):
        assert (shard[place], row[place]) in [(0, place), (-1, -1)]
    assert (shard[2], row[2]) == (0, 2)


def test_the_index_agrees_with_a_dictionary() -> None:
    names = [f"i{number}" for number in range(300)]
    parts = [names[:100], names[100:101], [], names[101:250]]
    expected = {
        name: (number, row) for number, part in enumerate(parts) for row, name in enumerate(part)
    }
    shard, row = _Index([_digests(part) for part in parts]).find(_digests(names))
    for name, *found in zip(names, shard, row, strict=True):
        assert tuple(found) == expected.get(name, (-1, -1))
