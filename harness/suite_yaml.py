"""YAML as plain data with the line of every key: no tags, no duplicate keys, no surprises."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.errors import BenchError

Place = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_MAX_BYTES = 1_000_000  # a suite is a page of text; more is not one


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings on one level, so that none is hidden in a mapping or takes others of it along.

    >>> dotted({"data": {"boxes": "region"}, "chunk": 1})
    {'data.boxes': 'region', 'chunk': 1}

    Raises:
        ValueError: a mapping without settings.
    """
    out: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if value == {}:
            raise ValueError(f"{name!r}: found no settings below it. Expected some, or no such key")
        out |= dotted(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return out


def read_yaml(path: Path, environ: Mapping[str, str] = os.environ) -> tuple[Any, dict[Place, int]]:
    """The document as dicts, lists and scalars, and the line (from 1) of every place in it.

    ``${VAR:-default}`` in any string is replaced from the environment; a string that is nothing
    but one variable takes the YAML type of its value (``${N:-5}`` is a number).

    Raises:
        BenchError: not readable, not YAML, a tag (``!!python/...``), an alias, a key given twice, a
            variable without value or default.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BenchError(f"{path}: larger than {_MAX_BYTES:,} bytes, so not a suite.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: cannot be read: {error}.") from error
    lines: dict[Place, int] = {}
    try:
        _refuse_aliases(text, path)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return _value(node, (), lines, path, environ), lines
    except yaml.YAMLError as error:
        raise BenchError(f"{path}: not valid YAML: {_one_line(error)}") from error
    except RecursionError as error:
        raise BenchError(f"{path}: nested too deeply to be a suite.") from error


def plain_yaml(text: str, where: str) -> Any:
    """The document of a card or a preset as dicts, lists and scalars; variables are left as text.

    Raises:
        BenchError: not YAML, a tag that YAML does not know, an alias, a scalar that is none of its
            kind (30 February), nested too deeply.
    """
    try:
        _refuse_aliases(text, where)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise BenchError(f"{where}: not readable as YAML: {_one_line(error)}") from error
    except RecursionError as error:
        raise BenchError(f"{where}: nested too deeply to be settings.") from error


def _refuse_aliases(text: str, path: Path | str) -> None:
    # An alias of an alias of an alias unfolds exponentially. Most files have no star at all.
    if "*" not in text:
        return
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.AliasToken):
            line = token.start_mark.line + 1
            raise BenchError(f"{path}:{line}: aliases (*{token.value}) are not allowed. Repeat it.")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _value(
    node: yaml.Node | None,
    place: Place,
    lines: dict[Place, int],
    path: Path,
    environ: Mapping[str, str],
) -> Any:
    if node is None:
        return None
    line = node.start_mark.line + 1
    lines.setdefault(place, line)
    if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
        raise BenchError(
            f"{path}:{line}: the tag {node.tag!r} is not allowed: a suite is data only. Remove it."
        )
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, place, lines, path, environ)
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(item, (*place, index), lines, path, environ)
            for index, item in enumerate(node.value)
        ]
    return _scalar(node, f"{path}:{line}", environ)


def _mapping(
    node: yaml.MappingNode,
    place: Place,
    lines: dict[Place, int],
    path: Path,
    environ: Mapping[str, str],
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        line = key_node.start_mark.line + 1
        if key in result:
            raise BenchError(f"{path}:{line}: the key {key!r} is given twice. Keep one.")
        lines[(*place, key)] = line
        result[key] = _value(value_node, (*place, key), lines, path, environ)
    return result


def _scalar(node: yaml.Node, where: str, environ: Mapping[str, str]) -> Any:
    text = node.value
    if "${" not in text:
        return _construct(node.tag, text, where)
    filled = _VARIABLE.sub(lambda match: _lookup(match, where, environ), text)
    if _VARIABLE.fullmatch(text):
        return parse_value(filled)
    return filled


def _construct(tag: str, text: str, where: str) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(yaml.ScalarNode(tag, text))  # type: ignore[no-untyped-call]
    except (yaml.YAMLError, ValueError) as error:
        raise BenchError(f"{where}: {text!r} cannot be read: {error}.") from error


def _lookup(match: re.Match[str], where: str, environ: Mapping[str, str]) -> str:
    name, default = match.group(1), match.group(2)
    if environ.get(name):
        return environ[name]
    if default is None:
        raise BenchError(
            f"{where}: the variable {name} is not set. Set it, or write ${{{name}:-default}}."
        )
    return default


def parse_value(text: str) -> Any:
    """The YAML value of a short text, as in ``-o key=value``: a number, list, bool or string.

    >>> parse_value("[1, 5]"), parse_value("0"), parse_value("false"), parse_value("a b")
    ([1, 5], 0, False, 'a b')
    """
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
