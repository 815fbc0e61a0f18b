"""Helpers beside these tests are importable, here and in the processes they start."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
sys.path.append(str(HERE))


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """`faulty_writer.py` as a module of its own."""
    spec = importlib.util.spec_from_file_location("faulty_writer", HERE / "faulty_writer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
