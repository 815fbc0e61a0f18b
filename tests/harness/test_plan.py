"""Which cells a suite has: seeds where answers are drawn, text policies where texts are read."""

from collections.abc import Sequence
from typing import Any

from harness.plan import CellPlan, plan_cells
from harness.suite_schema import Suite

SHUFFLED = {"name": "mixed", "use": "shuffled", "options": {"model": "oracle"}}


def cells(models: Sequence[Any], seeds: Sequence[int] = (0,), **options: Any) -> list[CellPlan]:
    references = [{"name": model} if isinstance(model, str) else model for model in models]
    evaluation = {"task": "retrieval", "dataset": "manifest", "split": "all", "options": options}
    suite = {"suite": "s", "models": references, "evaluations": [evaluation], "seeds": list(seeds)}
    return plan_cells(Suite.model_validate(suite))


def drawn(found: Sequence[CellPlan]) -> list[tuple[str, Any]]:
    return [(c.handle.reference.name, c.handle.reference.options.get("seed", 0)) for c in found]


def test_a_lone_seed_decides_what_is_drawn_as_one_of_several_does() -> None:
    assert drawn(cells([SHUFFLED], seeds=[3])) == [("mixed", 3)]
    assert drawn(cells([SHUFFLED], seeds=[0, 3])) == [("mixed-seed0", 0), ("mixed-seed3", 3)]
    assert drawn(cells([SHUFFLED])) == [("mixed", 0)]


def test_a_seed_that_a_model_names_itself_goes_before_the_suites() -> None:
    own = {**SHUFFLED, "options": {"model": "oracle", "seed": 7}}
    assert drawn(cells([own], seeds=[0, 1])) == [("mixed", 7)]


def test_a_shuffled_model_reads_texts_under_every_policy_and_a_control_reads_none() -> None:
    found = cells(["chance", SHUFFLED], text_policy=["official", "chunk-mean"])
    rows = [(cell.handle.reference.name, cell.text_policy) for cell in found]
    assert rows == [("chance", "official"), ("mixed", "official"), ("mixed", "chunk-mean")]
