"""The tests mirror the package: what is in ``folder/module.py`` is tested by ``tests/folder/test_module.py``."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

import bids_neurossm

PACKAGE, TESTS = Path(bids_neurossm.__file__).parent, Path(__file__).parent

#: Modules without a test file of their own: where they are tested, and what that file imports to reach them.
EXCEPTIONS = {
    # The command line, compiled kernels and moved names: tested through their entry.
    "__main__": ("test_imports.py", '"-m", "bids_neurossm"'),
    "ops/convolution_kernels": ("ops/test_convolution.py", "bids_neurossm.ops.convolution"),
    "ops/kernels": ("ops/test_cpu.py", "bids_neurossm.ops.selective_scan"),
    "ops/lanes": ("ops/test_cpu.py", "bids_neurossm.ops.selective_scan"),
    "training/cohort": ("test_moved.py", "bids_neurossm.training.cohort"),
    "training/estimator": ("test_moved.py", "bids_neurossm.training.estimator"),
    "training/estimators": ("test_moved.py", "bids_neurossm.training.estimators"),
    # Without a test file of their name yet.
    "atlas/drawing": ("atlas/test_parcellation.py", "bids_neurossm.atlas.drawing"),
    "atlas/orientation": ("atlas/test_catalogue.py", "bids_neurossm.atlas.catalogue"),
    "atlas/output_files": ("atlas/test_combined.py", "bids_neurossm.atlas.output_files"),
    "cli/analysis_settings": ("cli/test_analysis_lock.py", "bids_neurossm.cli.analysis_settings"),
    "cli/demo": ("cli/process/test_helpers.py", "bids_neurossm.cli.demo"),
    "cli/demo_table": ("cli/process/test_helpers.py", "bids_neurossm.cli.demo"),
    "cli/engine": ("cli/test_closing.py", "bids_neurossm.cli.group"),
    "cli/import_series": ("cli/test_import.py", "bids_neurossm.cli.import_series"),
    "cli/import_write": ("cli/test_import.py", "bids_neurossm.cli.import_series"),
    "cli/outcome": ("cli/test_closing.py", "bids_neurossm.cli.group"),
    "cli/process/guard": ("cli/process/test_helpers.py", "bids_neurossm.cli.process.guard"),
    "cli/process/machine": ("cli/test_check.py", "bids_neurossm.cli.process.machine"),
    "cli/spellings": ("cli/test_parser.py", "bids_neurossm.cli.parser"),
    "cli/terminal/console": ("cli/terminal/test_watch.py", "bids_neurossm.cli.terminal.console"),
    "cli/terminal/logs": ("cli/test_closing.py", "bids_neurossm.cli.group"),
    "config/checking": ("test_config.py", "bids_neurossm.config"),
    "config/evaluation": ("test_config.py", "bids_neurossm.config"),
    "config/execution": ("test_config.py", "bids_neurossm.config"),
    "config/extraction": ("test_config.py", "bids_neurossm.config"),
    "config/model": ("test_config.py", "bids_neurossm.config"),
    "config/selection": ("test_config.py", "bids_neurossm.config"),
    "dataset/bold_run": ("dataset/test_query.py", "bids_neurossm.dataset.bold_run"),
    "dataset/kinds": ("dataset/test_producers.py", "bids_neurossm.dataset.series"),
    "dataset/left_out": ("dataset/test_producers.py", "bids_neurossm.dataset.series"),
    "dataset/places": ("dataset/test_producers.py", "bids_neurossm.dataset.series"),
    "files/json_files": ("files/test_content.py", "bids_neurossm.files.json_files"),
    "files/nifti": ("files/test_content.py", "bids_neurossm.files.nifti"),
    "files/record_format": ("interfaces/test_resume.py", "bids_neurossm.files.record_format"),
    "files/series_text": ("cli/test_import.py", "bids_neurossm.cli.import_series"),
    "files/shared": ("dataset/test_description.py", "bids_neurossm.files.shared"),
    "files/toml_files": ("files/test_content.py", "bids_neurossm.files.toml_files"),
    "files/vouching": ("interfaces/test_resume.py", "bids_neurossm.files.vouching"),
    "files/write_surface": ("analysis/test_map_images.py", "bids_neurossm.analysis.map_images"),
    "interfaces/arrays": ("interfaces/test_provenance.py", "bids_neurossm.interfaces.arrays"),
    "interfaces/base": ("interfaces/test_cohort.py", "bids_neurossm.interfaces.cohort"),
    "interfaces/inputs": ("interfaces/test_participant.py", "bids_neurossm.interfaces.inputs"),
    "interfaces/plan": ("cli/test_closing.py", "bids_neurossm.cli.participant"),
    "interfaces/prediction": ("cli/test_closing.py", "bids_neurossm.cli.participant"),
    "interfaces/pretraining": ("cli/test_pretraining.py", "bids_neurossm.cli.pretraining"),
    "interfaces/progress": ("cli/terminal/test_watch.py", "bids_neurossm.interfaces.progress"),
    "interfaces/records": ("interfaces/test_cohort.py", "bids_neurossm.interfaces.records"),
    "interfaces/summary": ("cli/test_closing.py", "bids_neurossm.cli.group"),
    "planning/baselines": ("planning/test_same_series.py", "bids_neurossm.planning.group"),
    "planning/cohort_plan": ("planning/test_same_series.py", "bids_neurossm.planning.group"),
    "planning/encoder": ("cli/test_pretraining.py", "bids_neurossm.planning.encoder"),
    "planning/group": ("planning/test_same_series.py", "bids_neurossm.planning.group"),
    "planning/labels": ("cli/test_labels.py", "bids_neurossm.cli.run"),
    "planning/pretraining": ("cli/test_pretraining.py", "bids_neurossm.cli.pretraining"),
    "planning/reference": ("planning/test_same_series.py", "bids_neurossm.planning.group"),
    "planning/series": ("planning/test_same_series.py", "bids_neurossm.planning.group"),
    "reports/bibliography": ("reports/test_parts.py", "bids_neurossm.reports.bibliography"),
    "reports/figures/brain": ("reports/test_figures.py", "bids_neurossm.reports.group_maps"),
    "reports/figures/canvas": ("reports/test_parts.py", "bids_neurossm.reports.figures.canvas"),
    "reports/figures/display": ("reports/test_figures.py", "bids_neurossm.reports.figures.display"),
    "reports/figures/experts": ("analysis/test_expert_maps.py", "bids_neurossm.reports.figures.experts"),
    "reports/figures/explanations": ("reports/test_figures.py", "bids_neurossm.reports.figures.explanations"),
    "reports/figures/predictions": ("reports/test_figures.py", "bids_neurossm.reports.figures.predictions"),
    "reports/figures/results": ("reports/test_pages.py", "bids_neurossm.reports.group"),
    "reports/figures/runs": ("reports/test_figures.py", "bids_neurossm.reports.figures.runs"),
    "reports/figures/surface": ("reports/test_parts.py", "bids_neurossm.reports.figures.surface"),
    "reports/group": ("reports/test_pages.py", "bids_neurossm.reports.group"),
    "reports/group_cohort": ("reports/test_parts.py", "bids_neurossm.reports.group_cohort"),
    "reports/group_maps": ("reports/test_figures.py", "bids_neurossm.reports.group_maps"),
    "reports/group_tables": ("reports/test_parts.py", "bids_neurossm.reports.group_tables"),
    "reports/group_text": ("reports/test_parts.py", "bids_neurossm.reports.group_text"),
    "reports/methods": ("reports/test_parts.py", "bids_neurossm.reports.methods"),
    "reports/packing": ("reports/test_parts.py", "bids_neurossm.reports.series"),
    "reports/page": ("reports/test_pages.py", "bids_neurossm.reports.group"),
    "reports/participant": ("reports/test_pages.py", "bids_neurossm.reports.participant"),
    "reports/run_files": ("reports/test_parts.py", "bids_neurossm.reports.run_files"),
    "reports/series": ("reports/test_parts.py", "bids_neurossm.reports.series"),
    "reports/tables": ("reports/test_figures.py", "bids_neurossm.reports.tables"),
    "reports/viewer": ("reports/test_parts.py", "bids_neurossm.reports.viewer"),
    "reports/words": ("reports/test_pages.py", "bids_neurossm.reports.group"),
    "roi_arrays/atlas": ("cli/test_import.py", "bids_neurossm.cli.import_series"),
    "roi_arrays/discovery": ("roi_arrays/test_isolated.py", "bids_neurossm.roi_arrays.discovery"),
    "roi_arrays/facts": ("cli/test_import_published.py", "bids_neurossm.cli.import_series"),
    "roi_arrays/matching": ("roi_arrays/test_readers.py", "bids_neurossm.roi_arrays.matching"),
    "roi_arrays/options": ("cli/test_import.py", "bids_neurossm.cli.import_series"),
    "roi_arrays/participants": ("cli/test_import.py", "bids_neurossm.cli.import_series"),
    "roi_arrays/pheno_csv": ("cli/test_import_published.py", "bids_neurossm.cli.import_series"),
    "roi_arrays/pickle_stand_ins": ("roi_arrays/test_restricted_pickle.py", "bids_neurossm.roi_arrays.pickled_tables"),
    "roi_arrays/pickled_tables": ("roi_arrays/test_restricted_pickle.py", "bids_neurossm.roi_arrays.pickled_tables"),
    "roi_arrays/plan": ("cli/test_import.py", "bids_neurossm.cli.import_series"),
    "roi_arrays/published": ("roi_arrays/test_pickled_records.py", "bids_neurossm.roi_arrays.published"),
    "roi_arrays/reader_choice": ("roi_arrays/test_isolated.py", "bids_neurossm.roi_arrays.discovery"),
    "signal/confounds_table": ("signal/test_confounds.py", "bids_neurossm.signal.confounds"),
    "simulation/confounds": ("test_simulation.py", "bids_neurossm.simulation"),
    "simulation/painting": ("test_simulation.py", "bids_neurossm.simulation"),
    "simulation/planted": ("test_simulation.py", "bids_neurossm.simulation"),
    "workflows/group": ("cli/test_closing.py", "bids_neurossm.cli.group"),
    "workflows/participant": ("cli/test_closing.py", "bids_neurossm.cli.participant"),
    "workflows/plugins": ("cli/test_closing.py", "bids_neurossm.cli.run"),
    "workflows/pretraining": ("cli/test_pretraining.py", "bids_neurossm.cli.pretraining"),
}


def modules() -> list[str]:
    """List the modules of the package, ``folder/module``; `workflows` is a symbolic link."""
    found = []
    for folder, _, files in os.walk(PACKAGE, followlinks=True):
        paths = [Path(folder, name).relative_to(PACKAGE) for name in files if name.endswith(".py")]
        found += [path.with_suffix("").as_posix() for path in paths if path.name != "__init__.py"]
    return sorted(found)


def file_of(module: str) -> Path:
    """Return where a module is tested."""
    path = Path(module)
    return TESTS / path.parent / f"test_{path.name}.py"


def imported(text: str) -> set[str]:
    """Return the dotted names that a test file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return names


def test_every_module_has_a_test_file_of_its_name_or_is_an_exception() -> None:
    found = modules()
    assert {"checkpoint", "ops/kernels", "workflows/plugins"} <= set(found)
    assert [module for module in found if not file_of(module).is_file() and module not in EXCEPTIONS] == []


@pytest.mark.parametrize("module", EXCEPTIONS)
def test_an_exception_is_needed_and_tested_where_it_says(module: str) -> None:
    where, entry = EXCEPTIONS[module]
    assert module in modules()
    assert not file_of(module).exists()
    text = (TESTS / where).read_text()
    assert entry in text or entry in imported(text)
