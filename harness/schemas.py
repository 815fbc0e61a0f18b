"""JSON Schemas of what users write and programs read, shipped beside the code in `schemas/`."""

import json
from pathlib import Path

from pydantic import BaseModel

from harness import atomic
from harness.record import RunRecord
from harness.suite_schema import Suite

FOLDER = Path(__file__).parent / "schemas"
MODELS: dict[str, type[BaseModel]] = {"record": RunRecord, "suite": Suite}


def schema_text(name: str) -> str:
    """The JSON Schema called `name` ("record" or "suite"), as it is shipped."""
    schema = MODELS[name].model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path = FOLDER) -> list[Path]:
    """Write every schema into `folder` and give the files: `python -m harness.schemas`."""
    files = [folder / f"{name}.schema.json" for name in sorted(MODELS)]
    for name, file in zip(sorted(MODELS), files, strict=True):
        atomic.write_text(file, schema_text(name))
    return files


if __name__ == "__main__":
    for written in write():
        print(written)
