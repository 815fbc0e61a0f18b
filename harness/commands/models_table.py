"""Every model that can be named, for `bench list models`."""

from harness.errors import BenchError, WeightsAbsent
from harness.models import ModelCard
from harness.registry import CONTROLS, card_names, find_model, shipped_checkpoints
from harness.suite_schema import ModelReference

Row = tuple[str, str, str, str, str, str, str]


def model_rows() -> list[Row]:
    """Name, kind, family, licence, trained on, verified, state of each named model."""
    names = [*shipped_checkpoints(), *CONTROLS, "shuffled", *card_names()]
    return [_row(name) for name in names]


def _row(name: str) -> Row:
    if name == "shuffled":
        note = "around any model: options {model: NAME}"
        return (name, "control", "control", "", "", "", note)
    handle = find_model(ModelReference(name=name))
    try:
        card = handle.card()
    except WeightsAbsent:
        return _absent(name, handle.entry.kind)
    except BenchError as error:
        return (name, handle.entry.kind, "", "", "", "", f"broken: {error}")
    return _present(name, handle.entry.kind, card)


def _present(name: str, kind: str, card: ModelCard) -> Row:
    verified = ""
    if kind == "card":
        from baselines.cards import card_summary

        verified = card_summary(name)[3]
    return (name, kind, card.family, card.licence, _seen(card), verified, "present")


def _seen(card: ModelCard) -> str:
    if card.trained_on is None:
        return "undisclosed"
    return ", ".join(dict.fromkeys(f"{s.dataset} {s.split}" for s in card.trained_on))


def _absent(name: str, kind: str) -> Row:
    from baselines.cards import card_summary

    family, licence, seen, verified = card_summary(name)
    return (name, kind, family, licence, seen, verified, "missing")
