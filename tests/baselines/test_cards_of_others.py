"""Cards that users write: read as they are meant, refused when they say what they may not."""

from pathlib import Path

import pytest
import yaml

from baselines.cards import describe, read_card
from harness.errors import BenchError

DETECTOR = {"family": "hf_detector", "detector": {"threshold": 0.1}}
VLM = {"family": "hf_vlm", "vlm": {"prompt": "{phrase}", "codec": "qwen_px", "coordinates": ""}}


@pytest.fixture
def written(tmp_path):
    """A function that writes a card file with changes and gives its path."""

    def write(**changes) -> str:
        content = {
            "title": "Mine",
            "family": "hf_dual",
            "source": {"hub": "me/mine"},
            "licence": "MIT",
            "trained_on": [],
            "verified": "never",
            **changes,
        }
        file = tmp_path / "mine.yaml"
        file.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not ...}))
        return str(file)

    return write


def test_a_card_of_ones_own_reads_and_takes_its_name_from_the_file(written):
    card = read_card(written(text={"max_tokens": 64}))
    assert (card.name, card.text.max_tokens) == ("mine", 64)


def test_what_a_family_reads_is_taken(written):
    card = read_card(written(**DETECTOR, runtime={"dtype": "bfloat16"}, text=None))
    assert (card.detector.threshold, card.runtime.dtype) == (0.1, "bfloat16")
    rules = {"attention": "eager", "dtype": "float16"}
    assert read_card(written(**VLM, runtime=rules)).runtime.attention == "eager"


def test_the_family_of_open_clip_has_the_librarys_name_too(written):
    assert read_card(written(family="open_clip")).family == "openclip"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licence": ...}, "mine.yaml: licence: Field required"),
        ({"famly": "x"}, "mine.yaml: famly: Extra inputs are not permitted"),
        ({"family": "hf_duel"}, "mine.yaml: family: .*hf_dual"),
        ({"image": {"geometry": "squish 3"}}, "unknown geometry step 'squish'"),
        ({"family": "hf_vlm"}, "family hf_vlm needs a section 'vlm'"),
        (
            {"family": "hf_vlm", "vlm": {"prompt": "a", "codec": "qwen", "coordinates": ""}},
            "unknown box codec 'qwen'",
        ),
        ({"family": "checkpoint"}, "needs 'architecture'"),
        ({"image": {"mean": [0.5] * 3}}, r"image: .*mean has 3 numbers, std 0\. Give both"),
        (
            {**DETECTOR, "image": {"geometry": "squash 8"}},
            r"hf_detector does not read 'image'\. It reads: detector, runtime\.dtype\. Take",
        ),
        ({**DETECTOR, "runtime": {"attention": "eager"}}, "not read 'runtime.attention'"),
        (
            {**VLM, "image": {}, "text": {"max_tokens": 8}, "embedding_size": 8},
            "hf_vlm does not read 'embedding_size', 'image', 'text'",
        ),
        ({"architecture": "ViT-B-32"}, "hf_dual does not read 'architecture'"),
        ({"detector": {"threshold": 0.1}}, "hf_dual does not read 'detector'"),
        (
            {"family": "openclip", "runtime": {"attention": "eager"}},
            "openclip does not read 'runtime.attention'",
        ),
        ({"source": {}}, "source needs a hub repository or a url"),
        ({"runtime": {"remote_code": True}}, "needs source.revision to be a commit"),
        (
            {
                "runtime": {"remote_code": True},
                "source": {"hub": "me/mine", "revision": "a" * 40},
            },
            "only cards that come with the package may run code",
        ),
    ],
)
def test_a_card_that_says_what_it_may_not_is_refused(written, changes, message):
    with pytest.raises(BenchError, match=message):
        read_card(written(**changes))


def test_a_yaml_tag_is_data_and_not_a_program(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("!!python/object/apply:os.system ['touch fuse']")
    with pytest.raises(BenchError, match=r"bad\.yaml: not readable as YAML"):
        read_card(str(file))


def test_unknown_names_get_the_nearest_known():
    with pytest.raises(BenchError, match=r"unknown card 'biomedclp'\. Did you mean 'biomedclip'"):
        read_card("biomedclp")
    with pytest.raises(BenchError, match="unknown variant of biomedclip 'fullfield'"):
        read_card("biomedclip", "fullfield")
    with pytest.raises(BenchError, match="no such card file"):
        read_card("nowhere/mine.yaml")


def test_a_card_beside_its_weights_finds_them_there(written, tmp_path):
    folder = tmp_path / "my-model"
    folder.mkdir()
    Path(written()).rename(folder / "card.yaml")
    (folder / "model.safetensors").write_text("w")
    card = describe(card=str(folder))
    assert (card.name, len(card.weights)) == ("my-model", 64)
