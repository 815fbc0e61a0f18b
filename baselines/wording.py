"""What the wording of a probe gives away without the image: the `text-only` control of probes."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from harness.samples import ProbeChoice
from harness.text import normalize


def score_wording(samples: Sequence[ProbeChoice]) -> tuple[np.ndarray, np.ndarray]:
    """Log odds of each text being the true one, by its words, learned from the other patients.

    A naive Bayes over the words of all choices but the asked patient's own. Fair probes leave it
    at 0.5: whatever it gains above that, a model may gain without looking.
    """
    true, false = Counter[str](), Counter[str]()
    own: defaultdict[str, list[ProbeChoice]] = defaultdict(list)
    for sample in samples:
        own[sample.image.patient_id].append(sample)
        true.update(_words(sample.text))
        false.update(_words(sample.foil))
    odds = {}
    for patient, rows in own.items():
        kept_true = true - Counter(word for row in rows for word in _words(row.text))
        kept_false = false - Counter(word for row in rows for word in _words(row.foil))
        odds[patient] = (kept_true, kept_false)
    scores = [
        [_log_odds(text, odds[s.image.patient_id]) for text in (s.text, s.foil)] for s in samples
    ]
    table = np.array(scores, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _words(text: str) -> list[str]:
    return sorted(set(normalize(text).split()))


def _log_odds(text: str, counts: tuple[Counter[str], Counter[str]]) -> float:
    true, false = counts
    return math.fsum(math.log((true[word] + 1) / (false[word] + 1)) for word in _words(text))
