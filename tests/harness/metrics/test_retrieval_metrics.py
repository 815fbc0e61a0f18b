import numpy as np
import pytest

from harness.metrics.metric import value
from harness.metrics.pool import CONVENTIONS
from harness.metrics.ranking import Embeddings, rank_pairs
from harness.metrics.retrieval import DIRECTIONS, RETRIEVAL_METRICS, RankedQueries


def ranked(rank, relevant=None, dcg=None, hits=None, candidates=100):
    rank = np.array(rank)
    return RankedQueries(
        patients=np.arange(len(rank)),
        rank=rank,
        tied=rank > 3,
        relevant=np.ones_like(rank) if relevant is None else np.array(relevant),
        dcg=np.zeros((len(rank), 5)) if dcg is None else np.array(dcg),
        label_hits=hits,
        candidates=candidates,
    )


def number(name, queries):
    return value(RETRIEVAL_METRICS[name], queries)


def test_worked_by_hand_ranks_one_two_and_eleven():
    queries = ranked([1, 2, 11])
    assert number("recall@1", queries) == 1 / 3
    assert number("recall@5", queries) == number("recall@10", queries) == 2 / 3
    assert number("recall@20", queries) == number("recall@40", queries) == 1
    assert number("mrr", queries) == pytest.approx((1 + 1 / 2 + 1 / 11) / 3, abs=1e-15)
    assert number("median_rank", queries) == 2
    assert number("mean_rank", queries) == pytest.approx(14 / 3)
    assert number("tied_queries", queries) == 1 / 3


def test_the_median_of_two_ranks_lies_between_them():
    assert number("median_rank", ranked([1, 4])) == 2.5


def test_queries_that_are_not_asked_count_in_nothing():
    assert number("recall@1", ranked([1, 0, 0, 2])) == 0.5
    assert number("mean_rank", ranked([1, 0, 0, 2])) == 1.5


def test_ndcg_of_two_relevant_candidates_at_ranks_one_and_three():
    # DCG = 1/log2(2) + 1/log2(4) = 1.5; ideal = 1 + 1/log2(3)
    dcg = 1 + 1 / np.log2(4)
    queries = ranked([1], relevant=[2], dcg=[[1, dcg, dcg, dcg, dcg]])
    assert number("ndcg@10", queries) == pytest.approx(1.5 / (1 + 1 / np.log2(3)), abs=1e-15)


def test_label_precision_divides_by_k_or_by_the_pool_where_it_is_smaller():
    hits = np.array([[1.0, 3, 4, 4, 4], [np.nan] * 5])
    assert number("label_precision@5", ranked([1, 1], hits=hits)) == 0.6
    assert number("label_precision@10", ranked([1, 1], hits=hits, candidates=4)) == 1


def test_without_labels_label_precision_is_not_scored():
    assert np.isnan(number("label_precision@1", ranked([1, 2])))
    assert RETRIEVAL_METRICS["label_precision@1"].needs == "labels"


def tie_free(n=300, seed=0):
    rng = np.random.default_rng(seed)
    texts = rng.normal(size=(n, 24))
    return texts + rng.normal(size=(n, 24)) * 1.5, texts


def test_recall_equals_clip_benchmark_on_scores_without_ties(plain_pool):
    torch = pytest.importorskip("torch")
    peer = pytest.importorskip(
        "clip_benchmark.metrics.zeroshot_retrieval", reason="clip-benchmark is not installed"
    )
    images, texts = tie_free()
    found = rank_pairs(plain_pool(len(images)), Embeddings(images, texts))
    scores = torch.from_numpy(images @ texts.T)
    own = torch.eye(len(images), dtype=torch.bool)
    for direction, table in zip(DIRECTIONS, (scores, scores.T), strict=True):
        for k in (1, 5, 10):
            theirs = (peer.recall_at_k(table, own, k) > 0).double().mean().item()
            assert number(f"recall@{k}", found[direction].under("instance")) == pytest.approx(
                theirs, abs=1e-12
            )


@pytest.mark.parametrize("convention", ["instance", "same_study", "same_text"])
def test_ranks_ndcg_and_mrr_equal_trec_eval_on_scores_without_ties(convention, random_pool):
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pytrec-eval-terrier not installed")
    pool = random_pool(120, 11)
    scores = np.random.default_rng(11).permutation(120 * pool.texts).reshape(120, -1) * 1.0
    outcomes = rank_pairs(pool, lambda rows: scores[rows])["text_to_image"]
    qrels, run = {}, {}
    for query, row in enumerate(pool.queries):
        study = pool.study == pool.study[row]
        group = (pool.group == pool.group[row]) & (pool.group >= 0)
        own = np.arange(120) == row
        relevant = {"instance": own, "same_study": study, "same_text": study | group}[convention]
        qrels[str(query)] = {f"{i:03d}": int(relevant[i]) for i in range(120)}
        run[str(query)] = {f"{i:03d}": float(scores[i, pool.text[row]]) for i in range(120)}
    measures = {"success.1,5,10", "recip_rank", "ndcg_cut.10"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    queries = outcomes.under(convention)
    for name, peer in [
        ("recall@1", "success_1"),
        ("recall@10", "success_10"),
        ("mrr", "recip_rank"),
        ("ndcg@10", "ndcg_cut_10"),
    ]:
        mean = np.mean([theirs[str(q)][peer] for q in range(len(pool.queries))])
        assert number(name, queries) == pytest.approx(mean, abs=1e-12), name


def test_random_scores_come_out_at_k_over_n(plain_pool):
    n = 400
    found = [
        rank_pairs(plain_pool(n), lambda rows, s=s: s[rows])
        for s in np.random.default_rng(0).normal(size=(10, n, n))
    ]
    for k in (1, 10, 40):
        mean = np.mean([number(f"recall@{k}", f["image_to_text"].under("instance")) for f in found])
        spread = np.sqrt(k / n * (1 - k / n) / (10 * n))
        assert abs(mean - k / n) < 4 * spread


def test_every_metric_has_a_definition_and_its_own_name():
    for name, metric in RETRIEVAL_METRICS.items():
        assert metric.name == name
        assert metric.definition.endswith(".")


def test_all_conventions_agree_where_every_study_has_one_image_and_its_own_text(plain_pool):
    images, texts = tie_free(60)
    for outcomes in rank_pairs(plain_pool(60), Embeddings(images, texts)).values():
        for column in range(1, len(CONVENTIONS)):
            assert (outcomes.ranks[:, column] == outcomes.ranks[:, 0]).all()
