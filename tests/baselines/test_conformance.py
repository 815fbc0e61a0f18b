"""Every family, from its tiny checkpoint through its card, keeps the promises of its protocols."""

from pathlib import Path

import pytest

from baselines.cards import load
from baselines.tiny import WRITERS, write_tiny_models
from harness.check import check_model
from harness.errors import BenchError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.mark.parametrize("name", WRITERS)
def test_a_tiny_model_of_every_family_keeps_its_promises(tiny, name, tmp_path):
    verdicts = list(check_model(load(card=tiny(name)), tmp_path))
    broken = [verdict for verdict in verdicts if verdict.outcome == "broken"]
    assert not broken, broken
    assert sum(verdict.outcome == "kept" for verdict in verdicts) >= 5


@pytest.mark.parametrize("name", ["tiny-siglip", "tiny-clip", "tiny-openclip"])
def test_the_full_field_variants_keep_them_too(tiny, name, tmp_path):
    model = load(card=tiny(name), variant="full-field")
    assert not [v for v in check_model(model, tmp_path) if v.outcome == "broken"]


def test_every_family_has_a_tiny_model(tiny):
    import yaml

    families = {yaml.safe_load(Path(tiny(n), "card.yaml").read_text())["family"] for n in WRITERS}
    assert families == {
        "openclip",
        "hf_dual",
        "checkpoint",
        "pair_scorer",
        "hf_vlm",
        "hf_detector",
        "external",
    }


def test_tiny_models_are_the_same_every_time_and_never_written_over(tmp_path):
    [first] = write_tiny_models(tmp_path / "a", ["tiny-siglip"])
    [second] = write_tiny_models(tmp_path / "b", ["tiny-siglip"])
    weights = "model.safetensors"
    assert (first / weights).read_bytes() == (second / weights).read_bytes()
    stamp = (first / weights).stat().st_mtime_ns
    write_tiny_models(tmp_path / "a", ["tiny-siglip"])
    assert (first / weights).stat().st_mtime_ns == stamp


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "tiny-siglip").mkdir()
    (tmp_path / "tiny-siglip" / "thesis.tex").write_text("precious")
    with pytest.raises(BenchError, match="is not empty and no tiny model"):
        write_tiny_models(tmp_path, ["tiny-siglip"])
    with pytest.raises(BenchError, match="unknown tiny model 'tiny-siglup'"):
        write_tiny_models(tmp_path, ["tiny-siglup"])
