"""Controls that write: the true texts, and the commonest text of all other patients."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from harness.models import NotScorable
from harness.samples import ImageText, PhraseBoxes
from harness.text import normalize


def true_reports(samples: Sequence[ImageText]) -> list[str]:
    """Each image's own report: what a reader can get out of a faultless text."""
    return [sample.text for sample in samples]


def true_phrases(samples: Sequence[PhraseBoxes]) -> list[str]:
    """The phrase the boxes were drawn for."""
    return [sample.phrase for sample in samples]


def commonest_reports(samples: Sequence[ImageText]) -> list[str]:
    """For each image the report that most images of other patients bear."""
    return _commonest([s.text for s in samples], [s.image.patient_id for s in samples])


def commonest_phrases(samples: Sequence[PhraseBoxes]) -> list[str]:
    """For each boxed phrase the phrase that is commonest among other patients."""
    return _commonest([s.phrase for s in samples], [s.image.patient_id for s in samples])


def _commonest(texts: Sequence[str], patients: Sequence[str]) -> list[str]:
    """Ties go to the text that comes first in the alphabet.

    Raises:
        NotScorable: all texts are of one patient.
    """
    if len(set(patients)) < 2:
        raise NotScorable("all texts are of one patient, so there is no other patient's text")
    keys = [normalize(text) for text in texts]
    total = Counter(keys)
    own: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for key, patient in zip(keys, patients, strict=True):
        own[patient][key] += 1
    shown = dict(zip(reversed(keys), reversed(texts), strict=True))  # the first one of its wording
    ranked = sorted(total, key=lambda key: (-total[key], key))
    best = {patient: _best(ranked, total, mine) for patient, mine in own.items()}
    return [shown[best[patient]] for patient in patients]


def _best(ranked: Sequence[str], total: Counter[str], own: Counter[str]) -> str:
    """The first key of the highest count once the patient's own texts are taken out."""
    best, most = "", 0
    for key in ranked:
        if total[key] < most:
            break
        left = total[key] - own[key]
        if left > most or (left == most and left and key < best):
            best, most = key, left
    return best
