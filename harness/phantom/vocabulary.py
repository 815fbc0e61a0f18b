"""The findings a phantom can have: where, how many, and what each data set calls them.

Label names follow the published column and category names of CheXpert (as shipped with
MIMIC-CXR-JPG), MS-CXR and PadChest; see `knowledge/data.md` for the sources.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Weights = Mapping[str, float]

LEFT_OR_RIGHT: Weights = {"left": 0.5, "right": 0.5}
OFTEN_BOTH: Weights = {"left": 0.41, "right": 0.41, "both": 0.18}
BOTH: Weights = {"both": 1.0}
NO_SIDE: Weights = {"none": 1.0}
ONE: Weights = {"1": 1.0}
LUNG_ZONES: Weights = {"upper": 0.34, "mid": 0.32, "lower": 0.34}

CHEXPERT = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)


@dataclass(frozen=True)
class Finding:
    """One kind of finding; weights need not sum to one.

    `fixed` marks what anatomy places (heart, mediastinum, hila, diffuse lung disease): its box
    follows from its name, so it is never pooled with movable findings. `diffuse` findings have no
    border of their own. `lung_only` findings lie in the lung and can be mirrored. `graded` says
    how size is worded: "size" (small, moderate, large), "severity" (mild, moderate, severe) or ""
    (never). `chexpert` and `ms_cxr` may be empty: the real vocabularies do not hold everything.
    """

    name: str
    sides: Weights
    zones: Weights
    counts: Weights = field(default_factory=lambda: ONE)
    graded: str = ""
    chexpert: tuple[str, ...] = ()
    ms_cxr: str = ""
    padchest: str = ""
    group: str = ""
    fixed: bool = False
    diffuse: bool = False
    lung_only: bool = False


_ALL = (
    Finding(
        "pleural_effusion",
        OFTEN_BOTH,
        {"": 1.0},
        graded="size",
        chexpert=("Pleural Effusion",),
        ms_cxr="Pleural Effusion",
        padchest="pleural effusion",
        group="pleural effusion",
    ),
    Finding(
        "pneumothorax",
        LEFT_OR_RIGHT,
        {"apical": 0.7, "basal": 0.3},
        graded="size",
        chexpert=("Pneumothorax",),
        ms_cxr="Pneumothorax",
        padchest="pneumothorax",
        group="pneumothorax",
    ),
    Finding(
        "consolidation",
        LEFT_OR_RIGHT,
        LUNG_ZONES,
        {"1": 0.8, "2": 0.2},
        chexpert=("Consolidation", "Lung Opacity"),
        ms_cxr="Consolidation",
        padchest="consolidation",
        group="consolidation",
        lung_only=True,
    ),
    Finding(
        "atelectasis",
        OFTEN_BOTH,
        {"basal": 0.45, "lower": 0.2, "mid": 0.2, "upper": 0.15},
        chexpert=("Atelectasis",),
        ms_cxr="Atelectasis",
        padchest="atelectasis",
        group="atelectasis",
        lung_only=True,
    ),
    Finding(
        "nodule",
        LEFT_OR_RIGHT,
        LUNG_ZONES,
        {"1": 0.62, "2": 0.25, "3": 0.13},
        chexpert=("Lung Lesion",),
        ms_cxr="Lung Opacity",
        padchest="nodule",
        group="nodule",
        lung_only=True,
    ),
    Finding(
        "mass",
        LEFT_OR_RIGHT,
        {"upper": 0.3, "mid": 0.2, "lower": 0.3, "perihilar": 0.2},
        graded="",
        chexpert=("Lung Lesion",),
        ms_cxr="Lung Opacity",
        padchest="pulmonary mass",
        group="mass",
        lung_only=True,
    ),
    Finding(
        "cardiomegaly",
        NO_SIDE,
        {"": 1.0},
        graded="severity",
        chexpert=("Cardiomegaly",),
        ms_cxr="Cardiomegaly",
        padchest="cardiomegaly",
        group="cardiomegaly",
        fixed=True,
    ),
    Finding(
        "edema",
        BOTH,
        {"": 1.0},
        graded="severity",
        chexpert=("Edema",),
        ms_cxr="Edema",
        padchest="pulmonary edema",
        group="alveolar pattern",
        fixed=True,
        diffuse=True,
    ),
    Finding(
        "interstitial",
        OFTEN_BOTH,
        {"basal": 0.5, "upper": 0.5},
        graded="severity",
        chexpert=("Lung Opacity",),
        ms_cxr="Lung Opacity",
        padchest="interstitial pattern",
        group="interstitial pattern",
        diffuse=True,
        lung_only=True,
    ),
    Finding(
        "rib_fracture",
        LEFT_OR_RIGHT,
        LUNG_ZONES,
        {"1": 0.55, "2": 0.25, "3": 0.2},
        chexpert=("Fracture",),
        padchest="rib fracture",
        group="fracture",
    ),
    Finding(
        "hilar_enlargement",
        OFTEN_BOTH,
        {"": 1.0},
        padchest="hilar enlargement",
        group="hilar enlargement",
        fixed=True,
    ),
    Finding(
        "mediastinal_widening",
        NO_SIDE,
        {"": 1.0},
        chexpert=("Enlarged Cardiomediastinum",),
        padchest="mediastinal enlargement",
        group="mediastinal enlargement",
        fixed=True,
    ),
    Finding(
        "pleural_thickening",
        OFTEN_BOTH,
        {"apical": 0.5, "basal": 0.5},
        chexpert=("Pleural Other",),
        padchest="pleural thickening",
        group="pleural thickening",
    ),
    Finding(
        "calcified_granuloma",
        LEFT_OR_RIGHT,
        LUNG_ZONES,
        {"1": 0.65, "2": 0.35},
        chexpert=("Lung Lesion",),
        ms_cxr="Lung Opacity",
        padchest="calcified granuloma",
        group="granuloma",
        lung_only=True,
    ),
    Finding(
        "emphysema",
        BOTH,
        {"": 1.0},
        graded="severity",
        padchest="emphysema",
        group="emphysema",
        fixed=True,
        diffuse=True,
    ),
)

FINDINGS: Mapping[str, Finding] = {finding.name: finding for finding in _ALL}

SIZES: Weights = {"small": 0.4, "moderate": 0.35, "large": 0.25}

# Sided names say the patient's side; weights are shares of the studies that carry a device.
DEVICES: Weights = {
    "port left": 1,
    "port right": 1,
    "pacemaker left": 1,
    "pacemaker right": 1,
    "ett": 1,
    "central line left": 1,
    "central line right": 1,
    "ng tube": 1,
    "chest drain left": 0.5,
    "chest drain right": 0.5,
    "sternotomy wires": 1.5,
}
