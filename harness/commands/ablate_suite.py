"""The ablation that a command line asks for, with or without a suite file."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from harness.ablation_suite import AblationSuite, MeasuredAt, read_ablation
from harness.errors import BenchError
from harness.suite_yaml import parse_value

CAPTIONING = (
    MeasuredAt(task="captioning", dataset="mimic-cxr", cohort="frontal", at=[100]),
    MeasuredAt(task="captioning", dataset="ms-cxr", at=[100]),
)


def asked_for(
    suite: str | None,
    *,
    losses: Sequence[str],
    changes: Sequence[str],
    overrides: Sequence[str],
    seeds: str,
    named: Mapping[str, Any],
) -> AblationSuite:
    """The suite of the file, or an empty one, with what the command line adds.

    `named`: steps, preset, limit, representation_steps, captioning; None where not given.

    Raises:
        BenchError: a suite file together with arms on the command line, a malformed option.
    """
    if suite and (losses or changes):
        raise BenchError(
            f"{suite} names its arms itself. Leave out --loss, --all and --change, or the file; "
            "--models A,B picks some of its arms."
        )
    base = read_ablation(suite)[0] if suite else AblationSuite(ablation="ablation")
    values = base.model_dump()
    values["losses"] = [*base.losses, *losses]
    values["changes"] += [{"set": dict([_pair("--change", one)])} for one in changes]
    values["set"] |= dict(_pair("-o", one) for one in overrides)
    values |= {k: named[k] for k in ("steps", "preset", "limit") if named.get(k) is not None}
    values["seeds"] = parse_seeds(seeds) or base.seeds
    if named.get("representation_steps") is not None:
        values["representation"]["steps"] = named["representation_steps"]
    if named.get("captioning"):
        known = {_place(one) for one in base.evaluations}
        values["evaluations"] += [
            one.model_dump() for one in CAPTIONING if _place(one) not in known
        ]
    if not suite:
        values["ablation"] = _name(values["preset"])
    try:
        return AblationSuite.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise BenchError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error


def _name(preset: str) -> str:
    stem = preset.replace("\\", "/").rpartition("/")[2].partition(".")[0]
    return f"ablate-{stem}"


def _place(one: MeasuredAt) -> tuple[str, ...]:
    return one.task, one.dataset, one.split, one.cohort


def _pair(option: str, text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise BenchError(f"{option} {text!r}: found no '='. Expected A.B=C, as tokens.kind=heads.")
    return key, parse_value(value)


def parse_seeds(text: str) -> list[int]:
    """Numbers and ranges, each once.

    >>> parse_seeds("0,2-4"), parse_seeds("")
    ([0, 2, 3, 4], [])

    Raises:
        BenchError: something that is no whole number from 0, or no range of them; an empty range.
    """
    out: list[int] = []
    for part in (one.strip() for one in text.split(",") if one.strip()):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise BenchError(f"--seeds {text!r}: found {part!r}. Expected e.g. 0,1,2 or 0-4.")
        found = range(int(first), int(last if dash else first) + 1)
        if not found:
            raise BenchError(
                f"--seeds {text!r}: found {part!r}, which holds no seed. Expected the smaller "
                f"number first, as {last}-{first}."
            )
        out += found
    return list(dict.fromkeys(out))
