"""Open-I (Indiana University): open reports as XML, with images where the user has them.

The root is ``NLMCXR_reports.tgz``, or a folder with that file, with ``ecgen-radiology/`` or with
the XML files themselves. Images are ``<parentImage id>.png`` (or .jpg, .dcm) in the folder or in
``images/``, ``NLMCXR_png/``, ``NLMCXR_dcm/``. Without images retrieval cannot be asked. The text is
FINDINGS and IMPRESSION; the publisher's de-identification mark XXXX stays.

The XML names neither patient nor view: a report stands for its own patient, and the study's first
image on disk is taken. With ``indiana_projections.csv`` (columns filename, projection; a common
companion file) beside the images, the first image marked Frontal is taken instead.
"""

import re
import tarfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.datasets.checks import Check, check_images, compare_counts
from harness.datasets.files import Tally, find_file, read_table
from harness.datasets.table import DATASETS, Request
from harness.errors import BenchError
from harness.roots import how_to_get
from harness.samples import Dataset, ImageRef, ImageText
from harness.text import TEXT_POLICY, is_comparison, normalize, tidy

_FOLDERS = (".", "images", "NLMCXR_png", "NLMCXR_dcm")
_ENDINGS = (".png", ".jpg", ".jpeg", ".dcm")
_ARCHIVE = "NLMCXR_reports.tgz"
_LARGEST_XML = 1 << 20  # reports have a few kB; an entity bomb must not be parsed


@dataclass(frozen=True)
class Report:
    """One report: its id (CXR1234), sections, MeSH terms and the ids of its images."""

    study_id: str
    findings: str
    impression: str
    terms: tuple[str, ...]
    images: tuple[str, ...]

    @property
    def text(self) -> str:
        """Findings and impression, tidied; '' if neither says anything."""
        return " ".join(part for part in (self.findings, self.impression) if normalize(part))


def load(request: Request) -> Dataset:
    """One image per report with its text; `n_total` counts reports.

    Raises:
        BenchError: no report, a damaged archive or XML, or no image on disk.
    """
    top = request.roots["open-i"]
    reports = read_reports(top)
    tally = Tally()
    samples = list(_samples(top, reports, request.limit, tally))
    if not samples:
        raise BenchError(
            f"open-i: {top} has {len(reports)} reports but no image for them, so retrieval cannot "
            f"be asked ({tally.counts}). Unpack NLMCXR_png.tgz beside the reports. "
            f"{how_to_get('open-i')}"
        )
    return Dataset(
        name="open-i",
        task=request.task,
        split=request.split,
        cohort=request.cohort,
        version=f"NLMCXR, {len(reports)} reports",
        samples=tuple(samples),
        n_total=len(reports),
        excluded=tally.counts,
        text_policy=TEXT_POLICY,
        licence="CC BY-NC-ND 4.0",
    )


def read_reports(top: Path) -> list[Report]:
    """All reports by number, from the archive or the folder.

    Raises:
        BenchError: none is found, the archive is damaged, or a file is not XML.
    """
    reports = [_parse(name, data) for name, data in _documents(top)]
    if not reports:
        raise BenchError(f"open-i: {top} holds no report (*.xml). {how_to_get('open-i')}")
    return sorted(reports, key=lambda report: (len(report.study_id), report.study_id))


def check(roots: Mapping[str, Path], *, thorough: bool = False) -> list[Check]:
    """What ``bench data check open-i=PATH`` prints."""
    reports = read_reports(roots["open-i"])
    named = sum(len(report.images) for report in reports)
    checks = compare_counts(
        {"studies": len(reports), "images": named}, DATASETS["open-i"].published["all"]
    )
    checks.append(Check("ok", "reports with a text", str(sum(bool(r.text) for r in reports))))
    tally = Tally()
    images = [s.image for s in _samples(roots["open-i"], reports, None, tally)]
    if not images:
        hint = "unpack NLMCXR_png.tgz beside the reports"
        return [*checks, Check("note", "studies with an image", "0", hint)]
    checks.append(Check("ok", "studies with an image and a text", str(len(images))))
    return [*checks, *check_images(images, thorough=thorough)]


def _documents(top: Path) -> Iterator[tuple[str, bytes]]:
    inner = top / "ecgen-radiology"
    folder = inner if inner.is_dir() else top
    archive = top if top.is_file() else find_file(top, _ARCHIVE)
    if folder.is_dir() and next(folder.glob("*.xml"), None) is not None:
        for path in sorted(folder.glob("*.xml")):
            yield str(path), path.read_bytes()
    elif archive is not None:
        yield from _members(archive)


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """The XML files of the archive, read in memory: nothing is unpacked, so no path can climb."""
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None and member.name.endswith(".xml"):
                    yield f"{archive}:{member.name}", file.read(_LARGEST_XML + 1)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BenchError(
            f"{archive}: truncated or damaged ({error}). Download it again."
        ) from error


def _parse(name: str, data: bytes) -> Report:
    if len(data) > _LARGEST_XML or b"<!ENTITY" in data:
        raise BenchError(f"{name}: not an Open-I report (over 1 MB, or it defines entities).")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise BenchError(f"{name}: not XML ({error}). Download it again.") from error
    sections = {
        str(node.get("Label", "")).upper(): tidy(node.text or "")
        for node in root.iter("AbstractText")
    }
    identity = root.find("uId")
    return Report(
        study_id=(identity.get("id") if identity is not None else None) or Path(name).stem,
        findings=sections.get("FINDINGS", ""),
        impression=sections.get("IMPRESSION", ""),
        terms=tuple(tidy(node.text or "") for node in root.iter("major")),
        images=tuple(str(node.get("id")) for node in root.iter("parentImage") if node.get("id")),
    )


def _samples(
    top: Path, reports: list[Report], limit: int | None, tally: Tally
) -> Iterator[ImageText]:
    files = _image_files(top)
    frontal = _frontal(top)
    used = 0
    for position, report in enumerate(reports):
        if limit is not None and used == limit:
            tally.add(f"beyond --limit {limit}", len(reports) - position)
            return
        shown = [name for name in report.images if name in files]
        if frontal is not None:
            shown = [name for name in shown if name in frontal]
        if not report.text or not shown:
            tally.add(_why_not(report, shown))
            continue
        used += 1
        yield _sample(report, shown[0], files[shown[0]])


def _why_not(report: Report, shown: list[str]) -> str:
    if not report.text:
        return "no findings or impression"
    if not report.images:
        return "report names no image"
    return "no (frontal) image on disk" if not shown else ""


def _sample(report: Report, name: str, file: Path) -> ImageText:
    return ImageText(
        sample_id=name,
        image=ImageRef(name, file, patient_id=report.study_id, study_id=report.study_id),
        text=report.text,
        groups={"comparison": "yes" if is_comparison(report.text) else "no"},
        labels=report.terms,
    )


def _image_files(top: Path) -> dict[str, Path]:
    """Files by the image id their name starts with."""
    folder = top.parent if top.is_file() else top
    found: dict[str, Path] = {}
    for inner in _FOLDERS:
        for path in sorted((folder / inner).glob("*")):
            if path.suffix.lower() in _ENDINGS and path.is_file():
                found.setdefault(path.stem, path)
    return found


def _frontal(top: Path) -> set[str] | None:
    folder = top.parent if top.is_file() else top
    table = find_file(folder, "indiana_projections.csv", "*/indiana_projections.csv")
    if table is None:
        return None
    frame = read_table(table, ("filename", "projection"))
    names = frame["filename"][frame["projection"].str.lower() == "frontal"]
    return {_image_id(name) for name in names}


def _image_id(filename: str) -> str:
    """The image id of a name in the companion file.

    >>> _image_id("1_IM-0001-4001.dcm.png")
    'CXR1_IM-0001-4001'
    """
    stem = re.sub(r"(\.dcm)?\.\w+$", "", filename)
    return stem if stem.startswith("CXR") else f"CXR{stem}"
