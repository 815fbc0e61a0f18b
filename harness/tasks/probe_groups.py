"""Which choices a probe row speaks of."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from harness.metrics.groups import VISIBILITY_TERCILES, terciles
from harness.samples import ProbeChoice


def probe_groups(samples: Sequence[ProbeChoice]) -> dict[str, Bool[np.ndarray, " n"]]:
    """``all`` choices, those of each finding, and those of each visibility tercile."""
    groups = {"all": np.ones(len(samples), bool)}
    findings = np.array([sample.finding for sample in samples])
    groups |= {f"finding={name}": findings == name for name in sorted(set(findings) - {""})}
    seen = np.array([np.nan if s.visibility is None else s.visibility for s in samples])
    third = np.array(terciles(seen, VISIBILITY_TERCILES))
    groups |= {f"visibility={name}": third == name for name in VISIBILITY_TERCILES}
    return {name: mask for name, mask in groups.items() if mask.any()}
