"""A reference worker for `baselines.external`: copy it into a model's own environment.

It needs the standard library, and numpy for embeddings, scores and maps. Replace `CentreBox` by
your model, then

    export BENCH_WORKER_MY_MODEL="/path/to/environment/bin/python /path/to/worker.py"

and name a card of family `external` called my-model in a suite. The protocol stands in
`baselines/external.py`. Nothing but answers may be printed to standard output.
"""

import json
import sys
from pathlib import Path


class CentreBox:
    """A model: any of the methods may be left out."""

    def ground(self, image, phrase):
        """Boxes x1, y1, x2, y2 in fractions of the film, or the raw text of an answer.

        Args:
            image: path of an 8-bit picture.
            phrase: what is to be located.

        Returns:
            A dictionary with `boxes` (and `scores`), with `text` for the card's codec, or with
            `map`: rows of numbers over the frame of the card's `coordinates`, NaN where the model
            did not look. With `complete` False, if generation was cut at its limit of tokens, the
            answer is malformed.
        """
        del image, phrase
        return {"boxes": [[0.25, 0.25, 0.75, 0.75]], "scores": [0.5]}

    def embed_image(self, image):
        """A vector of the image at that path."""
        return [1.0, float(Path(image).stat().st_size % 7)]

    def embed_text(self, text):
        """A vector of the text."""
        return [1.0, float(len(text) % 7)]

    def score(self, images, texts):
        """A row of scores per image, one for each text; for models without vectors."""
        return [[float(len(text) % 7) for text in texts] for _ in images]


def answer(model, request):
    """The model's answer to one request; what it raises becomes an error for this item alone."""
    task = request["task"]
    try:
        if task == "ground":
            return {"id": request["id"], **model.ground(request["image"], request["phrase"])}
        if task == "embed_image":
            return {"id": request["id"], "vector": model.embed_image(request["image"])}
        if task == "score":
            return {"id": request["id"], "pairs": model.score(request["images"], request["texts"])}
        return {"id": request["id"], "vector": model.embed_text(request["text"])}
    except Exception as error:
        return {"id": request["id"], "error": f"{type(error).__name__}: {error}"}


def write_answers(file, answers):
    """Answers beside their requests: JSON lines, or an npz for numbers; returns the path."""
    good = [one for one in answers if "vector" in one]
    pairs = [one["pairs"] for one in answers if "pairs" in one]
    if pairs:
        return write_arrays(file.with_suffix(".answers.npz"), scores=pairs[0])
    if good:
        found = {"ids": [one["id"] for one in good], "vectors": [one["vector"] for one in good]}
        return write_arrays(file.with_suffix(".answers.npz"), **found)
    maps = {one["id"]: one["map"] for one in answers if one.get("map") is not None}
    if maps:
        write_arrays(file.with_suffix(".maps.npz"), **maps)
        answers = [{**one, "map": one["id"]} if one["id"] in maps else one for one in answers]
    target = file.with_suffix(".answers.jsonl")
    target.write_text("".join(json.dumps(one) + "\n" for one in answers), encoding="utf-8")
    return target


def write_arrays(target, **arrays):
    """An npz of the arrays, numbers as float32; returns the path."""
    import numpy

    numbers = {
        name: numpy.asarray(values, None if name == "ids" else "float32")
        for name, values in arrays.items()
    }
    numpy.savez(target, **numbers)
    return target


def serve(model):
    """Answer batches until standard input closes."""
    for line in sys.stdin:
        file = Path(line.strip())
        requests = [json.loads(row) for row in file.read_text(encoding="utf-8").splitlines() if row]
        print(write_answers(file, [answer(model, request) for request in requests]), flush=True)


if __name__ == "__main__":
    serve(CentreBox())
