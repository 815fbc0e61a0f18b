"""The metrics of heat maps; what is measured on one map stands in `pixels`."""

from collections.abc import Mapping

from harness.metrics.box_metrics import macro
from harness.metrics.metric import Metric, mean
from harness.metrics.pixels import NAMES, SWEEP

HEATMAP = "a heat map"

_SENTENCES = {
    "cnr": "Mean over phrases with a true box of (mean inside - mean outside) / sqrt(sum of "
    "variances) of the heat map, signed",
    "cnr/absolute": "As cnr, of absolute values per phrase: blind to the sign",
    "pointing": "Share of phrases with a true box whose highest pixel lies in one",
    "pixel_auprc": "Mean over phrases with a true box of the average precision over pixels",
    "miou_swept": "Mean over phrases with a true box of the IoU at thresholds "
    f"{SWEEP[0]}-{SWEEP[-1]} on the map's own scale",
}


def _metric(column: int) -> Metric:
    name, in_field = NAMES[column % len(NAMES)], column >= len(NAMES)
    ending = "unseen pixels left out." if in_field else "unseen pixels rank lowest."
    return Metric(
        name=f"{name}/in-field" if in_field else name,
        contribute=lambda outcomes: outcomes.map_numbers[:, column : column + 1],
        reduce=mean,
        definition=f"{_SENTENCES[name]}; {ending}",
        needs=HEATMAP,
        bounded=not name.startswith("cnr"),
    )


_EVERY = [_metric(column) for column in range(2 * len(NAMES))]
HEATMAP_METRICS: Mapping[str, Metric] = {
    metric.name: metric for metric in [*_EVERY, *map(macro, _EVERY[: len(NAMES)])]
}
