"""The methods section says what the model was, how it was trained and explained, and cites whose idea it is."""

from types import SimpleNamespace

import pytest

from bids_neurossm.analysis.methods_text import methods_text
from bids_neurossm.config import Attribution, Evaluation, ModelSpec
from bids_neurossm.reports.bibliography import cited_in
from bids_neurossm.training.recipes import load_recipe

COHORT = SimpleNamespace(classes=["a", "b"], regions=["r"] * 12)
FACTS = {
    "n_regions": 12, "atlas": "", "strategy": "simple", "n_runs": 20, "n_participants": 10, "target": "age", "folds": 5,
    "leave_out": None, "repeats": 1, "seeds": 1, "holdout": 0, "versions": {"bids-neurossm": "0"},
    "classes": ["a", "b"],
}  # fmt: skip


def said(name, recipe="", cohort=COHORT, cpa=True, facts=FACTS, **further):
    settings, training = load_recipe(recipe or "hcp-task")
    analysis = SimpleNamespace(
        model=ModelSpec(name, recipe, {**(settings if recipe else {}), **further}), training=training,
        baselines=("majority",), evaluation=Evaluation(), attribution=Attribution(cpa=cpa), level="run",
    )  # fmt: skip
    return methods_text(analysis, cohort, facts)


def test_neurossm_is_described_by_its_own_settings():
    text = said("neurossm", "multisite")
    assert "Each of 4 pathways reads the series or differences of the series" in text
    assert "(2, 4 time points)" in text
    assert "25 epochs of AdamW with batches of 32 runs" in text
    assert "the importance of a pathway" in text
    assert "tangent connectivity" not in text
    assert "The baseline majority was trained" in text
    assert "wang2025" not in {each.key for each in cited_in(text)}
    assert "Held-out runs were explained" not in said("neurossm", "multisite", cpa=False)


@pytest.mark.parametrize("name", ["neurossm-static", "lmae-rwmoe-static"])
def test_a_joined_model_says_so_and_is_explained(name):
    text = said(name, "multisite" if name.startswith("neurossm") else "camcan-age")
    assert "A linear model on tangent connectivity, fitted on the same training runs, was added" in text
    assert "Held-out runs were explained" in text


def test_the_second_family_says_where_its_encoder_comes_from_and_is_cited():
    text = said("lmae-rwmoe", "camcan-age", pretrain=True)
    assert "patches of 8 s was pretrained on the training runs of each fold, without their labels" in text
    assert "held fixed for the first 10 epochs of the training of the whole (later ones had 0.3 times" in text
    assert "4 experts of regions, 2 for each region" in text
    assert "the importance of an expert of regions" in text
    assert "wang2025" in {each.key for each in cited_in(text)}
    brought = said("lmae-rwmoe", "camcan-age", encoder="/data/many/encoder.safetensors")
    assert "had been pretrained as a masked autoencoder (LMAE, many/encoder.safetensors)" in brought
    alone = said("lmae-rwmoe", "camcan-age")
    assert "without pretraining" in alone
    assert "held fixed" not in alone


def test_a_number_has_no_logits_and_no_strata_of_labels():
    cohort = SimpleNamespace(classes=[], regions=["r"] * 12)
    text = said("neurossm", "multisite", cohort, facts={**FACTS, "classes": [], "seeds": 3})
    assert "logit" not in text
    assert "classes" not in text
    assert "3 seeds per fold whose predictions were averaged" in text
    assert "stratified by quantiles of the target" in text


def test_a_baseline_is_not_said_to_be_a_network():
    text = said("tangent-connectivity", "hcp-task")
    assert "AdamW" not in text
    assert "Held-out runs were explained" not in text
    assert "recipe" not in text
