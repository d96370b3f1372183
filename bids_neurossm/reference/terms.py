"""Which words of the literature stand for which class, and the studies that carry them.

The tables are TOML: ``[classes.NAME]`` with ``labels`` (spellings of the class in a cohort), ``terms`` and
``topics``; ``[skipped.NAME]`` with ``labels`` and the ``reason`` why there is no reference. A class of the cohort
meets an entry by its name or one of its labels, whatever the case and punctuation.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.errors import UsageError
from bids_neurossm.files.safe_reading import missing_content
from bids_neurossm.files.toml_files import read_toml
from bids_neurossm.reference.studies import Studies

TERM_WEIGHT = 0.001
"""A study carries a term whose tf-idf weight exceeds this (docs/methods.md, section 4)."""

TOPIC_WEIGHT = 0.05
"""A study carries a topic whose share exceeds this: every study has a little of every topic."""

MINIMUM_STUDIES = 10
"""A term that fewer studies carry gives no map: it would show a few papers, not a literature."""

Evidence = Literal["terms", "topics", "titles"]

# Words that Neurosynth's vocabulary leaves out, so that "theory of mind" is its "theory mind".
_STOP_WORDS = frozenset(
    ["a", "an", "and", "as", "at", "by", "for", "from", "in", "into", "of", "on", "or", "the", "to", "with"]
)


@dataclass(frozen=True)
class ClassTerms:
    """What stands for a class in the literature.

    Parameters
    ----------
    terms : tuple of str
        Words, looked for in the term weights or in titles.
    topics : tuple of str
        Topics, for a copy of the database that has only these.
    """

    terms: tuple[str, ...]
    topics: tuple[str, ...] = ()


@dataclass(frozen=True)
class TermTable:
    """A class-to-term table.

    Parameters
    ----------
    name : str
        What the table is called in messages.
    classes : mapping of str to ClassTerms
        The entries.
    skipped : mapping of str to str
        Entries without a reference, with the reason.
    labels : mapping of str to str
        Normalised spelling -> name of an entry.
    """

    name: str
    classes: Mapping[str, ClassTerms]
    skipped: Mapping[str, str]
    labels: Mapping[str, str]


@dataclass(frozen=True)
class MatchedTerms:
    """The classes of a cohort with their terms.

    Parameters
    ----------
    classes : dict of str to ClassTerms
        Class of the cohort, in the cohort's order -> its terms.
    skipped : dict of str to str
        Class of the cohort without a reference -> the reason.
    """

    classes: dict[str, ClassTerms]
    skipped: dict[str, str] = field(default_factory=dict)


def shipped_tables() -> list[str]:
    """Return the names of the tables that come with the package."""
    folder = files("bids_neurossm.data") / "reference_terms"
    names = (entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return sorted(name for name in names if name != "no-reference")


def load_term_table(name_or_file: str | Path) -> TermTable:
    """Read a class-to-term table.

    Parameters
    ----------
    name_or_file : str or Path
        ``hcp-task``, ``ppmi``, ``nback-flanker`` or a TOML file.

    Raises
    ------
    UsageError
        If there is no such table, or it is not written as this module's docstring says.
    """
    return _table(read_toml(term_table_file(name_or_file)), str(name_or_file))


def term_table_file(name_or_file: str | Path) -> Path:
    """Return where a class-to-term table lies; see :func:`load_term_table`."""
    if str(name_or_file) in shipped_tables():
        return Path(str(files("bids_neurossm.data") / "reference_terms" / f"{name_or_file}.toml"))
    path = Path(name_or_file)
    if not path.is_file():
        raise UsageError(
            missing_content(path)
            or f"--reference-terms {name_or_file}: there is no such file, and the tables that come with "
            f"bids-neurossm are {', '.join(shipped_tables())}."
        )
    return path


def _table(content: Mapping[str, Any], name: str) -> TermTable:
    """Check a table's content and index its labels."""
    _refuse_unknown(content, {"description", "classes", "skipped"}, name)
    classes: dict[str, ClassTerms] = {}
    skipped: dict[str, str] = {}
    labels: dict[str, str] = {}
    for kind, known in (("classes", {"labels", "terms", "topics"}), ("skipped", {"labels", "reason"})):
        section = content.get(kind, {})
        if not isinstance(section, Mapping):
            raise UsageError(f"{name}: [{kind}] must be a table of classes, [{kind}.NAME].")
        for entry, values in section.items():
            where = f"{name}: [{kind}.{entry}]"
            if not isinstance(values, Mapping):
                raise UsageError(f"{where} must be a table.")
            _refuse_unknown(values, known, where)
            if kind == "classes":
                classes[entry] = ClassTerms(_words(values, "terms", where), _words(values, "topics", where))
                if not classes[entry].terms and not classes[entry].topics:
                    raise UsageError(f"{where} names neither terms nor topics.")
            else:
                skipped[entry] = str(values.get("reason", "")).strip()
                if not skipped[entry]:
                    raise UsageError(f"{where} gives no reason.")
            for label in (entry, *_words(values, "labels", where)):
                if labels.setdefault(_normalised(label), entry) != entry:
                    raise UsageError(f"{where}: {label!r} also stands for {labels[_normalised(label)]}.")
    return TermTable(name, classes, skipped, labels)


def _refuse_unknown(values: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        raise UsageError(f"{where}: unknown entry {unknown[0]!r}; known are {', '.join(sorted(known))}.")


def _words(values: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    words = values.get(key, [])
    if not isinstance(words, list) or not all(isinstance(word, str) and word.strip() for word in words):
        raise UsageError(f"{where}: {key} must be a list of words, found {words!r}.")
    return tuple(words)


def _normalised(label: str) -> str:
    """Spelling of a label without case and punctuation: ``N-Back`` and ``nback`` are one class."""
    return re.sub(r"[\W_]+", "", label).casefold()


def match_classes(table: TermTable, class_names: Sequence[str], on_missing: str = "error") -> MatchedTerms:
    """Find the table's entry for each class of a cohort.

    Parameters
    ----------
    table : TermTable
        The class-to-term table.
    class_names : sequence of str
        Classes of the cohort.
    on_missing : {"error", "skip"}
        What becomes of a class that the table does not know; a skip is stated in ``skipped``.

    Raises
    ------
    UsageError
        If a class is not in the table, two classes meet one entry, or no class has a reference at all
        (as for sex at rest).
    """
    without_reference = load_no_reference()
    classes: dict[str, ClassTerms] = {}
    skipped: dict[str, str] = {}
    entry_of: dict[str, str] = {}
    for class_name in class_names:
        spelling = _normalised(str(class_name))
        entry = table.labels.get(spelling)
        if entry is not None and entry in table.classes:
            if entry in entry_of:
                raise UsageError(
                    f"classes {entry_of[entry]!r} and {class_name!r} both stand for {entry} in {table.name}: two "
                    "classes with one reference can not be told apart; give a table that separates them."
                )
            entry_of[entry], classes[class_name] = class_name, table.classes[entry]
        elif entry is not None:
            skipped[class_name] = table.skipped[entry]
        elif spelling in without_reference.labels:
            skipped[class_name] = without_reference.skipped[without_reference.labels[spelling]]
        elif on_missing == "skip":
            skipped[class_name] = f"{table.name} has no entry for it"
        else:
            near = difflib.get_close_matches(spelling, table.labels, n=1)
            hint = f" (near: {table.labels[near[0]]})" if near else ""
            raise UsageError(
                f"class {class_name!r} is not in {table.name}, which knows "
                f"{', '.join([*table.classes, *table.skipped])}{hint}: name another table with --reference-terms, "
                "or switch the reference off with --reference none."
            )
    if not classes:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise UsageError(f"no class has a meaningful reference map ({reasons}): use --reference none.")
    return MatchedTerms(classes, skipped)


def load_no_reference() -> TermTable:
    """Read the labels for which no table can give a reference, such as sex."""
    path = Path(str(files("bids_neurossm.data") / "reference_terms" / "no-reference.toml"))
    return _table(read_toml(path), "no-reference")


def available_evidence(studies: Studies) -> Evidence:
    """How studies can be selected with this copy: by term weight, else by words of the title, else by topic."""
    if studies.term_weights is not None:
        return "terms"
    if any(studies.titles):
        return "titles"
    if studies.topic_weights is not None:
        return "topics"
    raise UsageError(f"{studies.source} has neither term weights nor titles nor topics: no study can be selected.")


def check_vocabulary(words: Iterable[str], vocabulary: Sequence[str], what: str) -> None:
    """Refuse words that a vocabulary does not hold.

    Raises
    ------
    UsageError
        It names the absent word and the nearest words that are there.
    """
    known = set(vocabulary)
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(word, vocabulary, n=3, cutoff=0.6)
            parts = [name for name in vocabulary if word.split()[0] in name.split()][:3]
            hint = list(dict.fromkeys([*near, *parts]))
            raise UsageError(
                f"{word!r} is not in the {what}"
                + (f"; near it are {', '.join(hint)}." if hint else " nor is a near word.")
            )


def select_studies(studies: Studies, words: Sequence[str], evidence: Evidence | None = None) -> NDArray[np.bool_]:
    """Studies that carry each word.

    Parameters
    ----------
    studies : Studies
        S studies.
    words : sequence of str
        Terms, or topics with evidence ``topics``.
    evidence : {"terms", "titles", "topics"}, optional
        Term weight above .001, the word in the title, or topic share above .05; by default
        what :func:`available_evidence` says.

    Returns
    -------
    ndarray of bool, shape (number of words, S)

    Raises
    ------
    UsageError
        If a word is not in the vocabulary (near ones are named) or the evidence is not in this copy.
    """
    evidence = evidence or available_evidence(studies)
    if evidence == "titles":
        if studies.terms:
            check_vocabulary(words, studies.terms, f"vocabulary of {studies.source}")
        return words_in_titles(studies.titles, words)
    names = studies.terms if evidence == "terms" else studies.topics
    weights = studies.term_weights if evidence == "terms" else studies.topic_weights
    if weights is None:
        raise UsageError(f"{studies.source} has no weights of {evidence}: select by {available_evidence(studies)}.")
    check_vocabulary(words, names, f"{evidence} of {studies.source}")
    columns = [names.index(word) for word in words]
    chosen: Any = weights[:, columns]
    dense = chosen.toarray() if evidence == "terms" else chosen
    return np.asarray(dense > (TERM_WEIGHT if evidence == "terms" else TOPIC_WEIGHT)).T


def words_in_titles(titles: Sequence[str], words: Sequence[str]) -> NDArray[np.bool_]:
    """Titles in which a word stands, whole, whatever its case, punctuation and small words between.

    Returns
    -------
    ndarray of bool, shape (number of words, number of titles)
    """
    plain = [f" {' '.join(plain_words(title))} " for title in titles]
    wanted = [f" {' '.join(plain_words(word))} " for word in words]
    return np.array([[word in title for title in plain] for word in wanted], dtype=bool)


def plain_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without apostrophes, punctuation and stop words.

    Examples
    --------
    >>> plain_words("Theory of mind in Parkinson's disease: a meta-analysis.")
    ['theory', 'mind', 'parkinson', 'disease', 'meta', 'analysis']
    """
    # Parkinson's and Parkinson are one word in the vocabulary.
    text = re.sub(r"['’]s\b", "", text.casefold())
    return [word for word in re.findall(r"\w+", text) if word not in _STOP_WORDS]
