"""One name for one region, whichever release of an atlas's label table it was read from.

CBIG renamed parcels of Schaefer's atlas after TemplateFlow had taken its tables over: the same label of the same
parcellation is `FrOper_1` in one table and `FrOperIns_1` in the other. Series and checkpoints are matched by the names
of their regions, so the newer names are used throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

_TABLE = Path(str(files("bids_neurossm"))) / "data" / "atlases" / "schaefer_renamed.tsv"


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


@lru_cache(maxsize=1)
def _renamed() -> dict[int, dict[int, tuple[str, str]]]:
    """Read what was renamed: number of parcels, then label, to the older and the newer name."""
    tables: dict[int, dict[int, tuple[str, str]]] = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines()[1:]:
        scale, label, older, newer = line.split("\t")
        tables.setdefault(int(scale), {})[int(label)] = (older, newer)
    return tables
