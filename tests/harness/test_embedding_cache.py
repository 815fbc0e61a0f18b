"""A cached vector is the model's own to the bit, or it is not there."""

import errno
import logging
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from harness.embedding_cache import (
    EmbeddingCache,
    EmbeddingIdentity,
    _digests,
    _Index,
    image_id,
    open_cache,
    text_id,
)
from harness.models import ModelCard

CARD = ModelCard("clip-a", family="clip", weights="w" * 64, preprocessing="squash-224", version=2)
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


def cache_of(root: Path, modality: str = "image", **changes: Any) -> EmbeddingCache:
    return open_cache(replace(CARD, **changes), modality, root=root)


def matrix(rows: int, seed: int = 0, width: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def shards(cache: EmbeddingCache) -> list[Path]:
    return sorted(cache.folder.glob("*.safetensors"))


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


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5])


def cut_to_header(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20])


def zero(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def lengthen(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


def change_a_vector(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-2] ^= 4
    file.write_bytes(data)


def reshape_ids(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data.replace(b'"shape":[2,32]', b'"shape":[32,2]'))


def swap_ids(file: Path) -> None:
    tensors = safetensors.numpy.load(file.read_bytes())
    tensors["ids"] = tensors["ids"][::-1].copy()
    file.write_bytes(safetensors.numpy.save(tensors))


SPOIL = [truncate, cut_to_header, zero, empty, lengthen, change_a_vector, swap_ids, reshape_ids]


@pytest.mark.parametrize("spoil", SPOIL)
@pytest.mark.parametrize("opened", [False, True], ids=["before-opening", "after-opening"])
def test_a_spoiled_shard_is_set_aside_said_and_computed_again(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], None],
    opened: bool,
) -> None:
    cache = cache_of(tmp_path)
    cache.put(["a", "b"], matrix(2))
    first = shards(cache)[0]
    cache.put(["c"], matrix(1, seed=1))
    if opened:
        assert cache.get(["a", "b", "c"])[0].all()
    spoil(first)
    with caplog.at_level(logging.WARNING):
        found, vectors = cache.get(["a", "b", "c"])
    assert found.tolist() == [False, False, True]
    assert vectors[2].tobytes() == matrix(1, seed=1).tobytes()
    assert str(first) in caplog.text
    assert not first.exists()
    assert len(list((cache.folder / "quarantine").iterdir())) == 1
    cache.put(["a", "b"], matrix(2))
    assert cache.get(["a", "b", "c"])[0].all()


def test_two_shards_that_changed_places_are_set_aside_and_computed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = cache_of(tmp_path)
    cache.put(["a"], matrix(1))
    cache.put(["b"], matrix(1, seed=1))
    one, other = shards(cache)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    with caplog.at_level(logging.WARNING):
        assert not cache_of(tmp_path).get(["a", "b"])[0].any()
    assert str(one) in caplog.text
    assert str(other) in caplog.text
    cache_of(tmp_path).put(["a", "b"], matrix(2))
    assert cache_of(tmp_path).get(["a", "b"])[1].tobytes() == matrix(2).tobytes()


def test_every_flipped_bit_of_a_shard_is_noticed(tmp_path: Path) -> None:
    cache = cache_of(tmp_path)
    cache.put(["a", "b"], matrix(2))
    file = shards(cache)[0]
    whole = file.read_bytes()
    for place in range(0, len(whole), 7):
        spoiled = bytearray(whole)
        spoiled[place] ^= 1 << place % 8
        file.write_bytes(spoiled)
        assert not cache_of(tmp_path).get(["a", "b"])[0].any()
        file.write_bytes(whole)
    assert cache_of(tmp_path).get(["a", "b"])[0].all()


def test_a_shard_of_another_model_is_set_aside_though_it_is_whole(tmp_path: Path) -> None:
    mine, other = cache_of(tmp_path), cache_of(tmp_path, weights="v")
    other.put(["a"], matrix(1))
    mine.put(["b"], matrix(1))
    shutil.copy(shards(other)[0], mine.folder)
    assert mine.get(["a", "b"])[0].tolist() == [False, True]


def test_a_shard_of_another_width_is_set_aside(tmp_path: Path) -> None:
    cache = cache_of(tmp_path)
    cache.put(["a"], matrix(1, width=5))
    cache.put(["b"], matrix(1, width=6))
    found, vectors = cache.get(["a", "b"])
    assert found.sum() == 1
    assert np.isfinite(vectors[found]).all()


def test_a_damaged_copy_does_not_hide_a_good_one(tmp_path: Path) -> None:
    cache = cache_of(tmp_path)
    cache.put(["a", "b"], matrix(2))
    cache.put(["b", "c"], matrix(2)[1:].repeat(2, axis=0))
    change_a_vector(shards(cache)[0])
    found, vectors = cache.get(["b"])
    assert found.all()
    assert vectors[0].tobytes() == matrix(2)[1].tobytes()


def test_a_shard_that_cannot_be_read_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_of(tmp_path)
    cache.put(["a"], matrix(1))

    def failing(_: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", failing)
    assert not cache.get(["a"])[0].any()
    assert list((cache.folder / "quarantine").iterdir())


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
