"""Sub-groups of samples (seam; see the issue on metrics)."""

from collections.abc import Sequence

import numpy as np

from harness.samples import Sample


def sample_groups(samples: Sequence[Sample]) -> dict[str, np.ndarray]:
    """Group label such as ``view=PA`` to a mask."""
    views = np.array([sample.image.view for sample in samples])
    return {f"view={view}": views == view for view in sorted(set(views) - {""})}
