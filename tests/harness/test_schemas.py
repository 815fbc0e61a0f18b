"""The shipped schemas are those of the code."""

import json
from pathlib import Path

import pytest

from harness import schemas


@pytest.mark.parametrize("name", sorted(schemas.MODELS))
def test_the_shipped_schema_is_current(name: str) -> None:
    shipped = json.loads((schemas.FOLDER / f"{name}.schema.json").read_text())
    assert shipped == json.loads(schemas.schema_text(name)), "run: python -m harness.schemas"


def test_write_writes_each_schema(tmp_path: Path) -> None:
    files = schemas.write(tmp_path)
    assert [file.name for file in files] == ["record.schema.json", "suite.schema.json"]
    record = json.loads(files[0].read_text())
    assert record["additionalProperties"] is False
    assert {"key", "identity", "status", "scores"} <= set(record["properties"])
