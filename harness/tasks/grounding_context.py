"""What a grounding row says of the answers beside its boxes: tokens, and the examples shown."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from harness.metrics.groups import terciles
from harness.models import Grounding

if TYPE_CHECKING:
    import pandas as pd

NEARNESS = ("far", "middle", "near")
EXTRAPOLATED = "extrapolation"  # said in the card of a row with more examples than were trained


def generated(frame: "pd.DataFrame") -> dict[str, float]:
    """Tokens written and how many in a second of asking; empty where nothing is generated."""
    # Answers stored by an earlier version have no column.
    tokens = float(frame["tokens"].fillna(0).sum()) if "tokens" in frame else 0.0
    seconds = float(frame["seconds"].sum()) if tokens else 0.0
    return {"tokens": tokens, "tokens_per_second": tokens / seconds} if seconds > 0 else {}


def shown(frame: "pd.DataFrame") -> dict[str, float]:
    """Examples shown per phrase, and how many the context had no room for; empty without any."""
    if "left_out" not in frame:
        return {}
    counts = frame["demonstrations"].map(len)
    left_out = float(frame["left_out"].fillna(0).sum())
    if not (counts.any() or left_out):
        return {}
    return {
        "demonstrations_per_phrase": float(counts.mean()),
        "phrases_without_demonstration": float((counts == 0).sum()),
        "demonstrations_left_out": left_out,
    }


def nearness_groups(
    answers: Sequence[Grounding], among: Bool[np.ndarray, " n"]
) -> dict[str, Bool[np.ndarray, " n"]]:
    """Thirds of the phrases by how near their nearest example was; empty without similarities."""
    nearest = np.array([max(a.similarities, default=np.nan) for a in answers], np.float64)
    nearest[~among] = np.nan
    thirds = np.array(terciles(nearest, NEARNESS))
    return {
        f"nearest example={name}": thirds == name for name in NEARNESS if (thirds == name).any()
    }
