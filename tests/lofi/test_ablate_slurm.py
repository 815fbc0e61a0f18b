"""`bench ablate --executor slurm`: a lost job cancels no other, and what is done can be read."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner, Result

from harness import executors
from harness.ablation import FULL, read_arms
from harness.commands.ablate import command
from tests.lofi import arm_job
from tests.lofi.ablate_world import SUITE, films
from tests.lofi.conftest import TINY

REPOSITORY = Path(__file__).parents[2]


class Jobs:
    """A small ablation, sent to the fake Slurm of `tests/harness/slurm`."""

    def __init__(self, top: Path):
        self.out, self.go = top / "out", top / "go"
        (top / "preset.yaml").write_text(yaml.safe_dump(TINY))
        content = {**SUITE, "seeds": [0], "preset": str(top / "preset.yaml")}
        self.suite = top / "suite.yaml"
        self.suite.write_text(yaml.safe_dump(content))
        self.films = films(top / "films")

    def run(self, *options: str) -> Result:
        named = ["--data", f"manifest={self.films}", "--out", str(self.out), "--device", "cpu"]
        return CliRunner().invoke(command, [str(self.suite), *named, "--quiet", *options])

    def status(self) -> dict[str, str]:
        return {"full" if r.arm == FULL else "other": r.status for r in read_arms(self.out)}


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    made = Jobs(tmp_path)
    fake = tmp_path / "slurm"
    fake.mkdir()
    programs = REPOSITORY / "tests" / "harness" / "slurm"
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    paths = [os.environ.get("PYTHONPATH", ""), str(REPOSITORY)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    for name, value in {"FAKE_SLURM": fake, "ARM_GO": made.go, "BENCH_CACHE": tmp_path}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(executors, "POLL", 0.1)
    monkeypatch.setattr("lofi.ablate_arm.run_arm", arm_job.run_arm)
    return made


@pytest.mark.slow
def test_an_ablation_runs_as_jobs_and_what_is_done_is_reported_while_others_run(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SLURM_LOSES", "1")
    assert jobs.run("--executor", "slurm").exit_code == 1
    records = read_arms(jobs.out)
    assert jobs.status() == {"full": "ok", "other": "failed"}, [r.reason for r in records]
    assert any("lost" in record.reason for record in records)
    monkeypatch.delenv("FAKE_SLURM_LOSES")
    reports: list[str] = []

    def look(_: float) -> None:
        """Between two looks at the job that is left: a report of what there is."""
        if not jobs.go.exists():
            jobs.run("--report-only")
            reports.append((jobs.out / "ablation.md").read_text())
            jobs.go.touch()
        sleep(0.1)

    sleep = time.sleep
    monkeypatch.setattr("harness.executors.time", SimpleNamespace(sleep=look))
    result = jobs.run("--executor", "slurm")
    assert result.exit_code == 0, (result.output, result.exception)
    assert len(reports) == 1
    assert "lost" in reports[0]
    assert jobs.status() == {"full": "ok", "other": "ok"}
