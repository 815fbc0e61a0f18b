"""Training: one loop over steps, with checkpoints that resume to the same bits."""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn

from harness.errors import BenchError
from lofi.ahead import Ahead
from lofi.checkpoint import WEIGHTS, load_weights, replace_folder, save_pretrained
from lofi.config import LofiConfig
from lofi.data import Studies, split_account
from lofi.exchange import average
from lofi.held_out import held_out_batches, held_out_losses, score_of
from lofi.model import LofiModel
from lofi.pull import pulls
from lofi.resuming import refuse_other_settings
from lofi.schedule import optimizer_of, rate
from lofi.step import backward
from lofi.stream import Stream, batches_of
from lofi.validate import validate

Say = Callable[[str], None]


@dataclass
class Progress:
    """Where a run stands; everything here is in its checkpoints."""

    step: int = 0
    seconds: float = 0.0
    step_seconds: float = 0.0  # of them in steps, without validation and checkpoints
    step_processor: float = 0.0  # processor seconds of these steps, all threads together
    best: float = -math.inf
    history: list[dict[str, Any]] = field(default_factory=list)  # validation, one entry each
    sessions: list[dict[str, Any]] = field(default_factory=list)  # one entry per start


def train(
    model: LofiModel,
    studies: Studies | Stream,
    validation: Studies,
    *,
    folder: Path,
    say: Say = print,
    accelerator: Accelerator | None = None,
    source: Mapping[str, Any] | None = None,
    keep: Collection[int] = (),
) -> Progress:
    """Train to the last step, from the newest checkpoint in `folder` if there is one.

    Validation chooses `folder/best`; no test split is read. The model of the last step is written
    to `folder/model`, that of each step in `keep` to `folder/step-N`. `source` says in the training
    record where the studies come from.

    Raises:
        BenchError: a loss is not finite (naming the last good checkpoint), or the checkpoint in
            `folder` belongs to other settings.
    """
    account = {
        "source": dict(source or {}),
        "train": split_account(studies.chunk(0) if isinstance(studies, Stream) else studies),
        "validation": split_account(validation),
    }
    half = model.config.training.precision == "bfloat16"
    accelerator = accelerator or Accelerator(mixed_precision="bf16" if half else "no")
    run = Run(model, (studies, validation), folder=folder, say=say, accelerator=accelerator)
    run.account, run.keep = account, frozenset(keep)
    return run.to_the_end()


class Run:
    """One training run: the loop and what it keeps on disk."""

    def __init__(
        self,
        model: LofiModel,
        data: tuple[Studies | Stream, Studies],
        *,
        folder: Path,
        say: Say,
        accelerator: Accelerator,
    ):
        self.settings = model.config.training
        half = self.settings.precision == "bfloat16"
        self.accelerator = accelerator
        self.model = model.to(self.accelerator.device).train()
        if half and self.accelerator.device.type == "cpu":
            # The fused attention's backward pass in bf16 is seven times slower on a CPU.
            model.towers.set_attn_implementation("eager")
            model.decoder.set_attn_implementation("eager")
        if self.settings.activation_checkpointing:
            _checkpoint_activations(model)
        self.validation, self.folder, self.say = data[1], folder, say
        self.account: dict[str, Any] = {}
        self.keep: frozenset[int] = frozenset()
        self.batches = batches_of(
            data[0],
            model.config,
            tokenizers=(model.prompts, model.text_tokenizer),
            share=(self.accelerator.process_index, self.accelerator.num_processes),
        )
        self.ahead = Ahead(self.batches, self.settings.steps)
        self.optimizer = optimizer_of(model, self.settings)
        self.progress = Progress()
        self.saved = self.started = time.monotonic()

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return bool(self.accelerator.is_main_process)

    def to_the_end(self) -> Progress:
        """All remaining steps, checkpoints and validations."""
        self._resume()
        first, self.started = self.progress.step, time.monotonic()
        before = self.progress.seconds
        while self.progress.step < self.settings.steps:
            begun = time.monotonic(), time.process_time()
            values, norm = self._step()
            self.progress.step += 1
            self.progress.step_seconds += time.monotonic() - begun[0]
            self.progress.step_processor += time.process_time() - begun[1]
            self.progress.seconds = before + time.monotonic() - self.started
            self._log(values, norm, first)
            if self.leads and self.progress.step in self.keep:
                kept = self.folder / f"step-{self.progress.step}"
                save_pretrained(self.model, kept, record=self.record())
            if self.progress.step % self.settings.validate_every == 0:
                self._validate()
            if time.monotonic() - self.saved > 60 * self.settings.checkpoint_minutes:
                self._save()
        if not self.progress.history or self.progress.history[-1]["step"] != self.progress.step:
            self._validate()
        self._save()
        if self.leads:
            save_pretrained(self.model, self.folder / "model", record=self.record())
        return self.progress

    def _step(self) -> tuple[dict[str, float], float]:
        self.optimizer.set_rate(rate(self.progress.step, self.settings))
        batch = self.ahead(self.progress.step).to(self.accelerator.device)
        weights = self.model.config.losses.model_dump()
        values = backward(self.model, batch, weights=weights, autocast=self.accelerator.autocast)
        trained, values = average(self.model, values, self.accelerator)
        norm = float(nn.utils.clip_grad_norm_(trained, self.settings.clip))
        if not all(math.isfinite(value) for value in (*values.values(), norm)):
            raise self._not_finite(values, norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return values, norm

    def _not_finite(self, values: Mapping[str, float], norm: float) -> BenchError:
        shown = ", ".join(f"{name} {value}" for name, value in values.items())
        last = self.folder / "checkpoint"
        kept = f"The last good checkpoint is {last}" if last.is_dir() else "No checkpoint yet"
        return BenchError(
            f"step {self.progress.step + 1}: a loss or gradient is not finite ({shown}, gradient "
            f"norm {norm}). {kept}. Lower training.learning_rate, then run the command again."
        )

    def _log(self, values: Mapping[str, float], norm: float, first: int) -> None:
        step, steps = self.progress.step, self.settings.steps
        if not self.leads or (step % 20 and step != steps):
            return
        elapsed = max(time.monotonic() - self.started, 1e-9)
        speed = (step - first) / elapsed
        row = {
            "step": step,
            "seconds": round(self.progress.seconds, 1),
            "rate": rate(step - 1, self.settings),
            "gradient_norm": norm,
            "scale": float(self.model.scale.detach()),
            "samples_per_second": speed * self.settings.batch_size,
            **{f"loss/{name}": value for name, value in values.items()},
        }
        _append(self.folder / "log.jsonl", row)
        self.accelerator.log(row, step=step)
        losses = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
        left = (steps - step) / speed / 60
        self.say(
            f"step {step}/{steps}  {losses}  {row['samples_per_second']:.1f} samples/s  "
            f"{left:.0f} min left"
        )

    def _validate(self) -> None:
        self.ahead.settle()
        if self.leads:
            found = {"step": self.progress.step, **validate(self.model, self.validation)}
            batches = held_out_batches(self.model, self.batches, self.validation)
            found |= held_out_losses(self.model, batches) | pulls(self.model, batches)
            self.progress.history.append(found)
            _append(self.folder / "log.jsonl", {f"validation/{k}": v for k, v in found.items()})
            self.say("validation " + "  ".join(f"{k} {v:.4g}" for k, v in found.items()))
            if score_of(found) > self.progress.best:
                self.progress.best = score_of(found)
                save_pretrained(self.model, self.folder / "best", record=self.record())
        self.accelerator.wait_for_everyone()

    def record(self) -> dict[str, Any]:
        """What the training record says: settings, data, how far, and the validation curve."""
        return {
            "step": self.progress.step,
            "steps_planned": self.settings.steps,
            "seconds": round(self.progress.seconds, 1),
            "samples": self.progress.step * self.settings.batch_size,
            "data": self.account,
            **_trained_on(self.model.config, self.account["source"]),
            "validation": self.progress.history,
            "sessions": self.progress.sessions,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "torch": torch.__version__,
        }

    def _save(self) -> None:
        """An atomic checkpoint; a kill at any moment leaves the old or the new one."""
        self.saved = time.monotonic()
        if not self.leads:
            return
        temporary = self.folder / "checkpoint.partial"
        save_pretrained(self.model, temporary, record=self.record())
        torch.save(self.optimizer.state_dict(), temporary / "optimizer.pt")
        state = {
            **vars(self.progress),
            "best": None if self.progress.best == -math.inf else self.progress.best,
        }
        (temporary / "progress.json").write_text(json.dumps(state))
        replace_folder(temporary, self.folder / "checkpoint")

    def _resume(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        last = self.folder / "checkpoint"
        if self.leads and not last.is_dir() and (self.folder / "checkpoint.old").is_dir():
            os.replace(self.folder / "checkpoint.old", last)
        self.accelerator.wait_for_everyone()
        if last.is_dir():
            self._load(last)
            self.say(f"resumed at step {self.progress.step} from {last}")
        session = {"from_step": self.progress.step, "settings": self.settings.model_dump()}
        self.progress.sessions.append(session)

    def _load(self, last: Path) -> None:
        refuse_other_settings(last, self.model.config)
        load_weights(self.model, load_file(str(last / WEIGHTS)), where=str(last))
        state = torch.load(last / "optimizer.pt", weights_only=True)
        self.optimizer.load_state_dict(state)
        values = json.loads((last / "progress.json").read_text())
        values["best"] = -math.inf if values["best"] is None else values["best"]
        self.progress = Progress(**values)


def _trained_on(config: LofiConfig, source: Mapping[str, Any]) -> dict[str, Any]:
    """What is seen here and was seen before; nothing is said if what was before is unknown."""
    before = source.get("before", [])
    if before is None:
        return {}
    name = source.get("dataset", config.data.dataset)
    seen = ["images"]
    if config.losses.sigmoid or config.losses.captioning:
        seen.append("reports")
    if config.losses.grounding or config.losses.dense_captioning:
        seen.append("boxes")
    here = [{"dataset": name, "split": "train", "modality": one} for one in seen]
    return {"trained_on": here + [one for one in before if one not in here]}


def _checkpoint_activations(model: LofiModel) -> None:
    for part in (model.towers, model.decoder):
        # The older name goes with transformers 6; the newer one came late in 5.
        newer = hasattr(part, "activation_checkpointing_enable")
        name = "activation_checkpointing_enable" if newer else "gradient_checkpointing_enable"
        getattr(part, name)({"use_reentrant": False})


def _append(file: Path, row: Mapping[str, Any]) -> None:
    with file.open("a") as stream:
        stream.write(json.dumps(row) + "\n")


def forget(folder: Path) -> None:
    """Remove a run's checkpoints and its log, so that the next call starts anew."""
    for name in ("checkpoint", "checkpoint.old", "best", "model"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for kept in folder.glob("step-*"):
        shutil.rmtree(kept, ignore_errors=True)
    (folder / "log.jsonl").unlink(missing_ok=True)
