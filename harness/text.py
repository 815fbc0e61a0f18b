"""Rules about report text: what counts as the same text, what speaks of change, what denies.

All of it is versioned by `TEXT_POLICY`, which is part of every dataset's fingerprint.
"""

import re
import unicodedata

# Raise the number when a rule of this file changes what a text is: fingerprints then differ.
TEXT_POLICY = "text-1: shown=white space collapsed; same=NFKC, lower case, no punctuation, no ___"

_NOT_A_WORD = re.compile(r"[\W_]+")

_COMPARISON = re.compile(
    r"\b(?:un|not\s+(?:significantly\s+)?)changed\b|\bno\s+(?:significant\s+|interval\s+)*change\b"
    r"|\bstable\b|\bstability\b|\binterval(?:ly)?\b|\bcompar(?:ed|ison)\b|\bprevious(?:ly)?\b"
    r"|\bprior\b|\bagain\b|\bpersist(?:s|ent|ing|ence)?\b|\bremains?\b"
    r"|\b(?:in|de)creas(?:ed|ing|es?)\b|\bworsen(?:ed|ing|s)?\b|\bimprov(?:ed|ing|ement|es?)\b"
    r"|\bresol(?:ved|ving|ution)\b|\bnew(?:ly)?\b|\bprogress(?:ed|ing|ion|ive)\b"
    r"|\benlarging\b|\bre-?demonstrated\b|\bonce more\b|\blarger than\b|\bsmaller than\b"
    # Spanish (PadChest-GR)
    r"|\bsin\s+cambios\b|\bestables?\b|\bcomparad[oa]s?\b|\bcomparaci[oó]n\b|\bpreviamente\b"
    r"|\b(?:estudio|rx|radiograf[ií]a)s?\s+previ[oa]s?\b|\banterior(?:mente|\s+estudio)\b"
    r"|\bpersist(?:e|en|ente|entes)\b|\bnuev[oa]s?\b|\baument(?:ado|ada)\b"
    r"|\bdisminuid[oa]s?\b|\bempeoramiento\b|\bmejor[ií]a\b|\bresoluci[oó]n\b|\bresuelt[oa]s?\b",
    re.IGNORECASE,
)

_NEGATION = re.compile(
    r"^\W*(?:no\b|not\b|without\b|absence of\b|negative for\b|free of\b|there (?:is|are|was) no\b"
    r"|sin\b|ausencia de\b|no se\b)",
    re.IGNORECASE,
)

_LOCATION = re.compile(
    r"\b(?:left|right|bilateral(?:ly)?|unilateral|both|either|upper|mid|middle|lower|apical|apex"
    r"|apices|basal|basilar|bibasilar|biapical|bases?|perihilar|parahilar|retrocardiac|lingular?"
    r"|lobes?|lobar|zones?|fields?|costophrenic|central|peripheral|lateral|medial"
    r"|one|two|three|four|five|six|single|multiple|several|few|numerous|solitary"
    r"|izquierd[oa]s?|derech[oa]s?|bilaterales|amb[oa]s|superior(?:es)?|medi[oa]s?"
    r"|inferior(?:es)?|apicales|v[eé]rtices?|basales|perihiliar(?:es)?|parahiliar(?:es)?"
    r"|retrocard[ií]ac[oa]s?|l[oó]bulos?|l[ií]ngula|campos?|un[oa]?|dos|tres|cuatro|cinco"
    r"|[uú]nic[oa]s?|m[uú]ltiples?|vari[oa]s|numeros[oa]s)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(
    r"(?<=[.!?])(?<!\bDr\.)(?<!\bMr\.)(?<!\bMs\.)(?<!\bvs\.)\s+(?=[A-Z0-9_¿¡Á-Ú])"
)
_MASK = "[where]"
_MASKS = re.compile(r"\[where\](?:[\s,]+(?:and\s+|y\s+)?\[where\])*")


def tidy(text: str) -> str:
    r"""The text as a model is shown it: white space and line breaks collapsed, nothing else.

    >>> tidy(" Small left\n effusion.  No ___.")
    'Small left effusion. No ___.'
    """
    return " ".join(text.split())


def normalize(text: str) -> str:
    """The form under which two texts count as identical.

    Unicode NFKC, lower case, `___` and punctuation turned to spaces, white space collapsed.

    >>> normalize("No acute  process; ___ Stable.") == normalize("no acute process stable")
    True
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    return _NOT_A_WORD.sub(" ", folded).strip()


def is_comparison(text: str) -> bool:
    """Whether a sentence speaks of change against another film, which one image cannot show.

    A word list (English and Spanish): it errs on the side of flagging.

    >>> is_comparison("The effusion is unchanged."), is_comparison("Small left effusion.")
    (True, False)
    """
    return _COMPARISON.search(text) is not None


def is_negated(text: str) -> bool:
    """Whether a phrase opens with a denial.

    >>> is_negated("No pneumothorax."), is_negated("Nodule."), is_negated("Sin derrame pleural.")
    (True, False, True)
    """
    return _NEGATION.search(text) is not None


def mask_locations(text: str) -> str:
    """The text with words of side, zone and number masked, for the `findings-only` ceiling.

    >>> mask_locations("Two nodules in the left upper lobe.")
    '[where] nodules in the [where].'
    """
    return _MASKS.sub(_MASK, _LOCATION.sub(_MASK, text))


def sentences(text: str) -> tuple[str, ...]:
    """The sentences of a tidy text: cut after `.`, `!` or `?` before a capital or a digit.

    Abbreviations of radiology reports (`Dr.`, `a.m.`) and decimal numbers are not cut.

    >>> sentences("Lungs are clear. Dr. ___ was told at 9 a.m. Heart size 1.5 cm above normal.")
    ('Lungs are clear.', 'Dr. ___ was told at 9 a.m.', 'Heart size 1.5 cm above normal.')
    """
    pieces = _SENTENCE_END.split(tidy(text))
    return tuple(piece for piece in pieces if _NOT_A_WORD.sub("", piece))
