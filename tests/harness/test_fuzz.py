"""Any bytes at all: what a user meets is an answer or a `BenchError`, never another exception.

The codecs are fuzzed in `tests/baselines/test_codec_answers.py`.
"""

import contextlib
import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from many_processes import EXAMPLE

from baselines.cards import describe, read_card
from harness.datasets.files import read_json, read_json_lines, read_rows, read_table
from harness.datasets.table import load_dataset
from harness.errors import BenchError
from harness.plan import plan_cells
from harness.sections import named_sections, split_report
from harness.suite import read_suite
from lofi.config import read_preset
from lofi.vlm.config import read_vlm_preset

FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

SUITE = b"suite: s\nmodels: [oracle]\nevaluations:\n  - {task: grounding, dataset: manifest}\n"
WORDS = [
    *(b"suite", b"models", b"evaluations", b"options", b"task", b"extends", b"draws", b"oracle"),
    *(b"grounding", b"manifest", b"!!python/name:os.system", b"*a", b"&a", b"${X:-1}", b"1e999"),
    *(b": ", b"\n  - ", b"{", b"}", b"[", b"]", b"null", b"-1", b"\xff", b"\0", b"'", b'"', b"\t"),
]
CELLS = [
    *(b"image_id", b"file", b"patient_id", b"text_findings", b"images/", b"..", b"a", b"007"),
    *(b",", b'"', b"\n", b"\r\n", b"\xff", b"\0", b"nan", b"=1", b"\xef\xbb\xbf", b"-1", b"9e9"),
]


def mixed(words: list[bytes]) -> st.SearchStrategy[bytes]:
    """Mostly words of the grammar, now and then any bytes."""
    piece = st.one_of(st.sampled_from(words), st.sampled_from(words), st.binary(max_size=4))
    return st.lists(piece, max_size=40).map(b"".join)


def spliced(base: bytes, words: list[bytes]) -> st.SearchStrategy[bytes]:
    """A sound file with something else in place of a part of it."""

    def put(where: tuple[int, int, bytes]) -> bytes:
        first, length, inserted = where
        return base[:first] + inserted + base[first + length :]

    place = st.integers(0, len(base))
    return st.tuples(place, st.integers(0, 12), mixed(words)).map(put)


@FEW
@given(content=st.one_of(mixed(WORDS), spliced(SUITE, WORDS)))
@example(SUITE)
@example(b"suite: s\nmodels: [[oracle]]\nevaluations: 3\n")
@example(b"? {a: b}\n: c\n")
def test_any_suite_is_planned_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    try:
        suite, _ = read_suite(str(path), [])
        plan_cells(suite)
    except BenchError:
        pass


@FEW
@given(override=st.text(max_size=30))
@example("models.9=x")
@example("evaluations.-1.task=x")
@example("evaluations.0.options.a.b.c={")
@example("=")
def test_any_override_is_taken_or_refused(tmp_path: Path, override: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(SUITE)
    with contextlib.suppress(BenchError):
        plan_cells(read_suite(str(path), [override])[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz") / "data"
    shutil.copytree(EXAMPLE, path)
    return path


@pytest.mark.parametrize("name", ["manifest.csv", "phrases.jsonl", "retrieval_pairs.csv"])
def test_any_bytes_in_a_manifest_are_read_or_refused(folder: Path, name: str) -> None:
    path = folder / name
    sound = path.read_bytes() if path.exists() else b"image_id\na\n"

    @FEW
    @given(content=st.one_of(spliced(sound, CELLS), mixed(CELLS)))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        for task in ("retrieval", "grounding", "probe"):
            with contextlib.suppress(BenchError):
                load_dataset("manifest", task=task, split="all", roots={"manifest": folder})

    try:
        check()
    finally:
        path.write_bytes(sound)


@pytest.mark.parametrize("line", ["1" * 5000, "[" * 100_000, '{"a": ' * 100_000], ids=len)
def test_json_that_python_itself_refuses_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(f'{{"image_id": {line}')
    for read in (lambda: list(read_json_lines(path)), lambda: read_json(path)):
        with pytest.raises(BenchError, match=r"t\.jsonl"):
            read()


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@FEW
@given(boxes=VALUES, phrase=VALUES, kind=VALUES, mask=VALUES)
@example(boxes=[[0, 0, 1]], phrase="x", kind=["finding"], mask=None)
@example(boxes=[[0, 0, 1, "1"]], phrase=1, kind={}, mask=["a"])
@example(boxes=[[0, 0, 1, 10**400]], phrase="x", kind="finding", mask="")
@example(boxes=[[0, 0, 1, {}]], phrase="x", kind="finding", mask="")
def test_any_json_in_a_phrase_is_read_or_refused(
    folder: Path, boxes: Any, phrase: Any, kind: Any, mask: Any
) -> None:
    import json

    file = folder / "phrases.jsonl"
    sound = file.read_bytes()
    name = json.loads(sound.splitlines()[0])["image_id"]
    line = {"image_id": name, "phrase": phrase, "boxes": boxes, "kind": kind, "mask": mask}
    try:
        file.write_text(json.dumps(line), encoding="utf-8")
        load_dataset("manifest", task="grounding", split="all", roots={"manifest": folder})
    except BenchError:
        pass
    finally:
        file.write_bytes(sound)


CARD = b"""title: T
family: hf_dual
source: {hub: a/b, files: [w], sha256: ['0']}
licence: x
trained_on: [{dataset: mimic-cxr}]
verified: never
text: {max_tokens: 9}
variants: {full-field: {image: {geometry: squash 9x9}}}
"""
KEYS = [*yaml.safe_load(CARD), "vlm", "detector", "external"]
PRESET = b"extends: lofi-tiny\ntraining: {steps: 7}\ntowers: {layers: 2}\n"
NUMBERS = itertools.count()
DEEP = b"name: " + b"[" * 3000 + b"]" * 3000 + b"\n"


def settings_file(folder: Path, content: bytes) -> str:
    """A file that no reader has seen before: cards are remembered by path and time."""
    path = folder / f"c{next(NUMBERS)}.yaml"
    path.write_bytes(content)
    return str(path)


@FEW
@given(content=st.one_of(mixed(WORDS), spliced(CARD, WORDS)))
@example(DEEP)
@example(b"name: 2020-99-99\n")
@example(b"variants: [full-field]\n")
@example(b"variants: 3\n")
@example(b"variants: {full-field: 3}\n")
@example(b"variants: {1: {}, a: {}}\n")
@example(b"a: &a [x]\nname: *a\n")
def test_any_card_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    card = settings_file(tmp_path, content)
    for variant in ("", "full-field"):
        with contextlib.suppress(BenchError):
            describe(card=card, variant=variant)


def test_the_card_of_these_tests_is_sound(tmp_path: Path) -> None:
    card = settings_file(tmp_path, CARD)
    assert read_card(card, "full-field").image.geometry


@FEW
@given(key=st.sampled_from(KEYS), value=VALUES)
def test_a_card_with_any_value_is_read_or_refused(tmp_path: Path, key: str, value: Any) -> None:
    content = yaml.safe_dump({**yaml.safe_load(CARD), key: value}, allow_unicode=True)
    card = settings_file(tmp_path, content.encode())
    for variant in ("", "full-field"):
        with contextlib.suppress(BenchError):
            describe(card=card, variant=variant)


@FEW
@given(content=st.one_of(mixed(WORDS), spliced(PRESET, WORDS)))
@example(DEEP)
@example(b"name: 2020-99-99\n")
@example(b"extends: [lofi-tiny]\n")
def test_any_preset_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    with contextlib.suppress(BenchError):
        read_preset(settings_file(tmp_path, content))


def test_a_preset_that_extends_itself_is_refused(tmp_path: Path) -> None:
    for name, parent in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"extends: {tmp_path}/{parent}.yaml\n")
    with pytest.raises(BenchError, match="extends"):
        read_preset(str(tmp_path / "a.yaml"))


PLACES = ["training", "steps", "x", "tower", "towers", "widths", "losses", "", "name", "tokens"]


@FEW
@given(dotted=st.lists(st.sampled_from(PLACES), min_size=1, max_size=4).map(".".join), value=VALUES)
@example(dotted="training.steps.x", value=3)
@example(dotted="tokens.pool", value=0)
def test_any_override_of_a_preset_is_taken_or_refused(dotted: str, value: Any) -> None:
    for read, name in ((read_preset, "lofi-tiny"), (read_vlm_preset, "vlm-tiny")):
        with contextlib.suppress(BenchError):
            read(name, {dotted: value})


@FEW
@given(
    content=st.one_of(mixed(CELLS), st.binary(max_size=60)),
    suffix=st.sampled_from(["csv", "csv.gz", "zip"]),
)
def test_any_table_is_read_or_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(content)
    for read in (
        lambda: read_table(path, ("image_id",)),
        lambda: read_rows(path, ("image_id",)),
        lambda: list(read_json_lines(path)),
    ):
        with contextlib.suppress(BenchError):
            read()


@FEW
@given(
    st.lists(
        st.one_of(
            st.sampled_from([" FINDINGS:", " IMPRESSION:", "\n", " \n", "FINAL REPORT", "___"]),
            st.text(max_size=12),
        ),
        max_size=20,
    ).map("".join)
)
def test_any_report_has_sections(text: str) -> None:
    sections = split_report(text)
    assert "".join(section.text for section in sections).strip() in text or sections
    for name, found in named_sections(text).items():
        assert name
        assert found in text
