"""What the texts of a twin are worth: shares, and ceilings of knowing only part of the truth."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from harness.text import normalize

Row = tuple[str, float, str]  # what, value, what the protocol asks of it


def recall_ceiling(keys: Sequence[object], k: int = 10) -> float:
    """R@k of a model that knows a study's key exactly and nothing else; ties count against it.

    Candidates with the query's key all score alike, so a query hits only if at most k bear it.

    >>> recall_ceiling(["a", "a", "b"], k=1)
    0.3333333333333333
    """
    sizes = Counter(keys)
    return float(np.mean([sizes[key] <= k for key in keys]))


def recall_expected(keys: Sequence[object], k: int = 10) -> float:
    """The same if ties were broken by chance: the mean of min(1, k / bearers of the key).

    >>> recall_expected(["a", "a", "b"], k=1)
    0.6666666666666666
    """
    sizes = Counter(keys)
    return float(np.mean([min(1.0, k / sizes[key]) for key in keys]))


def same_findings_share(studies: pd.DataFrame) -> float:
    """Share of abnormal studies with nine or more others of the same findings, elsewhere.

    The findings are the same if their names and sizes in words are (`masked_text`); they lie
    elsewhere if side, zone or number differ (`content`). 0 where no study is abnormal.
    """
    abnormal = studies[studies["masked_text"] != "normal"]
    if abnormal.empty:
        return 0.0
    pairs = list(zip(abnormal["masked_text"], abnormal["content"], strict=True))
    alike, same = Counter(masked for masked, _ in pairs), Counter(pairs)
    others = [alike[pair[0]] - same[pair] for pair in pairs]
    return float(np.mean(np.array(others) >= 9))


def measure_studies(studies: pd.DataFrame) -> list[Row]:
    """Rows of the table that follow from the studies of one split."""
    texts = [normalize(text) for text in studies["retrieval_text"]]
    shared = Counter(texts)
    nuisance = list(zip(studies["view"], studies["sex"], studies["devices"], strict=True))
    nuisance_text = _nuisance_recall(nuisance, texts)
    content = recall_ceiling(list(studies["content"]))
    findings = recall_ceiling(list(studies["masked_text"]))
    visits = studies.groupby("patient_id").size()
    return [
        ("studies", float(len(studies)), ""),
        ("patients", float(len(visits)), ""),
        ("studies per patient", float(visits.mean()), ""),
        ("share with a prior", float(studies["prior_study_id"].notna().mean()), "about 1/3"),
        ("share of normals", float((studies["masked_text"] == "normal").mean()), "stated"),
        ("identical texts", float(np.mean([shared[t] > 1 for t in texts])), "0.20 to 0.35"),
        ("reports that deny", float(studies["denied"].mean()), "stated"),
        ("reports that hedge", float(studies["possible"].mean()), "stated"),
        ("reports that compare", float(studies["compared"].mean()), "stated"),
        ("abnormal, >= 9 others alike but for place", same_findings_share(studies), ">= 0.5"),
        ("R@10 knowing the text", recall_ceiling(texts), ""),
        ("R@10 knowing findings and places", content, ""),
        ("  the same, ties by chance", recall_expected(list(studies["content"])), ""),
        ("R@10 knowing findings only", findings, f"<= {content / 2:.3f}"),
        ("  the same, ties by chance", recall_expected(list(studies["masked_text"])), ""),
        ("R@10 knowing nuisance only", nuisance_text, f"<= {30 / len(studies):.3f}"),
    ]


def _nuisance_recall(nuisance: Sequence[object], texts: Sequence[str], k: int = 10) -> float:
    """R@k of the best guess from view, sex and devices, measured on held-out halves.

    For each nuisance value the texts are ranked by how often they went with that value in the
    other half of the studies (one is added for every text that is met at all); ties by chance.
    """
    order = np.random.default_rng(0).permutation(len(texts))
    hits = []
    for held, seen in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        met: dict[object, Counter[str]] = {}
        for index in seen:
            met.setdefault(nuisance[index], Counter())[texts[index]] += 1
        pool = Counter(texts[index] for index in held)
        for index in held:
            hits.append(
                _hit(
                    met.get(nuisance[index], Counter()),
                    pool,
                    texts[index],
                    k * len(held) / len(texts),
                )
            )
    return float(np.mean(hits))


def _hit(scores: Counter[str], pool: Counter[str], text: str, k: float) -> float:
    """The chance that the study's own text is among the first k of the pool."""
    above = sum(count for other, count in pool.items() if scores[other] > scores[text])
    level = sum(count for other, count in pool.items() if scores[other] == scores[text])
    return float(np.clip((k - above) / level, 0.0, 1.0))


def measure_phrases(phrases: pd.DataFrame) -> list[Row]:
    """Rows of the table that follow from the boxed phrases of one split."""
    sided = phrases[phrases["side_said"].isin(["left", "right"])]
    return [
        ("boxed phrases", float(len(phrases)), ""),
        ("boxes per phrase", float(phrases["boxes"].map(len).mean()), ""),
        ("phrases that name no zone", float((phrases["zone_said"] == "").mean()), ">= 0.5"),
        ("phrases that name no side", float((phrases["side_said"] == "").mean()), ">= 0.25"),
        ("left among left and right", float((sided["side_said"] == "left").mean()), "about 0.5"),
        ("phrases of subtle findings", float((phrases["group_subtle"] == "subtle").mean()), ""),
    ]


def overlap_of_words(own: Sequence[str], external: Sequence[str]) -> float:
    """Share of the external word types that occur in the own texts.

    >>> overlap_of_words(["small left effusion"], ["left hydrothorax"])
    0.5
    """
    known = {word for text in own for word in normalize(text).split()}
    asked = {word for text in external for word in normalize(text).split()}
    return len(asked & known) / len(asked)


def read_truth(truth: Path, name: str, split: str) -> pd.DataFrame:
    """One of the truth tables, the rows of one split."""
    table = pd.read_parquet(truth / f"{name}.parquet")
    return table[table["split"] == split].reset_index(drop=True)
