"""Matching of events by place and by overlap, and average precision, against brute force and scikit-learn."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from sklearn.metrics import average_precision_score

from calcium_helpers.containers import Events
from calcium_helpers.metrics import (
    average_precision,
    by_kind,
    detection_curve,
    dice,
    match_events,
    match_volumes,
    precision_recall,
)
from calcium_helpers.metrics.volumes import centres


def events_at(corners, *, size=(3, 3, 3), score=None):
    table = pd.DataFrame({"roi": range(len(corners)), "onset_s": [float(t) for t, _, _ in corners]})
    table = table.assign(peak_s=table["onset_s"], offset_s=table["onset_s"] + 1, amplitude=1.0)
    if score is not None:
        table["score"] = score
    return Events(table, tuple((t, y, x, np.ones(size, dtype=bool)) for t, y, x in corners))


def random_events(rng, n, *, span=14):
    return events_at([tuple(rng.integers(span, size=3).tolist()) for _ in range(n)], score=rng.permutation(n) / n)


@pytest.mark.parametrize("seed", range(4))
def test_most_pairs_and_of_these_the_nearest(seed):
    rng = np.random.default_rng(seed)
    found, true = random_events(rng, 4, span=9), random_events(rng, 5, span=9)
    radius = np.array([6.0, 4.0, 3.0])
    distance = np.linalg.norm((centres(found)[:, None] - centres(true)[None]) / radius, axis=-1)
    best = max(
        (
            sum(distance[i, j] <= 1 for i, j in enumerate(columns)),
            -sum(d for i, j in enumerate(columns) if (d := distance[i, j]) <= 1),
        )
        for columns in itertools.permutations(range(5), 4)
    )
    matching = match_events(found, true, radius=radius)
    assert len(matching.pairs) == best[0]
    assert matching.scores.sum() == pytest.approx(-best[1])
    assert matching.scores == pytest.approx(distance[tuple(matching.pairs.T)])


def test_the_radius_is_anisotropic():
    true = events_at([(10, 20, 20)])
    for offset, hit in [((4, 0, 0), True), ((6, 0, 0), False), ((0, 2, 0), True), ((0, 4, 0), False), ((4, 2, 0), False)]:
        found = events_at([tuple(np.add((10, 20, 20), offset))])
        assert match_events(found, true, radius=(5, 3, 3)).recall == hit, offset


def test_the_centre_is_that_of_the_mask_not_of_its_box():
    mask = np.zeros((4, 5, 6), dtype=bool)
    mask[1, 1:3, 5] = True
    events = events_at([(2, 3, 4)]).replace(masks=((2, 3, 4, mask),))
    assert centres(events) == pytest.approx(np.array([[3.0, 4.5, 9.0]]))


def test_nothing_found_and_nothing_there():
    none, some = events_at([]), events_at([(1, 1, 1)], score=[0.5])
    scored = events_at([], score=[])
    assert (match_events(none, some).precision, match_events(none, some).recall) == (1, 0)
    assert match_events(some, none).precision == 0
    assert detection_curve(scored, some).average_precision == 0
    assert detection_curve(some, none).average_precision == 0
    assert detection_curve(scored, none).average_precision == 1
    assert match_volumes(np.zeros((2, 3, 4), int), np.zeros((2, 3, 4), int)).f1 == 1


@pytest.mark.parametrize("seed", range(4))
def test_volumes_by_overlap(seed):
    rng = np.random.default_rng(seed)
    true = np.zeros((12, 20, 20), dtype=np.uint16)
    for k, (t, y, x) in enumerate(rng.integers((9, 15, 15), size=(8, 3))):
        true[t : t + 3, y : y + 5, x : x + 5] = 7 * k + 3  # ids have gaps, volumes may cover one another
    found = np.roll(true, (0, 1, 1), axis=(0, 1, 2))
    found[found == found.max()] = 0
    ids_a, ids_b = (np.unique(label[label > 0]) for label in (found, true))
    iou = np.array([[((found == i) & (true == j)).sum() / ((found == i) | (true == j)).sum() for j in ids_b] for i in ids_a])
    for limit in (0.1, 0.3, 0.6):
        matching = match_volumes(found, true, iou=limit)
        assert len(matching.pairs) == (maximum_bipartite_matching(csr_matrix(iou >= limit)) >= 0).sum()
        assert matching.scores == pytest.approx(iou[tuple(matching.pairs.T)])
        assert (matching.n_found, matching.n_truth) == (len(ids_a), len(ids_b))


@pytest.mark.parametrize("iou", [None, 0.15])
@pytest.mark.parametrize("seed", range(3))
def test_at_every_threshold_as_many_are_matched_as_can_be(seed, iou):
    rng = np.random.default_rng(seed)
    found, true = random_events(rng, 20), random_events(rng, 15)
    curve = detection_curve(found, true, radius=(4, 3, 3), iou=iou)
    apart = (centres(found)[:, None] - centres(true)[None]) / (4, 3, 3)
    near = (apart**2).sum(axis=-1) <= 1
    if iou is not None:
        near = np.array([[_iou(a, b) >= iou for b in true.masks] for a in found.masks])
    assert len(curve.threshold) == 20
    for threshold, precision, recall in zip(curve.threshold, curve.precision, curve.recall, strict=True):
        above = (found.table["score"] >= threshold).to_numpy()
        hits = (maximum_bipartite_matching(csr_matrix(near[above])) >= 0).sum()
        assert (precision, recall) == pytest.approx((hits / above.sum(), hits / 15))


def _iou(a, b):
    ours, theirs = ({tuple(place) for place in (np.argwhere(mask) + corner).tolist()} for *corner, mask in (a, b))
    return len(ours & theirs) / len(ours | theirs)


def test_of_two_finds_of_one_event_the_surer_counts():
    found = events_at([(10, 10, 10), (10, 10, 12)], score=[0.2, 0.9])  # the less sure lies nearer
    assert detection_curve(found, events_at([(10, 10, 10)])).precision.tolist() == [1.0, 0.5]


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_scikit_learn_where_all_were_found(seed):
    rng = np.random.default_rng(seed)
    is_true = rng.random(60) < 0.4
    scores = np.round(rng.normal(size=60) + is_true, 1)  # some equal
    expected = average_precision_score(is_true, scores)
    assert average_precision(scores, is_true, is_true.sum()) == pytest.approx(expected)
    # Those never found take their share.
    assert average_precision(scores, is_true, 2 * is_true.sum()) == pytest.approx(expected / 2)


def test_f1_of_the_curve():
    curve = precision_recall([0.9, 0.8, 0.7, 0.1], [True, False, True, False], 3)
    assert curve.f1 == pytest.approx([2 / 4, 2 / 5, 4 / 6, 4 / 7])


def test_dice():
    a = np.zeros((4, 4, 4), dtype=int)
    b = a.copy()
    assert dice(a, b) == 1
    a[0], b[:2] = 5, 1
    assert dice(a, b) == pytest.approx(2 * 16 / (16 + 32))
    with pytest.raises(ValueError, match="one shape"):
        dice(a, b[0])


def test_recall_by_kind():
    true = events_at([(0, 0, 0), (10, 0, 0), (20, 0, 0)])
    matching = match_events(events_at([(0, 0, 1), (20, 1, 0)]), true)
    table = by_kind(matching, ["synapse", "synapse", "dendrite"])
    assert table.to_dict("list") == {
        "kind": ["dendrite", "synapse"], "n_true": [1, 2], "n_found": [1, 1], "recall": [1.0, 0.5],
    }  # fmt: skip
    with pytest.raises(ValueError, match="one for each of 3"):
        by_kind(matching, ["synapse"])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda e: match_events(e.replace(masks=None), e), "must have masks"),
        (lambda e: match_events(e, e, radius=(1, 2)), "three numbers"),
        (lambda e: match_events(e, e, radius=(1, 0, 2)), "above 0"),
        (lambda e: match_events(e.replace(masks=((0, 0, 0, np.zeros((2, 2, 2), bool)),)), e), "must not be empty"),
        (lambda e: detection_curve(e, e), "column score"),
        (lambda e: match_volumes(np.zeros((1, 2, 3), int), np.zeros((1, 2, 4), int)), "one shape"),
        (lambda e: match_volumes(np.zeros((1, 2, 3), int), np.zeros((1, 2, 3), int), iou=0), "iou must lie"),
        (lambda e: precision_recall([np.nan], [True], 1), "not NaN"),
        (lambda e: precision_recall([1.0], [True], 0), "n_true must be"),
    ],
)
def test_errors_say_what_is_wrong(call, says):
    with pytest.raises(ValueError, match=says):
        call(events_at([(1, 1, 1)]))
