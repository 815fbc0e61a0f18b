"""The words the reader of reports knows: names of findings, sides, zones, and what denies.

Written by hand for the phantoms' dialects and their everyday synonyms, not taken from the
generator, so that a name the generator invents and the reader does not know shows up in a test.
Every pattern is for lower-case text.
"""

import re
from collections.abc import Mapping

_OPACITY = r"(?:opacit(?:y|ies)|densit(?:y|ies)|lesions?)"
_HEART = r"(?:cardiac silhouette|heart|cardiac contours?)"
_HILUM = r"hil(?:a|um)"
_SOME = r"(?:(?!not\b)\w+ )?"  # one word of degree that is no denial
_SIDED = r"(?:(?:left|right|both|bilateral) )?"

FINDING_PATTERNS: Mapping[str, str] = {
    "pleural_effusion": r"(?:(?<!pericardial )(?:pleural )?effusions?|pleural fluid|hydrothora"
    r"(?:x|ces))",
    "pneumothorax": r"pneumothora(?:x|ces)",
    "consolidation": r"(?:consolidations?|consolidative " + _OPACITY + r"|condensations?"
    r"|(?:air ?space|alveolar) (?:disease|" + _OPACITY + r"))",
    "atelectasis": r"(?:atelecta(?:sis|ses|tic changes?)|(?:sub)?(?:segmental|lobar|lung) collapse"
    r"|subsegmental collapse)",
    "nodule": r"(?:nodules?|nodular " + _OPACITY + r"|coin lesions?)",
    "mass": r"(?:mass(?:es)?(?! effect)|mass ?like " + _OPACITY + r")",
    "cardiomegaly": r"(?:cardiomegaly|cardiac enlargement|enlargement of the "
    + _HEART
    + r"|enlarged "
    + _HEART
    + r"|(?:"
    + _HEART
    + r"|heart size) (?:is|appears|remains) "
    + _SOME
    + r"(?:enlarged|large))",
    "edema": r"(?:(?:pulmonary |interstitial |alveolar )?o?edema"
    r"|(?:pulmonary |vascular |pulmonary vascular )congestion)",
    "interstitial": r"(?:(?:interstitial|reticular|reticulonodular) (?:pattern|markings?|changes?"
    r"|(?:lung )?disease|thickening|prominence|" + _OPACITY + r"))",
    "rib_fracture": r"(?:rib fractures?|fractured (?:\w+ ){0,4}ribs?"
    r"|fractures? of (?:\w+ ){0,5}ribs?)",
    "hilar_enlargement": r"(?:hilar (?:enlargement|prominence|fullness)"
    r"|(?:enlarged|prominent) " + _SIDED + _HILUM + r""
    r"|(?:enlargement|prominence|fullness) of the " + _SIDED + _HILUM + r")",
    "mediastinal_widening": r"(?:mediastinal (?:widening|enlargement)|widened mediastinum"
    r"|(?:widening|enlargement) of the mediastinum"
    r"|mediastinum (?:is|appears|remains) " + _SOME + r"(?:widened|enlarged))",
    "pleural_thickening": r"(?:pleural thickening|thickening of the pleura|thickened pleura"
    r"|pachypleuritis)",
    "calcified_granuloma": r"(?:(?:calcified )?granulom(?:as?|ata)|calcified (?:\w+ )?nodules?)",
    "emphysema": r"(?:(?<!subcutaneous )emphysema|emphysematous changes?|hyperinflat(?:ion|ed))",
}

SIDE_PATTERNS: Mapping[str, str] = {
    "left": r"left",
    "right": r"right",
    "both": r"(?:both|bilateral(?:ly)?|bibasilar|bibasal|biapical)",
}

ZONE_PATTERNS: Mapping[str, str] = {
    "upper": r"upper",
    "mid": r"(?:mid|middle|midlung)",
    "lower": r"lower",
    "apical": r"(?:bi)?apical|apex|apices",
    "basal": r"(?:bi)?(?:basal|basilar)|bases?",
    "perihilar": r"(?:peri|para)hilar",
    "retrocardiac": r"retrocardiac",
}

# A finding may be named whole or as the end of a longer name ("nodular" is no "nodule"), so every
# pattern stands between word boundaries.
FINDING_WORDS = {name: re.compile(rf"\b{p}\b") for name, p in FINDING_PATTERNS.items()}
SIDE_WORDS = {name: re.compile(rf"\b(?:{p})\b") for name, p in SIDE_PATTERNS.items()}
ZONE_WORDS = {name: re.compile(rf"\b(?:{p})\b") for name, p in ZONE_PATTERNS.items()}

# Denies what follows, to the end of the sentence or to `TURN`. "No change in the effusion" and
# "no longer" deny no finding; a denied *new* finding is a denial.
_CHANGE = (
    r"(?:(?:significant|definite|interval|appreciable|substantial|further|relevant) )*"
    r"(?:change|increase|decrease|improvement|worsening|progression)"
)
DENIES_NEXT = re.compile(
    rf"\bno\b(?! longer| {_CHANGE})|\bwithout\b(?! {_CHANGE})|\bnegative for\b|\bfree of\b"
    r"|\babsence of\b|\b(?:does|do|did) not\b|\bresolution of\b|\bclearing of\b"
    r"|(?:^|\b(?:interval|now|the) )resolved\b(?= \w)|\brather than\b"
)
# Denies what stands before it, back to the last verb.
DENIES_LAST = re.compile(
    r"\b(?:is|are|was|were|has|have)(?: (?:been|now|since|completely|entirely|all|fully|nearly))* "
    r"(?:resolved|absent|excluded|ruled out|cleared|disappeared"
    r"|(?:not|no longer) (?:\w+ )?(?:seen|present|identified|visualized|visible|evident"
    r"|demonstrated|appreciated|noted|detected)"
    r"|(?:felt |considered |thought )?(?:to be )?(?:un|less )likely)\b"
    r"|\bnot (?:seen|present|identified|visualized|visible|evident|demonstrated|appreciated)\b"
)
TURN = re.compile(
    r"\b(?:but|however|except(?: for)?|although|though|other than|aside from|apart from)\b"
    r"|\bthere (?:is|are)\b(?! no)|;"
)
VERB = re.compile(r"\b(?:is|are|was|were|has|have|remains?|appears?)\b|;")
SEGMENT = re.compile(
    r"[,;:]|\b(?:and|or|with|without|but|however|plus|except|although|as well as)\b"
)
NORMAL = re.compile(r"\b(?:clear|normal|unremarkable|intact|well expanded)\b")
