"""A small random checkpoint in the released layout gives the outputs of its own formulas."""

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, SiglipConfig, SiglipModel

from harness.errors import BenchError
from lofi.convert import merge, read_released
from lofi.convert_directory import convert
from lofi.pooling import pool_grid
from lofi.prompt import train_tokenizer
from tests.lofi.test_model import SiglipMultiheadAttentionPoolingHead

WIDTH, INNER, COUNT = 16, 24, 3
RENAMED = {
    "self_attn.q_proj": "att.W_query",
    "self_attn.k_proj": "att.W_key",
    "self_attn.v_proj": "att.W_value",
    "self_attn.o_proj": "att.out_proj",
    "mlp.gate_proj": "ff.fc1",
    "mlp.up_proj": "ff.fc2",
    "mlp.down_proj": "ff.fc3",
    "self_attn.q_norm": "att.q_norm",
    "self_attn.k_norm": "att.k_norm",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return base_models(tmp_path_factory.mktemp("base"))


def base_models(folder):
    """Base models in folders, as a user would have them."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["left effusion"] * 3, 320)
    shared = {"hidden_size": WIDTH, "intermediate_size": 32, "num_attention_heads": 2}
    vision = {"image_size": 32, "patch_size": 8, "num_hidden_layers": 2}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    text = {
        "num_hidden_layers": 1,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 8,
        "projection_size": WIDTH,
        **ids,
    }
    towers = SiglipModel(
        SiglipConfig(vision_config={**shared, **vision}, text_config={**shared, **text})
    )
    decoder = Gemma3ForCausalLM(
        Gemma3TextConfig(
            vocab_size=len(tokenizer),
            hidden_size=INNER,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=8,
            query_pre_attn_scalar=8,
            layer_types=["full_attention"] * 2,
            **ids,
        )
    )
    for name, part in (("encoder", towers), ("decoder", decoder)):
        part.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder, towers, decoder


def released(base, file):
    """A file in the released layout, and the models it stands for with adapters applied."""
    folder, towers, decoder = base
    torch.manual_seed(1)
    state = {}
    for name, value in towers.state_dict().items():
        state[name] = torch.randn_like(value) * 0.1
        if name.endswith("q_proj.weight"):
            stem = name.removesuffix("weight")
            state[stem + "lora_a"] = torch.randn(4, value.shape[1]) * 0.1
            state[stem + "lora_b"] = torch.randn(value.shape[0], 4) * 0.1
    head_settings = towers.config.vision_config
    head_settings.intermediate_size = WIDTH // 4  # as 1152 -> 288 in the released code
    heads = [SiglipMultiheadAttentionPoolingHead(head_settings) for _ in range(COUNT)]
    project = torch.nn.Sequential(
        torch.nn.Linear(WIDTH, INNER), torch.nn.GELU(), torch.nn.Linear(INNER, INNER)
    )
    projection = {
        f"poolings.{k}.{name}": value
        for k, h in enumerate(heads)
        for name, value in h.state_dict().items()
    }
    projection |= {f"projection.{name}": value for name, value in project.state_dict().items()}
    theirs = decoder_names(decoder)
    arguments = {
        "model_name": str(folder / "encoder"),
        "decoder_name": str(folder / "decoder"),
        "lora_r": 4,
        "lora_alpha": 8,
        "pool2x2": True,
        "multimodal_tokens": COUNT,
    }
    stored = {
        "state_dict": state,
        "projection": projection,
        "decoder": theirs,
        "args": arguments,
        "epoch": 3,
    }
    torch.save(stored, file)
    return state, heads, project, theirs


def decoder_names(decoder):
    out = {}
    for name, value in decoder.state_dict().items():
        value = torch.randn_like(value) * 0.1
        if name == "model.embed_tokens.weight":
            out["tok_emb.weight"] = out["out_head.weight"] = value
        elif name == "model.norm.weight":
            out["final_norm.scale"] = value
        elif name.startswith("model.layers."):
            _, _, layer, rest = name.split(".", 3)
            stem, kind = rest.rsplit(".", 1)
            kind = "scale" if "norm" in stem else "weight"
            out[f"blocks.{layer}.{RENAMED.get(stem, stem)}.{kind}"] = value
    return out


def test_a_converted_checkpoint_gives_the_outputs_of_the_released_form(base, tmp_path):
    file = tmp_path / "last.pt"
    state, heads, project, theirs = released(base, file)
    found = convert(file, tmp_path / "out")
    assert found.unmatched == ()
    again = type(found.model).from_pretrained(tmp_path / "out")
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        # The released form: W x + (alpha / r) B A x, one head after the other.
        _, towers, decoder = base
        for name, value in towers.named_parameters():
            low = 0
            stem = name.removesuffix("weight")
            if stem + "lora_a" in state:
                low = (8 / 4) * state[stem + "lora_b"] @ state[stem + "lora_a"]
            value.copy_(state[name] + low)
        patches = towers.vision_model(pixel_values=pixels).last_hidden_state
        pooled = pool_grid(patches, 2)
        expected = project(torch.stack([head(pooled) for head in heads], dim=1))
        assert torch.allclose(again.image_tokens(again.patches(pixels)), expected, atol=1e-5)
        ids = torch.arange(6)[None]
        mine = again.decoder(input_ids=ids).logits
        blocks = {v: k for k, v in RENAMED.items()}
        for name, value in theirs.items():
            target = by_our_name(decoder, name, blocks)
            target.copy_(value)
        assert torch.allclose(mine, decoder(input_ids=ids).logits, atol=1e-5)


def by_our_name(decoder, name, blocks):
    if name in ("tok_emb.weight", "out_head.weight"):
        return decoder.model.embed_tokens.weight
    if name == "final_norm.scale":
        return decoder.model.norm.weight
    _, layer, rest = name.split(".", 2)
    stem, _ = rest.rsplit(".", 1)
    return decoder.get_parameter(f"model.layers.{layer}.{blocks.get(stem, stem)}.weight")


def test_keys_without_a_place_are_listed(base, tmp_path):
    file = tmp_path / "last.pt"
    released(base, file)
    stored = torch.load(file, weights_only=True)
    stored["state_dict"]["vision_model.stranger"] = torch.zeros(2)
    del stored["decoder"]["blocks.1.ff.fc2.weight"]
    torch.save(stored, file)
    found = convert(file, tmp_path / "out")
    assert found.unmatched == (
        "unknown state_dict.vision_model.stranger",
        "missing decoder.model.layers.1.mlp.up_proj.weight",
    )


def test_a_file_with_code_in_it_is_refused(tmp_path):
    class Harm:
        def __reduce__(self):
            return (print, ("harm",))

    torch.save({"state_dict": Harm()}, tmp_path / "bad.pt")
    with pytest.raises(BenchError, match="cannot be read safely"):
        read_released(tmp_path / "bad.pt")


def test_a_file_of_another_layout_is_refused_by_the_parts_it_lacks(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(BenchError, match="no projection, decoder, args"):
        read_released(tmp_path / "other.pt")


def test_adapters_are_merged_with_alpha_over_r():
    tensors = {
        "q.weight": torch.zeros(2, 2),
        "q.lora_a": torch.tensor([[1.0, 2.0]]),
        "q.lora_b": torch.tensor([[3.0], [4.0]]),
    }
    merged, unmatched = merge(tensors, (6, 1), what="decoder")
    assert merged["q.weight"].tolist() == [[18.0, 36.0], [24.0, 48.0]]
    assert unmatched == []
    assert merge({"q.lora_a": torch.zeros(1, 2)}, (1, 1), what="decoder")[1] == ["q.lora_a"]


def changed(base, file, change):
    """A released file with one thing changed in it."""
    released(base, file)
    stored = torch.load(file, weights_only=True)
    change(stored)
    torch.save(stored, file)
    return file


def without(part, *starts):
    def change(stored):
        stored[part] = {k: v for k, v in stored[part].items() if not k.startswith(starts)}

    return change


def put(part, key, value):
    return lambda stored: stored[part].update({key: value})


QUERY = "text_model.encoder.layers.0.self_attn.q_proj"
FAULTS = {
    "no words": (without("decoder", "tok_emb", "out_head"), r"decoder: no tok_emb\.weight"),
    "no heads": (without("projection", "poolings"), r"projection: missing poolings\.0\.probe"),
    "a narrow probe": (
        put("projection", "poolings.1.probe", torch.zeros(1, 1, 5)),
        r"projection\.poolings\.1\.probe: found shape \(1, 1, 5\)\. Expected \(1, 1, 16\)",
    ),
    "a bias not of three": (
        put("projection", "poolings.0.attention.in_proj_bias", torch.zeros(47)),
        r"poolings\.0\.attention\.in_proj_bias: found shape \(47,\)\. Expected \(48,\)",
    ),
    "adapters of another rank": (
        put("state_dict", f"{QUERY}.lora_a", torch.zeros(5, WIDTH)),
        r"state_dict\.text_model.*\.lora_a: found shape \(5, 16\)\. Expected \(4, 16\) for r 4",
    ),
    "adapters of another width": (
        put("state_dict", f"{QUERY}.lora_b", torch.zeros(9, 4)),
        r"state_dict\.text_model.*q_proj\.lora_b: found shape \(9, 4\)\. Expected \(16, 4\)",
    ),
    "args: null": (lambda s: s.update(args=None), "args: found null"),
    "lora_r: null": (put("args", "lora_r", None), r"args\.lora_r: found None"),
    "decoder_lora_alpha: x": (
        put("args", "decoder_lora_alpha", "x"),
        "decoder_lora_alpha: found 'x'",
    ),
    "model_name: null": (put("args", "model_name", None), r"args\.model_name: found None"),
    "a list": (lambda s: s.update(state_dict=[]), "state_dict: found list"),
    "decoder: null": (lambda s: s.update(decoder=None), "decoder: found null"),
    "a number": (put("state_dict", "step", 3), r"state_dict\.step: found int"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_refused_by_its_name_the_key_and_what_was_expected(base, tmp_path, fault):
    change, said = FAULTS[fault]
    file = changed(base, tmp_path / "last.pt", change)
    with pytest.raises(BenchError, match=said) as caught:
        convert(file, tmp_path / "out")
    assert str(caught.value).startswith(f"{file}: ")
    assert "Expected" in str(caught.value)


def test_words_stored_under_the_name_of_the_tied_head_alone_are_enough(base, tmp_path):
    file = changed(base, tmp_path / "last.pt", without("decoder", "tok_emb"))
    assert convert(file, tmp_path / "out").unmatched == ()
