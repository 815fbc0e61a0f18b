"""What peers get wrong: NaN, constant models, repeated reports, K beyond the pool."""

import numpy as np
import pytest

from harness.metrics.metric import value
from harness.metrics.pool import CONVENTIONS, pool_of
from harness.metrics.ranking import Embeddings, rank_pairs
from harness.metrics.retrieval import DIRECTIONS, RETRIEVAL_METRICS


def blocks(scores):
    return lambda rows: scores[rows]


@pytest.mark.parametrize(("n", "d"), [(2, 5), (7, 512), (63, 16), (65, 512), (1025, 8), (2100, 33)])
def test_a_collapsed_model_is_last_everywhere(n, d, plain_pool):
    pool = plain_pool(n)
    rng = np.random.default_rng(n)
    one, two = rng.normal(size=(2, d)).astype(np.float32)
    source = Embeddings(np.tile(one, (n, 1)), np.tile(two, (n, 1)))
    for outcomes in rank_pairs(pool, source).values():
        assert (outcomes.ranks == n).all()
        assert outcomes.tied.all()
        assert value(RETRIEVAL_METRICS["recall@1"], outcomes.under("instance")) == 0
        assert value(RETRIEVAL_METRICS["tied_queries"], outcomes.under("instance")) == 1


def test_a_collapsed_image_tower_gains_nothing_although_texts_differ(plain_pool):
    rng = np.random.default_rng(0)
    pool = plain_pool(500)
    source = Embeddings(np.tile(rng.normal(size=16), (500, 1)), rng.normal(size=(500, 16)))
    found = rank_pairs(pool, source)
    assert (found["text_to_image"].ranks == 500).all()


def test_a_perfect_model_reaches_one_although_reports_repeat(plain_pool):
    # 100 of 1000 reports identical: peers stop at 0.901 (one of the hundred is first).
    n = 1000
    pool = plain_pool(n, ["normal"] * 100 + [str(i) for i in range(900)])
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(pool.texts, 64)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    found = rank_pairs(pool, Embeddings(texts[pool.text], texts))
    for direction in DIRECTIONS:
        for convention in ("same_text", "unique_text"):
            queries = found[direction].under(convention)
            assert value(RETRIEVAL_METRICS["recall@1"], queries) == 1, (direction, convention)
            assert value(RETRIEVAL_METRICS["ndcg@10"], queries) == pytest.approx(1, abs=1e-12)
        assert value(RETRIEVAL_METRICS["recall@1"], found[direction].under("instance")) == 0.9


def test_scores_that_are_the_relevance_itself_give_one_everywhere(random_pool):
    # One column per asked row, so that texts of one wording can be told apart.
    pool = random_pool(80, 2)
    apart = np.full(len(pool.text), -1)
    apart[pool.queries] = np.arange(len(pool.queries))
    apart_pool = type(pool)(pool.study, pool.patient, pool.group, apart, pool.asked)
    asked = pool.queries
    scores = (pool.group[:, None] == pool.group[asked]).astype(float)
    scores[pool.study[:, None] == pool.study[asked]] = 2
    scores[asked, np.arange(len(asked))] = 3
    for outcomes in rank_pairs(apart_pool, blocks(scores)).values():
        assert (outcomes.ranks == 1).all()
        for convention in CONVENTIONS:
            queries = outcomes.under(convention)
            assert value(RETRIEVAL_METRICS["ndcg@10"], queries) == pytest.approx(1, abs=1e-12)


def test_nan_and_infinity_are_refused_with_side_and_number(plain_pool):
    pool = plain_pool(5)
    images, texts = np.eye(5), np.eye(5)
    images[1] = np.nan
    images[3, 0] = np.inf
    with pytest.raises(ValueError, match="image embeddings: 2 of 5 rows hold NaN or infinity"):
        rank_pairs(pool, Embeddings(images, texts))
    texts[0, 0] = -np.inf
    with pytest.raises(ValueError, match="text embeddings: 1 of 5 rows"):
        rank_pairs(pool, Embeddings(np.eye(5), texts))
    with pytest.raises(ValueError, match=r"scores of images 0\.\.4: 2 of 5 rows"):
        rank_pairs(pool, blocks(images))


def test_a_model_of_only_nan_is_refused(plain_pool):
    # Peers report anything from 0.001 to 1.000 here.
    with pytest.raises(ValueError, match="1000 of 1000 rows"):
        rank_pairs(plain_pool(1000), Embeddings(np.full((1000, 4), np.nan), np.ones((1000, 4))))


def test_shapes_that_do_not_fit_the_pool_are_refused(plain_pool):
    with pytest.raises(ValueError, match=r"image embeddings: shape \(4, 2\), expected \(5, 2\)"):
        rank_pairs(plain_pool(5), Embeddings(np.ones((4, 2)), np.ones((5, 2))))
    with pytest.raises(ValueError, match="text embeddings: shape"):
        rank_pairs(plain_pool(5), Embeddings(np.ones((5, 2)), np.ones((5, 3))))
    with pytest.raises(ValueError, match="scores of images"):
        rank_pairs(plain_pool(5), lambda _: np.ones((5, 4)))


def test_a_pool_that_asks_nothing_gives_no_queries():
    pool, _ = pool_of(studies=["a"], patients=["a"], texts=[""], asked=[False])
    found = rank_pairs(pool, Embeddings(np.ones((1, 3)), np.zeros((0, 3))))
    assert [len(found[direction].ranks) for direction in DIRECTIONS] == [0, 0]
    empty, _ = pool_of(studies=[], patients=[], texts=[])
    found = rank_pairs(empty, Embeddings(np.zeros((0, 3)), np.zeros((0, 3))))
    assert np.isnan(value(RETRIEVAL_METRICS["recall@1"], found[DIRECTIONS[0]].under("instance")))


def test_one_pair_is_found_and_k_beyond_the_pool_is_one(plain_pool):
    queries = rank_pairs(plain_pool(1), blocks(np.ones((1, 1))))["image_to_text"].under("instance")
    assert [value(RETRIEVAL_METRICS[f"recall@{k}"], queries) for k in (1, 40)] == [1, 1]
    queries = rank_pairs(plain_pool(3), blocks(np.zeros((3, 3))))["image_to_text"].under("instance")
    assert [value(RETRIEVAL_METRICS[f"recall@{k}"], queries) for k in (1, 5)] == [0, 1]


def test_labels_of_a_collapsed_model_score_nothing(random_pool):
    pool = random_pool(200, 8)
    found = rank_pairs(pool, blocks(np.zeros((200, pool.texts))))
    hits = found["text_to_image"].label_hits
    assert np.nanmax(hits) == 0
