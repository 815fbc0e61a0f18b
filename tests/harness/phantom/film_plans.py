"""Hand-made plans for the tests of pictures."""

from harness.phantom.plan import FindingPlan, PatientPlan, StudyPlan

NAMES = (
    "pleural_effusion",
    "pneumothorax",
    "consolidation",
    "atelectasis",
    "nodule",
    "mass",
    "cardiomegaly",
    "edema",
    "interstitial",
    "rib_fracture",
    "hilar_enlargement",
    "mediastinal_widening",
    "pleural_thickening",
    "calcified_granuloma",
    "emphysema",
)


def finding(name, side="left", zone="", *, size="moderate", count=1, severity=0.7, seed=5):
    return FindingPlan(name, side, zone, size, count, severity, seed)


def study(index, findings=(), *, views=("PA",), rendering="mimic", devices=(), sex="M"):
    patient = PatientPlan(index, sex, 30 + index % 50, 0.3, 7919 * index + 3)
    seed = 104729 * index + 11
    return StudyPlan(index, patient, rendering, views, tuple(findings), tuple(devices), None, seed)
