"""All metrics of phrase grounding, by name."""

from collections.abc import Mapping

from harness.metrics.box_metrics import BOX_METRICS
from harness.metrics.coco import COCO_METRICS
from harness.metrics.heatmap_metrics import HEATMAP_METRICS
from harness.metrics.metric import Metric

GROUNDING_METRICS: Mapping[str, Metric] = {**BOX_METRICS, **COCO_METRICS, **HEATMAP_METRICS}
