"""Helpers beside these tests are importable, here and in the processes they start."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
