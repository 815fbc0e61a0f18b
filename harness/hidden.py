"""What may be said of an error while restricted data are at work: type and place, no message."""

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import BenchError

# The disk or quota is full, or failing; `harness.cli` tells these without a traceback.
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def place_of(error: BaseException) -> str:
    """Where it was raised, as " (at file.py:12)"; '' if nobody raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" (at {Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


@contextmanager
def message_hidden(where: str, *, private: bool) -> Iterator[None]:
    """On private data, whatever is raised inside becomes an error of type and place.

    A `BenchError` and a full disk stay as they are: they are told without a traceback, and hold
    ids and paths only.

    Raises:
        BenchError: instead of what was raised.
    """
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        if not private or (isinstance(error, OSError) and error.errno in _DISK):
            raise
        # From None: the first error's own traceback would quote its message.
        raise BenchError(
            f"{where}: {type(error).__name__}{place_of(error)}. Its message is not shown, because "
            "it could quote the data, which stand under a use agreement. To see it, do the same "
            "with phantoms: leave --data and its environment variables out."
        ) from None
