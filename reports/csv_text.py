"""A frame as CSV that a spreadsheet reads and does not execute."""

import pandas as pd

# A spreadsheet takes a cell that starts so for a formula (OWASP, "CSV injection").
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def neutral(text: str) -> str:
    """The text with an apostrophe in front where a spreadsheet would read a formula.

    >>> neutral("=1+1"), neutral("lofi-tiny")
    ("'=1+1", 'lofi-tiny')
    """
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def csv_text(frame: pd.DataFrame) -> str:
    """The frame as CSV: floats at full precision, booleans lower case, no cell a formula."""
    safe = frame.copy()
    for name in safe.columns:
        column = safe[name]
        if pd.api.types.is_bool_dtype(column):
            safe[name] = column.map({True: "true", False: "false"})
        elif not pd.api.types.is_numeric_dtype(column):
            safe[name] = column.map(lambda cell: neutral(cell) if isinstance(cell, str) else cell)
    return safe.to_csv(index=False, lineterminator="\n")
