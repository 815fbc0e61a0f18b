"""A suite is data only, and a typo is answered with its place and the nearest name."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import suite_schema
from harness.errors import BenchError
from harness.suite import find_suite, model_reference, pick_models, read_suite

GOOD = """
suite: mine
models: [oracle, {name: other, use: chance}]
evaluations:
  - {task: retrieval, dataset: manifest, split: "${SPLIT:-all}", options: {draws: "${DRAWS:-7}"}}
"""


def write(folder: Path, text: str, name: str = "suite.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_suite_is_read_with_its_defaults(tmp_path: Path) -> None:
    suite, path = read_suite(write(tmp_path, GOOD), environ={})
    assert path.name == "suite.yaml"
    assert [model.target for model in suite.models] == ["oracle", "chance"]
    assert suite.evaluations[0].split == "all"
    assert suite.evaluations[0].options == {"draws": 7}
    assert suite.seeds == [0]


def test_the_environment_wins_over_the_default_of_a_variable(tmp_path: Path) -> None:
    suite, _ = read_suite(write(tmp_path, GOOD), environ={"SPLIT": "test", "DRAWS": "9"})
    assert suite.evaluations[0].split == "test"
    assert suite.evaluations[0].options == {"draws": 9}


def test_a_variable_without_value_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("${SPLIT:-all}", "${SPLIT}"))
    with pytest.raises(BenchError, match=r"suite.yaml:5: the variable SPLIT is not set"):
        read_suite(path, environ={})


def test_all_mistakes_come_in_one_message_with_line_and_near_name(tmp_path: Path) -> None:
    text = GOOD.replace("dataset:", "datset:").replace("use:", "uses:")
    with pytest.raises(BenchError) as caught:
        read_suite(write(tmp_path, text), environ={})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert any("suite.yaml:3" in line and "Did you mean 'use'?" in line for line in lines)
    assert any("suite.yaml:5" in line and "Did you mean 'dataset'?" in line for line in lines)


def test_a_child_replaces_its_parents_keys_whole(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "parent.yaml")
    child = write(tmp_path, "extends: parent.yaml\nsuite: child\nmodels: [nothing]\n", "c.yaml")
    suite, _ = read_suite(child, environ={})
    assert suite.suite == "child"
    assert [model.name for model in suite.models] == ["nothing"]
    assert suite.evaluations[0].dataset == "manifest"


def test_extends_in_a_circle_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "extends: b.yaml\n", "a.yaml")
    write(tmp_path, "extends: a.yaml\n", "b.yaml")
    with pytest.raises(BenchError, match=r"circle: a.yaml -> b.yaml -> a.yaml"):
        read_suite(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize("value", ["0", "false", '""', "[]", "7", "null"])
def test_an_override_takes_any_value_even_an_empty_one(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, GOOD)
    suite, _ = read_suite(path, [f"evaluations.0.options.draws={value}"], environ={})
    expected = {"0": 0, "false": False, '""': "", "[]": [], "7": 7, "null": None}[value]
    assert suite.evaluations[0].options["draws"] == expected


def test_an_override_beyond_the_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="not an index below 1"):
        read_suite(write(tmp_path, GOOD), ["evaluations.3.split=test"], environ={})


@pytest.mark.parametrize(
    "text",
    [
        "suite: !!python/object/apply:os.system ['true']",
        "suite: !include other.yaml",
        "a: &x [1]\nsuite: *x",
        "suite: a\nsuite: b",
        "suite: [",
        "- 1",
    ],
)
def test_what_is_not_plain_data_fails_closed(tmp_path: Path, text: str) -> None:
    with pytest.raises(BenchError):
        read_suite(write(tmp_path, text), environ={})


@given(st.text(max_size=200))
def test_no_text_makes_anything_but_a_bench_error(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "suite.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(BenchError):
            read_suite(str(path), environ={})


def test_a_shipped_suite_is_found_from_any_folder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_suite("suites/retrieval.yaml").name == "retrieval.yaml"
    with pytest.raises(BenchError, match=r"Did you mean 'retrieval.yaml'"):
        find_suite("retreival")


def test_models_are_picked_by_name_and_unknown_ones_are_added(tmp_path: Path) -> None:
    suite, _ = read_suite(write(tmp_path, GOOD), environ={})
    picked = pick_models(suite, ["other", "./runs/my-model"])
    assert [(m.name, m.target) for m in picked.models] == [
        ("other", "chance"),
        ("my-model", "./runs/my-model"),
    ]
    assert model_reference("pkg.file:load").target == "pkg.file:load"


def test_two_functions_of_one_file_are_two_rows() -> None:
    names = [model_reference(f"pkg.mine:{name}").name for name in ("load", "large", "small")]
    assert names == ["mine", "mine-large", "mine-small"]


def test_a_model_picked_twice_is_asked_once(tmp_path: Path) -> None:
    suite, _ = read_suite(write(tmp_path, GOOD), environ={})
    assert [m.name for m in pick_models(suite, ["oracle", "oracle"]).models] == ["oracle"]


def test_two_trainings_stand_in_one_table_and_two_rows_of_one_name_do_not(tmp_path: Path) -> None:
    suite, _ = read_suite(write(tmp_path, GOOD), environ={})
    picked = pick_models(suite, ["runs/train-a/best", "runs/train-b/best", "runs/train-b/model"])
    assert [m.name for m in picked.models] == ["train-a", "train-b", "train-b-model"]
    assert picked.models[0].target == "runs/train-a/best"
    with pytest.raises(BenchError, match=r"x/mine and y/mine .* 'mine'"):
        pick_models(suite, ["x/mine", "y/mine"])
    with pytest.raises(BenchError, match=r"oracle and other/oracle .* 'oracle'"):
        pick_models(suite, ["oracle", "other/oracle"])


@pytest.mark.parametrize("name", ["../../out", "a/b", ".hidden", ""])
def test_a_suite_cannot_be_named_out_of_the_runs_folder(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, GOOD.replace("suite: mine", f"suite: '{name}'"))
    with pytest.raises(BenchError, match=r"suite.yaml:2: suite: 'suite'"):
        read_suite(path, environ={})


def test_every_field_is_identity_or_runtime_and_never_both() -> None:
    for model in (suite_schema.ModelReference, suite_schema.Evaluation, suite_schema.Suite):
        name = model.__name__
        identity, runtime = suite_schema.IDENTITY[name], suite_schema.RUNTIME[name]
        assert not identity & runtime
        assert identity | runtime == set(model.model_fields), f"{name}: classify the new field"


def test_a_name_unlike_any_suite_gets_no_far_fetched_hint() -> None:
    with pytest.raises(BenchError, match=r"no shipped suite of that name\. Shipped: "):
        find_suite("nosuch.yaml")


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[2] / "suites").glob("*.yaml")))
def test_every_shipped_suite_resolves(file: Path) -> None:
    from harness.plan import plan_cells

    if file.name == "ablation.yaml":
        pytest.skip("has a schema of its own")
    suite, _ = read_suite(str(file), environ={})
    assert plan_cells(suite)


def test_the_probe_suite_asks_each_model_about_other_patients_too() -> None:
    """Protocol, section 4: `text-only` and `shuffled` stand beside every model."""
    suite, _ = read_suite("suites/probe.yaml", environ={})
    shuffled = {m.options["model"] for m in suite.models if m.use == "shuffled"}
    controls = {"oracle", "text-only", "chance", "collapsed"}
    assert {m.name for m in suite.models if m.use != "shuffled"} == shuffled | controls
