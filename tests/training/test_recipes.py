"""Every shipped recipe makes a model; a wrong one is refused with the reason."""

import pytest

from bids_neurossm.errors import UsageError
from bids_neurossm.models import NeuroSSMConfig
from bids_neurossm.training.recipes import load_recipe, shipped_recipes


def test_the_recipes_that_are_promised_ship_with_their_windows():
    windows = {name: load_recipe(name)[1].window for name in shipped_recipes()}
    assert {"demo", "hcp-rest", "hcp-task", "ppmi", "multisite"} <= set(windows)
    assert (windows["hcp-rest"], windows["hcp-task"], windows["ppmi"]) == (600, 150, 100)


@pytest.mark.parametrize(
    ("name", "pathways"), [("demo", 6), ("hcp-rest", 6), ("hcp-task", 6), ("ppmi", 6), ("multisite", 4)]
)
def test_a_shipped_recipe_fits_the_model(name, pathways):
    settings, _ = load_recipe(name)
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    assert len(NeuroSSMConfig(n_regions=10, n_outputs=2, **settings).pathways) == pathways


def test_a_recipe_of_the_user_and_its_mistakes(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[model]\nwidth = 8\n[training]\nepochs = 3\n")
    settings, training = load_recipe(path)
    assert settings == {"width": 8}
    assert training.epochs == 3
    path.write_text("[training]\nepoch = 3\n")
    with pytest.raises(UsageError, match="unknown setting 'epoch'"):
        load_recipe(path)
    path.write_text("[modle]\nwidth = 8\n")
    with pytest.raises(UsageError, match="unknown table 'modle'"):
        load_recipe(path)
    with pytest.raises(UsageError, match="'hcp' is not known; camcan-age"):
        load_recipe("hcp")
