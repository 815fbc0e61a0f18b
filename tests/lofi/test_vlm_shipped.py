"""The shipped vlm-tiny reads its examples: its own weights on phantoms it was not trained on."""

import pytest

from harness.registry import shipped_checkpoints
from lofi.vlm.config import read_vlm_preset
from lofi.vlm.read import read_pool
from lofi.vlm.save import load_vlm, parameters_of
from lofi.vlm.sequences import Writer
from lofi.vlm.validate import validate

STUDIES, QUERIES = 240, 80
MARGIN = 0.08  # of mIoU; weights that read no examples reach 0.01 to 0.05


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, float]:
    """The mIoU of held-out names after each kind of context."""
    config = read_vlm_preset("vlm-tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        pool, _ = read_pool(
            config.data, "validation", {}, size=config.tower.side, limit=STUDIES, say=lambda _: None
        )
    model, processor = load_vlm(shipped_checkpoints()["vlm-tiny"])
    return validate(model.eval(), Writer(processor), pool, count=QUERIES)


def test_examples_explain_a_name_that_it_never_read(found) -> None:
    assert found["made-up/4"] > found["made-up/0"] + MARGIN
    assert found["made-up/4"] > found["copy"] + MARGIN


def test_wrong_examples_mislead_it(found) -> None:
    assert found["made-up/4"] > found["made-up/other"] + MARGIN
    assert found["made-up/4"] > found["made-up/swapped"] + MARGIN


def test_it_is_no_larger_than_promised() -> None:
    assert parameters_of(shipped_checkpoints()["vlm-tiny"]) <= 5_000_000
