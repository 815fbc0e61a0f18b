"""Which findings occur together and how often, per twin: prevalence shifts, the sets stay few.

A few sets hold most studies on purpose: what tells one such study from the next is where its
findings are, so retrieval needs location (protocol.md §8.1).
"""

from collections.abc import Mapping

import numpy as np

from harness.phantom.plan import Rendering
from harness.phantom.vocabulary import FINDINGS

NORMAL: Mapping[Rendering, float] = {"mimic": 0.33, "padchest": 0.28}
SINGLE, COMMON_SET = 0.61, 0.35  # of the abnormal; the rest are random sets of two to four

SINGLES: Mapping[Rendering, Mapping[str, float]] = {
    "mimic": {
        "pleural_effusion": 15,
        "pneumothorax": 7,
        "consolidation": 17,
        "atelectasis": 17,
        "nodule": 14,
        "mass": 5,
        "cardiomegaly": 6,
        "edema": 2,
        "interstitial": 3,
        "rib_fracture": 8,
        "hilar_enlargement": 1.5,
        "mediastinal_widening": 1.5,
        "pleural_thickening": 2,
        "calcified_granuloma": 5,
        "emphysema": 2,
    },
    "padchest": {
        "pleural_effusion": 9,
        "pneumothorax": 4,
        "consolidation": 10,
        "atelectasis": 15,
        "nodule": 16,
        "mass": 5,
        "cardiomegaly": 7,
        "edema": 1,
        "interstitial": 8,
        "rib_fracture": 7,
        "hilar_enlargement": 3,
        "mediastinal_widening": 2,
        "pleural_thickening": 8,
        "calcified_granuloma": 10,
        "emphysema": 3,
    },
}

COMMON_SETS: Mapping[Rendering, Mapping[tuple[str, ...], float]] = {
    "mimic": {
        ("atelectasis", "pleural_effusion"): 22,
        ("atelectasis", "consolidation"): 20,
        ("consolidation", "pleural_effusion"): 12,
        ("calcified_granuloma", "nodule"): 12,
        ("cardiomegaly", "edema"): 4,
        ("pneumothorax", "rib_fracture"): 10,
        ("atelectasis", "rib_fracture"): 16,
    },
    "padchest": {
        ("atelectasis", "pleural_effusion"): 16,
        ("calcified_granuloma", "pleural_thickening"): 18,
        ("calcified_granuloma", "nodule"): 18,
        ("atelectasis", "pleural_thickening"): 16,
        ("emphysema", "nodule"): 6,
        ("atelectasis", "rib_fracture"): 14,
        ("consolidation", "pleural_effusion"): 10,
    },
}

# Pairs that cannot be told apart in one film, or hide each other's border.
_EXCLUDED = (
    {"edema", "interstitial"},
    {"emphysema", "edema"},
    {"nodule", "mass"},
    {"edema", "consolidation"},
)


def choose(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    """One key, drawn in proportion to its weight."""
    names = list(weights)
    share = np.cumsum([weights[name] for name in names])
    return names[int(np.searchsorted(share, rng.random() * share[-1], side="right"))]


def draw_set(rng: np.random.Generator, twin: Rendering) -> tuple[str, ...]:
    """The names of one study's findings, in vocabulary order; empty for a normal study."""
    kind = rng.random()
    if kind < NORMAL[twin]:
        return ()
    kind = (kind - NORMAL[twin]) / (1 - NORMAL[twin])
    if kind < SINGLE:
        return (choose(rng, SINGLES[twin]),)
    if kind < SINGLE + COMMON_SET:
        sets = {"+".join(names): weight for names, weight in COMMON_SETS[twin].items()}
        return tuple(choose(rng, sets).split("+"))
    return _draw_rare(rng, twin)


def _draw_rare(rng: np.random.Generator, twin: Rendering) -> tuple[str, ...]:
    wanted = int(rng.integers(2, 5))
    chosen: set[str] = set()
    while len(chosen) < wanted:
        name = choose(rng, SINGLES[twin])
        if not any(name in pair and pair - {name} <= chosen for pair in _EXCLUDED):
            chosen.add(name)
    return tuple(name for name in FINDINGS if name in chosen)
