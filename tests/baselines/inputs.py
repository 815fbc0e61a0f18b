"""What the tests of right inputs share: a tiny model, a film as a picture, a look at a call."""

import PIL.Image
import torch

from baselines.cards import load
from harness.images import Image


def loaded(tiny, name: str):
    return load("cpu", card=tiny(name))


def grey(film: Image) -> PIL.Image.Image:
    return PIL.Image.fromarray(film.read())


def rgb(film: Image) -> PIL.Image.Image:
    return grey(film).convert("RGB")


class Seen:
    """Notes what a module is called with."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.calls: list[tuple[tuple, dict]] = []
        module.register_forward_pre_hook(
            lambda _, given, named: self.calls.append((given, named)), with_kwargs=True
        )
