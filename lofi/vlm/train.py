"""Training of the small multi-image model: one loop; checkpoints resume to the same bits."""

import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.errors import BenchError
from lofi.checkpoint import replace_folder
from lofi.schedule import optimizer_of, rate
from lofi.train import Progress
from lofi.vlm.attention import use_float32_attention
from lofi.vlm.config import VlmConfig, refuse_deep_hints
from lofi.vlm.read import Pool
from lofi.vlm.save import load_state, save_vlm, write_vlm
from lofi.vlm.sequences import Writer
from lofi.vlm.step import HintHeads, Steps, losses, total
from lofi.vlm.tower import MapHead
from lofi.vlm.validate import validate

Say = Callable[[str], None]
HINTS = "hints.pt"
VALIDATION_QUERIES = 96


class VlmRun:
    """One training run: the loop and what it keeps on disk."""

    def __init__(
        self,
        parts: tuple[Any, Any],
        config: VlmConfig,
        pools: tuple[Pool, Pool],
        *,
        folder: Path,
        maps: MapHead,
        say: Say = print,
        device: str = "cpu",
    ):
        self.model, self.processor = parts
        self.config, self.folder, self.say, self.device = config, folder, say, device
        self.pool, self.held_out = pools
        self.writer = Writer(self.processor)
        self.steps = Steps(self.pool, config, self.writer)
        torch.manual_seed(config.training.seed)
        width = self.model.config.get_text_config().hidden_size
        refuse_deep_hints(config.hints, self.model.config.get_text_config().num_hidden_layers)
        self.heads = HintHeads(width, list(self.pool.by_finding), maps)
        self.trained = nn.ModuleList([self.model, self.heads]).to(device).train()
        use_float32_attention(self.model)
        self.optimizer = optimizer_of(self.trained, config.training)
        self.progress = Progress()
        self.account: dict[str, Any] = {}
        self.saved = time.monotonic()

    def to_the_end(self) -> Progress:
        """All remaining steps, checkpoints and validations."""
        self._resume()
        settings, first = self.config.training, self.progress.step
        started, before = time.monotonic(), self.progress.seconds
        while self.progress.step < settings.steps:
            values = self._step()
            self.progress.step += 1
            elapsed = time.monotonic() - started
            self.progress.seconds = before + elapsed
            self._log(values, (self.progress.step - first) / max(elapsed, 1e-9))
            last = self.progress.step == settings.steps
            if self.progress.step % settings.validate_every == 0 or last:
                self._validate()
            if time.monotonic() - self.saved > 60 * settings.checkpoint_minutes or last:
                self._save()
        save_vlm(self.model, self.processor, self.folder / "model", record=self.record())
        return self.progress

    def _step(self) -> dict[str, float]:
        self.optimizer.set_rate(rate(self.progress.step, self.config.training))
        step = self.steps(self.progress.step).to(self.device)
        with self._autocast():
            found = losses(
                self.model, self.heads, step, hints=self.config.hints, soft=self.writer.soft
            )
        total(found, self.config.hints).backward()
        norm = nn.utils.clip_grad_norm_(self.trained.parameters(), self.config.training.clip)
        values = {name: float(value.detach()) for name, value in found.items()}
        values["gradient_norm"] = float(norm)
        if not all(math.isfinite(value) for value in values.values()):
            raise BenchError(
                f"step {self.progress.step + 1}: a loss or gradient is not finite ({values}). "
                f"Lower training.learning_rate, then run the command again: it goes on from "
                f"{self.folder / 'checkpoint'}."
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return values

    def _autocast(self) -> AbstractContextManager[Any]:
        half = self.config.training.precision == "bfloat16"
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=half)

    def _log(self, values: Mapping[str, float], speed: float) -> None:
        step, steps = self.progress.step, self.config.training.steps
        if step % 20 and step != steps:
            return
        row = {"step": step, "seconds": round(self.progress.seconds, 1), **values}
        self._append(row)
        shown = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
        left = (steps - step) / speed / 60
        self.say(f"step {step}/{steps}  {shown}  {1 / speed:.2f} s/step  {left:.0f} min left")

    def _validate(self) -> None:
        found = validate(self.model, self.writer, self.held_out, count=VALIDATION_QUERIES)
        self.progress.history.append({"step": self.progress.step, **found})
        self._append({f"validation/{k}": v for k, v in self.progress.history[-1].items()})
        self.say("validation " + "  ".join(f"{k} {v:.3f}" for k, v in found.items()))
        if score_of(found) > self.progress.best:
            self.progress.best = score_of(found)
            save_vlm(self.model, self.processor, self.folder / "best", record=self.record())

    def record(self) -> dict[str, Any]:
        """What the training record says: settings, data, how far, and the validation curve."""
        return {
            "name": self.config.name,
            "settings": self.config.model_dump(mode="json"),
            "step": self.progress.step,
            "seconds": round(self.progress.seconds, 1),
            "conversations": self.progress.step * self.config.training.batch_size,
            "data": dict(self.account),
            "trained_on": self.account.get("trained_on", []),
            "validation": self.progress.history,
            "sessions": self.progress.sessions,
            "parameters": sum(value.numel() for value in self.model.parameters()),
            "torch": torch.__version__,
        }

    def _save(self) -> None:
        """An atomic checkpoint; a kill at any moment leaves the old or the new one."""
        self.saved = time.monotonic()
        temporary = self.folder / "checkpoint.partial"
        write_vlm(self.model, self.processor, temporary, record=self.record())
        torch.save(self.optimizer.state_dict(), temporary / "optimizer.pt")
        torch.save(self.heads.state_dict(), temporary / HINTS)
        best = None if self.progress.best == -math.inf else self.progress.best
        (temporary / "progress.json").write_text(json.dumps({**vars(self.progress), "best": best}))
        replace_folder(temporary, self.folder / "checkpoint")

    def _resume(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        last = self.folder / "checkpoint"
        if not last.is_dir() and (self.folder / "checkpoint.old").is_dir():
            (self.folder / "checkpoint.old").rename(last)
        if last.is_dir():
            self._load(last)
            self.say(f"resumed at step {self.progress.step} from {last}")
        session = {"from_step": self.progress.step, "settings": self.config.training.model_dump()}
        self.progress.sessions.append(session)

    def _load(self, last: Path) -> None:
        stored = json.loads((last / "training.json").read_text())["settings"]
        wanted = self.config.model_dump(mode="json")
        # The schedule may be changed on the way (the record keeps each session's); nothing else.
        differing = [key for key in wanted if key != "training" and stored.get(key) != wanted[key]]
        if differing:
            raise BenchError(
                f"{last} was trained with other settings: {', '.join(differing)}. Expected the "
                "same to resume. Use another --out folder, or --restart."
            )
        load_state(self.model, last)
        self.heads.load_state_dict(torch.load(last / HINTS, weights_only=True))
        self.optimizer.load_state_dict(torch.load(last / "optimizer.pt", weights_only=True))
        values = json.loads((last / "progress.json").read_text())
        values["best"] = -math.inf if values["best"] is None else values["best"]
        self.progress = Progress(**values)

    def _append(self, row: Mapping[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a") as stream:
            stream.write(json.dumps(row) + "\n")


def score_of(found: Mapping[str, float]) -> float:
    """What `best` is chosen by, on validation: made-up names after four examples, and own names."""
    return found["made-up/4"] + found["familiar/0"]
