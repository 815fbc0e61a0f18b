"""The arms of an ablation: the full configuration, and one beside it for each loss or change.

All arms of a seed start from the same weights and see the same batches in the same order: a batch
is a function of (seed, step), and the start one of the seed and the sizes of the parts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.ablation import FULL, SHARES, differences
from harness.ablation_suite import AblationSuite, MeasuredAt
from harness.datasets.table import dataset_spec
from harness.errors import BenchError, unknown
from harness.plan import plan_cells
from harness.suite_schema import ModelReference, Suite
from lofi.config import LofiConfig, parse, read_preset

VERSION = 1  # of what an arm is; raised when the same settings would give other numbers
CLI_LOSSES = ("sigmoid", "captioning", "location", "grounding", "dense-captioning")
VALIDATIONS = 8  # points of a validation curve, so that 25, 50 and 100 % of the steps are three
# Settings that arms share by definition, and why a change of them is no ablation.
SHARED = {
    "training.steps": "arms have the same steps",
    "training.batch_size": "arms see the same batches",
    "training.seed": "seeds are given with --seeds",
    "data.dataset": "arms with other data are not compared",
    "data.boxes": "arms with other data are not compared",
}
# The words of the method for what the settings call otherwise.
_ALIASES = {
    ("pooling", "shared"): ("tokens.kind", "probes"),
    ("pooling", "independent"): ("tokens.kind", "heads"),
}


@dataclass(frozen=True)
class Arm:
    """One configuration and seed; `difference` says how it departs from its parent's."""

    name: str
    config: LofiConfig
    difference: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The training seed."""
        return self.config.training.seed

    @property
    def title(self) -> str:
        """How progress lines name it."""
        return f"{self.name} seed {self.seed}"


@dataclass(frozen=True)
class Ablation:
    """The arms, seed by seed, and what they share: the same keys in every arm's record."""

    suite: AblationSuite
    arms: tuple[Arm, ...]
    shared: Mapping[str, Any]


def plan(suite: AblationSuite, roots: Mapping[str, Path] | None = None) -> Ablation:
    """All arms of all seeds; the seeds outside, so that pairs are finished early.

    Raises:
        BenchError: nothing to ablate, an unknown loss, setting or evaluation, a change that changes
            nothing or what arms must share, an arm without any loss, two arms of one name.
    """
    _check_evaluations(suite)
    settings = _settings(suite)
    parent = read_preset(suite.preset, settings)
    configs = {FULL: parent}
    for name, config in [*_without(parent, suite), *_changed(parent, settings, suite)]:
        if name in configs:
            raise BenchError(f"two arms are called {name!r}. Give each change its own 'name'.")
        configs[name] = config
    if len(configs) == 1:
        raise BenchError(
            "nothing to ablate. Name a loss (--loss location), all of them (--all), a setting "
            "(--change tokens.kind=heads) or a suite (suites/ablation.yaml)."
        )
    arms = [
        _arm(name, parent, config, seed) for seed in suite.seeds for name, config in configs.items()
    ]
    return Ablation(suite, tuple(arms), _shared(suite, parent, roots or {}))


def pick(ablation: Ablation, names: Sequence[str]) -> Ablation:
    """Only these arms and the full one.

    Raises:
        BenchError: an unknown name.
    """
    known = {arm.name for arm in ablation.arms}
    for name in names:
        if name not in known:
            raise unknown("arm", name, known)
    kept = tuple(arm for arm in ablation.arms if not names or arm.name in {FULL, *names})
    return Ablation(ablation.suite, kept, ablation.shared)


def _settings(suite: AblationSuite) -> dict[str, Any]:
    """The overrides of every arm: those given, the steps, and what follows from their number."""
    given = {_plain(key): value for key, value in suite.set.items()}
    config = _read(suite.preset, given, f"preset {suite.preset}")
    steps = suite.steps or config.training.steps
    return {
        "training.validate_every": max(1, steps // VALIDATIONS),
        "training.warmup": min(config.training.warmup, steps // 10),
        "training.validation_studies": min(
            config.training.validation_studies, suite.limit or config.training.validation_studies
        ),
        **given,
        "training.steps": steps,
    }


def _without(parent: LofiConfig, suite: AblationSuite) -> Iterable[tuple[str, LofiConfig]]:
    every = "all" in suite.losses
    seen: list[LofiConfig] = []
    for loss in CLI_LOSSES if every else dict.fromkeys(suite.losses):
        if loss not in CLI_LOSSES:
            raise unknown("loss", loss, [*CLI_LOSSES, "all"])
        weights = parent.losses.without(loss)
        config = parent.model_copy(update={"losses": weights})
        if every and (config == parent or not weights.active() or config in seen):
            continue
        if not weights.active():
            raise BenchError(
                f"--loss {loss}: {suite.preset} has no other loss, so without it every loss is 0 "
                f"and there is nothing to train. Losses here: {', '.join(parent.losses.active())}."
            )
        if config == parent:
            raise BenchError(
                f"--loss {loss}: its weight is 0 in {suite.preset} already. Losses here: "
                f"{', '.join(parent.losses.active())}."
            )
        seen.append(config)
        yield f"without-{loss}", config


def _changed(
    parent: LofiConfig, settings: Mapping[str, Any], suite: AblationSuite
) -> Iterable[tuple[str, LofiConfig]]:
    for change in suite.changes:
        wanted = dict(_translated(key, value) for key, value in change.set.items())
        where = f"--change {change.label}"
        for key in wanted:
            if key in SHARED:
                raise BenchError(f"{where}: {SHARED[key]}. Use -o {key}=..., which sets all arms.")
        config = _read(suite.preset, {**settings, **wanted}, where)
        if config == parent:
            raise BenchError(f"{where}: {suite.preset} has this value already: nothing changes.")
        yield change.label, config


def _read(preset: str, settings: Mapping[str, Any], where: str) -> LofiConfig:
    try:
        return read_preset(preset, settings)
    except BenchError as error:
        if "every loss has weight 0" in str(error):
            raise BenchError(f"{where}: every loss is 0, so there is nothing to train.") from error
        raise BenchError(f"{where}: {error}") from error


def _translated(key: str, value: Any) -> tuple[str, Any]:
    plain = _plain(key)
    return _ALIASES.get((plain, str(value)), (plain, value))


def _plain(key: str) -> str:
    """The dotted key below the settings: `lofi.tokens.kind` and `tokens.kind` are one."""
    return key.removeprefix("lofi.")


def _arm(name: str, parent: LofiConfig, config: LofiConfig, seed: int) -> Arm:
    # Written and read again, so that a value is what a record can hold (no tuples).
    one, other = parent.model_dump(mode="json"), config.model_dump(mode="json")
    other["training"]["seed"] = seed
    seeded = parse(other, where=name)
    one["training"]["seed"] = seed
    return Arm(name, seeded, differences(one, other))


def _shared(suite: AblationSuite, parent: LofiConfig, roots: Mapping[str, Path]) -> dict[str, Any]:
    settings = parent.model_dump(mode="json")
    for runtime in ("seed", "checkpoint_minutes"):
        del settings["training"][runtime]
    return {
        "version": VERSION,
        "settings": settings,
        "limit": suite.limit,
        "data": _data(parent, roots),
        "evaluations": [_asked(one) for one in suite.evaluations],
        "representation": representation(suite, parent),
    }


def _asked(evaluation: Any) -> dict[str, Any]:
    return {k: v for k, v in evaluation.model_dump(mode="json").items() if k != "models"}


def representation(suite: AblationSuite, parent: LofiConfig) -> dict[str, Any]:
    """The settings of the decoder on each arm's frozen encoder; empty where it is left out.

    Its boxes and batches are those of the arms, its steps its preset's, or as small a part of them
    as the arms run of theirs.
    """
    wanted = suite.representation
    if wanted.steps == 0:
        return {}
    own, usual = read_preset("representation"), read_preset(suite.preset)
    share = min(1.0, parent.training.steps / usual.training.steps)
    steps = wanted.steps or max(1, round(own.training.steps * share))
    return {
        "set": {
            "data.dataset": parent.data.dataset,
            "data.boxes": parent.data.boxes,
            "training.warmup": min(own.training.warmup, steps // 10),
            "training.validate_every": steps,
            "training.validation_studies": parent.training.validation_studies,
            **wanted.set,
            "training.steps": steps,
        },
        "evaluations": [_asked(one) for one in wanted.evaluations],
    }


def _data(config: LofiConfig, roots: Mapping[str, Path]) -> str:
    if not dataset_spec(config.data.dataset).is_phantom(roots):
        return config.data.dataset
    from harness.phantom.version import VERSION as PHANTOM
    from harness.phantom.version import generator_hash

    return f"{config.data.dataset} phantom {PHANTOM} {generator_hash()[:12]}"


def _check_evaluations(suite: AblationSuite) -> None:
    """Find a mistake in what is asked before hours of training, not after them."""
    stand_in = ModelReference(name="oracle")
    asked = [*suite.evaluations, *suite.representation.evaluations]
    plan_cells(Suite(suite=suite.ablation, models=[stand_in], evaluations=asked))
    if not suite.evaluations:
        raise BenchError(f"{suite.ablation}: no evaluations, so nothing would be measured.")


def shares_of(evaluations: Sequence[MeasuredAt]) -> tuple[int, ...]:
    """The percentages of the steps at which anything is asked; the end always."""
    return tuple(sorted({100, *(share for one in evaluations for share in one.at)} & set(SHARES)))


def step_at(share: int, steps: int) -> int:
    """The step that stands for a percentage of the steps, at least the first.

    >>> step_at(25, 4000), step_at(50, 3), step_at(100, 3)
    (1000, 2, 3)
    """
    return max(1, -(-share * steps // 100))
