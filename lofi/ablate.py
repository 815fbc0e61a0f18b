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
from lofi.ablate_settings import changed, evaluation_of, read, representation, settings_of
from lofi.config import LofiConfig, parse, read_preset

VERSION = 1  # of what an arm is; raised when the same settings would give other numbers
CLI_LOSSES = ("sigmoid", "captioning", "location", "grounding", "dense-captioning")


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
            nothing or what arms must share, a seed among the settings, an arm without any loss, two
            arms of one name.
    """
    _check_evaluations(suite)
    settings = settings_of(suite)
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
        where = f"--change {change.label}"
        config = read(suite.preset, {**settings, **changed(change, where)}, where)
        if config == parent:
            raise BenchError(f"{where}: {suite.preset} has this value already: nothing changes.")
        yield change.label, config


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
        "evaluations": [evaluation_of(one) for one in suite.evaluations],
        "representation": representation(suite, parent),
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
