"""Fetching: the commit that is meant, verified by the hub's own hashes, gates said in words."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

from baselines.cards import describe, load, read_card
from baselines.fetching import fetch, mismatches
from baselines.revisions import record_file
from baselines.weights import locate
from harness.commands.fetch import command
from harness.errors import BenchError, WeightsAbsent

FIRST, SECOND = "a" * 40, "b" * 40


class Hub:
    """A hub with one content per repository and commit; `main` moves."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.main = FIRST
        self.asked: list[tuple[str, str]] = []
        self.damage = False

    def snapshot_download(self, repository: str, *, revision: str, **_: object) -> str:
        self.asked.append((repository, revision))
        commit = self.main if revision == "main" else revision
        folder = self.cache / ("models--" + repository.replace("/", "--"))
        snapshot = folder / "snapshots" / commit
        if revision == "main":
            (folder / "refs").mkdir(parents=True, exist_ok=True)
            (folder / "refs" / "main").write_text(commit)
        for name, large in (("model.safetensors", True), ("config.json", False)):
            content = f"{repository} {commit} {name}".encode()
            blob = b"blob %d\0" % len(content) + content
            key = hashlib.sha256(content) if large else hashlib.sha1(blob)
            file = folder / "blobs" / key.hexdigest()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content[:-1] if self.damage and large else content)
            link = snapshot / name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(file)
        return str(snapshot)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Hub:
    fake = Hub(tmp_path / "hub")
    monkeypatch.setenv("HF_HUB_CACHE", str(fake.cache))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot_download)
    return fake


@pytest.fixture
def card(tmp_path):
    """A function that writes a card of the hub's `me/mine` and reads it."""

    def write(**source):
        content = {
            "title": "Mine",
            "family": "hf_dual",
            "source": {"hub": "me/mine", **source},
            "licence": "MIT",
            "trained_on": [],
            "verified": "never",
            "gate": "Accept the terms.",
        }
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
        return read_card(str(tmp_path / "mine.yaml"))

    return write


def test_a_branch_means_from_then_on_the_commit_that_was_fetched(hub, card):
    mine = card()
    assert fetch(mine).identity == f"me/mine@{FIRST}"
    assert json.loads(record_file().read_text()) == {"me/mine@main": FIRST}
    hub.main = SECOND
    hub.snapshot_download("me/mine", revision="main")  # another program takes the newest
    assert locate(mine).identity == f"me/mine@{FIRST}"
    assert fetch(mine).identity == f"me/mine@{FIRST}"
    assert hub.asked[-1] == ("me/mine", FIRST)
    record_file().unlink()
    assert fetch(mine).identity == f"me/mine@{SECOND}"


def test_a_pinned_card_asks_for_its_commit_and_keeps_no_record(hub, card):
    mine = card(revision=SECOND, also=[f"me/bert@{FIRST}", "me/words"])
    found = fetch(mine)
    assert found.identity == f"me/mine@{SECOND}"
    assert hub.asked == [("me/mine", SECOND), ("me/bert", FIRST), ("me/words", "main")]
    assert {name: folder.name for name, folder in found.also.items()} == {
        "me/bert": FIRST,
        "me/words": FIRST,
    }
    assert json.loads(record_file().read_text()) == {"me/words@main": FIRST}


def test_another_commit_in_the_cache_is_not_taken_for_the_pinned_one(hub, card):
    hub.snapshot_download("me/mine", revision="main")
    with pytest.raises(WeightsAbsent, match=f"revision {SECOND}"):
        locate(card(revision=SECOND))


def test_a_file_damaged_on_the_way_is_refused_by_the_hubs_own_hash(hub, card):
    hub.damage = True
    with pytest.raises(BenchError, match=r"model\.safetensors of me/mine has hash .* damaged"):
        fetch(card())
    assert not record_file().exists()


def test_large_and_small_files_are_verified_each_by_its_kind_of_hash(hub):
    snapshot = Path(hub.snapshot_download("me/mine", revision="main"))
    assert list(mismatches(snapshot)) == []
    (snapshot / "config.json").resolve().write_text("other")
    assert [file.name for file, _, _ in mismatches(snapshot)] == ["config.json"]


@pytest.mark.usefixtures("hub")
def test_a_gate_and_a_revision_that_is_not_there_are_said_in_words(card, monkeypatch):
    answer = SimpleNamespace(headers={}, request=None)
    for error, message in (
        (GatedRepoError, r"me/mine is gated\. Accept the terms\. Then: hf auth login"),
        (RevisionNotFoundError, "me/mine has no revision main"),
    ):

        def refuse(*_, kind=error, **__):
            raise kind("no", response=answer)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
        with pytest.raises(BenchError, match=message):
            fetch(card())


@pytest.mark.usefixtures("hub")
def test_the_command_prints_the_commit_it_got_and_where_it_is_kept():
    result = CliRunner().invoke(command, ["radvlm", "--allow-download"])
    assert result.exit_code == 0, result.output
    printed = "".join(result.output.split())
    assert f"fetched:KrauthammerLab/RadVLM@{FIRST}(main,fromnowonthiscommit:" in printed
    assert describe(card="radvlm").weights == f"KrauthammerLab/RadVLM@{FIRST}"
    again = CliRunner().invoke(command, ["radvlm"])
    assert f"present: KrauthammerLab/RadVLM@{FIRST}" in " ".join(again.output.split())


def test_the_table_of_models_says_of_a_present_one_what_it_said_of_a_missing_one(hub):
    from harness.commands.models_table import model_rows

    missing = {row[0]: row for row in model_rows()}["radvlm"]
    hub.snapshot_download("KrauthammerLab/RadVLM", revision="main")
    present = {row[0]: row for row in model_rows()}["radvlm"]
    assert missing[-1] == "missing"
    assert present == (*missing[:-1], "present")


@pytest.mark.usefixtures("hub")
def test_a_record_that_cannot_be_read_says_what_to_do(card):
    record_file().parent.mkdir(parents=True)
    record_file().write_text("{")
    with pytest.raises(BenchError, match=r"revisions\.json: not readable.* Remove it"):
        fetch(card())


def test_weights_of_another_size_than_the_card_says_are_refused(tiny, films, tmp_path):
    content = yaml.safe_load(Path(tiny("tiny-clip"), "card.yaml").read_text())
    for size in (24, 25):
        (tmp_path / "c.yaml").write_text(yaml.safe_dump({**content, "embedding_size": size}))
        model = load(card=str(tmp_path / "c.yaml"), path=tiny("tiny-clip"))
        prepared = [model.prepare_image(films[0])]
        if size == 24:
            assert model.embed_images(prepared).shape == model.embed_texts(["a"]).shape == (1, 24)
            continue
        for embed in (
            lambda m=model, p=prepared: m.embed_images(p),
            lambda m=model: m.embed_texts("a"),
        ):
            with pytest.raises(BenchError, match="embeddings of 24 numbers, its card says 25"):
                embed()
