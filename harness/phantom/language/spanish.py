"""Spanish sentences for the PadChest-GR twin: nouns with gender, adjectives that agree."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.phantom.language.english import pick
from harness.phantom.language.mention import Mention
from harness.phantom.language.sentences_en import capital
from harness.phantom.vocabulary import FINDINGS


@dataclass(frozen=True)
class Nombre:
    """A Spanish name of a finding; `many` is empty for what cannot be counted."""

    one: str
    many: str = ""
    feminine: bool = False


NOUNS: Mapping[str, tuple[Nombre, ...]] = {
    "pleural_effusion": (Nombre("derrame pleural", "derrames pleurales"),),
    "pneumothorax": (Nombre("neumotórax", "neumotórax"),),
    "consolidation": (
        Nombre("consolidación", "consolidaciones", True),
        Nombre("condensación", "condensaciones", True),
    ),
    "atelectasis": (
        Nombre("atelectasia", "atelectasias", True),
        Nombre("atelectasia laminar", "atelectasias laminares", True),
    ),
    "nodule": (Nombre("nódulo pulmonar", "nódulos pulmonares"), Nombre("nódulo", "nódulos")),
    "mass": (Nombre("masa pulmonar", "masas pulmonares", True), Nombre("masa", "masas", True)),
    "cardiomegaly": (Nombre("cardiomegalia", "", True), Nombre("aumento de la silueta cardiaca")),
    "edema": (Nombre("edema pulmonar"), Nombre("congestión vascular pulmonar", "", True)),
    "interstitial": (Nombre("patrón intersticial"), Nombre("patrón reticular")),
    "rib_fracture": (Nombre("fractura costal", "fracturas costales", True),),
    "hilar_enlargement": (
        Nombre("aumento de tamaño hiliar"),
        Nombre("prominencia hiliar", "", True),
    ),
    "mediastinal_widening": (Nombre("ensanchamiento mediastínico"),),
    "pleural_thickening": (Nombre("engrosamiento pleural", "engrosamientos pleurales"),),
    "calcified_granuloma": (Nombre("granuloma calcificado", "granulomas calcificados"),),
    "emphysema": (Nombre("enfisema"), Nombre("signos de enfisema", "signos de enfisema")),
}

_SIZES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "size": {
        "small": ("pequeño", "pequeña"),
        "moderate": ("moderado", "moderada"),
        "large": ("extenso", "extensa"),
    },
    "severity": {
        "small": ("leve", "leve"),
        "moderate": ("moderado", "moderada"),
        "large": ("severo", "severa"),
    },
}
_SIDES = {
    "left": ("izquierdo", "izquierda"),
    "right": ("derecho", "derecha"),
    "both": ("bilateral", "bilateral"),
}
_PLACES: Mapping[str, str] = {
    "upper": "en el lóbulo superior {m}",
    "mid": "en el campo medio {m}",
    "lower": "en el lóbulo inferior {m}",
    "apical": "en el vértice {m}",
    "basal": "en la base {f}",
    "perihilar": "en la región perihiliar {f}",
    "retrocardiac": "en la región retrocardiaca {f}",
}
_RIBS: Mapping[str, str] = {
    "upper": "en arcos superiores {m}s",
    "mid": "en arcos medios {m}s",
    "lower": "en arcos inferiores {m}s",
}
_PLACES_BOTH: Mapping[str, str] = {
    "upper": "en ambos lóbulos superiores",
    "mid": "en ambos campos medios",
    "lower": "en ambos lóbulos inferiores",
    "apical": "en ambos vértices",
    "basal": "en ambas bases",
    "perihilar": "en ambas regiones perihiliares",
}
_NUMBERS = {2: ("dos", "dos"), 3: ("tres", "tres"), 4: ("múltiples", "múltiples")}
_FRAMES = ("{np}", "{np}", "{np}", "se {sees} {np}")
_CHANGED: Mapping[str, tuple[str, ...]] = {
    "stable": ("{np} sin cambios", "{np} estable"),
    "improving": ("disminución de {np}", "mejoría de {np}"),
    "worsening": ("aumento de {np}", "empeoramiento de {np}"),
    "new": ("{np} de nueva aparición",),
    "resolved": ("resolución de {np}",),
}
# In step with `sentences_en.DENIALS`: the same index denies the same thing.
DENIALS: Mapping[str, tuple[str, ...]] = {
    "pleural_effusion": ("Sin derrame pleural.", "No se observa derrame pleural."),
    "pneumothorax": ("Sin neumotórax.", "No hay neumotórax.", "Sin evidencia de neumotórax."),
    "consolidation": ("Sin consolidaciones.", "No se observan consolidaciones."),
    "edema": ("Sin edema pulmonar.", "No hay edema pulmonar."),
    "nodule": ("Sin nódulos pulmonares.", "No se observan nódulos pulmonares sospechosos."),
    "cardiomegaly": (
        "Tamaño cardiaco normal.",
        "El corazón es de tamaño normal.",
        "Sin cardiomegalia.",
    ),
    "mediastinal_widening": (
        "Contornos mediastínicos normales.",
        "Sin ensanchamiento mediastínico.",
    ),
    "hilar_enlargement": ("Contornos hiliares normales.",),
    "rib_fracture": ("Sin fracturas costales.", "Sin alteraciones óseas agudas."),
}


def _plural(word: str) -> str:
    return word + ("s" if word[-1] in "aeiouáéíóú" else "es")


def _agree(forms: tuple[str, str], noun: Nombre, many: bool) -> str:
    word = forms[1] if noun.feminine else forms[0]
    return _plural(word) if many else word


def noun_phrase(m: Mention, rng: np.random.Generator) -> tuple[str, bool]:
    """The finding in Spanish without an article, in lower case, and whether it is plural.

    >>> m = Mention("pleural_effusion", side="left", size="small")
    >>> noun_phrase(m, np.random.default_rng(0))
    ('derrame pleural izquierdo pequeño', False)
    """
    countable = [n for n in NOUNS[m.name] if n.many or not m.number_said] or list(NOUNS[m.name])
    noun = countable[int(rng.integers(len(countable)))]
    many = (m.plural and bool(noun.many)) or noun.one == noun.many
    parts = [_NUMBERS[m.count][0] if m.number_said else ""]
    parts.append(noun.many if many and noun.many else noun.one)
    grades = _SIZES.get(FINDINGS[m.name].graded, {})
    size = _agree(grades[m.size], noun, many) if m.size else ""
    if m.zone:
        parts += [size, _place(m)]
    else:
        parts += [_agree(_SIDES[m.side], noun, many) if m.side else "", size]
    return " ".join(part for part in parts if part), many


def _place(m: Mention) -> str:
    if m.side == "both":
        return _PLACES_BOTH[m.zone]
    masculine, feminine = _SIDES.get(m.side, ("", ""))
    if m.name == "rib_fracture":
        return _RIBS[m.zone].format(m=masculine) if masculine else _RIBS[m.zone].split(" {")[0]
    return _PLACES[m.zone].format(m=masculine, f=feminine).strip()


def sentence(m: Mention, rng: np.random.Generator) -> str:
    """The mention as a Spanish sentence."""
    frame = pick(rng, _CHANGED[m.change] if m.change else _FRAMES)
    if m.possible:
        frame = "posible {np}"
    phrase, many = noun_phrase(m, rng)
    sees = pick(rng, ("observa", "aprecia")) + ("n" if many else "")
    return capital(frame.format(np=phrase, sees=sees)) + "."
