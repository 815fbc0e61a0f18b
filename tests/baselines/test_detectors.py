"""Detectors: boxes and scores are the library's, in the frame of the film."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import AutoProcessor

from baselines.cards import load
from baselines.hf_detector import Detector
from harness.models import Query

DETECTORS = ["tiny-grounding-dino", "tiny-owlv2"]


@pytest.mark.parametrize("name", DETECTORS)
def test_boxes_and_scores_are_those_of_the_librarys_post_processing(tiny, films, name):
    model: Detector = load("cpu", card=tiny(name))
    processor = AutoProcessor.from_pretrained(tiny(name))
    film = films[1]
    width, height = film.size()
    text = [["left effusion"]] if name == "tiny-owlv2" else "left effusion."
    rgb = PIL.Image.fromarray(film.read()).convert("RGB")
    inputs = processor(images=rgb, text=text, return_tensors="pt")
    with torch.inference_mode():
        outputs = model.model(**inputs)
    found = processor.post_process_grounded_object_detection(
        outputs, threshold=model.rules.threshold, target_sizes=[(height, width)]
    )[0]
    order = np.argsort(-found["scores"].numpy(), kind="stable")
    boxes = found["boxes"].numpy()[order] / [width, height, width, height]
    boxes = boxes.clip(0, 1)
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    answer = model.ground([Query(film, "Left effusion")])[0]
    assert np.allclose(answer.boxes, boxes[kept], atol=1e-5)
    assert np.allclose(answer.scores, found["scores"].numpy()[order][kept], atol=1e-6)


def test_nothing_above_the_threshold_is_an_explicit_none(tiny, films, tmp_path):
    card = Path(tiny("tiny-owlv2"), "card.yaml").read_text()
    (tmp_path / "strict.yaml").write_text(card.replace("threshold: 0.01", "threshold: 1.1"))
    model = load(card=str(tmp_path / "strict.yaml"), path=tiny("tiny-owlv2"))
    answer = model.ground([Query(films[0], "a")])[0]
    assert (answer.status, len(answer.boxes), len(answer.scores)) == ("empty", 0, 0)
