"""Chest ImaGenome 1.0.0 (silver): sentences of reports with anatomical regions, for training.

Layout: ``silver_dataset/scene_graph/<dicom_id>_SceneGraph.json`` or ``silver_dataset/
scene_graph.zip``; ``silver_dataset/splits/images_to_avoid.csv`` names the gold images, which are
left out. Fields read: objects[] with bbox_name and original_x1, original_y1, original_x2,
original_y2 (pixels of the original; they may leave the image or have no area: clipped, dropped);
attributes[] with bbox_name, phrases[] and attributes[] ("category|yes|finding" lists, aligned with
phrases). A phrase's boxes are those of every region that names it, fused; regions without a box
(neck, chest wall, shoulder) give none. Only phrases with a positive finding, disease, tube or
device are kept. Sources: `knowledge/data.md` §1c.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.boxes import Boxes
from harness.datasets.archive import JsonArchive, open_archive
from harness.datasets.files import find_file, read_table
from harness.datasets.fusion import clipped_boxes, fuse_boxes
from harness.errors import BenchError
from harness.roots import how_to_get
from harness.text import tidy

_SIDES = ("original_x1", "original_y1", "original_x2", "original_y2")
_POSITIVE = ("anatomicalfinding|yes|", "disease|yes|", "tubesandlines|yes|", "device|yes|")


@dataclass(frozen=True)
class Scenes:
    """The scene graphs of the silver set; `avoided` are the images of gold patients."""

    archive: JsonArchive
    avoided: frozenset[str]

    def regions(self, image_id: str, width: int, height: int) -> list[tuple[str, Boxes]]:
        """Phrases of an image with their fused boxes as fractions; none if it has no graph.

        Raises:
            BenchError: a field is missing.
        """
        name = f"{image_id}_SceneGraph.json"
        graph = None if image_id in self.avoided else self.archive.read(name)
        if graph is None:
            return []
        try:
            return list(_regions(graph, np.array([width, height, width, height], np.float64)))
        except (KeyError, TypeError, ValueError) as error:
            raise BenchError(
                f"{self.archive.place} {name}: field {error} is missing or of another kind. "
                "Expected Chest ImaGenome 1.0.0."
            ) from error


def open_scenes(roots: Mapping[str, Path]) -> Scenes:
    """The scene graphs below the `chest-imagenome` root.

    Raises:
        BenchError: the root is not set or holds no scene graphs.
    """
    if "chest-imagenome" not in roots:
        raise BenchError(f"chest-imagenome is not set. {how_to_get('chest-imagenome')}")
    top = roots["chest-imagenome"]
    places = [
        top / folder / name
        for folder in ("silver_dataset", ".")
        for name in ("scene_graph", "scene_graph.zip")
    ]
    archive = open_archive(places)
    if archive is None:
        raise BenchError(
            f"chest-imagenome: {top} has no silver_dataset/scene_graph folder or zip. "
            f"{how_to_get('chest-imagenome')}"
        )
    table = find_file(
        top, "silver_dataset/splits/images_to_avoid.csv", "splits/images_to_avoid.csv"
    )
    avoided = frozenset(read_table(table, ("dicom_id",))["dicom_id"]) if table else frozenset()
    return Scenes(archive, avoided)


def _regions(graph: Mapping[str, Any], size: np.ndarray) -> Iterator[tuple[str, Boxes]]:
    boxes = {
        str(item["bbox_name"]): np.array([float(item[side]) for side in _SIDES]) / size
        for item in graph["objects"]
    }
    named: dict[str, list[np.ndarray]] = {}
    for node in graph["attributes"]:
        box = boxes.get(str(node["bbox_name"]))
        for phrase, attributes in zip(node["phrases"], node["attributes"], strict=True):
            positive = any(str(a).startswith(_POSITIVE) for a in attributes)
            if box is not None and positive:
                named.setdefault(tidy(str(phrase)), []).append(box)
    for phrase, found in named.items():
        fused = fuse_boxes(clipped_boxes(np.array(found)))
        if phrase and len(fused):
            yield phrase, fused
