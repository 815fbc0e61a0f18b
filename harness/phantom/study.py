"""One rendered study as a record: everything the trees and the truth need of it, as plain JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from harness.boxes import Boxes
from harness.phantom import ids
from harness.phantom.labels import chexpert
from harness.phantom.language.mention import FULL, PHRASE, Mention, content, masked, mention
from harness.phantom.language.padchest import Sentence, write_sentences
from harness.phantom.language.report import Report, write_report
from harness.phantom.language.sentences_en import describe, sentence
from harness.phantom.plan import DrawnFinding, Film, FindingPlan, Rendering, StudyPlan
from harness.phantom.streams import stream
from harness.phantom.trees.regions import region_supervision
from harness.phantom.vocabulary import FINDINGS

Record = dict[str, Any]


def box_list(boxes: Boxes) -> list[list[float]]:
    """The boxes as nested lists, six decimals."""
    return [[round(float(v), 6) for v in row] for row in boxes]


def describe_study(
    twin: Rendering,
    split: str,
    plan: StudyPlan,
    films: Sequence[Film],
    earlier: Sequence[FindingPlan] | None,
) -> Record:
    """The record of a study.

    Args:
        twin: whose ids and texts.
        split: which split of it.
        plan: the study.
        films: one per view; texts speak of what the first one shows.
        earlier: the visible findings of the prior study, None where there is no prior.
    """
    names = ids.image_ids(twin, plan, split)
    record: Record = {
        "index": plan.index,
        "split": split,
        "sex": plan.patient.sex,
        "age": plan.patient.age,
        "habitus": round(plan.patient.habitus, 4),
        "devices": list(plan.devices),
        "images": [
            {"image_id": n, "view": f.view, "width": f.pixels.shape[1], "height": f.pixels.shape[0]}
            for n, f in zip(names, films, strict=True)
        ],
        "findings": [
            {"image_id": n, **_finding(d)}
            for n, f in zip(names, films, strict=True)
            for d in f.findings
        ],
    }
    record.update(_date(plan))
    drawn = films[0].findings
    words = _mimic if twin == "mimic" else _padchest
    return {**record, **words(split, plan, drawn, earlier)}


def visible_plans(film: Film) -> tuple[FindingPlan, ...]:
    """The findings a reader sees in the film."""
    return tuple(d.plan for d in film.findings if d.visible)


def _finding(drawn: DrawnFinding) -> Record:
    plan = asdict(drawn.plan)
    plan["severity"] = round(plan["severity"], 4)
    return {
        **plan,
        "visibility": round(float(drawn.visibility), 4),
        "visible": bool(drawn.visible),
        "subtle": bool(drawn.subtle),
        "exact": box_list(drawn.exact),
        "reader_1": box_list(drawn.reader_1),
        "reader_2": box_list(drawn.reader_2),
        "region": box_list(drawn.region),
    }


def _date(plan: StudyPlan) -> Record:
    person = stream(plan.patient.seed, "dates")
    year = int(person.integers(2110, 2190))
    clock = stream(plan.seed, "clock")
    day = int(person.integers(1, 28))
    # Visits of a patient follow each other a year apart at most; the index counts them.
    month = 1 + int(clock.integers(12))
    time = int(clock.integers(24)) * 10000 + int(clock.integers(60)) * 100 + clock.random() * 60
    return {"year": year, "month": month, "day": day, "time": round(float(time), 3)}


def _said(m: Mention) -> Record:
    return {
        "side_said": m.side,
        "zone_said": m.zone,
        "size_said": m.size,
        "possible": m.possible,
        "change": m.change,
    }


def _mimic(
    split: str,
    plan: StudyPlan,
    drawn: Sequence[DrawnFinding],
    earlier: Sequence[FindingPlan] | None,
) -> Record:
    report = write_report(plan, drawn, earlier)
    prior = plan.prior_index
    return {
        "patient_id": ids.mimic_patient(plan),
        "study_id": ids.mimic_study(split, plan.index),
        "prior_study_id": None if prior is None else ids.mimic_study(split, prior),
        "report": report.text,
        "masked_text": report.masked,
        "content": report.content,
        "possible": any(m.possible for m in report.mentions),
        "denied": report.denied,
        "compared": report.compared,
        "unseen_word": False,
        "chexpert": chexpert(
            report.mentions,
            [text for text, m in report.answers if m is None],
            devices=bool(plan.devices),
        ),
        "phrases": _ms_cxr(plan, drawn),
        "answers": _answers(plan, drawn, report),
    }


def _ms_cxr(plan: StudyPlan, drawn: Sequence[DrawnFinding]) -> list[Record]:
    """One phrase per visible finding that has an MS-CXR category."""
    rng = stream(plan.seed, "words", "ms-cxr")
    phrases = []
    for place, d in enumerate(drawn):
        m = mention(d, PHRASE, rng)
        text = describe(m, rng)
        if d.visible and FINDINGS[d.plan.name].ms_cxr:
            category = FINDINGS[d.plan.name].ms_cxr
            phrases.append({"phrase": text, "category": category, "drawn": place, **_said(m)})
    return phrases


def _answers(plan: StudyPlan, drawn: Sequence[DrawnFinding], report: Report) -> list[Record]:
    """CXR-QBA answers: two per visible finding, one told fully and one shortly, and the denials.

    Nothing is said twice: a text that is taken already is left out.
    """
    rng = stream(plan.seed, "words", "cxr-qba")
    answers: list[Record] = []
    taken: set[str] = set()
    for place, d in enumerate(drawn):
        told = [mention(d, rates, rng) for rates in (FULL, PHRASE)]
        texts = [sentence(m, rng) for m in told]
        regions = region_supervision(d, stream(plan.seed, "regions", place))
        for m, text in zip(told, texts, strict=True):
            if d.visible and text not in taken:
                taken.add(text)
                answers.append(
                    {"text": text, "drawn": place, "regions": box_list(regions), **_said(m)}
                )
    denied = [text for text, m in report.answers if m is None and text not in taken]
    return answers + [{"text": text, "drawn": None, "regions": []} for text in denied]


def _padchest(
    split: str,
    plan: StudyPlan,
    drawn: Sequence[DrawnFinding],
    earlier: Sequence[FindingPlan] | None,
) -> Record:
    own = write_sentences(plan, drawn, earlier)
    mimic = write_sentences(plan, drawn, earlier, "mimic")
    mentions = [s.mention for s in own if s.mention is not None]
    prior = plan.prior_index
    return {
        "patient_id": ids.padchest_patient(plan),
        "study_id": ids.padchest_study(split, plan.index),
        "prior_study_id": None if prior is None else ids.padchest_study(split, prior),
        "prior_image_id": None if prior is None else ids.padchest_image(split, prior),
        "masked_text": masked(mentions),
        "content": content(mentions),
        "possible": any(m.possible for m in mentions),
        "denied": any(s.mention is None for s in own),
        "compared": any(m.change for m in mentions),
        "unseen_word": any(s.unseen_word for s in own),
        "sentences": [_sentence(s, other) for s, other in zip(own, mimic, strict=True)],
    }


def _sentence(own: Sentence, other: Sentence) -> Record:
    said = _said(own.mention) if own.mention else {}
    return {
        "english": own.english,
        "english_mimic": other.english,
        "spanish": own.spanish,
        "locations": own.locations,
        "drawn": own.drawn,
        "unseen_word": own.unseen_word,
        **said,
    }
