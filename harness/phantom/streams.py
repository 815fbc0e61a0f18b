"""Random streams by purpose: drawing more in one never changes what another gives."""

from hashlib import blake2b

import numpy as np


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """A counter-based generator that depends on the seed and the purpose, and on nothing else.

    >>> float(stream(7, "noise", "PA").random()) == float(stream(7, "noise", "PA").random())
    True
    >>> float(stream(7, "noise").random()) == float(stream(7, "exposure").random())
    False
    """
    name = "/".join(str(part) for part in (seed, *purpose))
    digest = blake2b(name.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A uniform draw as a plain float."""
    return float(rng.uniform(low, high))
