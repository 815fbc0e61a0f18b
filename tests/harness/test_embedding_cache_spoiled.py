"""A shard of vectors that is spoiled, foreign or out of reach is set aside and said."""

import errno
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from harness.embedding_cache import EmbeddingCache
from tests.harness.cached_vectors import cache_of, matrix


def shards(cache: EmbeddingCache) -> list[Path]:
    return sorted(cache.folder.glob("*.safetensors"))


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
