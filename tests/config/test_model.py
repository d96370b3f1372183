"""Settings of the training check themselves."""

from __future__ import annotations

from typing import Any

import pytest

from bids_neurossm.config import Training
from bids_neurossm.errors import UsageError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "training.epochs"),
        ({"batch_size": 0}, "training.batch_size"),
        ({"learning_rate": 0}, "training.learning_rate"),
        ({"gradient_clip": -1}, "training.gradient_clip"),
        ({"weight_decay": -1}, "training.weight_decay"),
        ({"label_smoothing": 1}, "training.label_smoothing"),
        ({"window": 7}, "training.window"),
    ],
)
def test_impossible_values_are_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Training(**values)
