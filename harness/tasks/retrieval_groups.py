"""Which queries a retrieval row speaks of."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from harness.metrics.groups import sample_groups
from harness.samples import ImageText


def retrieval_groups(samples: Sequence[ImageText]) -> dict[str, Bool[np.ndarray, " n"]]:
    """``all`` queries, and those of each view, sex, age band and label."""
    groups: dict[str, Bool[np.ndarray, " n"]] = {"all": np.ones(len(samples), bool)}
    groups |= {name: mask for name, mask in sample_groups(samples).items() if mask.any()}
    return groups
