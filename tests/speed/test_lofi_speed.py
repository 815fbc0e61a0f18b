"""What LoFi's step costs beside the bare passes of its parts; the sigmoid loss in blocks.

`OMP_NUM_THREADS=1 pytest tests/speed/test_lofi_speed.py -m speed -s`. Processor seconds, best of
alternating rounds. The peer of the step computes the same networks on the same tensors and sums
their outputs: no losses, no masks, no batches made, no optimizer.
"""

import os
import subprocess
import sys
import time
from contextlib import nullcontext

import pytest
import torch

from lofi.config import read_preset
from lofi.losses import Images, Texts, sigmoid_loss
from lofi.speed import made_up_batches, random_model
from lofi.step import backward

ROUNDS = 4


def bare(model, batch) -> None:
    towers, decoder = model.towers, model.decoder
    vision = towers.vision_model(pixel_values=batch.pixels)
    text = towers.text_model(input_ids=batch.texts).pooler_output
    tokens = model.projection(model.pooling(_pooled(model, vision.last_hidden_state)))
    total = vision.pooler_output.sum() + text.sum()
    head = decoder.get_input_embeddings()(model.prompts.head)[None]
    for rows in batch.rows.values():
        prompt = decoder.get_input_embeddings()(rows.sequences.ids)
        given = torch.cat([head.expand(len(prompt), -1, -1), tokens[rows.image], prompt], dim=1)
        hidden = decoder.model(inputs_embeds=given, use_cache=False).last_hidden_state
        answer = hidden[:, -prompt.shape[1] :][rows.sequences.labels >= 0]
        total = total + decoder.lm_head(answer).sum()
    total.backward()


def _pooled(model, patches):
    from lofi.pooling import pool_grid

    return pool_grid(patches, model.config.tokens.pool)


@pytest.mark.speed
def test_a_step_costs_at_most_115_percent_of_the_bare_passes_of_its_parts():
    model = random_model(read_preset("lofi-tiny"))
    batches = made_up_batches(model)
    weights = model.config.losses.model_dump()
    seconds: dict[str, list[float]] = {"bare": [], "step": []}
    for number in range(ROUNDS):
        started = time.process_time()
        bare(model, batches(number))
        seconds["bare"].append(time.process_time() - started)
        started = time.process_time()
        backward(model, batches(number), weights=weights, autocast=nullcontext)
        seconds["step"].append(time.process_time() - started)
    ratio = min(seconds["step"]) / min(seconds["bare"])
    print(f"bare {min(seconds['bare']):.2f} s, step {ratio:.2f} times that")
    assert ratio <= 1.15


PAIRS = """
import resource, sys, time, torch
sys.path[:0] = {path!r}
from tests.speed.test_lofi_speed import loss_of
loss_of(64, 16)  # what torch itself needs at its first use is nobody's matrix
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.process_time()
loss_of(int(sys.argv[1]), int(sys.argv[2]))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(time.process_time() - started, (after - before) / 1024)
"""


def loss_of(count: int, chunk: int, width: int = 128) -> float:
    """The loss of so many pairs and its gradient."""
    draw = torch.Generator().manual_seed(0)
    image, text = (
        torch.nn.functional.normalize(torch.randn(count, width, generator=draw), dim=-1)
        for _ in range(2)
    )
    row = torch.arange(count)
    keys = row % (count // 3)  # a third of the texts, each said three times
    scale, bias = torch.tensor(10.0, requires_grad=True), torch.tensor(-10.0, requires_grad=True)
    value = sigmoid_loss(
        Images(image.requires_grad_(), row, row, keys[:, None]),
        Texts(text.requires_grad_(), row, row, keys),
        scale=scale,
        bias=bias,
        chunk=chunk,
    )
    value.backward()
    return float(value.detach())


def cost(count: int, chunk: int) -> tuple[float, float]:
    """Processor seconds and MiB above what the process held before."""
    code = PAIRS.format(path=[entry for entry in sys.path if entry])
    # What is freed goes back at once, so that the peak is what is needed at a time.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(count), str(chunk)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, memory = map(float, done.stdout.split())
    return seconds, memory


@pytest.mark.speed
def test_blocks_need_a_fraction_of_the_memory_of_the_whole_matrix():
    whole, blocks = cost(8192, 0), cost(8192, 512)
    large = cost(32768, 512)
    print(f"8,192 pairs: whole {whole[0]:.1f} s {whole[1]:.0f} MiB, blocks of 512 {blocks}")
    print(f"32,768 pairs: blocks of 512 {large[0]:.1f} s {large[1]:.0f} MiB")
    assert blocks[1] < whole[1] / 4
    assert blocks[0] < whole[0] * 1.5
    assert large[1] < 16 * whole[1] / 8
