"""Who may import whom, read from the syntax trees."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ROOMS = ("harness", "baselines", "lofi", "reports")
MAY_IMPORT = {
    "harness": {"harness"},
    "baselines": {"baselines", "harness"},
    "lofi": {"lofi", "harness"},
    "reports": {"reports", "harness"},
}
HEAVY = {"torch", "torchvision", "transformers", "open_clip", "peft", "accelerate", "timm"}
FILES = sorted(file for room in ROOMS for file in (REPOSITORY / room).rglob("*.py"))


def imports(tree: ast.Module, *, lazy: bool) -> Iterator[str]:
    """Top-level package names of all imports; with `lazy`, those inside functions too."""
    nodes = ast.walk(tree) if lazy else _module_level(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def _module_level(tree: ast.Module) -> Iterator[ast.AST]:
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            pending.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_a_room_imports_only_what_it_may(file: Path) -> None:
    room = file.relative_to(REPOSITORY).parts[0]
    tree = ast.parse(file.read_text(encoding="utf-8"))
    composition_root = "commands" in file.parts or file.name == "cli.py"
    allowed = set(ROOMS) if composition_root else MAY_IMPORT[room]
    assert {name for name in imports(tree, lazy=True) if name in ROOMS} <= allowed
    if room == "harness":
        assert not set(imports(tree, lazy=False)) & HEAVY
    if room == "harness" and not composition_root:
        assert not {n for n in imports(tree, lazy=False) if n in ROOMS} - {"harness"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_files_and_functions_stay_short(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300, "find the two names inside it"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length <= 40, f"{node.name} has {length} lines"
