"""An ablation of the small world; one process stands in for many."""

import json
import shutil
from pathlib import Path

import pandas as pd
import PIL.Image
import pytest
import yaml
from click.testing import CliRunner

from harness.commands.ablate import command
from harness.isolate import Ended
from tests.lofi.conftest import TINY, training_set, world

FILMS = 36  # 24 of them with a box, so that grounding has more than 20 patients
DECODER = {f"decoder.{key}": value for key, value in TINY["decoder"].items()}
SUITE = {
    "ablation": "small",
    "losses": ["sigmoid"],
    "seeds": [0, 1],
    "steps": 4,
    "evaluations": [
        {"task": "retrieval", "dataset": "manifest", "split": "all"},
        {"task": "grounding", "dataset": "manifest", "split": "all"},
    ],
    "representation": {
        "steps": 2,
        "set": {**DECODER, "training.batch_size": 4, "training.precision": "float32"},
        "evaluations": [{"task": "grounding", "dataset": "manifest", "split": "all"}],
    },
}


def films(folder: Path) -> Path:
    """The small world as a manifest."""
    folder.mkdir()
    rows, phrases = ["image_id,file,patient_id,text_findings"], []
    for number, (square, text, regions) in enumerate(world(FILMS, seed=9)):
        PIL.Image.fromarray(square).save(folder / f"{number}.png")
        rows.append(f"i{number},{number}.png,p{number},{text}")
        phrases += [
            {"image_id": f"i{number}", "phrase": phrase, "kind": "finding", "boxes": boxes.tolist()}
            for phrase, boxes in regions
        ]
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    (folder / "phrases.jsonl").write_text("\n".join(map(json.dumps, phrases)) + "\n")
    return folder


def here(_executor, function, orders, heard=lambda *_: None):
    """What `spread` does, in this process."""
    for index, order in enumerate(orders):
        value = function(lambda text, i=index: heard(i, text), *order.arguments)
        yield index, Ended("ok", value=value)


def nothing(_executor, _function, orders, _heard=None):
    """A stand-in that fails if there is anything to train."""
    assert not orders, [order.arguments[0].arm.title for order in orders]
    return iter(())


class Small:
    """An ablation folder and the command that fills it."""

    def __init__(self, base: Path, patch: pytest.MonkeyPatch):
        self.base, self.patch = base, patch
        self.out = base / "out"
        made = {split: training_set(base, split, 12) for split in ("train", "validation")}
        patch.setattr("lofi.fit.training_set", lambda _, split, *__, **___: made[split])
        patch.setenv("BENCH_CACHE", str(base / "cache"))
        self.films = films(base / "films")
        self.preset = base / "preset.yaml"
        self.preset.write_text(yaml.safe_dump(TINY))

    def run(self, *options: str, spread=here, **changes):
        self.patch.setattr("harness.commands.ablate_run.spread", spread)
        file = self.base / "suite.yaml"
        file.write_text(yaml.safe_dump({**SUITE, "preset": str(self.preset), **changes}))
        named = ["--data", f"manifest={self.films}", "--out", str(self.out), "--device", "cpu"]
        return CliRunner().invoke(command, [str(file), *named, "--quiet", *options])

    def copied(self, folder: Path) -> "Small":
        """The same, on a copy of what was written."""
        other = object.__new__(Small)
        other.__dict__.update({**self.__dict__, "base": folder, "out": folder / "out"})
        shutil.copytree(self.out, other.out)
        return other


def table(small: Small) -> pd.DataFrame:
    return pd.read_csv(small.out / "ablation.csv")
