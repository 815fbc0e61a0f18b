"""Tensors from checkpoint files, without ever running what a pickle asks to be run."""

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.errors import BenchError

Tensor = torch.Tensor

# What may be built from a pickle: tensors and their containers. Everything else becomes inert.
_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch.serialization", "_get_layout"): torch.serialization._get_layout,
    ("torch", "Size"): torch.Size,
}


class _Inert:
    """Stands for an object of a class that is not allowed: takes everything, does nothing."""

    def __init__(self, *_args: Any, **_options: Any) -> None:
        """Whatever the class would have been given."""

    def __call__(self, *_args: Any, **_options: Any) -> "_Inert":
        return self

    def __setstate__(self, _state: Any) -> None:
        """Whatever the object would have held."""

    def __setitem__(self, _key: Any, _value: Any) -> None:
        """An entry of a mapping that is not allowed."""

    def append(self, _value: Any) -> None:
        """An entry of a list that is not allowed."""

    def extend(self, _values: Any) -> None:
        """Entries of a list that is not allowed."""


class _TensorsOnly(pickle.Unpickler):
    """An unpickler that can name tensors, their storages and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name.endswith("Storage"):
            return getattr(torch, name)
        return _ALLOWED.get((module, name), _Inert)


class _TensorPickle:
    """The pickle module as `torch.load` uses it, with the harmless unpickler."""

    Unpickler = _TensorsOnly
    load = staticmethod(lambda file, **options: _TensorsOnly(file, **options).load())


def read_tensors(file: Path, inside: str = "") -> dict[str, Tensor]:
    """The tensors of a safetensors or torch file by name; `inside` is the key they lie under.

    Lightning and other checkpoints also pickle configurations of foreign classes, which
    `weights_only` refuses; such objects are read as inert stand-ins, never built.

    Raises:
        BenchError: the file is no checkpoint, or holds no tensors there.
    """
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    content = _content(file)
    found = content.get(inside, {}) if inside and isinstance(content, Mapping) else content
    if not isinstance(found, Mapping):
        raise BenchError(f"{file.name}: no state dict in it (found {type(found).__name__}).")
    tensors = {str(key): value for key, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        where = f" under {inside!r}" if inside else ""
        keys = ", ".join(map(str, list(content)[:8])) if isinstance(content, Mapping) else ""
        raise BenchError(f"{file.name}: no tensors{where}. It holds: {keys or 'nothing'}.")
    return tensors


def _content(file: Path) -> Any:
    if _is_program(file):
        raise BenchError(
            f"{file.name}: a TorchScript archive: a program, not tensors alone. Expected a state "
            "dict. Where its source is trusted, save torch.jit.load(...).state_dict() with "
            "safetensors."
        )
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        pass  # not tensors alone: read what is tensors
    try:
        return torch.load(file, map_location="cpu", weights_only=False, pickle_module=_TensorPickle)
    except Exception as error:
        raise BenchError(
            f"{file.name}: not a checkpoint that can be read: {type(error).__name__}: {error}"
        ) from error


def _is_program(file: Path) -> bool:
    """Whether `torch.load` would hand the file to `torch.jit.load`, which runs it.

    Asked of torch's own reader of archives: another one could see other entries.
    """
    try:
        return bool(torch._C.PyTorchFileReader(str(file)).has_record("constants.pkl"))
    except RuntimeError:  # no archive
        return False


def load_strictly(module: torch.nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Fill a module with exactly the tensors it has.

    Raises:
        BenchError: tensors are missing, left over, or of another shape; the first of each is named.
    """
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        first = "; ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise BenchError(
            f"{name}: the checkpoint does not fit the architecture: {first}"
        ) from error


def without_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries that begin with `prefix`, named without it."""
    return {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
