"""How fast a training step is: seconds, tokens, operations counted on the step that really runs.

    python -m lofi.speed lofi-paper --peak 989e12      # random weights, one GPU, its bf16 peak
    python -m lofi.speed lofi-tiny --device cpu

Utilization = operations of the step that runs / seconds / peak; what activation checkpointing
computes twice is counted twice (hardware utilization, Chowdhery et al. 2022, arXiv 2204.02311,
appendix B).
"""

import json
import time
from contextlib import AbstractContextManager
from typing import Any

import click
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, SiglipConfig, SiglipModel

from lofi.build import adapt, build
from lofi.config import LofiConfig, read_preset
from lofi.data import Batch, Batches, Studies, Study
from lofi.model import LofiModel
from lofi.prompt import train_tokenizer
from lofi.schedule import optimizer_of
from lofi.step import backward

# google/siglip2-so400m-patch16-512 and google/gemma-3-270m-it, as their config.json has them.
SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
}
GEMMA_270M = {
    "vocab_size": 262144,
    "hidden_size": 640,
    "intermediate_size": 2048,
    "num_hidden_layers": 18,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "sliding_window": 512,
}
REPORT = "There is a small left effusion. The heart is enlarged. No pneumothorax is seen. " * 3
PHRASE = "small left effusion in the lower zone"


def random_model(config: LofiConfig) -> LofiModel:
    """A preset's model; the published parts of `lofi-paper` in their sizes with random weights."""
    if not config.towers.pretrained:
        return build(config, [REPORT, PHRASE])
    tokenizer = train_tokenizer([REPORT, PHRASE], config.data.vocabulary)
    sizes = {"image_size": config.towers.image_size, "patch_size": config.towers.patch_size}
    text = {**SO400M, "vocab_size": 256000, "max_position_embeddings": config.towers.max_tokens}
    towers = SiglipModel(SiglipConfig(vision_config={**SO400M, **sizes}, text_config=text))
    kinds = ["full_attention" if n % 6 == 5 else "sliding_attention" for n in range(18)]
    decoder = Gemma3ForCausalLM(Gemma3TextConfig(**GEMMA_270M, layer_types=kinds))
    model = LofiModel(config, towers, decoder, tokenizer=tokenizer, text_tokenizer=tokenizer)
    return adapt(model)


def made_up_batches(model: LofiModel) -> Batches:
    """Batches of noise with one report and one boxed phrase per image."""
    config = model.config
    size = model.towers.config.vision_config.image_size
    count = config.training.batch_size
    squares = np.random.default_rng(0).integers(0, 255, (count, size, size)).astype(np.uint8)
    box = np.float32([[0.5, 0.5, 0.8, 0.9]])
    items = tuple(
        Study(f"s{n}", f"p{n}", REPORT, (REPORT[:80],), ((PHRASE, box),)) for n in range(count)
    )
    return Batches(
        Studies(squares, items), config, tokenizers=(model.prompts, model.text_tokenizer)
    )


def measure(model: LofiModel, *, device: str, steps: int, peak: float = 0.0) -> dict[str, Any]:
    """Seconds, samples, decoder tokens and operations of whole steps, the optimizer's included.

    `mfu` only where a `peak` (operations per second) is given.
    """
    training = model.config.training
    model.to(device).train()
    if training.activation_checkpointing:
        from lofi.train import _checkpoint_activations

        _checkpoint_activations(model)
    batches, optimizer = made_up_batches(model), optimizer_of(model, training)
    batch = batches(0).to(device)
    step = lambda: _step(model, batch, optimizer, device)  # noqa: E731
    with FlopCounterMode(display=False) as counter:
        step()
    run = counter.get_total_flops()
    step()  # a second warm-up: the first one was slowed by counting
    seconds = _seconds(step, steps, device)
    making = _seconds(lambda: batches(0), steps, "cpu")
    tokens = sum(int(rows.sequences.ids.numel()) for rows in batch.rows.values())
    tokens += sum(len(rows.image) for rows in batch.rows.values()) * model.config.tokens.count
    out = {
        "preset": model.config.name,
        "parameters": sum(value.numel() for value in model.parameters()),
        "batch_size": training.batch_size,
        "micro_batch": training.micro_batch,
        "seconds_per_step": seconds,
        "seconds_per_batch": making,  # of input; a thread makes it while the step before runs
        "samples_per_second": training.batch_size / seconds,
        "decoder_tokens_per_second": tokens / seconds,
        "flops_per_step": run,
        "flops_per_second": run / seconds,
    }
    if peak:
        out["mfu"] = run / seconds / peak
    if device != "cpu":
        out["memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return out


def _step(model: LofiModel, batch: Batch, optimizer: torch.optim.Optimizer, device: str) -> None:
    half = model.config.training.precision == "bfloat16"

    def autocast() -> AbstractContextManager[Any]:
        return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=half)

    backward(model, batch, weights=model.config.losses.model_dump(), autocast=autocast)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _seconds(step: Any, steps: int, device: str) -> float:
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    wait()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return (time.perf_counter() - started) / steps


@click.command()
@click.argument("preset")
@click.option("--device", default="cuda", show_default=True)
@click.option("--steps", default=10, show_default=True)
@click.option("--peak", default=0.0, help="Operations per second of the chip, for `mfu`.")
@click.option("--batch-size", type=int, help="Instead of the preset's.")
@click.option("--micro-batch", type=int, help="Instead of the preset's.")
def main(
    preset: str,
    device: str,
    steps: int,
    peak: float,
    batch_size: int | None,
    micro_batch: int | None,
) -> None:
    """Measure training steps of PRESET with random weights and print them as JSON."""
    changes = {"training.batch_size": batch_size, "training.micro_batch": micro_batch}
    given = {key: value for key, value in changes.items() if value is not None}
    model = random_model(read_preset(preset, given))
    click.echo(json.dumps(measure(model, device=device, steps=steps, peak=peak), indent=1))


if __name__ == "__main__":
    main()
