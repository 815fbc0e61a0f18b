"""What kind of thing a finding's name speaks of: placed by anatomy, a device, or movable."""

import re

from harness.samples import Kind
from harness.text import normalize

# Names under which the data sets know findings that anatomy places: the box says who, not where.
_FIXED = re.compile(
    r"\b(?:cardiomegaly|cardiomediastinum|cardiomediastinal|mediastin\w*|heart size|cardiac"
    r"|heart|aort\w*|supra ?aortic|scoliosis|kyphosis|kyphoscoliosis|vertebral \w+|spine|tracheal?"
    r"|hiatal hernia|cardiomegalia|hilar|hilum"
    # diffuse disease of both lungs, whose box is the lungs
    r"|edema|emphysema|hyperinflation|hyperinflated|air trapping|copd signs)\b"
)
# After the label list of PadChest (Bustos et al., Med Image Anal 2020, Table of differential
# diagnoses and devices); CheXpert calls them support devices.
_DEVICE = re.compile(
    r"\b(?:tube|catheter|line|device|devices|pacemaker|dai|prosthesis|endoprosthesis|drain"
    r"|(?:artificial|prosthetic|mechanical) (?:\w+ ){0,2}valve|stent|suture|sternotomy"
    r"|osteosynthesis|metal|cement|foreign body|port|lead|leads|wires?"
    r"|clips?|support devices|probes?|tubing)\b"
)


def is_fixed(finding: str) -> bool:
    """Whether anatomy, not disease, decides where the finding lies (protocol §3).

    >>> is_fixed("Enlarged Cardiomediastinum"), is_fixed("Pneumothorax")
    (True, False)
    """
    return _FIXED.search(normalize(finding)) is not None


def kind_of(finding: str) -> Kind:
    """The kind: "device" for tubes, lines, implants and the like, else "finding".

    >>> kind_of("central venous catheter via jugular vein"), kind_of("nodule")
    ('device', 'finding')
    """
    return "device" if _DEVICE.search(normalize(finding)) else "finding"


_VIEWS = {
    "PA": "PA",
    "AP": "AP",
    "APSUPINE": "AP",
    "APERECT": "AP",
    "APHORIZONTAL": "AP",
    "LATERAL": "LATERAL",
    "LL": "LATERAL",
    "L": "LATERAL",
    "LLATERAL": "LATERAL",
}


def view_name(value: str) -> str:
    """The view as "PA", "AP" or "LATERAL", or '' for one that is none of these or not named.

    >>> view_name("ap_supine"), view_name("LL"), view_name("FRONTAL")
    ('AP', 'LATERAL', '')
    """
    return _VIEWS.get(re.sub(r"[\W_]+", "", value).upper(), "")
