"""The one exception type a user is meant to read, and the wording of an unknown name."""

from collections.abc import Iterable
from difflib import get_close_matches


class BenchError(Exception):
    """A mistake the user can mend; the command line prints it without a traceback and exits 2.

    A message says where and what was found; what was expected; what to do.
    """


class WeightsAbsent(BenchError):
    """A model's weights are not on this machine: its cells are skipped, and the message says why.

    It names the file, the licence gate if there is one, and the one command that gets them.
    """


class NothingToAsk(BenchError):
    """Sound data that hold nothing for this task: the evaluation is skipped, the others go on."""


def printable(text: str) -> str:
    r"""The text with control characters written out, so that no terminal obeys them.

    Line breaks stay.

    >>> printable("left\x1b[2J lung")
    'left\\x1b[2J lung'
    """
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )


def unknown(what: str, name: str, known: Iterable[str]) -> BenchError:
    """The error for a name that is not in a table, with the nearest known name.

    >>> print(unknown("metric", "miuo", ["miou", "acc@0.5"]))
    unknown metric 'miuo'. Did you mean 'miou'? Known: acc@0.5, miou.
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return BenchError(f"unknown {what} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")
