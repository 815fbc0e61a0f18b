"""Arms made by hand, and what a report finds of them."""

from dataclasses import replace

from harness.ablation import ArmRecord, ArmTraining
from harness.metrics.seeds import SeedInterval
from reports.ablation import Found
from reports.ablation_training import costs
from reports.ablation_worth import Place, Worth
from reports.paired import Question

PLACE = Place("arm", 100, "grounding", "ms-cxr", "test", "frontal", "official")


def interval(low, high) -> SeedInterval:
    return SeedInterval((low + high) / 2, low, high, 2.0, 3, 50, 0.0, 0.0, 0.1)


def arm(name="full", seed=0, validation=(), **training) -> ArmRecord:
    values = {
        "steps": 80,
        "samples": 320,
        "parameters": 1000,
        "data": {"validation": {"images": 100}},
        "curve": [{"step": 40, "loss/sigmoid": 2.0}, {"step": 80, "loss/sigmoid": 1.0}],
        "validation": list(validation),
        "seconds": 100.0,
        "step_seconds": 80.0,
        "peak_memory": 2 * 10**9,
        **training,
    }
    return ArmRecord(
        arm=name,
        seed=seed,
        parent="" if name == "full" else "full",
        difference={} if name == "full" else {"losses.grounding": (5.0, 0.0)},
        shared={},
        losses=["sigmoid"],
        status="ok",
        training=ArmTraining(**values),
        command="bench ablate --loss location",
    )


def recalls(*pairs):
    return [{"step": step, "image_to_text/recall@10": value} for step, value in pairs]


def found(**changes) -> Found:
    base = Worth("without-location", PLACE, Question("miou"))
    taught = replace(
        base,
        place=replace(PLACE, measure="representation"),
        full=0.4,
        without=0.3,
        difference=0.1,
        interval=interval(0.05, 0.15),
        p=0.0123,
        adjusted=0.0246,
        seeds=3,
        patients=50,
        n=70,
    )
    never = replace(base, full=0.5, status="not_taught", note="not taught")
    early = replace(taught, place=replace(taught.place, share=50), adjusted=None)
    group = replace(taught, group="finding=nodule", p=None, adjusted=None)
    records = (arm(), arm("without-location", validation=recalls((40, 0.5), (80, 0.5))))
    values = {
        "title": "What | each loss",
        "records": records,
        "worths": (never, taught, group, early),
        "costs": tuple(costs(records)),
    }
    return Found(**{**values, **changes})
