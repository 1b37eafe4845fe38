"""Risks from positive and unlabelled voxels, against what they estimate, and the prior they need."""

import numpy as np
import pytest
import torch

from calcium_helpers.models.msct.prior import estimate_prior
from calcium_helpers.models.msct.pu import pu_dice, pu_risk, true_risk


def draw(n=400_000, share=0.3, labelled=0.25, seed=0):
    """Logits of positives and negatives, and a label for some of the positives at random."""
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < share
    logits = rng.normal(np.where(positive, 1.0, -1.5), 1.0)
    known = positive & (rng.random(n) < labelled)
    prior = (positive & ~known).sum() / (~known).sum()
    tensors = (torch.from_numpy(array) for array in (logits, positive, known.astype(np.float64)))
    return *tensors, float(prior)


@pytest.mark.parametrize("risk", ["unbiased", "non-negative"])
@pytest.mark.parametrize("labelled", [0.1, 0.5, 1.0])
def test_the_risk_is_that_of_all_voxels(risk, labelled):
    logits, positive, known, prior = draw(labelled=labelled)
    value = pu_risk(logits, known, prior=prior, risk=risk).value
    assert float(value) == pytest.approx(float(true_risk(logits, positive)), rel=0.02)


def test_taking_the_unlabelled_for_negative_is_another_risk():
    logits, positive, known, prior = draw()
    plain = float(pu_risk(logits, known, prior=prior, risk="plain").value)
    assert plain == pytest.approx(float(true_risk(logits, known > 0)), rel=1e-6)
    assert plain > 1.2 * float(true_risk(logits, positive))


def test_soft_labels_are_probabilities():
    """A labelled voxel with 0.5 costs what a coin does, whatever its logit's sign."""
    known = torch.tensor([0.5, 0.0], dtype=torch.float64)
    up, down = (pu_risk(torch.tensor([z, -9.0], dtype=torch.float64), known, prior=0.0).value for z in (2.0, -2.0))
    assert float(up) == pytest.approx(float(down))


def test_an_overfitted_network_goes_back():
    """Where unlabelled voxels look less positive than the prior allows, the estimate is below 0 and the step undoes it."""
    logits = torch.full((100,), -6.0, dtype=torch.float64, requires_grad=True)
    known = torch.zeros(100, dtype=torch.float64)
    known[:10] = 1
    shifted = logits + 12 * known  # labelled ones sure, the rest sure of the contrary
    unbiased, kept = (pu_risk(shifted, known, prior=0.3, risk=risk) for risk in ("unbiased", "non-negative"))
    assert unbiased.value.item() < 0 <= kept.value.item()
    kept.step.backward()
    assert (logits.grad[10:] < 0).all()  # going down the step raises the logits of the unlabelled


def test_dice_counts_the_positives_that_are_not_labelled():
    logits, positive, known, prior = draw(share=0.1)
    drawn = torch.sigmoid(4 * logits)
    true = 1 - float(2 * (drawn * positive).sum() / (drawn.sum() + positive.sum()))
    assert float(pu_dice(4 * logits, known, prior=prior)) == pytest.approx(true, abs=0.01)
    assert float(pu_dice(4 * logits, known, prior=0.0)) > true + 0.2
    assert float(pu_dice(logits, torch.zeros_like(known), prior=prior)) == 0


@pytest.mark.parametrize("prior", [-0.1, 1.0, float("nan")])
def test_a_prior_is_a_share(prior):
    with pytest.raises(ValueError, match=r"prior is the share of positives.*got"):
        pu_risk(torch.zeros(3), torch.ones(3), prior=prior)


def test_another_risk_is_refused():
    with pytest.raises(ValueError, match="risk must be one of plain, unbiased, non-negative, got 'mse'"):
        pu_risk(torch.zeros(3), torch.ones(3), prior=0.1, risk="mse")


@pytest.mark.parametrize("prior", [0.003, 0.03, 0.3])
def test_the_prior_is_found_where_some_positives_are_sure(prior):
    rng = np.random.default_rng(1)
    hidden = rng.random(500_000) < prior
    found = estimate_prior(rng.normal(5, 1, 20_000), rng.normal(5.0 * hidden, 1))
    assert prior * 0.95 < found < prior * 1.15 + 0.001
    assert estimate_prior(rng.normal(5, 1, 20_000), rng.normal(0, 1, 500_000)) < 0.001


def test_where_none_are_sure_the_prior_is_a_bound():
    rng = np.random.default_rng(1)
    hidden = rng.random(500_000) < 0.03
    assert 0.03 < estimate_prior(rng.normal(2, 1, 20_000), rng.normal(2.0 * hidden, 1)) < 0.06


def test_nothing_to_estimate_from_is_said():
    with pytest.raises(ValueError, match="labelled must hold at least one voxel"):
        estimate_prior(np.array([]), np.ones(3))
