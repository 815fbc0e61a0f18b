"""Data under a use agreement: whatever a run writes, prints or logs holds ids and numbers only."""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import many_processes
import pytest

HERE = Path(__file__).parent

# Words nobody else uses, so that a single one in an output is a leak.
REPORTS = {
    "10000032": ("Wugly opacity at the brillig base", "Wugly brillig opacity"),
    "10000764": ("Mimsy cardiac tove without borogove", "Mimsy tove"),
    "10001217": ("Frabjous uffish catheter tip", "Frabjous catheter"),
}
PHRASES = ("slithy consolidation", "manxome nodule")
SENTENCES = ("Vorpal blade at the left base", "Tulgey wood of the right lung")
REGIONS = ("Galumphing opacity", "Outgribe effusion")
SECRETS = ["wugly", "brillig", "mimsy", "tove", "borogove", "frabjous", "uffish", *PHRASES]
SECRETS += ["slithy", "manxome", "vorpal", "tulgey", "galumphing", "outgribe"]


def trees() -> Any:
    """The builders of format-faithful trees that the tests of the loaders use."""
    path = HERE / "datasets" / "conftest.py"
    spec = importlib.util.spec_from_file_location("dataset_trees", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dataset_trees"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    built = trees()
    top = tmp_path_factory.mktemp("mimic")
    mimic = built.MimicTrees(top)
    rows: list[list[Any]] = []
    for number, (patient, (findings, impression)) in enumerate(REPORTS.items(), start=1):
        report = built.REPORT.replace("Small right pleural effusion", findings)
        report = report.replace("Right effusion", impression)
        dicom = mimic.add(patient, f"5000000{number}", number, report=report)
        phrase = PHRASES[number % 2]
        path = f"files/p{patient[:2]}/p{patient}/s5000000{number}/{dicom}.jpg"
        box = (4 * number, 6, 30, 20, 80, 60)
        rows.append([dicom, "Consolidation", phrase, path, *box, "test"])
        said = built.answer(REGIONS[number % 2], dicom, [4, 6, 30, 20])
        built.write_qba(top / "cxr-qba", patient, f"5000000{number}", [said])
    for number, split in enumerate(["train", "train", "validate"], start=4):
        patient, study = f"1000{number}000", f"5000000{number}"
        report = built.REPORT.replace("Small right pleural effusion", REPORTS["10000032"][0])
        dicom = mimic.add(patient, study, number, split=split, report=report)
        said = built.answer(REGIONS[number % 2], dicom, [4, 6, 30, 20])
        built.write_qba(top / "cxr-qba", patient, study, [said])
    local = top / "ms-cxr" / "1.1.0"
    local.mkdir(parents=True)
    data = built.csv_bytes(built.MS_CXR_COLUMNS, rows)
    (local / "MS_CXR_Local_Alignment_v1.1.0.csv").write_bytes(data)
    padchest = built.PadChestTree(top / "BIMCV-Padchest-GR")
    for number, text in enumerate(SENTENCES):
        padchest.add(number, built.sentence(text, [0.1, 0.2, 0.6, 0.7]))
    named = {"ms-cxr": local, "cxr-qba": top / "cxr-qba", **padchest.write()}
    return {**mimic.write(), **named}


def flags(roots: Mapping[str, Path]) -> list[str]:
    return [part for name, path in roots.items() for part in ("--data", f"{name}={path}")]


def bench(folder: Path, *arguments: str, first: str = "") -> subprocess.CompletedProcess[str]:
    """`bench` in a process of its own; `first` is run in it beforehand."""
    script = (
        f"import sys; sys.path[:0] = [{str(HERE)!r}, {str(many_processes.REPOSITORY)!r}]\n"
        f"import logging; logging.basicConfig(level=logging.DEBUG)\n{first}\n"
        "from harness.cli import main; main()"
    )
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def suite(folder: Path) -> str:
    names = ("quotes", "pixels", "boxer", "segfaults")
    models = [{"name": n, "use": f"suite_models:{n}"} for n in names]
    evaluations = [
        {"task": "retrieval", "dataset": "mimic-cxr", "split": "test"},
        {"task": "grounding", "dataset": "ms-cxr", "split": "test"},
        {"task": "grounding", "dataset": "cxr-qba", "split": "test", "cohort": "region"},
        {"task": "retrieval", "dataset": "padchest-gr", "split": "test"},
        {"task": "grounding", "dataset": "padchest-gr", "split": "test"},
    ]
    models = ["oracle", "commonest-text", "text-only", *models]
    path = folder / "suite.json"
    path.write_text(json.dumps({"suite": "s", "models": models, "evaluations": evaluations}))
    return str(path)


def leaks(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text.lower()]


def test_no_word_of_a_report_or_phrase_reaches_any_output(
    roots: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    data = flags(roots)
    out = tmp_path / "out"
    arguments = ["--out", str(out), "--device", "cpu", *data]
    runs = [
        bench(tmp_path, "run", suite(tmp_path), "--isolate", "--log-json", *arguments),
        bench(tmp_path, "run", suite(tmp_path), "--models", "quotes,boxer,pixels", *arguments),
        bench(tmp_path, "score", str(out), *data),
        bench(tmp_path, "report", str(out), *data),
    ]
    assert [done.returncode for done in runs] == [1, 1, 0, 0], runs[-1].stderr[-2000:]
    assert "segmentation fault" in runs[0].stderr
    assert "RuntimeError (at suite_models.py:" in runs[0].stderr
    for done in runs:
        assert not leaks(done.stdout + done.stderr)
    files = [path for top in (out, tmp_path / "cache") for path in top.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files}
    assert {".json", ".parquet", ".html", ".csv", ".md", ".safetensors"} <= kinds
    for path in files:
        assert not leaks(path.read_bytes().decode("latin-1")), path
        assert not leaks(path.name)
    for path in out.rglob("*.parquet"):  # compressed: their text is looked at again
        import pyarrow.parquet as pq

        assert not leaks(str(pq.read_table(path).to_pydict())), path
    shown = re.findall(r"data:image/png", (out / "leaderboard.html").read_text())
    assert not shown  # nor a pixel
    ids = (out / "leaderboard.csv").read_text() + str([path.name for path in files])
    assert "mimic-cxr" in ids


def test_a_row_that_cannot_be_read_is_named_without_its_text(
    roots: Mapping[str, Path], tmp_path: Path
) -> None:
    table = next(roots["ms-cxr"].glob("*.csv"))
    damaged = tmp_path / "ms-cxr"
    damaged.mkdir()
    rows = table.read_text().splitlines()
    rows[1] = rows[1].replace(",4,6,30,20,", ",4,6,-30,20,")
    (damaged / table.name).write_text("\n".join(rows))
    named = {**roots, "ms-cxr": damaged}
    data = flags(named)
    grounding = ["-o", "evaluations.0.task=grounding", "-o", "evaluations.0.dataset=ms-cxr"]
    out = ["--out", str(tmp_path / "o")]
    done = bench(tmp_path, "run", suite(tmp_path), *out, *grounding, *data)
    assert not leaks(done.stdout + done.stderr)
    assert damaged.name in done.stdout + done.stderr


TINY = {
    "name": "tiny",
    "towers": {"image_size": 32, "patch_size": 8, "channels": 1, "hidden_size": 32, "layers": 1}
    | {"heads": 2, "text_layers": 1, "max_tokens": 16},
    "decoder": {"hidden_size": 32, "layers": 1, "heads": 2, "head_dim": 16, "mlp_size": 32},
    "data": {"dataset": "mimic-cxr", "boxes": "region", "vocabulary": 300},
    "training": {"steps": 1, "batch_size": 2},
}
QUOTING_BUILD = """
import lofi.fit
def quote(config, texts):
    raise RuntimeError(" | ".join(texts))
lofi.fit.build = quote
"""
QUOTING_ARM = "import lofi.ablate_arm, unruly; lofi.ablate_arm.run_arm = unruly.quote"


def preset(folder: Path) -> str:
    (folder / "tiny.yaml").write_text(json.dumps(TINY))
    return str(folder / "tiny.yaml")


def test_a_training_that_fails_says_no_word_of_what_it_read(
    roots: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    asked = ["train", preset(tmp_path), "--out", str(tmp_path / "o"), "--device", "cpu"]
    done = bench(tmp_path, *asked, *flags(roots), first=QUOTING_BUILD)
    assert done.returncode == 2, done.stderr[-2000:]
    assert "RuntimeError (at <string>:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not leaks(done.stdout + done.stderr)


def test_an_arm_that_fails_says_no_word_of_what_it_read(
    roots: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    asked = {"task": "retrieval", "dataset": "mimic-cxr", "split": "test"}
    ablation = {"ablation": "a", "preset": preset(tmp_path), "losses": ["sigmoid"], "seeds": [0]}
    ablation |= {"evaluations": [asked], "representation": {"steps": 0}}
    file, out = tmp_path / "ablation.yaml", tmp_path / "o"
    file.write_text(json.dumps(ablation))
    arguments = ["ablate", str(file), "--out", str(out), "--device", "cpu", *flags(roots)]
    done = bench(tmp_path, *arguments, first=QUOTING_ARM)
    assert done.returncode == 1, done.stderr[-2000:]
    assert "RuntimeError (at unruly.py:" in done.stderr
    assert not leaks(done.stdout + done.stderr)
    records = [path.read_text() for path in out.rglob("*.json")]
    assert any("RuntimeError (at unruly.py:" in text for text in records)
    assert not any(map(leaks, records))
