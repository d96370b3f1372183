"""Classes meet the words of the literature, or a plain reason why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bids_neurossm.errors import UsageError
from bids_neurossm.reference.studies import Studies
from bids_neurossm.reference.terms import (
    available_evidence,
    load_term_table,
    match_classes,
    select_studies,
    shipped_tables,
    words_in_titles,
)

HCP = ["EMOTION", "GAMBLING", "LANGUAGE", "MOTOR", "RELATIONAL", "SOCIAL", "WM"]


def test_three_tables_ship() -> None:
    assert shipped_tables() == ["hcp-task", "nback-flanker", "ppmi"]


@pytest.mark.parametrize("name", ["hcp-task", "ppmi"])
def test_every_shipped_term_and_topic_is_in_neurosynth(name: str, neurosynth: Studies) -> None:
    for entry in load_term_table(name).classes.values():
        assert set(entry.terms) <= set(neurosynth.terms)
        assert set(entry.topics) <= set(neurosynth.topics)
        assert entry.topics


def test_the_seven_hcp_tasks_each_have_terms() -> None:
    matched = match_classes(load_term_table("hcp-task"), HCP)
    assert list(matched.classes) == HCP
    assert matched.classes["WM"].terms == ("working memory", "wm", "load")
    assert matched.skipped == {}


@pytest.mark.parametrize("label", ["nback", "n-back", "N_Back", "2-back", "2back", "Working Memory"])
def test_case_and_punctuation_do_not_matter(label: str) -> None:
    matched = match_classes(load_term_table("nback-flanker"), [label, "Flanker"])
    assert matched.classes[label].terms == ("n-back",)


def test_healthy_controls_are_skipped_with_the_reason() -> None:
    matched = match_classes(load_term_table("ppmi"), ["PD", "Control"])
    assert list(matched.classes) == ["PD"]
    assert "no term of their own" in matched.skipped["Control"]


@pytest.mark.parametrize("table", ["hcp-task", "ppmi", "nback-flanker"])
def test_sex_is_refused_with_the_reason(table: str) -> None:
    with pytest.raises(UsageError, match=r"no class has a meaningful reference.*sex is no mental function"):
        match_classes(load_term_table(table), ["M", "F"])


def test_an_unknown_class_is_an_error_that_names_what_is_known() -> None:
    with pytest.raises(UsageError, match=r"'langage' is not in hcp-task, which knows EMOTION.*near: LANGUAGE"):
        match_classes(load_term_table("hcp-task"), ["WM", "langage"])
    matched = match_classes(load_term_table("hcp-task"), ["WM", "langage"], on_missing="skip")
    assert matched.skipped == {"langage": "hcp-task has no entry for it"}


def test_two_classes_of_one_entry_are_refused() -> None:
    with pytest.raises(UsageError, match="both stand for nback"):
        match_classes(load_term_table("nback-flanker"), ["0-back", "2-back"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[classes.A]\nterm = ['x']\n", "unknown entry 'term'"),
        ("[classes.A]\nterms = 'x'\n", "must be a list of words"),
        ("[classes.A]\nterms = []\n", "names neither terms nor topics"),
        ("[skipped.A]\nlabels = ['x']\n", "gives no reason"),
        ("[classes.A]\nterms = ['x']\n[classes.B]\nlabels = ['a']\nterms = ['y']\n", "also stands for A"),
        ("classes = 3\n", "must be a table"),
    ],
)
def test_a_faulty_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_term_table(path)


def test_a_table_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(UsageError, match="hcp-task, nback-flanker, ppmi"):
        load_term_table("hcp")


def test_absent_words_are_errors_that_name_near_ones(neurosynth: Studies) -> None:
    with pytest.raises(UsageError, match=r"'relational reasoning' is not in the vocabulary.*near it are.*relational"):
        select_studies(neurosynth, ["relational reasoning"])
    with pytest.raises(UsageError, match=r"near it are .*9_memory_working_wm"):
        select_studies(neurosynth, ["memory_working_wm"], "topics")


def test_weights_decide_where_they_are_and_titles_where_not(task_studies: Studies, neurosynth: Studies) -> None:
    assert available_evidence(task_studies) == "terms"
    assert available_evidence(neurosynth) == "titles"
    assert select_studies(task_studies, ["flanker", "n-back"]).sum(axis=1).tolist() == [406, 500]
    by_title = select_studies(neurosynth, ["working memory"])[0]
    by_topic = select_studies(neurosynth, ["9_memory_working_wm"], "topics")[0]
    assert by_title.sum() == 521
    assert by_topic[by_title].mean() > 0.8 > 0.2 > by_topic.mean()
    with pytest.raises(UsageError, match="no weights of terms: select by titles"):
        select_studies(neurosynth, ["pain"], "terms")


def test_titles_are_compared_word_by_word() -> None:
    titles = ["A Theory-of-Mind study", "Parkinson's disease.", "Handedness", "The hand, moved"]
    found = words_in_titles(titles, ["theory mind", "parkinson disease", "hand"])
    np.testing.assert_array_equal(found, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
