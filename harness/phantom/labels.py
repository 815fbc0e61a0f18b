"""CheXpert columns of a report, from what it mentions and what it denies."""

from collections.abc import Mapping, Sequence

from harness.phantom.language.mention import Mention
from harness.phantom.vocabulary import CHEXPERT, FINDINGS

# A denial that holds one of these words gives 0 in that column.
_DENIED = {
    "effusion": "Pleural Effusion",
    "pneumothorax": "Pneumothorax",
    "consolidation": "Consolidation",
    "edema": "Edema",
    "nodule": "Lung Lesion",
    "fracture": "Fracture",
    "heart": "Cardiomegaly",
    "cardiac": "Cardiomegaly",
    "cardiomegaly": "Cardiomegaly",
    "cardiomediastinal": "Cardiomegaly",
    "mediastinal contours": "Enlarged Cardiomediastinum",
    "mediastinal widening": "Enlarged Cardiomediastinum",
}


def chexpert(
    mentions: Sequence[Mention], denials: Sequence[str], *, devices: bool
) -> dict[str, float]:
    """1 present, -1 uncertain, 0 denied; columns that are not spoken of are absent.

    "No Finding" is 1 or absent: it needs no mention at all, devices aside. Some findings
    (emphysema, hilar enlargement) have no column, so such a study has no label.
    """
    said: dict[str, float] = {}
    for text in denials:
        said.update({column: 0.0 for word, column in _DENIED.items() if word in text.lower()})
    for m in mentions:
        for column in FINDINGS[m.name].chexpert:
            said[column] = max(-1.0 if m.possible else 1.0, said.get(column) or -1.0)
    if not mentions:
        said["No Finding"] = 1.0
    if devices:
        said["Support Devices"] = 1.0
    return {column: said[column] for column in CHEXPERT if column in said}


def row(said: Mapping[str, float]) -> list[str]:
    """The fourteen cells of a CSV row; empty where nothing is said."""
    return [str(said[column]) if column in said else "" for column in CHEXPERT]
