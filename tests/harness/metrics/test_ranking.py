import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import passes, tiles
from harness.metrics.pool import CONVENTIONS, pool_of
from harness.metrics.ranking import Embeddings, rank_pairs
from harness.metrics.retrieval import DEPTHS, DIRECTIONS


def blocks(scores):
    return lambda rows: scores[rows]


def assert_equal_to_naive(pool, scores, found, naive):
    for direction in DIRECTIONS:
        for column, convention in enumerate(CONVENTIONS):
            outcomes = found[direction]
            for query, truth in enumerate(naive[direction](pool, scores, convention)):
                where = (direction, convention, query)
                if truth is None:
                    assert outcomes.ranks[query, column] == 0, where
                    continue
                assert outcomes.ranks[query, column] == truth.rank, where
                assert outcomes.tied[query, column] == truth.tied, where
                assert outcomes.relevant[query, column] == truth.relevant, where
                dcg = [truth.dcg[k] for k in DEPTHS]
                np.testing.assert_allclose(outcomes.dcg[query, column], dcg, atol=1e-12)


def assert_same_outcomes(one, other):
    for direction in DIRECTIONS:
        for name in ("patients", "ranks", "tied", "relevant", "dcg", "label_hits", "top_scores"):
            np.testing.assert_array_equal(
                getattr(one[direction], name), getattr(other[direction], name), err_msg=name
            )


@pytest.mark.parametrize("n", [1, 2, 5, 30, 130])
@pytest.mark.parametrize("levels", [2, 5, 0])
def test_every_rank_equals_a_naive_loop_with_and_without_ties(n, levels, random_pool, naive):
    for seed in range(2):
        pool = random_pool(n, seed)
        rng = np.random.default_rng(seed + 100)
        scores = rng.normal(size=(n, pool.texts))
        if levels:
            scores = rng.integers(0, levels, (n, pool.texts)).astype(float)
        assert_equal_to_naive(pool, scores, rank_pairs(pool, blocks(scores)), naive)


@given(n=st.integers(1, 14), seed=st.integers(0, 10_000), levels=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_small_pools_of_any_shape_equal_the_naive_loop(n, seed, levels, random_pool, naive):
    pool = random_pool(n, seed)
    scores = np.random.default_rng(seed).integers(0, levels, (n, pool.texts)).astype(float)
    assert_equal_to_naive(pool, scores, rank_pairs(pool, blocks(scores)), naive)


@pytest.mark.parametrize("n", [3, 40, 130])
def test_embeddings_whose_products_are_exact_equal_the_naive_loop_ties_included(
    n, random_pool, naive, monkeypatch
):
    monkeypatch.setattr(tiles, "MAX_IMAGES", 64)
    monkeypatch.setattr(tiles, "MAX_TEXTS", 64)
    pool = random_pool(n, 12)
    rng = np.random.default_rng(12)
    images, texts = (rng.integers(-2, 3, (k, 7)).astype(np.float32) for k in (n, pool.texts))
    found = rank_pairs(pool, Embeddings(images, texts))
    assert_equal_to_naive(pool, images @ texts.T, found, naive)
    assert found["image_to_text"].tied.any()


def test_a_pool_of_many_tiles_equals_the_naive_loop(random_pool, naive, monkeypatch):
    monkeypatch.setattr(tiles, "MAX_IMAGES", 40)
    monkeypatch.setattr(tiles, "MAX_TEXTS", 24)
    pool = random_pool(150, 7)
    scores = np.random.default_rng(7).integers(0, 30, (150, pool.texts)).astype(float)
    assert_equal_to_naive(pool, scores, rank_pairs(pool, blocks(scores)), naive)


def test_tile_size_changes_nothing(random_pool, monkeypatch):
    pool = random_pool(300, 3)
    rng = np.random.default_rng(3)
    source = Embeddings(rng.normal(size=(300, 24)), rng.normal(size=(pool.texts, 24)))
    one = rank_pairs(pool, source)
    monkeypatch.setattr(tiles, "MAX_IMAGES", 64)
    monkeypatch.setattr(tiles, "MAX_TEXTS", 64)
    assert_same_outcomes(one, rank_pairs(pool, source))


def test_a_text_borne_by_many_images_is_answered_by_sorting(plain_pool, naive):
    pool = plain_pool(40, [f"t{i % 2}" for i in range(40)])
    scores = np.random.default_rng(0).integers(0, 15, (40, 2)).astype(float)
    assert_equal_to_naive(pool, scores, rank_pairs(pool, blocks(scores)), naive)


def test_order_of_samples_changes_no_query(random_pool):
    pool = random_pool(60, 5)
    rng = np.random.default_rng(5)
    scores = rng.integers(0, 6, (60, pool.texts)).astype(float)
    order = rng.permutation(60)
    texts = np.full(pool.texts + 1, -1)
    seen = list(dict.fromkeys(pool.text[order][pool.asked[order]].tolist()))
    texts[seen] = np.arange(pool.texts)
    mixed = type(pool)(
        study=pool.study[order],
        patient=pool.patient[order],
        group=pool.group[order],
        text=texts[pool.text[order]],
        asked=pool.asked[order],
    )
    one, other = (
        rank_pairs(pool, blocks(scores)),
        rank_pairs(mixed, blocks(scores[order][:, seen])),
    )
    place = np.searchsorted(pool.queries, order[mixed.queries])
    for direction in DIRECTIONS:
        np.testing.assert_array_equal(
            one[direction].ranks[place, :3], other[direction].ranks[:, :3]
        )


def test_worked_by_hand_two_images_of_one_study_and_a_distractor():
    # Rows: a1, a2 (study A, text x), b (study B, text y), d (a distractor).
    pool, _ = pool_of(
        studies=["A", "A", "B", "D"],
        patients=["p", "p", "q", "r"],
        texts=["x", "x", "y", ""],
        asked=[True, True, True, False],
    )
    scores = np.array([[0.9, 0.1], [0.2, 0.3], [0.5, 0.5], [0.8, 0.6]])
    found = rank_pairs(pool, blocks(scores))
    # a1 asks texts x, x, y = 0.9, 0.9, 0.1. instance: the other x ties, so rank 2; else rank 1.
    # a2 asks 0.2, 0.2, 0.3: y is better; instance also loses to the tie (rank 3), else rank 2.
    # b asks 0.5, 0.5, 0.5: both x tie with y, rank 3; among unique texts one x ties, rank 2.
    expected = [[2, 1, 1, 1], [3, 2, 2, 2], [3, 3, 3, 2]]
    assert found["image_to_text"].ranks.tolist() == expected
    # Text x of a1 over images a1 .9, a2 .2, b .5, d .8: a1 is first. Text x of a2, its own image
    # last: rank 4; its study's a1 is first. unique_text asks x once. Text y: b .5 behind d .6.
    expected = [[1, 1, 1, 1], [4, 1, 1, 0], [2, 2, 2, 2]]
    assert found["text_to_image"].ranks.tolist() == expected
    assert found["image_to_text"].tied.tolist() == [
        [True, False, False, False],
        [True, False, False, False],
        [True, True, True, True],
    ]
    assert found["image_to_text"].candidates == (3, 3, 3, 2)
    assert found["text_to_image"].candidates == (4, 4, 4, 4)
    assert found["text_to_image"].top[0].tolist() == [0, 3, 2, 1] + [-1] * 6
    assert found["image_to_text"].top[1, :3].tolist() == [2, 0, -1]  # y, then x under its first row


def test_a_tie_counts_against_the_model(plain_pool):
    found = rank_pairs(plain_pool(2), blocks(np.array([[1.0, 1.0], [0.0, 1.0]])))
    assert found["image_to_text"].ranks[:, 0].tolist() == [2, 1]
    assert found["image_to_text"].tied[:, 0].tolist() == [True, False]


def test_distractors_stand_in_the_gallery_of_images_only():
    pool, _ = pool_of(
        studies=list("abc"), patients=list("abc"), texts=["x", "y", ""], asked=[True, True, False]
    )
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    found = rank_pairs(pool, blocks(scores))
    assert found["image_to_text"].ranks[:, 0].tolist() == [1, 1]
    assert found["text_to_image"].ranks[:, 0].tolist() == [2, 2]
    assert found["text_to_image"].top[:, 0].tolist() == [2, 2]


def test_another_view_of_the_study_that_is_not_asked_is_relevant():
    pool, _ = pool_of(
        studies=["a", "a", "b"],
        patients=["a", "a", "b"],
        texts=["x", "x", "y"],
        asked=[True, False, True],
    )
    scores = np.array([[0.1, 0.0], [0.9, 0.0], [0.5, 0.3]])
    ranks = rank_pairs(pool, blocks(scores))["text_to_image"].ranks[0]
    assert ranks.tolist() == [3, 1, 1, 1]


def test_a_callable_is_asked_once_per_image_even_when_spooled_to_a_file(random_pool, monkeypatch):
    monkeypatch.setattr(tiles, "SPOOL", 0)
    monkeypatch.setattr(tiles, "ROWS_PER_CALL", 7)
    pool = random_pool(40, 1)
    scores = np.random.default_rng(1).normal(size=(40, pool.texts)).astype(np.float32)
    asked = []

    def block(rows):
        asked.extend(range(40)[rows])
        return scores[rows]

    from_file = rank_pairs(pool, block)
    assert asked == list(range(40))
    monkeypatch.undo()
    assert_same_outcomes(from_file, rank_pairs(pool, blocks(scores)))


def test_half_precision_embeddings_are_ranked_in_single_precision(plain_pool):
    rng = np.random.default_rng(0)
    half = rng.normal(size=(50, 32)).astype(np.float16)
    one = rank_pairs(plain_pool(50), Embeddings(half, half))
    other = rank_pairs(plain_pool(50), Embeddings(half.astype(np.float32), half.astype(np.float32)))
    assert_same_outcomes(one, other)


def test_top_lists_hold_the_ten_best_by_falling_score(random_pool):
    pool = random_pool(200, 4)
    scores = np.random.default_rng(4).normal(size=(200, pool.texts))
    found = rank_pairs(pool, blocks(scores))
    bearer = pool.queries[np.unique(pool.text[pool.queries], return_index=True)[1]]
    for query, row in enumerate(pool.queries):
        texts = np.argsort(-scores[row])[:10]
        assert found["image_to_text"].top[query].tolist() == bearer[texts].tolist()
        images = np.argsort(-scores[:, pool.text[row]])[:10]
        assert found["text_to_image"].top[query].tolist() == images.tolist()


def test_label_hits_equal_a_naive_count(random_pool):
    pool = random_pool(90, 6)
    scores = np.random.default_rng(6).normal(size=(90, pool.texts))
    found = rank_pairs(pool, blocks(scores))
    bearer = pool.queries[np.unique(pool.text[pool.queries], return_index=True)[1]]
    for query, row in enumerate(pool.queries):
        if not pool.labels[row].any():
            assert np.isnan(found["image_to_text"].label_hits[query]).all()
            continue
        pairs = pool.text[pool.queries]
        texts = pairs[np.argsort(-scores[row][pairs], kind="stable")]
        shares = [(pool.labels[row] & pool.labels[bearer[t]]).any() for t in texts]
        expected = [sum(shares[:k]) for k in DEPTHS]
        assert found["image_to_text"].label_hits[query].tolist() == pytest.approx(expected)
        images = np.argsort(-scores[:, pool.text[row]])
        shares = [(pool.labels[row] & pool.labels[i]).any() for i in images]
        assert found["text_to_image"].label_hits[query].tolist() == [
            sum(shares[:k]) for k in DEPTHS
        ]


def test_only_tiles_with_a_relevant_pair_are_computed_twice(plain_pool, monkeypatch):
    monkeypatch.setattr(tiles, "MAX_IMAGES", 64)
    monkeypatch.setattr(tiles, "MAX_TEXTS", 64)
    filled = []
    original = tiles.Scores.tiles

    def counted(self, wanted=None):
        for tile in original(self, wanted):
            filled.append(wanted is not None)
            yield tile

    monkeypatch.setattr(passes.Scores, "tiles", counted)
    rank_pairs(plain_pool(640), blocks(np.eye(640)))
    assert sum(filled) == 10
    assert len(filled) == 110
