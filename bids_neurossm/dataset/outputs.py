"""Where every file of the output dataset goes: one place that knows the names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bids_neurossm.dataset.names import build_name, sanitised_label, source_entities

#: Suffixes of what is derived from a run; the validator knows none of them here (BEP 12 and BEP 17 are drafts).
RUN_SUFFIXES = ("timeseries", "bold", "relmat", "outliers", "prediction", "attributions", "boldmap")

#: Patterns of ``.bidsignore``: everything that is written and that the validator does not know.
BIDSIGNORE = (
    *("*.html", "/models", "/group", "/logs", "quality.*", "sub-*/figures"),
    *(f"*_{suffix}.*" for suffix in RUN_SUFFIXES if suffix != "bold"),
    *("*_bold.tsv", "*_bold.json"),
)


@dataclass(frozen=True)
class RunOutputs:
    """Names of what is derived from one run with one parcellation and one strategy.

    Parameters
    ----------
    out_dir : Path
        Root of the output dataset.
    source : mapping
        Entities of the preprocessed image.
    parcellation : mapping
        Entities of the parcellation: ``atlas``, ``seg``, ``scale``.
    strategy : str
        Label of the denoising strategy.
    """

    out_dir: Path
    source: Mapping[str, str]
    parcellation: Mapping[str, str]
    strategy: str

    @property
    def folder(self) -> Path:
        """The participant's ``func`` folder."""
        session = f"ses-{self.source['ses']}" if "ses" in self.source else ""
        return self.out_dir / f"sub-{self.source['sub']}" / session / "func"

    def path(self, suffix: str, extension: str, stat: str | None = None, desc: str | None = None) -> Path:
        """Name one file; ``.bidsignore`` has to know its suffix."""
        if suffix not in RUN_SUFFIXES:
            raise ValueError(f"{suffix!r} is not among the suffixes of a run: {', '.join(RUN_SUFFIXES)}.")
        entities: dict[str, str | None] = dict(source_entities(self.source))
        entities |= {name: self.source[name] for name in ("cohort", "space", "res", "den") if name in self.source}
        entities |= dict(self.parcellation)
        entities |= {"stat": stat, "desc": desc}
        return self.folder / build_name(entities, suffix, extension)

    @property
    def timeseries(self) -> Path:
        """T rows by R named columns."""
        return self.path("timeseries", ".tsv", stat="mean", desc=self.strategy)

    @property
    def coverage(self) -> Path:
        """One row per region."""
        return self.path("bold", ".tsv", stat="coverage")

    @property
    def connectivity(self) -> Path:
        """R by R correlations."""
        return self.relations("pearson-correlation")

    def relations(self, measure: str) -> Path:
        """R by R relations between regions, by one measure."""
        return self.path("relmat", ".tsv", stat=sanitised_label(measure), desc=self.strategy)

    @property
    def motion(self) -> Path:
        """One row per volume of the image: framewise displacement, and whether it was kept."""
        return self.path("outliers", ".tsv", desc=self.strategy)

    def described(self) -> tuple[Path, ...]:
        """Tables that every run has, for which the sidecar of the series vouches."""
        return self.timeseries, self.coverage, self.connectivity, self.motion

    def with_strategy(self, strategy: str) -> RunOutputs:
        """Return the names of the same run with another strategy."""
        return replace(self, strategy=strategy)

    def prediction(self, label: str) -> Path:
        """Class, logit, probability."""
        return self.path("prediction", ".tsv", desc=label)

    def attributions(self, label: str) -> Path:
        """Pathway by region."""
        return self.path("attributions", ".tsv", stat="cpa", desc=label)

    def attribution_map(self, label: str) -> Path:
        """Image of the run's CPA map."""
        return self.path("boldmap", ".nii.gz", stat="cpa", desc=label)


@dataclass(frozen=True)
class GroupOutputs:
    """Names of what one analysis writes.

    Parameters
    ----------
    out_dir : Path
        Root of the output dataset.
    analysis : str
        Its identifier.
    entities : mapping
        ``space`` and the entities of the parcellation, for the maps.
    """

    out_dir: Path
    analysis: str
    entities: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """Tables and maps."""
        return self.out_dir / "group" / self.analysis

    @property
    def models(self) -> Path:
        """Checkpoints."""
        return self.out_dir / "models" / self.analysis

    def table(self, name: str) -> Path:
        """One of the plain tables: ``splits``, ``predictions``, ``metrics`` ..."""
        return self.folder / f"{name}.tsv"

    def named(self, suffix: str, extension: str, stat: str, label: str | None = None, desc: str | None = None) -> Path:
        """Name a map or a table that belongs to the atlas."""
        return self.folder / build_name(
            {**self.entities, "label": label, "stat": stat, "desc": desc}, suffix, extension
        )
