"""The model: pooling equals separate heads, directories round-trip, adapters freeze the rest."""

import json

import numpy as np
import pytest
import torch
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from harness.errors import BenchError
from lofi.checkpoint import from_pretrained, save_pretrained
from lofi.config import preset_names, read_preset
from lofi.generate import answer
from lofi.location import REPORT_PROMPT, grounding_prompt
from lofi.pooling import AttentionPooling, pool_grid
from lofi.validate import pixels_of
from tests.lofi.conftest import make, studies_for


def test_the_batched_heads_are_so_many_separate_siglip_heads():
    torch.manual_seed(0)
    settings = SiglipVisionConfig(
        hidden_size=16, num_attention_heads=4, intermediate_size=8, layer_norm_eps=1e-6
    )
    heads = [SiglipMultiheadAttentionPoolingHead(settings) for _ in range(5)]
    for head in heads:
        torch.nn.init.normal_(head.attention.in_proj_bias)
        torch.nn.init.normal_(head.layernorm.weight)
    batched = AttentionPooling(16, 4, mlp=8, count=5, independent=True)
    with torch.no_grad():
        for k, head in enumerate(heads):
            copy_head(batched, k, head)
    patches = torch.randn(3, 9, 16)
    expected = torch.stack([head(patches) for head in heads], dim=1)
    assert torch.allclose(batched(patches), expected, atol=1e-5)


def copy_head(batched: AttentionPooling, k: int, head: SiglipMultiheadAttentionPoolingHead) -> None:
    batched.probe[k] = head.probe[0, 0]
    batched.in_weight[k] = head.attention.in_proj_weight.view(3, 16, 16)
    batched.in_bias[k] = head.attention.in_proj_bias.view(3, 16)
    batched.out_weight[k] = head.attention.out_proj.weight
    batched.out_bias[k] = head.attention.out_proj.bias
    batched.norm_weight[k] = head.layernorm.weight
    batched.norm_bias[k] = head.layernorm.bias
    batched.fc1_weight[k] = head.mlp.fc1.weight
    batched.fc1_bias[k] = head.mlp.fc1.bias
    batched.fc2_weight[k] = head.mlp.fc2.weight
    batched.fc2_bias[k] = head.mlp.fc2.bias


def test_probes_of_one_head_are_independent_heads_with_equal_weights():
    torch.manual_seed(0)
    shared = AttentionPooling(8, 2, mlp=4, count=3, independent=False)
    apart = AttentionPooling(8, 2, mlp=4, count=3, independent=True)
    with torch.no_grad():
        for name, value in shared.named_parameters():
            getattr(apart, name).copy_(value.expand_as(getattr(apart, name)))
    patches = torch.randn(2, 5, 8)
    assert torch.allclose(shared(patches), apart(patches), atol=1e-6)


def test_the_grid_is_pooled_over_squares_of_neighbours():
    grid = torch.arange(16.0).reshape(1, 16, 1)  # a 4 x 4 grid, rows first
    assert pool_grid(grid, 2)[0, :, 0].tolist() == [2.5, 4.5, 10.5, 12.5]
    with pytest.raises(ValueError, match="grid of 15"):
        pool_grid(torch.zeros(1, 15, 1), 2)


def test_image_vectors_are_not_scaled_and_text_is():
    model = make()
    tokens = torch.randn(2, 4, 32)
    prefix = model.prefix(model.prompts.head, tokens)
    assert torch.equal(prefix[:, -4:], tokens)
    raw = model.decoder.model.embed_tokens.weight[model.prompts.head]
    assert torch.allclose(prefix[0, :-4], raw * 32**0.5, atol=1e-5)


def test_an_answer_does_not_depend_on_the_batch_it_is_in():
    model = make().eval()
    studies = studies_for(model, 6)
    tokens = model.image_tokens(model.patches(pixels_of(model, studies.squares)))
    questions = [grounding_prompt("Nodule"), REPORT_PROMPT] * 3
    whole = answer(model, tokens, questions=questions, limit=12)
    single = [
        answer(model, tokens[row : row + 1], questions=[question], limit=12)[0]
        for row, question in enumerate(questions)
    ]
    assert whole == single


def test_cached_decoding_is_decoding_without_a_cache():
    model = make().eval()
    studies = studies_for(model, 2)
    tokens = model.image_tokens(model.patches(pixels_of(model, studies.squares)))
    written = answer(model, tokens[:1], questions=[REPORT_PROMPT], limit=10)[0][0]
    ids = model.prompts.question(REPORT_PROMPT)
    out = []
    for _ in range(10):
        prefix = model.prefix(model.prompts.head, tokens[:1])
        text = model.decoder.get_input_embeddings()(torch.tensor([ids + out]))
        hidden = model.decoder.model(inputs_embeds=torch.cat([prefix, text], 1)).last_hidden_state
        out.append(int(model.decoder.lm_head(hidden[:, -1]).argmax()))
        if out[-1] in model.prompts.stop:
            break
    assert written == model.prompts.text(out)


def test_the_training_sequence_asks_for_each_answer_token_from_the_one_before():
    model = make()
    sequences = model.prompts.training([("Describe the image.", "Left nodule.")])
    question = model.prompts.question("Describe the image.")
    kept = sequences.labels[0] != -100
    assert model.prompts.text(sequences.labels[0][kept].tolist()) == "left nodule."
    first = int(kept.nonzero()[0])
    assert first == len(question) - 1
    assert sequences.ids[0, first + 1] == sequences.labels[0, first]


def test_a_directory_comes_back_as_the_same_model(tmp_path):
    model = make().eval()
    model.save_pretrained(tmp_path / "m", record={"step": 3})
    again = type(model).from_pretrained(tmp_path / "m")
    studies = studies_for(model, 3)
    pixels = pixels_of(model, studies.squares)
    with torch.no_grad():
        assert torch.equal(model.embed_images(pixels)[0], again.embed_images(pixels)[0])
    assert again.config == model.config
    assert json.loads((tmp_path / "m" / "training.json").read_text()) == {"step": 3}
    assert again.decoder.lm_head.weight is again.decoder.model.embed_tokens.weight


def test_a_checkpoint_of_other_shapes_is_refused_by_the_keys_that_differ(tmp_path):
    model = make()
    save_pretrained(model, tmp_path / "m")
    file = tmp_path / "m" / "config.json"
    stored = json.loads(file.read_text())
    stored["settings"]["tokens"]["count"] = 9
    file.write_text(json.dumps(stored))
    with pytest.raises(BenchError, match=r"pooling.probe has shape \(4, 32\), expected \(9, 32\)"):
        from_pretrained(tmp_path / "m")


def test_a_folder_that_is_no_model_says_so(tmp_path):
    with pytest.raises(BenchError, match=r"no config\.json"):
        from_pretrained(tmp_path)


def test_with_adapters_only_adapters_heads_scale_and_decoder_queries_are_trained():
    model = make(adapters={"encoder_rank": 2, "decoder_rank": 1})
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    towers = {name for name in trained if name.startswith("towers")}
    assert "towers.logit_scale" in towers
    assert "towers.logit_bias" in towers
    rest = towers - {"towers.logit_scale", "towers.logit_bias"}
    assert all("lora_" in name or "head" in name for name in rest)
    assert any("text_model" in name and "lora_A" in name for name in rest)
    assert any("vision_model.head" in name for name in rest)
    decoder = {name for name in trained if name.startswith("decoder")}
    assert all("q_proj.lora_" in name or "v_proj.lora_" in name for name in decoder)
    assert any(name.startswith("pooling") for name in trained)


def test_a_model_with_adapters_round_trips(tmp_path):
    model = make(adapters={"encoder_rank": 2, "decoder_rank": 1}).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.normal_()
    model.save_pretrained(tmp_path / "m")
    again = type(model).from_pretrained(tmp_path / "m")
    pixels = pixels_of(model, studies_for(model, 2).squares)
    with torch.no_grad():
        assert torch.equal(model.embed_images(pixels)[0], again.embed_images(pixels)[0])


def test_a_text_keeps_its_words_whatever_its_characters():
    model = make()
    for text in ("Small left effusion.", "naïve Ærøskøbing 37 µm", 'a "quoted" [1,2] thing'):
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert model.tokenizer.decode(ids) == text.lower()


def test_digits_are_single_tokens_and_the_template_costs_little():
    model = make()
    ids = model.tokenizer("```\n[[123,45,678,900]]\n```", add_special_tokens=False)["input_ids"]
    assert len(ids) == 2 + 11 + 3  # fences with brackets, digits, commas


@pytest.mark.parametrize("name", preset_names())
def test_each_preset_is_valid(name):
    assert read_preset(name).name == name


def test_tiny_presets_have_at_most_five_million_parameters():
    from lofi.build import build

    for name in ("lofi-tiny", "siglip-tiny", "ground-only", "lofi-tiny-region"):
        model = build(read_preset(name), ["left effusion"] * 3)
        room = 2048 * 128 * 2  # the largest vocabulary the settings allow
        assert sum(value.numel() for value in model.parameters()) + room <= 5_000_000


def test_an_unknown_key_is_answered_with_the_nearest_known_one():
    with pytest.raises(BenchError, match="Did you mean 'learning_rate'"):
        read_preset("lofi-tiny", {"training.learning_rat": 1})
    with pytest.raises(BenchError, match="Did you mean 'lofi-tiny'"):
        read_preset("lofi-tyny")
    with pytest.raises(BenchError, match="nothing to train"):
        read_preset("siglip-tiny", {"losses.sigmoid": 0})


def test_arms_leave_one_loss_out():
    weights = read_preset("lofi-tiny").losses
    assert weights.without("location").active() == ("sigmoid", "captioning")
    assert "dense_captioning" not in weights.without("dense-captioning").active()
    with pytest.raises(BenchError, match="Did you mean 'sigmoid'"):
        weights.without("sigmod")


def test_position_codes_tell_all_places_apart():
    from lofi.pooling import position_codes

    codes = position_codes(8, 32)
    distance = torch.cdist(codes, codes) + 99 * torch.eye(64)
    assert float(distance.min()) > 0.1


def test_probes_that_start_at_places_look_there():
    model = make(tokens={"spatial_start": True, "count": 16}, towers={"hidden_size": 32})
    codes = model.towers.vision_model.embeddings.position_embedding.weight[None]
    pooled = torch.nn.functional.layer_norm(pool_grid(codes, 2), (32,))
    pooling = model.pooling
    scores = torch.einsum("kd,npd->nkp", pooling.probe, pooled)[0]
    assert np.array_equal(scores.argmax(1).numpy(), np.arange(16))


def test_heads_of_the_image_embedding_start_at_their_own_parts_of_the_picture():
    size = {"hidden_size": 32, "heads": 4, "image_size": 32, "patch_size": 4}
    model = make(tokens={"spatial_start": True, "count": 16}, towers=size)
    vision = model.towers.vision_model
    places = vision.post_layernorm(vision.embeddings.position_embedding.weight[None])
    with torch.no_grad():
        _, seen = vision.head.attention(
            vision.head.probe, places, places, average_attn_weights=False
        )
    maps = seen[0, :, 0].unflatten(-1, (8, 8))
    left, top = maps[..., :4].sum((1, 2)), maps[:, :4].sum((1, 2))
    assert (left > 0.6).tolist() == [True, False, True, False]
    assert (top > 0.6).tolist() == [True, True, False, False]
