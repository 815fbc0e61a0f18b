"""Work for `test_executors`, importable where it is done."""

import os
from collections.abc import Callable
from typing import Any


def double(tell: Callable[[Any], None], number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), 9)
    tell(number)
    return 2 * number


def place(_: Callable[[Any], None]) -> str:
    return os.environ["BENCH_SLOT"]
