"""A pool in the order in which it is ranked."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from harness.metrics.pool import RetrievalPool
from harness.metrics.relations import Relations, relations_of


@dataclass(frozen=True)
class Ordered:
    """The pool as it is ranked, and the way back to the rows as they were given."""

    given: RetrievalPool
    pool: RetrievalPool
    relations: Relations
    rows: Int[np.ndarray, " n"]  # given row of each ordered row
    texts: Int[np.ndarray, " u"]  # given text of each ordered text
    bearer: Int[np.ndarray, " u"]  # given row that bears each ordered text first
    query: Int[np.ndarray, " m"]  # place, among the given queries, of each ordered query


def ordered(given: RetrievalPool) -> Ordered:
    """Often borne texts first and images by text: then few tiles hold a relevant pair."""
    copies = np.bincount(given.text[given.queries], minlength=given.texts)
    texts = np.argsort(-copies, kind="stable")
    code = np.full(given.texts + 1, -1)
    code[texts] = np.arange(given.texts)
    text = code[given.text]
    rows = np.argsort(np.where(text < 0, given.texts, text), kind="stable")
    columns = {name: getattr(given, name)[rows] for name in ("study", "patient", "group", "asked")}
    pool = replace(given, text=text[rows], labels=None, **columns)
    asked = rows[pool.queries]
    first = np.unique(pool.text[pool.queries], return_index=True)[1]
    query = np.searchsorted(given.queries, asked)
    places = (numbers.astype(np.int32) for numbers in (rows, texts, asked[first], query))
    return Ordered(given, pool, relations_of(pool), *places)
