"""Where the user's data lie: environment variables, `--data name=path`, version folders."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BenchError, unknown

_PHYSIONET = (
    "a PhysioNet account, CITI training and the signed agreement at https://physionet.org/content/"
)


@dataclass(frozen=True)
class Root:
    """One tree a dataset needs: how its top folder is recognized and how to get it.

    `marks` are names (glob patterns) of which at least one lies directly in the top folder.
    `slug` is the folder name that the publisher's download makes.
    """

    name: str
    marks: tuple[str, ...]
    slug: str
    access: str

    @property
    def variable(self) -> str:
        """The environment variable that names the folder, e.g. ``MIMIC_CXR``."""
        return self.name.upper().replace("-", "_")


def _physionet(name: str, slug: str, *marks: str) -> Root:
    return Root(name, marks, slug, f"{_PHYSIONET}{slug}/")


_ROOTS = (
    _physionet(
        "mimic-cxr",
        "mimic-cxr",
        "mimic-cxr-reports.zip",
        "mimic-cxr-reports",
        "cxr-record-list.csv*",
        "cxr-study-list.csv*",
        "files",
    ),
    _physionet(
        "mimic-cxr-jpg", "mimic-cxr-jpg", "mimic-cxr-2.0.0-*.csv*", "IMAGE_FILENAMES", "files"
    ),
    _physionet("ms-cxr", "ms-cxr", "MS_CXR_Local_Alignment_v*"),
    _physionet("cxr-qba", "mimic-ext-cxr-qba", "exports", "qa", "qa.zip"),
    Root(
        "padchest-gr",
        ("grounded_reports_*.json", "master_table.csv*"),
        "BIMCV-Padchest-GR",
        "a signed agreement with BIMCV at https://bimcv.cipf.es/bimcv-projects/padchest-gr/",
    ),
    Root("manifest", ("manifest.csv",), "", "a folder of your own with a manifest.csv (README)"),
    Root(
        "open-i",
        ("NLMCXR_reports.tgz", "ecgen-radiology", "*.xml"),
        "open-i",
        "NLMCXR_reports.tgz and NLMCXR_png.tgz from https://openi.nlm.nih.gov/faq (open)",
    ),
    _physionet("llava-rad", "llava-rad-mimic-cxr-annotation", "chat_*_MIMIC_CXR_all_*.json"),
    Root(
        "chexmask",
        ("OriginalResolution", "Preprocessed", "MIMIC-CXR-JPG.csv*"),
        "chexmask-cxr-segmentation-data",
        "https://physionet.org/content/chexmask-cxr-segmentation-data/ (open)",
    ),
    _physionet("chest-imagenome", "chest-imagenome", "silver_dataset", "scene_graph*"),
)
ROOTS: Mapping[str, Root] = {root.name: root for root in _ROOTS}

_VERSION = re.compile(r"v?\d+(?:\.\d+)+")


def parse_data_flags(flags: Iterable[str], known: Iterable[str] = ROOTS) -> dict[str, Path]:
    """The folders named by ``--data name=path`` flags, `~` expanded, not yet looked at.

    Raises:
        BenchError: no ``=``, no path, an unknown name, or one name with two paths.
    """
    names = set(known)
    found: dict[str, Path] = {}
    for flag in flags:
        name, equals, value = flag.partition("=")
        if not equals or not value.strip():
            raise BenchError(
                f"--data {flag!r}: expected NAME=PATH, e.g. --data ms-cxr=/data/ms-cxr"
            )
        if name not in names:
            raise unknown("data root", name, names)
        path = Path(value.strip()).expanduser()
        if name in found and found[name] != path:
            raise BenchError(f"--data {name}: given twice, {found[name]} and {path}. Keep one.")
        found[name] = path
    return found


def data_roots(
    flags: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    extra: Iterable[str] = (),
) -> dict[str, Path]:
    """The top folder of every data tree the user has set; a flag wins over the environment.

    Args:
        flags: values of ``--data``.
        environ: instead of `os.environ`.
        extra: further root names, those of datasets that are not built in.

    Raises:
        BenchError: as `parse_data_flags` and `recognize`.
    """
    variables = os.environ if environ is None else environ
    names = [*ROOTS, *extra]
    chosen = {}
    for name in names:
        value = variables.get(name.upper().replace("-", "_"), "").strip()
        if value:
            chosen[name] = Path(value).expanduser()
    chosen.update(parse_data_flags(flags, names))
    return {name: recognize(name, path) for name, path in chosen.items()}


def recognize(name: str, path: Path) -> Path:
    """The top folder of a tree, given that folder, the download root above it or its parent.

    Of several version folders the highest that holds the tree is taken. A root that is not built
    in is only required to exist. For `open-i` the archive of reports itself is accepted, for
    `manifest` the file ``manifest.csv``.

    Raises:
        BenchError: the folder is absent, or nothing in it is recognized.
    """
    root = ROOTS.get(name)
    if not path.exists():
        raise BenchError(f"{name}: no folder {path}. {how_to_get(name)}")
    if root is None:
        return path
    if path.is_file():
        return _top_of_file(root, path)
    for candidate in _candidates(root, path):
        if has_marks(root, candidate):
            return candidate
    raise BenchError(
        f"{name}: {path} holds none of {', '.join(root.marks)}, nor does a version folder in it. "
        f"Name the folder that holds them. {how_to_get(name)}"
    )


def how_to_get(name: str) -> str:
    """One sentence: where the data come from and how to name their folder."""
    root = ROOTS.get(name)
    variable = name.upper().replace("-", "_")
    source = f"It needs {root.access}. " if root else ""
    return f"{source}Then: export {variable}=/path/to/{name} or --data {name}=/path/to/{name}"


def version_of(top: Path) -> str:
    """The version a tree's folder is named after, or ''.

    >>> version_of(Path("/data/physionet.org/files/mimic-cxr-jpg/2.1.0"))
    '2.1.0'
    """
    return top.name.lstrip("v") if _VERSION.fullmatch(top.name) else ""


def has_marks(root: Root, folder: Path) -> bool:
    """Whether the folder is the top of that tree."""
    return any(next(folder.glob(mark), None) is not None for mark in root.marks)


def _top_of_file(root: Root, path: Path) -> Path:
    if root.name == "manifest" and path.name == "manifest.csv":
        return path.parent
    if root.name == "open-i" and path.name.endswith((".tgz", ".tar.gz")):
        return path
    raise BenchError(f"{root.name}: {path} is a file. Expected the folder of the data.")


def _candidates(root: Root, path: Path) -> Iterator[Path]:
    """The folder itself, then version folders in it, then the publisher's folders in it."""
    names = dict.fromkeys(name for name in (root.slug, root.name) if name)
    parents = [path]
    for name in names:
        parents += [path / name, path / "files" / name, path / "physionet.org" / "files" / name]
    for parent in parents:
        if parent.is_dir():
            yield parent
            yield from _version_folders(parent)


def _version_folders(parent: Path) -> list[Path]:
    folders = [p for p in parent.iterdir() if p.is_dir() and _VERSION.fullmatch(p.name)]
    return sorted(folders, key=lambda p: [int(n) for n in version_of(p).split(".")], reverse=True)
