"""Names to objects by lazy "module:function" strings: nothing is imported before it is needed.

`load` of an entry is called as ``load(device, **options)`` and returns a model; `describe`, where
there is one, as ``describe(**options)`` and returns its `ModelCard` without loading weights, so
that a finished suite is recognized in seconds.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from harness.errors import BenchError, unknown
from harness.models import ModelCard
from harness.suite_schema import ModelReference

_BOTH = ("retrieval", "grounding")
CONTROLS: Mapping[str, tuple[str, ...]] = {  # control -> the tasks it stands for something in
    "chance": ("retrieval", "probe"),
    "collapsed": ("retrieval", "probe"),
    "oracle": (*_BOTH, "probe", "captioning"),
    "content-ceiling": ("retrieval",),
    "commonest-text": ("retrieval", "captioning"),
    "findings-only": ("retrieval",),
    "nothing": ("grounding",),
    "centre-box": ("grounding",),
    "mean-box": ("grounding",),
    "text-only": ("grounding", "probe"),
    "second-reader": ("grounding",),
    "region-oracle": ("grounding",),
}
IN_CONTEXT = ("lofi.in_context:load", "lofi.composing:describe")
_PRESETS = ("lofi/presets", "lofi/vlm/presets")
_CHECKPOINTS = Path(__file__).parent.parent / "lofi" / "checkpoints"


@dataclass(frozen=True)
class Entry:
    """Where a model comes from: "control", "card", "checkpoint", "directory", "code", "plug-in"."""

    kind: str
    load: str
    describe: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()  # of a control; empty: any


@dataclass(frozen=True)
class Handle:
    """A model that can be described at once and loaded when there is something to ask."""

    reference: ModelReference
    entry: Entry

    def card(self) -> ModelCard:
        """The card, named as the suite names the row; loads the model only if it must."""
        return self.describe("cpu")[0]

    def describe(self, device: str) -> tuple[ModelCard, Any]:
        """The card, and the model on that device if it had to be loaded to know, else None."""
        model = None
        if self.entry.describe:
            options = {**self.entry.options, **self.reference.options}
            card: ModelCard = _called(self.entry.describe, options)
        else:
            model = self.load(device)
            card = model.card
        return replace(card, name=self.reference.name), model

    def load(self, device: str) -> Any:
        """The model on a device ("cpu", "cuda:0", ...)."""
        options = {**self.entry.options, **self.reference.options}
        return _called(self.entry.load, options, device)


def _called(target: str, options: Mapping[str, Any], *first: Any) -> Any:
    """What the function behind a target gives for the options of a suite.

    Raises:
        BenchError: an option that it does not take, or one that it wants and is not there.
    """
    function = resolve(target)
    signature = inspect.signature(function)
    try:
        signature.bind(*first, **options)
    except TypeError as error:
        taken = list(signature.parameters.values())[len(first) :]
        names = [one.name for one in taken]
        open_ended = any(one.kind is one.VAR_KEYWORD for one in taken)
        for name in options:
            if name not in names and not open_ended:
                raise unknown("option", name, names) from error
        raise BenchError(f"options: {error}. Known: {', '.join(names)}.") from error
    return function(*first, **options)


def resolve(target: str) -> Callable[..., Any]:
    """The object behind "module:function"; the working folder is searched too.

    Raises:
        BenchError: no such module or function, with the reason the import gave.
    """
    module_name, _, attribute = target.partition(":")
    if not attribute:
        raise BenchError(f"{target!r}: expected module:function, e.g. my_pkg.my_file:load.")
    try:
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise BenchError(
            f"{target}: cannot be imported: {error}. Is its package installed, or is the file in "
            "the folder where bench was started?"
        ) from error
    found: Callable[..., Any] | None = getattr(module, attribute, None)
    if found is None:
        raise BenchError(f"{target}: the module has no {attribute!r}.")
    return found


def shipped_checkpoints() -> dict[str, Path]:
    """Name to folder of the trained checkpoints that come with the package."""
    return {folder.parent.name: folder.parent for folder in _CHECKPOINTS.glob("*/config.json")}


def find_entry(target: str) -> Entry:
    """The entry a reference means: control, shipped checkpoint, card, directory, code or plug-in.

    Raises:
        BenchError: unknown name (did you mean), or a directory that holds no model.
    """
    if target in CONTROLS:
        return Entry(
            "control",
            "baselines.controls:load",
            "baselines.controls:describe",
            {"name": target},
            CONTROLS[target],
        )
    if target == "shuffled":
        return Entry(
            "control", "baselines.controls:load_shuffled", "baselines.controls:describe_shuffled"
        )
    if target == "in-context":
        return Entry("composed", *IN_CONTEXT, tasks=("grounding",))
    if target == "copy-nearest":
        return Entry("control", *IN_CONTEXT, {"grounder": target}, ("grounding",))
    checkpoints = shipped_checkpoints()
    if target in checkpoints:
        return _in_folder("checkpoint", checkpoints[target])
    if "/" in target or target.startswith("."):
        return _directory(Path(target))
    if ":" in target:
        return Entry("code", target)
    return _by_name(target, set(checkpoints))


def _in_folder(kind: str, folder: Path) -> Entry:
    """A model of a family with its card beside the weights, or a LoFi."""
    if any(folder.glob("card.y*ml")):
        options = {"card": str(folder)}
        return Entry(kind, "baselines.cards:load", "baselines.cards:describe", options)
    options = {"checkpoint": str(folder)}
    return Entry(kind, "lofi.adapter:load", "lofi.card:describe", options)


def _directory(folder: Path) -> Entry:
    if not folder.is_dir():
        raise BenchError(f"{folder}: no such folder. A model directory holds a config.json.")
    if any(folder.glob("card.y*ml")) or (folder / "config.json").is_file():
        return _in_folder("directory", folder)
    found = ", ".join(sorted(file.name for file in folder.iterdir())[:8]) or "nothing"
    raise BenchError(
        f"{folder}: no model here: found {found}; expected config.json (a LoFi directory) or "
        "card.yaml beside the weights of another family."
    )


def card_names() -> list[str]:
    """Names of the published models that have a card."""
    folder = Path(__file__).parent.parent / "baselines" / "cards"
    return sorted(file.stem for file in folder.glob("*.yaml"))


def _by_name(name: str, checkpoints: set[str]) -> Entry:
    if name in card_names():
        options = {"card": name}
        return Entry("card", "baselines.cards:load", "baselines.cards:describe", options)
    plugins = {point.name: point for point in entry_points(group="bench.models")}
    if name in plugins:
        return Entry("plug-in", plugins[name].value)
    if name in _trainable():
        # It would ship with the package once it is trained: not here yet is no typing mistake.
        return Entry("checkpoint", "lofi.absent:load", "lofi.absent:describe", {"name": name})
    known = {
        *CONTROLS,
        "shuffled",
        "in-context",
        "copy-nearest",
        *checkpoints,
        *card_names(),
        *plugins,
    }
    raise unknown("model", name, known)


def _trainable() -> set[str]:
    """Names of what `bench train` makes."""
    root = _CHECKPOINTS.parent.parent
    return {file.stem for folder in _PRESETS for file in (root / folder).glob("*.yaml")}


def find_model(reference: ModelReference) -> Handle:
    """The handle of a suite's model reference."""
    return Handle(reference, find_entry(reference.target))
