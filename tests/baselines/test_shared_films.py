"""Films are decoded once for all models of a geometry, and never a wrong or an old one."""

import os
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml

import baselines.pixels
import harness.images
from baselines import shared_films
from baselines.cards import load
from baselines.pixels import PixelRules
from baselines.shared_films import SharedFilms
from harness.geometry import read_geometry
from harness.images import Image
from harness.models import Query
from harness.samples import Dataset, ImageRef
from harness.tasks.embedding import embed_images
from harness.tasks.task import Asking


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the files that are decoded, one entry each time; nothing is shared yet."""
    names: list[str] = []
    decode = harness.images._decode

    def counted(file, target):
        names.append(file.name)
        return decode(file, target)

    monkeypatch.setattr(harness.images, "_decode", counted)
    monkeypatch.setattr(baselines.pixels, "_SHARED", SharedFilms())
    return names


def with_geometry(folder: Path, tiny, name: str, geometry: str):
    """The tiny model with another geometry on its card."""
    card = yaml.safe_load(Path(tiny(name), "card.yaml").read_text())
    card["image"] = {**card.get("image", {}), "geometry": geometry}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(card))
    return load(card=str(folder / f"{name}.yaml"), path=tiny(name))


def embedded(model, films) -> np.ndarray:
    refs = [ImageRef(f.image_id, f.file, f.image_id, f.image_id) for f in films]
    data = Dataset("manifest", "retrieval", "all", "as-given", "1", ())
    asking = Asking(model=model, card=model.card, dataset=data, sink=None, batch_size=2)
    return embed_images(asking, model, refs)


def test_two_models_of_one_geometry_decode_each_film_once(tiny, films, tmp_path, decoded):
    first = with_geometry(tmp_path, tiny, "tiny-clip", "squash 64")
    second = with_geometry(tmp_path, tiny, "tiny-openclip", "squash 64")
    embedded(first, films)
    assert sorted(decoded) == sorted(film.file.name for film in films)
    shared = embedded(second, films)
    assert len(decoded) == len(films)
    third = with_geometry(tmp_path, tiny, "tiny-openclip", "squash 64 bilinear")
    other = embedded(third, films)
    assert len(decoded) == 2 * len(films)  # another geometry is another picture
    assert not np.allclose(shared, other)


@pytest.mark.parametrize("name", ["tiny-gemma", "tiny-qwen2.5-vl", "tiny-owlv2"])
def test_a_film_is_decoded_once_for_all_its_phrases(tiny, films, decoded, name):
    model = load(card=tiny(name))
    for _ in range(2):
        model.ground([Query(film, phrase) for film in films[:2] for phrase in ("a", "b", "c")])
    assert sorted(decoded) == ["film-0.png", "film-1.png"]


def test_what_is_shared_is_what_would_have_been_made(films, decoded):
    rules = PixelRules(read_geometry("longest 40, pad 48"), (0.5,), (0.5,))
    stretched = PixelRules(rules.geometry, (0.5,), (0.5,), stretch=True)
    fresh = [(rules.prepare(film), stretched.prepare(film)) for film in films]
    again = [(rules.prepare(film), stretched.prepare(film)) for film in films]
    assert len(decoded) == 2 * len(films)
    assert all(
        np.array_equal(one, other)
        for pair, same in zip(fresh, again, strict=True)
        for one, other in zip(pair, same, strict=True)
    )
    again[0][0][:] = 0  # who writes into what he got spoils it for no one
    assert np.array_equal(rules.prepare(films[0]), fresh[0][0])


def test_a_film_that_changed_on_disk_is_read_again(tmp_path, decoded):
    file = tmp_path / "a.png"
    rules = PixelRules(read_geometry("squash 8"), (0.5,), (0.5,))
    for number, grey in enumerate((10, 200)):
        PIL.Image.new("L", (20, 20), grey).save(file)
        os.utime(file, ns=(number, number))
        assert (rules.prepare(Image("a", file)) == grey).all()
    assert len(decoded) == 2


def test_no_more_is_kept_than_there_is_room_for(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_films, "MOST_BYTES", 250)
    store = SharedFilms()
    for number in range(4):
        store.keep((tmp_path / str(number), "", False), np.full((10, 10), number, np.uint8))
    kept = [store.get((tmp_path / str(number), "", False)) for number in range(4)]
    assert [k is not None for k in kept] == [True, True, False, False]
    assert (kept[1] == 1).all()


def test_a_disk_without_room_keeps_nothing_and_stops_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    store = SharedFilms()
    film = np.zeros((4, 4), np.uint8)
    monkeypatch.setattr(os, "pwrite", full)
    store.keep((tmp_path / "a", "", False), film)
    assert store.get((tmp_path / "a", "", False)) is None
    monkeypatch.undo()
    nowhere = SharedFilms()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file" / "below"))
    nowhere.keep((tmp_path / "a", "", False), film)
    assert nowhere.get((tmp_path / "a", "", False)) is None


def test_the_file_has_no_name_that_could_outlive_the_process(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    store = SharedFilms()
    store.keep((tmp_path / "a", "", False), np.zeros((4, 4), np.uint8))
    assert store.get((tmp_path / "a", "", False)) is not None
    assert list((tmp_path / "cache").iterdir()) == []


def test_threads_that_keep_at_the_same_time_keep_what_they_had(tmp_path):
    store = SharedFilms()

    def work(number: int) -> None:
        for step in range(50):
            key = (tmp_path / f"{number}-{step}", "", False)
            store.keep(key, np.full((7, 5), (number * 50 + step) % 251, np.uint8))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        for step in range(50):
            found = store.get((tmp_path / f"{number}-{step}", "", False))
            assert found is not None
            assert (found == (number * 50 + step) % 251).all()
