import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.datasets.imagenome import open_scenes
from harness.datasets.training import load_training
from harness.errors import BenchError
from tests.harness.datasets.conftest import MimicTrees, dicom_id

IMAGE = dicom_id(1)


def region(name: str, *sides: float) -> dict[str, Any]:
    keys = ("original_x1", "original_y1", "original_x2", "original_y2")
    return {"bbox_name": name, "x1": 0, "x2": 1, **dict(zip(keys, sides, strict=True))}


def said(name: str, *pairs: tuple[str, str]) -> dict[str, Any]:
    return {
        "bbox_name": name,
        "phrases": [phrase for phrase, _ in pairs],
        "attributes": [[attribute] for _, attribute in pairs],
    }


GRAPH = {
    "image_id": IMAGE,
    "objects": [
        region("right lung", -8, 6, 40, 54),
        region("right lower lung zone", 0, 30, 40, 54),
        region("carina", 40, 20, 40, 25),
        region("left lung", 44, 6, 72, 54),
    ],
    "attributes": [
        said("right lung", ("Right effusion.", "disease|yes|pleural effusion")),
        said("right lower lung zone", ("Right effusion.", "disease|yes|pleural effusion")),
        said("left lung", ("Left lung is clear.", "anatomicalfinding|no|lung opacity")),
        said("carina", ("Tube above the carina.", "tubesandlines|yes|endotracheal tube")),
        said("neck", ("Catheter in the neck.", "device|yes|catheter")),
    ],
}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "chest-imagenome" / "silver_dataset" / "scene_graph"
    folder.mkdir(parents=True)
    (folder / f"{IMAGE}_SceneGraph.json").write_text(json.dumps(GRAPH))
    return tmp_path / "chest-imagenome"


def regions(top: Path) -> list[tuple[str, Any]]:
    return open_scenes({"chest-imagenome": top}).regions(IMAGE, 80, 60)


def test_a_phrase_has_the_fused_boxes_of_all_its_regions_clipped_to_the_image(top: Path) -> None:
    found = dict(regions(top))
    # clipped [0, .1, .5, .9] and [0, .5, .5, .9] overlap by a half: their mean
    np.testing.assert_allclose(found["Right effusion."], [[0, 0.3, 0.5, 0.9]], atol=1e-6)


def test_denials_regions_without_area_and_regions_without_a_box_give_nothing(top: Path) -> None:
    assert [phrase for phrase, _ in regions(top)] == ["Right effusion."]


def test_a_zip_is_read_as_the_folder(top: Path) -> None:
    folder = top / "silver_dataset" / "scene_graph"
    file = next(folder.iterdir())
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        archive.write(file, f"scene_graph/{file.name}")
    file.unlink()
    folder.rmdir()
    assert len(regions(top)) == 1


def test_images_of_gold_patients_are_avoided(top: Path) -> None:
    (top / "silver_dataset" / "splits").mkdir()
    (top / "silver_dataset" / "splits" / "images_to_avoid.csv").write_text(
        f",dicom_id\n0,{IMAGE}\n"
    )
    assert regions(top) == []


def test_a_missing_field_is_named(top: Path) -> None:
    file = next((top / "silver_dataset" / "scene_graph").iterdir())
    file.write_text(file.read_text().replace("original_y2", "oy2"))
    with pytest.raises(BenchError, match="field 'original_y2' is missing"):
        regions(top)


def test_training_can_take_its_regions(top: Path, mimic: MimicTrees) -> None:
    mimic.add("10000001", "50000001", 1, split="train")
    roots = {**mimic.write(), "chest-imagenome": top}
    study = load_training("mimic-cxr", "train", roots, variant="imagenome").studies[0]
    assert [phrase for phrase, _ in study.regions] == ["Right effusion."]
    with pytest.raises(BenchError, match="chest-imagenome is not set"):
        load_training("mimic-cxr", "train", mimic.roots, variant="imagenome")
