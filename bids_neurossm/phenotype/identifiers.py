"""Pairing the identifiers of two lists: exactly, and only where that fails under one normalisation of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bids_neurossm.errors import LabelError

#: Names that a message lists before it only counts.
_LISTED = 5


@dataclass(frozen=True)
class Pairing:
    """Identifiers of series and the identifiers of a table that they belong to.

    Parameters
    ----------
    partner : mapping of str to str
        Identifier of the series -> identifier of the table, both as written.
    only_series, only_table : tuple of str
        Identifiers without a partner.
    """

    partner: Mapping[str, str]
    only_series: tuple[str, ...] = ()
    only_table: tuple[str, ...] = ()

    @property
    def respelled(self) -> tuple[tuple[str, str], ...]:
        """Pairs whose two sides are spelled differently, apart from ``sub-``."""
        return tuple((mine, theirs) for mine, theirs in self.partner.items() if bare(mine) != bare(theirs))

    def notes(self, where: str, what: str = "participant") -> list[str]:
        """Report pairs of different spelling and what has no partner, one sentence each.

        Parameters
        ----------
        where : str
            The table, for instance ``participants.tsv``.
        what : str
            What the identifiers name, in the singular.
        """
        found = []
        if self.respelled:
            pairs = listed([f"{mine} = {theirs}" for mine, theirs in self.respelled])
            found.append(
                f"{_counted(self.respelled, what, 'is', 'are')} spelled differently in the series and in {where}, "
                f"paired without `sub-`, leading zeros and case: {pairs}. --exact-ids forbids it."
            )
        if self.only_series:
            of = _counted(self.only_series, f"{what}", "of the series is", "of the series are")
            found.append(f"{of} not in {where}: {listed(self.only_series)}.")
        if self.only_table:
            of = _counted(self.only_table, what, f"of {where} has", f"of {where} have")
            found.append(f"{of} no series in this analysis: {listed(self.only_table)}.")
        return found


def _counted(names: Sequence[object], what: str, one: str, several: str) -> str:
    return f"1 {what} {one}" if len(names) == 1 else f"{len(names)} {what}s {several}"


def bare(identifier: str, prefix: str = "sub-") -> str:
    """Take the BIDS prefix off an identifier."""
    return identifier.removeprefix(prefix)


def normalised(identifier: str, prefix: str = "sub-") -> str:
    """Take off the prefix, leading zeros and case.

    Examples
    --------
    >>> normalised("sub-007"), normalised("CON01"), normalised("000")
    ('7', 'con01', '0')
    """
    return bare(identifier.casefold(), prefix).lstrip("0") or "0"


def pair_identifiers(
    series: Iterable[str],
    table: Iterable[str],
    where: str,
    *,
    exact: bool = False,
    prefix: str = "sub-",
    others: Iterable[str] = (),
) -> Pairing:
    """Pair the identifiers of series with those of a table.

    Exact matches (apart from the prefix) count first. Where they do not pair every identifier of the series, all
    identifiers of both lists are compared without prefix, leading zeros and case, provided that they stay distinct
    within each list.

    Parameters
    ----------
    series, table : iterable of str
        The whole lists; repeated identifiers count once.
    where : str
        The table, for messages.
    exact : bool
        Exact matches only.
    prefix : str
        Prefix that may be there or not.
    others : iterable of str
        Identifiers of the dataset besides those of the series: the table may mean them.

    Returns
    -------
    Pairing

    Raises
    ------
    LabelError
        If the table lists one identifier with and without prefix, or if an identifier without an exact partner has one
        under the normalisation, but two identifiers of one list become the same under it.
    """
    ours, theirs = list(dict.fromkeys(series)), list(dict.fromkeys(table))
    known = _by_key(theirs, lambda name: bare(name, prefix), where)
    partner = {name: known[bare(name, prefix)] for name in ours if bare(name, prefix) in known}
    left = [name for name in ours if name not in partner]
    if left and not exact:
        everyone = list(dict.fromkeys([*ours, *others]))
        keys = {name: normalised(name, prefix) for name in (*everyone, *theirs)}
        available = {keys[name] for name in theirs}
        if any(keys[name] in available for name in left):
            what = "sessions" if prefix == "ses-" else "participants"
            left = [name for name in left if keys[name] in available]
            _refuse_collisions({"the series": everyone, where: theirs}, keys, f"{len(left)} {what}", left, where)
            by_key = {keys[name]: name for name in theirs}
            partner = {name: by_key[keys[name]] for name in ours if keys[name] in by_key}
    taken = set(partner.values())
    return Pairing(
        partner,
        tuple(name for name in ours if name not in partner),
        tuple(name for name in theirs if name not in taken),
    )


def _by_key(names: Sequence[str], key: Callable[[str], str], where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        other = found.setdefault(key(name), name)
        if other != name:
            raise LabelError(f"{where} lists both {other} and {name}; one row each is expected.")
    return found


def _refuse_collisions(
    sides: Mapping[str, Sequence[str]], keys: Mapping[str, str], many: str, left: Sequence[str], where: str
) -> None:
    """Refuse to guess: two names that one normalisation makes equal may be two people."""
    for side, names in sides.items():
        counts = Counter(keys[name] for name in names)
        alike = [name for name in names if counts[keys[name]] > 1]
        if alike:
            same = [name for name in alike if keys[name] == keys[alike[0]]]
            raise LabelError(
                f"{many} of the series are spelled differently in {where} ({listed(left)}), and they cannot be paired "
                f"without leading zeros and case, since {side} has both {' and '.join(same)}. Spell them alike on both "
                "sides, or use --exact-ids to leave out those without an exact match."
            )


def listed(names: Sequence[str]) -> str:
    """Name the first five, and say how many there are in all."""
    more = f" ... ({len(names)} in all)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
