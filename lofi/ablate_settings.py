"""The settings of an ablation's arms: what all arms share, and what a change may not touch."""

from collections.abc import Mapping
from typing import Any

from harness.ablation_suite import AblationSuite, Change
from harness.errors import BenchError
from lofi.config import LofiConfig, read_preset

VALIDATIONS = 8  # points of a validation curve, so that 25, 50 and 100 % of the steps are three
_DATA = "arms with other data are not compared"
_START = "what the start was trained on is part of an arm's data, and " + _DATA
# Settings that arms share by definition, and why a change of them is no ablation.
SHARED = {
    "init": _START,
    "towers.pretrained": _START,
    "training.steps": "arms have the same steps",
    "training.batch_size": "arms see the same batches",
    "training.validation_studies": "arms are validated on the same studies",
    "data.dataset": _DATA,
    "data.boxes": _DATA,
    "data.stream": _DATA,
    "data.passes": _DATA,
}
# What the decoder on a frozen encoder does not choose, and what decides it.
_NOT_OF_THE_DECODER = {
    "init": "its encoder is each arm's own",
    "towers.pretrained": "its encoder is each arm's own",
    "training.seed": "its seed is each arm's own",
    "training.steps": "its steps are given with representation: steps, or --representation-steps",
}
# The words of the method for what the settings call otherwise.
_ALIASES = {
    ("pooling", "shared"): ("tokens.kind", "probes"),
    ("pooling", "independent"): ("tokens.kind", "heads"),
}


def settings_of(suite: AblationSuite) -> dict[str, Any]:
    """The overrides of every arm: those given, the steps, and what follows from their number.

    Raises:
        BenchError: a seed among them, an unknown setting, or settings that train nothing.
    """
    given = {_plain(key): value for key, value in suite.set.items()}
    if "training.seed" in given:
        raise BenchError(f"-o training.seed={given['training.seed']}: {_seeds_instead(given)}")
    config = read(suite.preset, given, f"preset {suite.preset}")
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


def changed(change: Change, where: str) -> dict[str, Any]:
    """The settings of a change by their names in the configuration.

    Raises:
        BenchError: one that all arms share, and how to set it for all.
    """
    wanted = dict(_translated(key, value) for key, value in change.set.items())
    if "training.seed" in wanted:
        raise BenchError(f"{where}: {_seeds_instead(wanted)}")
    for key, value in wanted.items():
        if key in SHARED:
            raise BenchError(f"{where}: {SHARED[key]}. Set it for all arms with -o {key}={value}.")
    return wanted


def representation(suite: AblationSuite, parent: LofiConfig) -> dict[str, Any]:
    """The settings of the decoder on each arm's frozen encoder; empty where it is left out.

    Its boxes and batches are those of the arms, its steps its preset's, or as small a part of them
    as the arms run of theirs.

    Raises:
        BenchError: settings that it does not choose, or that do not exist.
    """
    wanted = suite.representation
    if wanted.steps == 0:
        return {}
    own, usual = read_preset("representation"), read_preset(suite.preset)
    share = min(1.0, parent.training.steps / usual.training.steps)
    steps = wanted.steps or max(1, round(own.training.steps * share))
    settings = {
        "data.dataset": parent.data.dataset,
        "data.boxes": parent.data.boxes,
        "training.warmup": min(own.training.warmup, steps // 10),
        "training.validate_every": steps,
        "training.validation_studies": parent.training.validation_studies,
        **_of_the_decoder(wanted.set),
        "training.steps": steps,
    }
    read("representation", settings, "representation: set")
    asked = [evaluation_of(one) for one in wanted.evaluations]
    return {"set": settings, "evaluations": asked}


def _of_the_decoder(given: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {_plain(key): value for key, value in given.items()}
    for key, why in _NOT_OF_THE_DECODER.items():
        if key in wanted:
            raise BenchError(f"representation: set: {key}={wanted[key]}: {why}. Leave it out.")
    return wanted


def evaluation_of(evaluation: Any) -> dict[str, Any]:
    """An evaluation as a record holds it."""
    return {k: v for k, v in evaluation.model_dump(mode="json").items() if k != "models"}


def read(preset: str, settings: Mapping[str, Any], where: str) -> LofiConfig:
    """The preset with settings over it.

    Raises:
        BenchError: an unknown setting, a value that does not fit, every loss at 0; with `where`.
    """
    try:
        return read_preset(preset, settings)
    except BenchError as error:
        if "every loss has weight 0" in str(error):
            raise BenchError(f"{where}: every loss is 0, so there is nothing to train.") from error
        raise BenchError(f"{where}: {error}") from error


def _seeds_instead(settings: Mapping[str, Any]) -> str:
    seed = settings["training.seed"]
    return f"each arm is trained from each seed of the ablation. Use --seeds {seed}."


def _translated(key: str, value: Any) -> tuple[str, Any]:
    plain = _plain(key)
    return _ALIASES.get((plain, str(value)), (plain, value))


def _plain(key: str) -> str:
    """The dotted key below the settings: `lofi.tokens.kind` and `tokens.kind` are one."""
    return key.removeprefix("lofi.")
