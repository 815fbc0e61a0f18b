"""The sigmoid loss against a naive loop, open_clip and finite differences; answers by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from lofi.losses import IGNORED, Images, Texts, answer_loss, pair_weights, sigmoid_loss, total_loss

DUPLICATES = ("row-weighted", "mask", "full", "diagonal")


def make(n: int = 12, studies: int = 5, keys: int = 4, dtype=torch.float64, seed: int = 0):
    """Random rows in which studies and texts repeat."""
    draw = torch.Generator().manual_seed(seed)
    features = F.normalize(torch.randn(2, n, 6, generator=draw, dtype=dtype), dim=-1)
    study = torch.randint(0, studies, (n,), generator=draw)
    key = torch.randint(0, keys, (n,), generator=draw)
    # What a study says is the same for all its images: the texts drawn for any of them.
    known = torch.full((n, n), -1)
    for row in range(n):
        own = torch.unique(key[study == study[row]])
        known[row, : len(own)] = own
    row = torch.arange(n)
    images = Images(features[0], row, study, known)
    return images, Texts(features[1], row, study, key)


def naive(images: Images, texts: Texts, scale: float, bias: float, duplicates: str) -> float:
    total = 0.0
    n = len(images.row)
    for i in range(n):
        known = set(images.texts[i].tolist()) - {-1}
        positives = [
            j
            for j in range(n)
            if texts.study[j] == images.study[i] or int(texts.key[j]) in known or i == j
        ]
        for j in range(n):
            logit = scale * float(images.features[i] @ texts.features[j]) + bias
            as_positive = math.log1p(math.exp(-logit))
            as_negative = math.log1p(math.exp(logit))
            if duplicates == "diagonal":
                total += as_positive if i == j else as_negative
            elif j not in positives:
                total += as_negative
            elif duplicates == "full":
                total += as_positive
            elif duplicates == "row-weighted":
                total += as_positive / len(positives)
            elif i == j:
                total += as_positive
    return total / n


@pytest.mark.parametrize("duplicates", DUPLICATES)
@pytest.mark.parametrize("chunk", [0, 1, 5, 12, 100])
def test_the_sigmoid_loss_is_the_naive_double_loop(duplicates, chunk):
    images, texts = make()
    scale, bias = torch.tensor(3.0), torch.tensor(-1.5)
    found = sigmoid_loss(images, texts, scale=scale, bias=bias, duplicates=duplicates, chunk=chunk)
    assert float(found) == pytest.approx(naive(images, texts, 3.0, -1.5, duplicates), abs=1e-5)


@pytest.mark.parametrize("duplicates", DUPLICATES)
def test_with_one_positive_per_row_it_is_open_clips_siglip_loss(duplicates):
    from open_clip.loss import SigLipLoss

    draw = torch.Generator().manual_seed(1)
    image, text = F.normalize(torch.randn(2, 9, 16, generator=draw), dim=-1)
    row = torch.arange(9)
    scale, bias = torch.tensor(10.0), torch.tensor(-10.0)
    found = sigmoid_loss(
        Images(image, row, row, row[:, None]),
        Texts(text, row, row, row),
        scale=scale,
        bias=bias,
        duplicates=duplicates,
        chunk=4,
    )
    expected = SigLipLoss()(image, text, scale, bias)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("chunk", [0, 5])
def test_its_gradient_is_that_of_finite_differences(chunk):
    images, texts = make(7)
    leaves = [images.features.float().clone(), texts.features.float().clone()]
    leaves += [torch.tensor(2.0), torch.tensor(-1.0)]
    for leaf in leaves:
        leaf.requires_grad_()

    def loss() -> torch.Tensor:
        return sigmoid_loss(
            Images(leaves[0], images.row, images.study, images.texts),
            Texts(leaves[1], texts.row, texts.study, texts.key),
            scale=leaves[2],
            bias=leaves[3],
            chunk=chunk,
        )

    (3 * loss()).backward()
    for leaf in leaves:
        place = tuple(0 for _ in leaf.shape)
        step = 1e-2
        with torch.no_grad():
            leaf[place] += step
            above = float(loss())
            leaf[place] -= 2 * step
            below = float(loss())
            leaf[place] += step
        assert float(leaf.grad[place]) == pytest.approx(3 * (above - below) / (2 * step), abs=2e-3)


def test_a_rows_positive_weights_sum_to_one_and_identical_normals_do_not_drown_it():
    # Six studies, of which five are normal and say the same sentence (key 0).
    row = torch.arange(6)
    key = torch.tensor([0, 0, 0, 0, 0, 7])
    images = Images(torch.eye(6), row, row, key[:, None])
    texts = Texts(torch.eye(6), row, row, key)
    positive, negative = pair_weights(images, texts, "row-weighted")
    assert positive.sum(1).tolist() == pytest.approx([1.0] * 6)
    assert positive[0].tolist() == pytest.approx([0.2] * 5 + [0])
    assert positive[5].tolist() == [0, 0, 0, 0, 0, 1]
    assert negative[0].tolist() == [0, 0, 0, 0, 0, 1]


def test_a_text_that_another_study_says_elsewhere_is_positive_for_it():
    # Study 0 was drawn with key 1, but among its texts is also key 2, drawn for study 1.
    row = torch.arange(2)
    images = Images(torch.eye(2), row, row, torch.tensor([[1, 2], [2, -1]]))
    texts = Texts(torch.eye(2), row, row, torch.tensor([1, 2]))
    positive, negative = pair_weights(images, texts, "full")
    assert positive.tolist() == [[1, 1], [0, 1]]
    assert negative.tolist() == [[0, 0], [1, 0]]


def test_padding_is_nobodys_text():
    row = torch.arange(2)
    images = Images(torch.eye(2), row, row, torch.full((2, 3), -1))
    texts = Texts(torch.eye(2), row, row, torch.tensor([-1, -1]))
    assert pair_weights(images, texts, "full")[0].tolist() == [[1, 0], [0, 1]]


def test_two_images_of_one_study_are_positives_of_each_others_texts():
    row = torch.arange(2)
    images = Images(torch.eye(2), row, torch.tensor([4, 4]), torch.tensor([[0], [1]]))
    texts = Texts(torch.eye(2), row, torch.tensor([4, 4]), torch.tensor([0, 1]))
    assert pair_weights(images, texts, "row-weighted")[0].tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert pair_weights(images, texts, "diagonal")[0].tolist() == [[1, 0], [0, 1]]


def test_answers_are_averaged_over_the_answers_tokens_only():
    logits = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]))
    labels = torch.tensor([0, 1, IGNORED])
    expected = -(math.log(0.5) + math.log(0.75)) / 2
    assert float(answer_loss(logits, labels)) == pytest.approx(expected)


def test_token_weights_are_relative():
    logits = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    found = answer_loss(logits, torch.tensor([0, 0]), torch.tensor([3.0, 1.0]))
    assert float(found) == pytest.approx(-(3 * math.log(0.5) + math.log(0.25)) / 4)


def test_a_batch_without_answers_costs_nothing():
    logits = torch.randn(3, 5, requires_grad=True)
    loss = answer_loss(logits, torch.full((3,), IGNORED))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad.abs().sum() == 0


def test_the_total_is_the_weighted_sum_and_mean_mode_halves_location():
    one = {name: torch.tensor(1.0) for name in ("sigmoid", "grounding", "dense_captioning")}
    weights = {"sigmoid": 1.0, "captioning": 5.0, "grounding": 5.0, "dense_captioning": 5.0}
    assert float(total_loss(one, weights)) == 11
    assert float(total_loss(one, weights, "mean")) == 6
    with pytest.raises(ValueError, match="no loss"):
        total_loss({}, weights)


@pytest.mark.parametrize("chunk", [0, 5])
def test_half_precision_around_it_does_not_round_the_logits(chunk):
    images, texts = make(dtype=torch.float32)
    sharp = {"scale": torch.tensor(112.0), "bias": torch.tensor(-16.0), "chunk": chunk}
    exact = sigmoid_loss(images, texts, **sharp)
    with torch.autocast("cpu", torch.bfloat16):
        found = sigmoid_loss(images, texts, **sharp)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(exact), rel=1e-6)
