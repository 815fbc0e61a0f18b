"""Where weights are looked for, and when what is found is all of them."""

import json
from pathlib import Path

import pytest
import yaml

from baselines.cards import describe, read_card
from baselines.fetching import fetch
from baselines.weights import locate
from harness.errors import BenchError, WeightsAbsent


@pytest.fixture(autouse=True)
def _empty_machine(monkeypatch, tmp_path_factory):
    """No weights anywhere: caches of the user are not looked at."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)


def snapshot(root: Path, repository: str, commit: str, files: dict[str, str]) -> Path:
    """A repository as it lies in the cache of Hugging Face."""
    folder = root / ("models--" + repository.replace("/", "--"))
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    for name, content in files.items():
        file = folder / "snapshots" / commit / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


def own_card(folder: Path, **source) -> str:
    """The file of a new card, beside whatever lies in the folder."""
    content = {
        "title": "Mine",
        "family": "hf_dual",
        "source": {"hub": "me/mine", **source},
        "licence": "MIT",
        "trained_on": [],
        "verified": "never",
    }
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump(content))
    return str(file)


def test_a_snapshot_in_the_cache_is_found_and_its_commit_is_the_identity(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    commit = read_card("medsiglip-448").source.revision
    snapshot(tmp_path, "google/medsiglip-448", commit, {"model.safetensors": "w"})
    card = describe(card="medsiglip-448")
    assert card.weights == f"google/medsiglip-448@{commit}"
    assert card.max_tokens == 64


def test_half_a_snapshot_is_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    commit = read_card("medsiglip-448").source.revision
    snapshot(tmp_path, "google/medsiglip-448", commit, {"config.json": "{}"})
    with pytest.raises(WeightsAbsent):
        describe(card="medsiglip-448")


@pytest.mark.parametrize("name", ["openclip-vit-h-14", "biomedclip"])
def test_a_configuration_without_weights_is_absent(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    card = read_card(name)
    snapshot(tmp_path, card.source.hub, card.source.revision, {"open_clip_config.json": "{}"})
    for entry in card.source.also:
        snapshot(tmp_path, *entry.split("@"), {"config.json": "{}"})
    with pytest.raises(WeightsAbsent, match=r"open_clip_config\.json and weights of"):
        describe(card=name)


SHARDS = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("files", "present"),
    [
        (SHARDS, True),
        (SHARDS[:1], False),
        (SHARDS[:2], False),
        ([], False),
        (["model.safetensors"], True),  # whole, beside an index of another format
        (["training_args.bin"], False),
        (["tokenizer.json"], False),
    ],
)
def test_every_part_that_an_index_names_must_be_there(tmp_path, files, present):
    index = {"weight_map": {f"layer.{number}": file for number, file in enumerate(SHARDS)}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "pytorch_model.bin.index.json").write_text(
        json.dumps({"weight_map": {"layer.0": "pytorch_model-00001-of-00001.bin"}})
    )  # of a format that nobody downloads
    for name in files:
        (tmp_path / name).write_text("w")
    if present:
        assert describe(card=own_card(tmp_path)).weights
        return
    with pytest.raises(WeightsAbsent):
        describe(card=own_card(tmp_path))


@pytest.mark.parametrize("index", ["{", "[]", '{"weight_map": []}', '{"weight_map": {}}'])
def test_an_index_that_cannot_be_read_makes_no_part_a_whole(tmp_path, index):
    (tmp_path / "model.safetensors.index.json").write_text(index)
    (tmp_path / SHARDS[0]).write_text("w")
    with pytest.raises(WeightsAbsent):
        describe(card=own_card(tmp_path))


def test_the_second_repository_is_needed_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    card = read_card("biomedclip")
    files = {"open_clip_config.json": "{}", "open_clip_pytorch_model.bin": "w"}
    snapshot(tmp_path, card.source.hub, card.source.revision, files)
    with pytest.raises(WeightsAbsent, match="microsoft/BiomedNLP-BiomedBERT"):
        describe(card="biomedclip")
    repository, commit = card.source.also[0].split("@")
    snapshot(tmp_path, repository, commit, {"config.json": "{}"})
    assert describe(card="biomedclip").weights == f"{card.source.hub}@{card.source.revision}"
    assert list(locate(card).also) == [repository]


def test_own_folders_of_weights_are_identified_by_content(tmp_path, monkeypatch):
    identities = []
    for number, content in enumerate(["one", "one", "two"]):
        root = tmp_path / str(number)
        (root / "chexzero").mkdir(parents=True)
        name = read_card("chexzero").source.files[0]
        (root / "chexzero" / name).write_text(content)
        monkeypatch.setenv("BENCH_WEIGHTS", str(root))
        identities.append(describe(card="chexzero").weights)
    assert identities[0] == identities[1] != identities[2]


def test_a_file_that_is_not_the_cards_is_refused(tmp_path):
    (tmp_path / "w.pt").write_text("other")
    card = own_card(tmp_path, files=["w.pt"], sha256=["0" * 64])
    with pytest.raises(BenchError, match=r"w\.pt has SHA-256 .*the card says 000000000000"):
        describe(card=card)


def test_a_folder_of_weights_that_does_not_exist_is_an_error():
    with pytest.raises(BenchError, match="/no/such is no folder"):
        describe(card="medsiglip-448", path="/no/such")


def test_fetch_says_where_a_person_gets_what_no_hub_has():
    with pytest.raises(BenchError, match=r"github\.com/rajpurkarlab/CheXzero"):
        fetch(read_card("chexzero"))
