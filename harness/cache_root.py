"""Where caches lie: `$BENCH_CACHE`, or the platform's cache folder."""

import os
from pathlib import Path


def cache_root() -> Path:
    """The folder of all caches: `$BENCH_CACHE`, else e.g. `~/.cache/cxr-bench`; not created."""
    chosen = os.environ.get("BENCH_CACHE", "").strip()
    if chosen:
        return Path(chosen).expanduser().resolve()
    import platformdirs  # here: 20 ms that `bench --help` need not pay

    return Path(platformdirs.user_cache_dir("cxr-bench", appauthor=False))
