"""Which generator drew a phantom: a number raised by hand and a hash of the sources."""

from functools import cache
from hashlib import sha256
from pathlib import Path

# Raised when what is drawn or said changes; results on both versions stay (protocol.md §8.9).
VERSION = 1

# These read phantoms and print about them; they cannot change one.
_READERS = {"measure.py", "measure_text.py", "measure_film.py", "sheet.py", "tables.py"}


@cache
def generator_hash() -> str:
    """SHA-256 over the sources that decide what is drawn, said and written, 64 hex digits."""
    digest = sha256()
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py")):
        if path.name not in _READERS:
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            digest.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()
