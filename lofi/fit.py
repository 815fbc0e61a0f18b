"""From a preset to a trained directory: data, tokenizer, model, training."""

import copy
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.cache_root import cache_root
from harness.datasets.training import TrainingSet
from harness.environment import pick_device
from harness.errors import BenchError
from harness.suite_yaml import dotted
from lofi.build import build, lofi_folder, settings_for
from lofi.checkpoint import from_pretrained, save_pretrained
from lofi.config import LofiConfig, read_preset
from lofi.data import Studies
from lofi.model import LofiModel
from lofi.read import read_studies
from lofi.resuming import refuse_other_settings
from lofi.source import Report, training_set
from lofi.stream import Phantoms, Stream, open_phantoms, steps_of, stream_of
from lofi.train import Progress, forget, train

Say = Callable[[str], None]


@dataclass(frozen=True)
class Fit:
    """What is to be trained, on what, and where it goes."""

    preset: str
    folder: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    roots: Mapping[str, Path] = field(default_factory=dict)
    limit: int | None = None
    device: str = "auto"
    tracker: str = ""
    restart: bool = False
    keep: tuple[int, ...] = ()  # steps whose weights stay in `folder/step-N`


def fit(wanted: Fit, say: Say = print) -> Progress:
    """Train to the end (or go on) and leave `best`, `model` and the log in the folder."""
    config = read_preset(wanted.preset, wanted.overrides)
    if wanted.restart:
        forget(wanted.folder)
    told = _counter(say)
    source, phantoms = _source(config, wanted, told)
    held_out = training_set(
        config.data,
        "validation",
        wanted.roots,
        limit=config.training.validation_studies,
        report=told,
    )
    model = _model(config, source, wanted.folder, say)
    accelerator = _accelerator(config, wanted)
    studies = _read(model, source, say) if phantoms is None else _stream(model, phantoms, say)
    progress = train(
        model,
        studies,
        _read(model, held_out, say),
        folder=wanted.folder,
        say=say if accelerator.is_main_process else _silent,
        accelerator=accelerator,
        source=account_of(source) | _streamed(config) | {"before": seen_before(config)},
        keep=wanted.keep,
    )
    accelerator.end_training()
    return progress


def _source(config: LofiConfig, wanted: Fit, report: Report) -> tuple[TrainingSet, Phantoms | None]:
    """The training studies, or the first chunk of a stream and the stream."""
    limit, data = wanted.limit, config.data
    if not data.stream:
        return training_set(data, "train", wanted.roots, limit=limit, report=report), None
    # One process of each machine draws ahead and clears away; launchers number them.
    leads = os.environ.get("LOCAL_RANK", "0") == "0"
    phantoms = open_phantoms(data, wanted.roots, limit=limit, report=report, leads=leads)
    return phantoms.training_set(0), phantoms


def seen_before(config: LofiConfig) -> list[dict[str, str]] | None:
    """What the LoFi directories that training starts from were trained on; None: they do not say.

    Towers that no LoFi wrote have no such record and count as having seen nothing of the kind.
    """
    seen: list[dict[str, str]] = []
    for start in (config.init, config.towers.pretrained):
        record = lofi_folder(start) / "training.json"
        if start and record.is_file():
            told = json.loads(record.read_text()).get("trained_on")
            if told is None:
                return None
            seen += told
    return seen


def _streamed(config: LofiConfig) -> dict[str, Any]:
    """What the record says of a stream beside its first chunk: `shown` counts all its studies."""
    data = config.data
    if not data.stream:
        return {}
    chunks = -(-config.training.steps // steps_of(config))
    counts = {"studies": data.stream, "passes": data.passes, "shown": chunks * data.stream}
    return {"stream": counts}


def _stream(model: LofiModel, phantoms: Phantoms, say: Say) -> Stream:
    # Chunks are read by a thread, and a tokenizer serves one thread at a time.
    tokenizer = copy.deepcopy(model.text_tokenizer)

    def read(source: TrainingSet, folder: Path) -> Studies:
        return _read(model, source, say, tokenizer=tokenizer, cache=folder)

    return stream_of(phantoms, read, model.config)


def account_of(source: TrainingSet) -> dict[str, Any]:
    """Where the training studies come from, for the training record."""
    return {
        "dataset": source.name + ("-phantom" if source.phantom else ""),
        "split": source.split,
        "boxes": source.variant,
        "version": source.version,
        "images_in_split": source.n_total,
        "left_out": dict(source.excluded),
        "fingerprint": fingerprint_of(source),
    }


def fingerprint_of(source: TrainingSet) -> str:
    """SHA-256 over the ids, texts and boxes that are trained on; never over paths."""
    digest = hashlib.sha256()
    for study in source:
        phrases = [phrase for phrase, _ in study.regions]
        ids = [study.image.image_id, study.image.patient_id, study.image.study_id]
        digest.update(json.dumps([*ids, study.text, phrases]).encode())
        for _, boxes in study.regions:
            digest.update(np.ascontiguousarray(boxes, np.float32).tobytes())
    return digest.hexdigest()


def _model(config: LofiConfig, source: TrainingSet, folder: Path, say: Say) -> LofiModel:
    last = folder / "checkpoint"
    if (last / "config.json").is_file():
        # The tokenizer is the checkpoint's: more studies may have been added since.
        stored = from_pretrained(last)
        stored.config = settings_for(config, stored)
        refuse_other_settings(last, stored.config)
        return stored
    texts = [text for study in source for text in (study.text, *(p for p, _ in study.regions))]
    model = build(config, texts)
    count = sum(value.numel() for value in model.parameters())
    say(f"{config.name}: {count / 1e6:.2f} M parameters, {len(model.tokenizer)} tokens")
    return model


def _read(
    model: LofiModel,
    source: TrainingSet,
    say: Say,
    *,
    tokenizer: Any = None,
    cache: Path | None = None,
) -> Studies:
    prompts = model.prompts if tokenizer is None else copy.deepcopy(model.prompts)  # a thread's own
    studies = read_studies(
        source,
        tokenizer or model.text_tokenizer,
        size=model.towers.config.vision_config.image_size,
        limit=model.towers.config.text_config.max_position_embeddings,
        cache=cache or cache_root(),
        say=say,
        answers=(prompts, model.config.losses.active()),
    )
    say(f"{source.name} {source.split}: {len(studies)} images of {source.n_total}")
    return studies


def _accelerator(config: LofiConfig, wanted: Fit) -> Any:
    from accelerate import Accelerator

    half = config.training.precision == "bfloat16"
    accelerator = Accelerator(
        mixed_precision="bf16" if half else "no",
        cpu=wanted.device == "cpu",
        log_with=wanted.tracker or None,
        project_dir=str(wanted.folder),
    )
    asked, found = pick_device(wanted.device), accelerator.device.type
    if asked != found and wanted.device != "auto":
        raise BenchError(
            f"--device {wanted.device}: found {found}. Expected cpu, cuda or mps, and one that is "
            "here; of several GPUs take some with CUDA_VISIBLE_DEVICES."
        )
    if wanted.tracker:
        settings = dotted(config.model_dump(mode="json"))
        plain = {k: v if isinstance(v, int | float | str) else str(v) for k, v in settings.items()}
        accelerator.init_trackers(config.name, config=plain)
    return accelerator


def _counter(say: Say) -> Callable[[str, int, int], None]:
    """Progress in words, at most every ten seconds."""
    last = [0.0]

    def told(what: str, done: int, total: int) -> None:
        if time.monotonic() - last[0] > 10 or done == total:
            last[0] = time.monotonic()
            say(f"{what}: {done} of {total}")

    return told


def _silent(text: str) -> None:
    del text


def export(folder: Path, target: Path) -> None:
    """Copy a trained directory with weights in bf16, as a shipped checkpoint.

    Raises:
        BenchError: it would be larger than the 10 MB a shipped checkpoint may have.
    """
    model = from_pretrained(folder)
    record = json.loads((folder / "training.json").read_text())
    save_pretrained(model, target, record=record, dtype=torch.bfloat16)
    size = sum(os.path.getsize(file) for file in target.rglob("*") if file.is_file())
    if size > 10_000_000:
        raise BenchError(
            f"{target}: {size / 1e6:.1f} MB. A shipped checkpoint has at most 10 MB. Train a "
            "smaller preset, or keep the directory outside the package."
        )
