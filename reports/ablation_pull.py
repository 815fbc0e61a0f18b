"""How hard each loss pulled on the image encoder of each arm, in Markdown."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.ablation import ArmRecord
from reports.ablation_text import table

if TYPE_CHECKING:
    from reports.ablation import Found

PULL = "pull/"
NOTE = (
    "Shares of the norms of the weighted gradients at the encoder's patch tokens, mean over the "
    "validations of a training and over seeds. The optimizer takes the direction of the sum: a "
    "loss with a small share hardly trains the encoder, whatever it teaches the decoder. If such a "
    "loss is worth nothing here, ask for another weight before it is called useless "
    "(`--change losses.grounding=20`)."
)


def pull_shares(records: Sequence[ArmRecord], arm: str) -> dict[str, float]:
    """The share of each loss in what pulls on the arm's encoder; empty where nothing was measured.

    The mean over validations within a seed, then over seeds. Where no loss pulls at all there is no
    share, and the validation does not count.
    """
    seeds = [_shares(one.training.validation) for one in records if one.arm == arm and one.training]
    known = [one for one in seeds if one]
    names = dict.fromkeys(name for one in known for name in one)
    return {name: sum(one.get(name, 0.0) for one in known) / len(known) for name in names}


def _shares(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean shares over the validations of one training."""
    found = []
    for row in rows:
        pulls = {k.removeprefix(PULL): v for k, v in row.items() if k.startswith(PULL)}
        whole = sum(pulls.values())
        if whole > 0:
            found.append({name: value / whole for name, value in pulls.items()})
    names = found[-1] if found else {}
    return {name: sum(one[name] for one in found) / len(found) for name in names}


def pull_section(found: "Found") -> list[str]:
    """The section with one row per arm; nothing for records that were written without it."""
    arms = dict.fromkeys(record.arm for record in found.records)
    rows = {arm: pull_shares(found.records, arm) for arm in arms}
    losses = list(dict.fromkeys(name for shares in rows.values() for name in shares))
    if not losses:
        return []
    head = ["arm", *(name.replace("_", " ") for name in losses)]
    cells = [
        [f"`{arm}`", *(f"{100 * shares[name]:.0f} %" if name in shares else "–" for name in losses)]
        for arm, shares in rows.items()
        if shares
    ]
    return ["## How hard each loss pulls on the encoder", "", *table(head, cells), "", NOTE, ""]
