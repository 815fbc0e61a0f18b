"""PadChest-GR: grounded reports in English and Spanish, boxes by two readers, 16-bit PNGs.

Retrieval text is the study's sentences in the order of the JSON, negatives included, joined by
spaces (`sentence_en`; cohort `spanish`: `sentence_es`, the same ids, never pooled with English).
Grounding asks each sentence: `boxes` is the truth (reader 1), `extra_boxes` the second reader; a
sentence that denies (abnormal false) has no boxes; `progression` marks a comparison. A positive
sentence without a box of reader 1 has no right answer and is left out. Each image is also asked
for one finding it does not have (`absent`; the option ``absent: false`` switches that off). Ids are
text: StudyID has 37-39 digits. The cohorts `mimic-rendering` and `mimic-wording` are the crossed
cells of the phantom twin (protocol §8.6); they are read as `frontal` from roots of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.boxes import Boxes, boxes_from_unit, no_boxes
from harness.datasets.absent import absent_finding
from harness.datasets.checks import Check, check_images, compare_counts, count_samples
from harness.datasets.files import Tally
from harness.datasets.findings import is_fixed, kind_of
from harness.datasets.mimic_cxr import nothing_left, study_groups
from harness.datasets.padchest_tables import SPLITS, Finding, Study, read_studies, release_of
from harness.datasets.table import DATASETS, Request
from harness.datasets.truth import (
    PhraseTruth,
    generator_version,
    image_findings,
    masked_text,
    phrase_truth,
)
from harness.errors import BenchError
from harness.samples import Dataset, ImageRef, ImageText, PhraseBoxes, Sample
from harness.text import TEXT_POLICY, is_comparison, normalize, tidy

_BAD_BOX = "box outside the image or without area"


def load(request: Request) -> Dataset:
    """The studies (retrieval) or sentences (grounding) of one split.

    `n_total` counts the studies, or the sentences and queries for absent findings; a study of the
    master table without a grounded report counts as one item left out.

    Raises:
        BenchError: files missing or damaged, tables that disagree, or nothing left.
    """
    top = request.roots["padchest-gr"]
    if request.cohort.startswith("mimic-") and not request.phantom:
        raise BenchError(f"padchest-gr: cohort {request.cohort} exists in the phantom twin only.")
    studies = [s for s in read_studies(top) if request.split in ("all", s.split)]
    tally = Tally()
    if request.task == "retrieval":
        samples, total = list(_texts(request, studies, tally)), len(studies)
    else:
        asked = list(_phrases(request, studies, tally))
        samples = [*asked, *_absent_queries(request, studies, asked)]
        total = sum(len(s.findings) if s.reported else 1 for s in studies)
        total += len(samples) - len(asked)
    if not samples:
        raise BenchError(nothing_left("padchest-gr", request, tally))
    return Dataset(
        name="padchest-gr",
        task=request.task,
        split=request.split,
        cohort=request.cohort,
        version=generator_version(request.truth) or release_of(top),
        samples=tuple(samples),
        phantom=request.phantom,
        restricted=not request.phantom,
        n_total=total,
        excluded=tally.counts,
        text_policy=TEXT_POLICY,
        licence="" if request.phantom else "BIMCV PadChest-GR research use agreement",
    )


def study_image(study: Study) -> ImageRef:
    """The study's image; PadChest-GR is frontal but does not say PA or AP."""
    return ImageRef(
        image_id=study.image_id,
        file=study.file,
        patient_id=study.patient_id,
        study_id=study.study_id,
        sex=study.sex,
        age=study.age,
    )


def study_text(study: Study, *, spanish: bool = False) -> str:
    """The sentences of the study's report joined by spaces; '' if it has none."""
    return " ".join(filter(None, (sentence_of(f, spanish=spanish) for f in study.findings)))


def sentence_of(finding: Finding, *, spanish: bool = False) -> str:
    """The tidy sentence in one language, '' where only punctuation stands."""
    text = tidy(finding.sentence_es if spanish else finding.sentence_en)
    return text if normalize(text) else ""


def check(roots: Mapping[str, Path], *, thorough: bool = False) -> list[Check]:
    """What ``bench data check padchest-gr=PATH`` prints."""
    top = roots["padchest-gr"]
    studies = read_studies(top)
    found = {"studies": len(studies), "phrases": sum(len(study.findings) for study in studies)}
    unlisted = sum(study.split == "" for study in studies)
    silent = sum(not study.reported for study in studies)
    checks = [
        Check("ok", "release", release_of(top)),
        *compare_counts(found, DATASETS["padchest-gr"].published["all"]),
        *(_count_split(roots, split) for split in SPLITS),
        _zero("studies not in the master table", unlisted),
        _zero("studies without a grounded report", silent),
    ]
    return [*checks, *check_images([study_image(s) for s in studies], thorough=thorough)]


def _zero(what: str, count: int) -> Check:
    return Check("problem" if count else "ok", what, str(count), "0")


def _count_split(roots: Mapping[str, Path], split: str) -> Check:
    try:
        sentences_only = {"absent": False}
        dataset = load(Request("grounding", split, "frontal", roots, options=sentences_only))
    except BenchError:
        return Check("note", split, "no sentence")
    counts = ", ".join(f"{v:g} {k}" for k, v in count_samples(dataset).items())
    lost = "; ".join(f"{n} {reason}" for reason, n in dataset.excluded.items())
    return Check("ok", split, f"{counts}{f' (left out: {lost})' if lost else ''}")


def _texts(request: Request, studies: Sequence[Study], tally: Tally) -> Iterator[Sample]:
    spanish = request.cohort == "spanish"
    masked, seen = masked_text(request.truth), image_findings(request.truth)
    used = 0
    for position, study in enumerate(studies):
        if request.limit is not None and used == request.limit:
            tally.add(f"beyond --limit {request.limit}", len(studies) - position)
            return
        text = study_text(study, spanish=spanish)
        if reason := _why_not(study, text):
            tally.add(reason)
            continue
        used += 1
        image = study_image(study)
        yield ImageText(
            sample_id=image.image_id,
            image=image,
            text=text,
            groups=study_groups(image, text),
            labels=_labels(study),
            masked_text=masked(study.study_id),
            findings=seen(image.image_id),
        )


def _why_not(study: Study, text: str) -> str:
    if not study.reported:
        return "no entry in the grounded reports"
    if not study.split:
        return "not in the master table"
    if not text:
        return "no sentence"
    return "" if study.file.is_file() else "image file missing"


def _labels(study: Study) -> tuple[str, ...]:
    return tuple(dict.fromkeys(x for f in study.findings if f.abnormal for x in f.labels))


def _phrases(request: Request, studies: Sequence[Study], tally: Tally) -> Iterator[Sample]:
    truth = phrase_truth(request.truth)
    used = 0
    for study in studies:
        items = max(1, len(study.findings)) if not study.reported else len(study.findings)
        if request.limit is not None and used >= request.limit:
            tally.add(f"beyond --limit {request.limit}", items)
            continue
        if reason := _why_not(study, "sentences are looked at one by one"):
            tally.add(reason, items)
            continue
        samples = list(_of_study(request, study, truth, tally))
        used += bool(samples)
        yield from samples


def _absent_queries(
    request: Request, studies: Sequence[Study], asked: Sequence[Sample]
) -> Iterator[PhraseBoxes]:
    """One query per image that is asked anything, for a finding it does not have."""
    if not request.options.get("absent", True):
        return
    images = {sample.image.image_id: sample.image for sample in asked}
    for study in studies:
        image = images.get(study.image_id)
        found = absent_finding(study.image_id, _labels(study)) if image else None
        if image and found:
            yield PhraseBoxes(
                sample_id=f"{image.image_id}#no-{found.name.replace(' ', '-')}",
                image=image,
                phrase=found.spanish if request.cohort == "spanish" else found.english,
                finding=found.name,
                groups={"sex": image.sex} if image.sex else {},
            )


def _of_study(
    request: Request, study: Study, truth: PhraseTruth, tally: Tally
) -> Iterator[PhraseBoxes]:
    image = study_image(study)
    for number, finding in enumerate(study.findings, start=1):
        phrase = sentence_of(finding, spanish=request.cohort == "spanish")
        boxes, reason = reader_1(finding)
        if not phrase or reason:
            tally.add(reason or "no sentence")
            continue
        yield _sample(f"{image.image_id}#{number}", image, finding, (phrase, boxes), truth=truth)


def _sample(
    sample_id: str,
    image: ImageRef,
    finding: Finding,
    asked: tuple[str, Boxes],
    *,
    truth: PhraseTruth,
) -> PhraseBoxes:
    phrase, boxes = asked
    name = normalize(finding.labels[0]) if finding.labels else ""
    kind = kind_of(name)
    known = truth(image.image_id, finding.sentence_en)
    second = _second_reader(finding) if known.second_reader is None else known.second_reader
    return PhraseBoxes(
        sample_id=sample_id,
        image=image,
        phrase=phrase,
        boxes=boxes,
        kind=kind,
        finding=name,
        fixed=kind == "finding" and is_fixed(name),
        negated=not finding.abnormal,
        comparison=bool(finding.progression) or is_comparison(phrase),
        second_reader=second,
        region_boxes=known.region_boxes,
        visibility=known.visibility,
        groups={**({"sex": image.sex} if image.sex else {}), **known.groups},
        findings=known.findings,
    )


def reader_1(finding: Finding) -> tuple[Boxes, str]:
    """The truth of a sentence (reader 1's boxes), or why it cannot be asked."""
    if not finding.abnormal:
        return no_boxes(), "sentence denies but has boxes" if finding.boxes else ""
    if not finding.boxes:
        return no_boxes(), "positive sentence without a box of reader 1"
    try:
        return boxes_from_unit(finding.boxes), ""
    except ValueError:
        return no_boxes(), _BAD_BOX


def _second_reader(finding: Finding) -> Boxes | None:
    """The second reader's boxes; None where there are none, or they are no boxes."""
    if not finding.abnormal or not finding.extra_boxes:
        return None
    try:
        return boxes_from_unit(finding.extra_boxes)
    except ValueError:
        return None
