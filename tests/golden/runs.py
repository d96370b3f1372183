"""The commands whose results are recorded: small, on one thread, each family, each joined model, each baseline."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from helpers.painted import paint_psychosis
from reliability.cohort import SPACE, write_atlas, write_dataset

_SITES = ("OHSU", "SBL", "CALTECH")

_NEUROSSM = """\
[model]
scales = [1, 2, 4]
width = 8
state = 4
depth = 1
[training]
epochs = 3
batch_size = 16
window = 60
early_stopping = 2
"""

_LMAE_RWMOE = """\
[model]
patch = 4
width = 8
state = 4
depth = 1
nodes = 8
experts = 2
walk_steps = 2
code = 8
profile_width = 8
layers = 1
[model.pretraining]
epochs = 2
batch_size = 16
[model.stages]
frozen_epochs = 1
[training]
epochs = 3
batch_size = 16
window = 60
"""


def command(program: str, *arguments: str | Path) -> None:
    """Run a module of the package as a user's shell would, on one thread and offline."""
    variables = {
        **os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NO_COLOR": "1",
    }  # fmt: skip
    started = [sys.executable, "-m", program, *map(str, arguments)]
    done = subprocess.run(started, env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(started)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def demo(data: Path, folder: Path) -> Path:
    """Run the demo, from simulated images to maps and a report."""
    command("bids_neurossm.cli.demo", folder / "demo")
    return folder / "demo"


def abide(data: Path, folder: Path) -> Path:
    """Three sites of ABIDE: both families, alone and joined, in folds and with sites left out, with all baselines."""
    source = folder / "source"
    source.mkdir()
    for site in _SITES:
        name = f"cc200_filtglobal_site-{site}.npz"
        (source / name).symlink_to(data / "abide" / name)
    imported, out = folder / "imported", folder / "out"
    told = ("--atlas", "CC200", "--task", "rest", "--participants", data / "abide" / "participants.tsv")
    command("bids_neurossm.cli.import_series", source, imported, *told, "--id-column", "file_id")
    recipes = {"neurossm": folder / "neurossm.toml", "lmae-rwmoe": folder / "lmae.toml"}
    recipes["neurossm"].write_text(_NEUROSSM)
    recipes["lmae-rwmoe"].write_text(_LMAE_RWMOE)

    def group(name: str, model: str, *options: str) -> None:
        recipe = recipes[model.removesuffix("-static")]
        common = ("--model", model, "--recipe", recipe, "--analysis-id", name, "--nprocs", "1")
        command("bids_neurossm", imported, out, "group", *common, *options)

    rest = "majority covariates pearson-connectivity tangent-connectivity multiscale-tangent site-only linear-svm"
    panel = (*rest.split(), "mean-pooled-mlp", "neurossm")
    group("folds", "neurossm-static", "--target", "dx", "--folds", "3", "--seeds", "2", "--baselines", *panel)
    group("sites", "lmae-rwmoe", "--target", "dx", "--leave-out", "site", "--baselines", "none", "--pretrain")
    values = ("majority", "kernel-ridge", "age-only", "covariates", "mean-pooled-mlp", "lmae-rwmoe")
    options = ("--target", "fiq", "--folds", "3", "--holdout", "0.2", "--repeats", "2", "--baselines", *values)
    group("values", "lmae-rwmoe-static", *options)
    return out


def painted(data: Path, folder: Path) -> Path:
    """Real series painted into Schaefer-400: extraction with every option of the signal, training and maps."""
    home = data / "atlases" / "templateflow"
    paint_psychosis(folder / "fmriprep", data, home, n_participants=8, n_volumes=120)
    out, recipe = folder / "out", folder / "neurossm.toml"
    recipe.write_text(_NEUROSSM)
    atlas = ("--atlas", "Schaefer400", "--atlas-dir", home / "tpl-MNI152NLin2009cAsym")
    signal = ("--connectivity", "partial-correlation", "covariance", "--high-pass", "0.01")
    command("bids_neurossm", folder / "fmriprep", out, "participant", *atlas, *signal)
    told = ("--target", "dx", "--recipe", recipe, "--folds", "2", "--baselines", "majority", "tangent-connectivity")
    command("bids_neurossm", folder / "fmriprep", out, "group", *told, "--analysis-id", "dx", "--reference", "none")
    return out


RUNS: dict[str, Callable[[Path, Path], Path]] = {"demo": demo, "abide": abide, "painted": painted}


def small(folder: Path) -> Path:
    """Write the dataset of the OUT_DIR that is kept beside this file: eight cubes, eight participants, two tasks."""
    atlas = write_atlas(folder)
    write_dataset(folder / "dataset", atlas, 8, ("nback", "rest"))
    (folder / "neurossm.toml").write_text(_NEUROSSM.replace("window = 60", "window = 32"))
    (folder / "lmae.toml").write_text(_LMAE_RWMOE.replace("window = 60", "window = 32"))
    return atlas


def extract_small(folder: Path) -> None:
    """Extract the series of the small dataset into its OUT_DIR, or find them there."""
    atlas = next(folder.glob("*_dseg.nii.gz"))
    command("bids_neurossm", folder / "dataset", folder / "out", "participant", "--atlas", atlas, "--space", SPACE)


def train_small(folder: Path) -> None:
    """Train both families on the series of the small dataset, or find their models there."""
    panel = ("--baselines", "majority", "pearson-connectivity")
    for name, model, recipe in (
        ("first", "neurossm-static", "neurossm.toml"),
        ("second", "lmae-rwmoe-static", "lmae.toml"),
    ):
        told = ("--target", "entity:task", "--folds", "2", "--reference", "none", "--analysis-id", name)
        chosen = ("--model", model, "--recipe", folder / recipe)
        command("bids_neurossm", folder / "dataset", folder / "out", "group", *told, *panel, *chosen)
