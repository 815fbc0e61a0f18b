"""What a column says: label, definition, digits, direction; and the order columns stand in."""

import re
from dataclasses import dataclass, replace

# Protocol section 8.10: this sentence stands over every table of phantom results.
PHANTOM_SENTENCE = "Phantom results test code and protocol; they do not rank models on patients."

# Controls whose row says how far a model could get, not how little an empty model gets.
CEILINGS = ("oracle", "content-ceiling", "findings-only", "second-reader", "region-oracle")

# The metric a table is sorted and ranked by, and the relevance its first panel shows.
PRIMARY = {
    "retrieval": ("image_to_text", "recall@10"),
    "grounding": ("", "miou"),
    "probe": ("", "accuracy"),
    "captioning": ("", "finding_f1"),
}
DEFAULT_RELEVANCE = "same_study"
DEFAULT_GROUP = "all"

DIRECTIONS = {"image_to_text": "Image→Text", "text_to_image": "Text→Image", "": ""}
TASKS = {
    "retrieval": "Retrieval",
    "grounding": "Phrase grounding",
    "probe": "Location probes",
    "captioning": "Captioning",
}

RELEVANCES = {
    "instance": "only the query's own pair is relevant",
    "same_study": "any text or image of the query's study is relevant",
    "same_text": "the same study, or a study whose normalized text is identical",
    "unique_text": "identical texts merged into one candidate (the reading of CXR-CLIP)",
}

EXPOSURES = {
    "external": "no part of this dataset was seen in training",
    "internal": "its training split was seen, or a threshold was tuned on it",
    "contaminated": "test images or test patients were seen in training",
    "unknown": "the training data are not disclosed",
}

COUNT_TIPS = {
    "malformed": "Answers that could not be read; each is scored as wrong.",
    "failed": "Items the model failed on; each is a miss.",
    "empty": "Answers that say, readably, that nothing is there.",
    "phrases": "Phrases that were asked.",
    "tied": "Share of queries whose best relevant candidate ties with one that is not.",
    "tokens_cut": "Tokens of the texts that did not fit the model and were cut.",
    "texts_cut": "Texts that did not fit the model and were cut.",
    "queries": "Queries asked in each direction.",
    "images": "Images ranked, distractors among them.",
    "unique_texts": "Texts ranked, identical ones counted once.",
    "threshold": "The value of a heat map from which on it counts as a box.",
    "threshold_phrases": "Phrases of the validation split on which the threshold was chosen.",
    "truth_lost_to_crop": "Mean share of a true box's area that the model's input does not show.",
    "boxes_outside_view": "True boxes that the model's input does not show at all.",
    "unread": "Descriptions of boxes in which no finding was recognized.",
}

STATUSES = {
    "failed": "failed",
    "timeout": "timed out",
    "out_of_memory": "out of memory",
    "skipped": "skipped",
    "not_scored": "not scored",
    "not_taught": "not taught",
}


@dataclass(frozen=True)
class Definition:
    """How one metric is printed and explained; `places` are decimals, `unit` a suffix."""

    label: str
    text: str
    places: int = 3
    higher_is_better: bool = True


# (pattern, label, definition): the first pattern that matches the whole metric name wins, and the
# order here is the order of the columns. {0} is what the pattern's group caught.
_PATTERNS: tuple[tuple[str, str, str], ...] = (
    (
        r"recall@(\d+)",
        "R@{0}",
        "Share of queries with a relevant candidate among the first {0}. Ties count against the "
        "model.",
    ),
    (r"mrr(?:@\d+)?", "MRR", "Mean of 1 / rank of the first relevant candidate."),
    (r"median_rank", "median rank", "Median rank of the first relevant candidate; 1 is best."),
    (r"mean_rank", "mean rank", "Mean rank of the first relevant candidate; 1 is best."),
    (r"tied(?:_queries)?", "tied", "Share of queries whose best relevant candidate is tied."),
    (r"ndcg@(\d+)", "nDCG@{0}", "Discounted gain of the first {0} candidates over the best order."),
    (
        r"label_precision@(\d+)",
        "label P@{0}",
        "Share of the first {0} that bear the query's label.",
    ),
    (r"miou", "mIoU", "Intersection over union of the painted areas, mean over boxed phrases."),
    (
        r"acc@([\d.]+)",
        "Acc@{0}",
        "Share of boxed phrases whose painted areas overlap by IoU ≥ {0}.",
    ),
    (r"f1@([\d.]+)", "F1@{0}", "F1 over all boxes, matched greedily in truth order at IoU ≥ {0}."),
    (r"set_f1@([\d.]+)", "set F1@{0}", "F1 of the best matching at IoU ≥ {0}, mean over phrases."),
    (r"rodeo", "RoDeO", "Harmonic mean of RoDeO localization and shape; never read alone."),
    (r"rodeo/localization", "Ro/L", "RoDeO: how near the centres of matched boxes are."),
    (r"rodeo/shape", "Ro/S", "RoDeO: overlap of matched boxes once their corners are aligned."),
    (r"miou_swept", "swept mIoU", "IoU of the heat map, mean over thresholds set beforehand."),
    (r"pixel_auprc", "pixel AUPRC", "Area under precision and recall over all pixels of the map."),
    (r"pointing", "pointing", "Share of phrases whose highest heat-map point lies in a true box."),
    (r"cnr", "CNR", "Contrast-to-noise ratio of the heat map, inside against outside the boxes."),
    (r"ap", "AP", "COCO average precision, mean over IoU 0.5-0.95; it has no interval."),
    (r"a?p@([\d.]+)", "AP@{0}", "COCO average precision at IoU ≥ {0}; it has no interval."),
    (
        r"specificity(?:/(.+))?",
        "specificity {0}",
        "Share of phrases without a box answered 'none'.",
    ),
    (r"malformed", "malformed", "Share of answers that could not be read; each counts as wrong."),
    (r"false_empty(?:_rate)?", "false empty", "Share of boxed phrases answered 'none'."),
    (
        r"accuracy(?:/(.+))?",
        "accuracy {0}",
        "Share of two-way choices made for the true text; chance is 0.5.",
    ),
    (r"finding_f1", "finding F1", "F1 of the findings named, against the phantom's truth."),
    (r"finding_precision", "finding precision", "Share of the findings named that are there."),
    (r"finding_recall", "finding recall", "Share of the findings that are there that were named."),
    (r"finding_accuracy", "finding", "Share of descriptions that name the box's finding."),
    (r"side_accuracy", "side", "Share of findings named with their true side."),
    (r"zone_accuracy", "zone", "Share of findings named with their true zone."),
)

# What is shown before a reader asks for all columns; a metric this file does not know is shown too.
KEY_METRICS = frozenset(
    (
        *("recall@1", "recall@5", "recall@10", "median_rank"),
        *("miou", "miou/macro", "acc@0.5", "f1@0.5", "rodeo/localization", "rodeo/shape", "cnr"),
        *("specificity/negated", "specificity/absent", "false_empty", "pointing"),
        *("accuracy", "accuracy/side", "accuracy/zone", "accuracy/finding", "accuracy/negation"),
        *(
            "accuracy/severity",
            "accuracy/counterfactual",
            "accuracy/mirror",
            "finding_f1",
            "side_accuracy",
            "zone_accuracy",
        ),
    )
)

_RANKS = ("median_rank", "mean_rank")
_LOWER_IS_BETTER = (*_RANKS, "false_empty", "false_empty_rate", "malformed", "tied_queries", "tied")

_SUFFIXES = {
    "absolute": ("absolute", "The contrast without its sign."),
    "single-box": ("1 box", "Only phrases with exactly one true box."),
    "macro": ("macro", "Mean over findings, each finding weighing the same."),
    "all": ("all phrases", "Over all phrases, those without a box included."),
    "in-field": ("in field", "Parts of the image the model never saw are left out."),
    "no-comparison": ("no comparison", "Without sentences that speak of change."),
}


def _match(metric: str) -> tuple[int, str, str] | None:
    for order, (pattern, label, text) in enumerate(_PATTERNS):
        found = re.fullmatch(pattern, metric)
        if found:
            caught = (found.group(1) if found.re.groups else "") or ""
            return order, label.format(caught).strip(), text.format(caught)
    return None


def _split_suffix(metric: str) -> tuple[str, tuple[str, ...]]:
    """The metric as this file knows it, and the variants named after it."""
    base, suffixes = metric, ()
    while not _match(base):
        shorter, _, suffix = base.rpartition("/")
        if not shorter:
            return metric, ()
        base, suffixes = shorter, (suffix, *suffixes)
    return base, suffixes


def definition(metric: str) -> Definition:
    """How `metric` is labelled, explained and rounded; an unknown metric keeps its own name.

    >>> definition("recall@5").label, definition("miou/macro").label
    ('R@5', 'mIoU macro')
    """
    if metric.startswith("dense/"):
        inner = definition(metric.removeprefix("dense/"))
        return replace(inner, label=f"dense {inner.label}", text=f"Of given boxes: {inner.text}")
    base, suffixes = _split_suffix(metric)
    found = _match(base)
    if found is None:
        return Definition(metric, f"{metric}: defined by the package that added it.")
    _, label, text = found
    for suffix in suffixes:
        name, more = _SUFFIXES.get(suffix, (suffix, f"Variant: {suffix}."))
        label, text = f"{label} {name}", f"{text} {more}"
    places = 1 if base in _RANKS else 3
    return Definition(label, text, places, base not in _LOWER_IS_BETTER)


def metric_order(metric: str) -> tuple[int, str, float, str]:
    """A sort key: known metrics in the order of this file, plain before variants, then by number.

    >>> sorted(["miou", "recall@10", "recall@5", "zzz"], key=metric_order)
    ['recall@5', 'recall@10', 'miou', 'zzz']
    """
    base, suffixes = _split_suffix(metric)
    found = _match(base)
    number = re.search(r"@([\d.]+)", base)
    return (
        found[0] if found else 10_000,
        "/".join(suffixes),
        float(number[1]) if number else 0.0,
        metric,
    )


def is_key(metric: str) -> bool:
    """Whether a table shows the metric at first sight.

    >>> is_key("recall@5"), is_key("ndcg@5"), is_key("my-own")
    (True, False, True)
    """
    return metric in KEY_METRICS or _match(_split_suffix(metric)[0]) is None
