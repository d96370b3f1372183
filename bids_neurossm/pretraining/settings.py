"""What recipes and command lines say of the second family, sorted (docs/lmae.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bids_neurossm.errors import UsageError
from bids_neurossm.files.toml_files import section_from
from bids_neurossm.models.lmae import LMAEConfig
from bids_neurossm.models.lmae_rwmoe import LmaeRwmoeConfig
from bids_neurossm.pretraining.pretrain import Pretraining


@dataclass(frozen=True)
class Stages:
    """The two stages of fine-tuning (the recipe's ``[model.stages]`` table); without a pretrained encoder there is one.

    Parameters
    ----------
    frozen_epochs : int
        Of ``training.epochs``, those in which the encoder is held fixed.
    rate : float
        Peak learning rate of the second stage, in which everything is trained, over that of the first.
    """

    frozen_epochs: int = 8
    rate: float = 0.3

    def __post_init__(self) -> None:
        if self.frozen_epochs < 0 or not self.rate > 0:
            raise UsageError("stages.frozen_epochs must be 0 or more, and stages.rate positive.")


@dataclass(frozen=True)
class Settings:
    """Everything that a recipe and a command line say of the second family.

    Parameters
    ----------
    model : mapping
        Arguments of `LmaeRwmoeConfig`.
    pretraining : Pretraining
        How an encoder is pretrained.
    stages : Stages
        How the whole is fine-tuned.
    pretrain : bool
        Whether an encoder is pretrained on the training runs.
    encoder : str
        Checkpoint of a pretrained encoder; empty where there is none.
    """

    model: Mapping[str, Any]
    pretraining: Pretraining = field(default_factory=Pretraining)
    stages: Stages = field(default_factory=Stages)
    pretrain: bool = False
    encoder: str = ""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Settings:
        """Sort the settings of a `ModelSpec`.

        Raises
        ------
        UsageError
            If one is not known, has the wrong type, or two contradict each other.
        """
        own = ("pretraining", "stages", "pretrain", "encoder", "encoder_sha256")
        found = cls(
            {name: value for name, value in settings.items() if name not in own},
            section_from(Pretraining, settings.get("pretraining", {}), "[model.pretraining]"),
            section_from(Stages, settings.get("stages", {}), "[model.stages]"),
            bool(settings.get("pretrain", False)),
            str(settings.get("encoder", "")),
        )
        if found.pretrain and found.encoder:
            raise UsageError("--pretrain makes an encoder, and --checkpoint or --pretrain-from brings one: give one.")
        return found

    def config(self, n_regions: int, n_outputs: int) -> LmaeRwmoeConfig:
        """Return the shape of the model.

        Raises
        ------
        UsageError
            If a setting is unknown or impossible.
        """
        return section_from(LmaeRwmoeConfig, {**self.model, "n_regions": n_regions, "n_outputs": n_outputs}, "[model]")

    def encoder_config(self, n_regions: int) -> LMAEConfig:
        """Return the shape of the encoder alone."""
        whole = self.config(n_regions, 1)
        return LMAEConfig(**{name: getattr(whole, name) for name in LMAEConfig.__dataclass_fields__})
