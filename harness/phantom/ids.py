"""Names of patients, studies and images, shaped as the real ones; they tell nothing of findings.

Numbers grow with the index, so "the first N studies" are the same however much is rendered.
"""

from hashlib import blake2b

from harness.phantom.plan import Rendering, StudyPlan, View
from harness.phantom.version import VERSION
from harness.phantom.world import space

_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


def _digest(*parts: object) -> bytes:
    text = "/".join(str(part) for part in (VERSION, *parts))
    return blake2b(text.encode(), digest_size=20).digest()


def mimic_patient(plan: StudyPlan) -> str:
    """Eight digits starting with 1, e.g. ``14000007``."""
    return str(10_000_000 + plan.patient.index)


def mimic_study(split: str, index: int) -> str:
    """Eight digits starting with 5, e.g. ``54000012``."""
    return str(50_000_000 + space(split).first_study + index)


def mimic_image(split: str, index: int, view: View) -> str:
    """Five groups of eight hexadecimal digits, as a `dicom_id`."""
    digits = _digest("mimic", split, index, view).hex()
    return "-".join(digits[k : k + 8] for k in range(0, 40, 8))


def padchest_patient(plan: StudyPlan) -> str:
    """A number, as text."""
    return str(90_000_000 + plan.patient.index)


def padchest_study(split: str, index: int) -> str:
    """Thirty-eight digits: more than fit into 64 bits, as the real ones."""
    number = space(split).first_study + index
    rest = int.from_bytes(_digest("padchest", split, index), "big") % 10**27
    return f"2{number:010d}{rest:027d}"


def padchest_image(split: str, index: int) -> str:
    """``<StudyID>_<6 characters>.png``."""
    number = int.from_bytes(_digest("padchest image", split, index), "big")
    tail = "".join(_BASE36[number // 36**k % 36] for k in range(6))
    return f"{padchest_study(split, index)}_{tail}.png"


def image_ids(twin: Rendering, plan: StudyPlan, split: str) -> tuple[str, ...]:
    """One id per view of the study, in the order of its views."""
    if twin == "padchest":
        return (padchest_image(split, plan.index),)
    return tuple(mimic_image(split, plan.index, view) for view in plan.views)
