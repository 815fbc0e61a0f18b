"""Suite YAML to `Suite`: `extends`, variables, overrides; every mistake in one message."""

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.errors import BenchError
from harness.suite_schema import Evaluation, ModelReference, Suite
from harness.suite_yaml import Place, parse_value, read_yaml

_PACKAGE = Path(__file__).parent
# From a clone the suites lie beside the package, in a wheel inside it.
SHIPPED = (_PACKAGE.parent / "suites", _PACKAGE / "shipped_suites")


def find_suite(name: str) -> Path:
    """The file of that name if there is one, else the shipped suite of that name.

    ``suites/retrieval.yaml`` and ``retrieval`` both find the shipped suite from any folder.
    """
    given = Path(name)
    if given.is_file():
        return given
    stem = given.name if given.suffix in {".yaml", ".yml"} else f"{given.name}.yaml"
    for folder in SHIPPED:
        if (folder / stem).is_file():
            return folder / stem
    known = shipped_suites()
    # Without their endings, which all have in common.
    close = get_close_matches(Path(stem).stem, [Path(file).stem for file in known], n=1)
    hint = f" Did you mean '{close[0]}.yaml'?" if close else ""
    raise BenchError(
        f"{name}: no such file, and no shipped suite of that name.{hint} "
        f"Shipped: {', '.join(known) or 'none'}."
    )


def shipped_suites() -> list[str]:
    """The file names of the suites that come with the package."""
    return sorted({file.name for folder in SHIPPED for file in folder.glob("*.yaml")})


def read_suite(
    name: str,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> tuple[Suite, Path]:
    """The resolved suite and the file it came from.

    A child of `extends` replaces its parent's keys whole (lists too). `overrides` are
    ``a.b=value`` (``evaluations.0.split=validation``), applied last.

    Raises:
        BenchError: naming file, line and a near name, for all mistakes at once.
    """
    path = find_suite(name)
    data, lines = _read_with_parents(path, environ, seen=())
    if "ablation" in data and "suite" not in data:
        raise BenchError(
            f"{path}: an ablation, which trains models and has its own keys; no suite of "
            f"evaluations. Run it with: bench ablate {name}"
        )
    for override in overrides:
        _apply(data, override)
    data["models"] = [_model_mapping(item) for item in _listed(data.get("models"))]
    try:
        suite = Suite.model_validate(data)
    except ValidationError as error:
        raise BenchError(_explain(error, path, lines)) from error
    _refuse_twins(suite, path)
    return suite, path


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _read_with_parents(
    path: Path, environ: Mapping[str, str], seen: tuple[Path, ...]
) -> tuple[dict[str, Any], dict[Place, int]]:
    if path.resolve() in seen:
        chain = " -> ".join(file.name for file in (*seen, path))
        raise BenchError(f"{path}: 'extends' goes in a circle: {chain}.")
    data, lines = read_yaml(path, environ)
    if not isinstance(data, dict):
        raise BenchError(f"{path}: a suite is a mapping with 'suite', 'models', 'evaluations'.")
    parent_name = data.pop("extends", None)
    if parent_name is None:
        return data, lines
    beside = path.parent / str(parent_name)
    parent = beside if beside.is_file() else find_suite(str(parent_name))
    inherited, _ = _read_with_parents(parent, environ, (*seen, path.resolve()))
    return {**inherited, **data}, lines


def _apply(data: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise BenchError(f"-o {override}: expected KEY=VALUE, e.g. -o evaluations.0.split=test.")
    *parents, last = key.split(".")
    place: Any = data
    for part in parents:
        place = _step(place, part, override)
    if isinstance(place, list):
        place[_index(place, last, override)] = parse_value(text)
    else:
        place[last] = parse_value(text)


def _step(place: Any, part: str, override: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, part, override)]
    if not isinstance(place.get(part), (dict, list)):
        place[part] = {}
    return place[part]


def _index(place: list[Any], part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(place):
        raise BenchError(f"-o {override}: {part!r} is not an index below {len(place)}.")
    return int(part)


def _model_mapping(item: Any) -> Any:
    return model_reference(item).model_dump() if isinstance(item, str) else item


def model_reference(text: str) -> ModelReference:
    """The reference of a model given on the command line: its row is named after what it is.

    What a training wrote is named after the training: two of them stand in one table.

    >>> model_reference("./runs/my-model").name, model_reference("pkg.mod:load").target
    ('my-model', 'pkg.mod:load')
    >>> model_reference("runs/train-a/best").name, model_reference("runs/train-a/model").name
    ('train-a', 'train-a-model')
    """
    if "/" in text or text.startswith("."):
        return ModelReference(name=_name_of(Path(text)), use=text)
    if ":" in text:
        module, _, function = text.partition(":")
        last = module.rpartition(".")[2]
        return ModelReference(name=last if function == "load" else f"{last}-{function}", use=text)
    return ModelReference(name=text)


def _name_of(folder: Path) -> str:
    within = folder.parent.name
    if not within or folder.name not in ("best", "model"):
        return folder.name
    return within if folder.name == "best" else f"{within}-{folder.name}"


def pick_models(suite: Suite, names: Sequence[str]) -> Suite:
    """The suite with only these models; a reference that it does not name is added.

    Raises:
        BenchError: two of them would be rows of one name.
    """
    if not names:
        return suite
    by_name = {model.name: model for model in suite.models}
    picked = [by_name.get(name) or model_reference(name) for name in dict.fromkeys(names)]
    _refuse_one_name(picked)
    # A picked model that no evaluation lists by name was added by hand: all of them ask it.
    evaluations = [_admit(evaluation, picked, by_name) for evaluation in suite.evaluations]
    return suite.model_copy(update={"models": picked, "evaluations": evaluations})


def _admit(
    evaluation: Evaluation, picked: Sequence[ModelReference], known: Mapping[str, Any]
) -> Evaluation:
    if not evaluation.models:
        return evaluation
    added = [model.name for model in picked if model.name not in known]
    return evaluation.model_copy(update={"models": [*evaluation.models, *added]})


def _refuse_one_name(picked: Sequence[ModelReference]) -> None:
    first: dict[str, ModelReference] = {}
    for model in picked:
        other = first.setdefault(model.name, model)
        if other is not model:
            raise BenchError(
                f"--models: {other.target} and {model.target} would both be rows named "
                f"{model.name!r}. Rename a folder, or list them in a suite as {{name, use}}."
            )


def _refuse_twins(suite: Suite, path: Path) -> None:
    names = [model.name for model in suite.models]
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise BenchError(f"{path}: models named twice: {', '.join(twins)}. Give each its 'name'.")
    known = set(names)
    for index, evaluation in enumerate(suite.evaluations):
        absent = [name for name in evaluation.models if name not in known]
        if absent:
            raise BenchError(
                f"{path}: evaluations[{index}].models names {', '.join(absent)}, which the suite's "
                "'models' do not list."
            )


def _explain(error: ValidationError, path: Path, lines: Mapping[Place, int]) -> str:
    return "\n".join(_explain_one(item, path, lines) for item in error.errors())


def _explain_one(item: Any, path: Path, lines: Mapping[Place, int]) -> str:
    place = tuple(item["loc"])
    known_place = place
    while known_place and known_place not in lines:
        known_place = known_place[:-1]
    where = f"{path}:{lines.get(known_place, 1)}: {_dotted(place[:-1]) or 'suite'}"
    if item["type"] == "extra_forbidden":
        names = sorted(_fields_at(place[:-1]))
        close = get_close_matches(str(place[-1]), names, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"{where}: unknown key {place[-1]!r}.{hint} Known: {', '.join(names)}."
    if item["type"] == "missing":
        return f"{where}: the key {place[-1]!r} is missing."
    return f"{where}: {place[-1]!r} = {item['input']!r}: {item['msg']}."


def _dotted(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _fields_at(place: Place) -> set[str]:
    model: type[BaseModel] = Suite
    if place and place[0] == "models":
        model = ModelReference
    if place and place[0] == "evaluations":
        model = Evaluation
    extra = {"extends"} if model is Suite else set()
    return set(model.model_fields) | extra
