"""What is said where nothing is found: a few texts that repeat, as in real life, and rarer ones."""

from collections.abc import Collection, Sequence

import numpy as np

from harness.phantom.language.english import pick
from harness.phantom.language.sentences_en import DENIALS

# Share of normal reports that use one of a few fixed texts; sets the share of identical texts.
FIXED_SHARE = 0.8

# (findings, impression); the first ones are the commonest.
FIXED: Sequence[tuple[str, str]] = (
    (
        "The lungs are clear. There is no pleural effusion or pneumothorax. The cardiomediastinal "
        "silhouette is normal.",
        "No acute cardiopulmonary process.",
    ),
    (
        "Heart size is normal. The mediastinal and hilar contours are normal. The lungs are clear. "
        "No pleural effusion or pneumothorax is seen. There are no acute osseous abnormalities.",
        "No acute cardiopulmonary abnormality.",
    ),
    (
        "The lungs are well expanded and clear. No focal consolidation, pleural effusion or "
        "pneumothorax. The heart is normal in size.",
        "Normal chest radiograph.",
    ),
)
FIXED_WEIGHTS = (0.5, 0.3, 0.2)

LUNGS = (
    "The lungs are clear.",
    "Lungs are clear bilaterally.",
    "The lungs are well expanded and clear.",
    "Both lungs are clear.",
    "No focal consolidation is seen.",
)
PLEURA = (
    "There is no pleural effusion or pneumothorax.",
    "No pleural effusion or pneumothorax is seen.",
    "No effusion or pneumothorax.",
    "The pleural surfaces are normal.",
)
HEART = (
    "The cardiomediastinal silhouette is normal.",
    "Heart size is normal.",
    "The heart is normal in size.",
    "The cardiac silhouette is within normal limits.",
    "The mediastinal and hilar contours are normal.",
)
BONES = ("No acute osseous abnormality.", "No displaced rib fracture.", "The bones are intact.", "")
IMPRESSIONS = (
    "No acute cardiopulmonary process.",
    "No acute cardiopulmonary abnormality.",
    "Normal chest radiograph.",
    "No evidence of acute disease.",
)
DEVICE = "Support devices are in standard position."
NO_CHANGE = "No significant change from the prior study."

# Denied together in one sentence, in this order of preference.
_JOINT = (("pleural_effusion", "pneumothorax"),)


def normal_text(rng: np.random.Generator, extra: Sequence[str]) -> tuple[str, str]:
    """(findings, impression) of a study in which nothing is found.

    Args:
        rng: the study's stream of words.
        extra: sentences that must be said too (devices).
    """
    if rng.random() < FIXED_SHARE:
        index = int(np.searchsorted(np.cumsum(FIXED_WEIGHTS), rng.random() * 0.999, side="right"))
        findings, impression = FIXED[index]
        return " ".join([findings, *extra]), impression
    said = [pick(rng, LUNGS), pick(rng, PLEURA), pick(rng, HEART), pick(rng, BONES), *extra]
    order = rng.permutation(len(said))
    return " ".join(said[k] for k in order if said[k]), pick(rng, IMPRESSIONS)


def denials(rng: np.random.Generator, absent: Collection[str], wanted: int) -> list[str]:
    """Up to that many sentences that deny findings, none that is present.

    Args:
        rng: the study's stream of words.
        absent: names of findings that the patient does not have, visible or not.
        wanted: how many sentences.
    """
    said: list[str] = []
    left = [name for name in DENIALS if name in absent]
    for pair in _JOINT:
        if wanted > 0 and set(pair) <= set(left) and rng.random() < 0.6:
            said.append("No pleural effusion or pneumothorax.")
            left = [name for name in left if name not in pair]
    for k in rng.permutation(len(left))[: max(0, wanted - len(said))]:
        said.append(pick(rng, DENIALS[left[k]]))
    return said
