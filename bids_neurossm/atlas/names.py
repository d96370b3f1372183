"""One name for one region, whichever release of an atlas's label table it was read from.

CBIG renamed parcels of Schaefer's atlas after TemplateFlow had taken its tables over: the same label of the same
parcellation is `FrOper_1` in one table and `FrOperIns_1` in the other. Series and checkpoints are matched by the names
of their regions, so the newer names are used throughout where the table of changes is known, and elsewhere parcels are
matched by their position where that is sure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

_TABLE = Path(str(files("bids_neurossm"))) / "data" / "atlases" / "schaefer_renamed.tsv"

#: Parcels and networks of the parcellations whose order CBIG kept when it corrected the names of components in release
#: 0.14.3 of 16 September 2019 (Update_20190916_README.md of its repository). In the others, 900 parcels with 7 networks
#: and 500 or more with 17, parcels changed their network and with it their place.
_ORDER_KEPT = frozenset(
    {(scale, 7) for scale in range(100, 1100, 100) if scale != 900} | {(scale, 17) for scale in range(100, 500, 100)}
)
_SCHAEFER = re.compile(r"(?P<order>7|17)Networks_(?P<hemisphere>[LR]H)_(?P<network>[A-Za-z]+)_\w+")


def canonical_names(labels: Sequence[int], names: Sequence[str]) -> tuple[str, ...]:
    """Replace the names of an older label table by those of the newest one that is known.

    Parameters
    ----------
    labels : sequence of int, length R
        Label of each region.
    names : sequence of str, length R
        Its name in the table.

    Returns
    -------
    tuple of str, length R
        The newer names where the table is, as a whole, an older release of a table that was renamed; else `names` as
        they are. A name alone does not tell: `Cont_PFCl_1` is another parcel in either release.

    Examples
    --------
    >>> canonical_names([1, 2], ["Caudate_L", "Caudate_R"])
    ('Caudate_L', 'Caudate_R')
    """
    by_label = dict(zip(labels, names, strict=True))
    for scale, renamed in _renamed().items():
        if len(by_label) == scale and all(by_label.get(label) == older for label, (older, _) in renamed.items()):
            by_label |= {label: newer for label, (_, newer) in renamed.items()}
            break
    return tuple(by_label[label] for label in labels)


def same_parcels(names: Sequence[str], others: Sequence[str]) -> bool:
    """Tell whether two lists of region names are those of the same parcels in the same order.

    Parameters
    ----------
    names, others : sequence of str
        Names of all regions, in the order of their labels.

    Returns
    -------
    bool
        Whether they are equal; or both name all parcels of a Schaefer parcellation whose releases differ in the names
        of components alone, and agree at every position in hemisphere and network.

    Examples
    --------
    >>> same_parcels(["Caudate_L", "Caudate_R"], ["Caudate_R", "Caudate_L"])
    False
    """
    if list(names) == list(others):
        return True
    first, second = _places(names), _places(others)
    if first is None or first != second:
        return False
    return (len(names), int(first[0][0])) in _ORDER_KEPT


def _places(names: Sequence[str]) -> list[tuple[str, str, str]] | None:
    """Give order of networks, hemisphere and network of each parcel; None where they are no Schaefer parcels."""
    found = [_SCHAEFER.fullmatch(name) for name in names]
    if not found or any(each is None for each in found):
        return None
    # The older release does not tell the two parts of the limbic network apart.
    return [
        (each["order"], each["hemisphere"], re.sub(r"^Limbic[AB]$", "Limbic", each["network"]))
        for each in found
        if each is not None
    ]


@lru_cache(maxsize=1)
def _renamed() -> dict[int, dict[int, tuple[str, str]]]:
    """Read what was renamed: number of parcels, then label, to the older and the newer name."""
    tables: dict[int, dict[int, tuple[str, str]]] = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines()[1:]:
        scale, label, older, newer = line.split("\t")
        tables.setdefault(int(scale), {})[int(label)] = (older, newer)
    return tables
