"""A model that `bench train` makes, asked for by name before it was trained."""

from typing import Any, NoReturn

from harness.errors import WeightsAbsent


def load(device: str = "cpu", *, name: str, **options: Any) -> NoReturn:
    """Say that it is not here.

    Raises:
        WeightsAbsent: always, with the command that makes it.
    """
    del device, options
    raise WeightsAbsent(
        f"{name}: this version ships no trained {name}. Make one: bench train {name}. Then name "
        f"its folder, runs/train-{name}/best, in its place."
    )


def describe(name: str, **options: Any) -> NoReturn:
    """As `load`."""
    load(name=name, **options)
