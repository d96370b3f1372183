"""Many processes write one output dataset at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from reliability.cohort import SPACE, multiply, write_atlas, write_dataset, write_plugin
from reliability.commands import Child, all_of, content, differences, is_temporary, preload, run, start
from reliability.outcome import Row, row

PART = "concurrency"
STRATEGIES = ("simple", "24p", "36p", "none")


def rows(folder: Path, full: bool) -> list[Row]:
    """Participants, the dataset's own files, twins, versions."""
    n, at_once = (200, 40) if full else (6, 6)
    return [
        participants(folder / "participants", n, at_once),
        dataset_files(folder / "files", 200 if full else 24),
        twins(folder / "twins", 8 if full else 2),
    ]


def participants(folder: Path, n: int, at_once: int) -> Row:
    """Run one process for each participant, all into one OUT_DIR, with four denoising strategies between them.

    A participant has the files of one of four simulated ones, so that what its series have to be is known.
    """
    atlas, plugin = write_atlas(folder), write_plugin(folder)
    few = write_dataset(folder / "few", atlas, len(STRATEGIES))
    many = multiply(few, folder / "many", n)
    logs = folder / "said"
    logs.mkdir()

    def arguments(dataset: Path, out: Path, number: int) -> list[str | Path]:
        label, strategy = f"{number + 1:03d}", STRATEGIES[number % len(STRATEGIES)]
        options = ["--space", SPACE, "--atlas", atlas, "--denoise", strategy, "--participant-label", label]
        return [dataset, out, "participant", *options, "--use-plugin", plugin]

    preload(arguments(few, folder / "first", 0), logs / "first")
    for number in range(len(STRATEGIES)):
        run(arguments(few, folder / "alone", number), logs / "alone")
    began = time.monotonic()
    waiting = [arguments(many, folder / "out", number) for number in range(n)]
    with all_of([]) as children:
        while waiting or any(child.poll() is None for child in children):
            running = sum(child.poll() is None for child in children)
            if waiting and running < at_once:
                children.append(start(waiting.pop(0), logs / str(len(children))))
            else:
                time.sleep(0.01)
    seconds = time.monotonic() - began
    faults = [_participant_faults(folder, number, child) for number, child in enumerate(children)]
    faults.append(_dataset_faults(folder / "out", STRATEGIES))
    what = f"{n} participant commands, {at_once} at a time, 4 strategies, one OUT_DIR; and the dataset as a whole"
    return row(PART, what, faults, f"{seconds:.0f} s; validated")


def _participant_faults(folder: Path, number: int, child: Child) -> list[str]:
    name, original = f"sub-{number + 1:03d}", f"sub-{number % len(STRATEGIES) + 1:03d}"
    faults = [] if child.code == 0 else [f"exit code {child.code}: {child.said()[-300:]}"]
    expected = {
        path.replace(original, name): value
        for path, value in content(folder / "alone" / original).items()
        if path.endswith(".tsv")
    }
    found = {path: value for path, value in content(folder / "out" / name).items() if path.endswith(".tsv")}
    faults += [f"{path} is not what it is alone" for path in differences(found, expected)]
    for path in (folder / "out" / name).rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    if not (folder / "out" / f"{name}.html").is_file():
        faults.append("no report")
    return faults


def _dataset_faults(out: Path, strategies: tuple[str, ...]) -> list[str]:
    faults = [f"{path} was left" for path in out.rglob("*") if is_temporary(path)]
    table = (out / "descriptions.tsv").read_text(encoding="utf-8").splitlines()
    known = {line.split("\t")[0] for line in table}
    faults += [f"descriptions.tsv lost {name}" for name in strategies if f"desc-{name}" not in known]
    if json.loads((out / "dataset_description.json").read_text(encoding="utf-8"))["GeneratedBy"][0]["Version"] == "":
        faults.append("no version")
    validator = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run([validator, out], capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        faults.append(f"the validator refuses it: {done.stdout[-500:]}")
    return faults


def dataset_files(folder: Path, n: int) -> Row:
    """Let processes write the dataset's own files at the same moment, each with a strategy and a source of its own."""
    from bids_neurossm.atlas import load_parcellation
    from bids_neurossm.atlas.output_files import write_atlas as write_atlas_files
    from bids_neurossm.dataset.description import write_desc_labels, write_description

    parcellation = load_parcellation(write_atlas(folder), SPACE)
    out = folder / "out"
    gate_out, gate_in = os.pipe()
    children = []
    for number in range(n):
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.close(gate_in)
                os.read(gate_out, 1)  # ends when the last writer of the gate closes it
                write_description(out, {f"source{number}": folder / f"source{number}"})
                write_desc_labels(out, {f"mine{number}": f"Strategy {number}."})
                write_atlas_files(out, [parcellation])
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    os.close(gate_out)
    os.close(gate_in)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    lines = (out / "descriptions.tsv").read_text(encoding="utf-8").splitlines()
    links = json.loads((out / "dataset_description.json").read_text(encoding="utf-8"))["DatasetLinks"]
    faults = [
        [f"exit code {code}"] * (code != 0)
        + ["its description is lost"] * (f"desc-mine{number}\tStrategy {number}." not in lines)
        + ["its source is lost"] * (f"source{number}" not in links)
        for number, code in enumerate(codes)
    ]
    faults.append([f"{path} was left" for path in out.rglob("*") if is_temporary(path)])
    return row(
        PART, f"{n} processes add to descriptions.tsv, dataset_description.json, the atlas at one moment", faults
    )


def twins(folder: Path, n: int) -> Row:
    """Start a task of a job array twice, while its twin still runs, into one OUT_DIR and one work folder."""
    atlas, plugin = write_atlas(folder), write_plugin(folder)
    dataset = write_dataset(folder / "fmriprep", atlas, 1)
    options = ["--space", SPACE, "--atlas", atlas, "--participant-label", "001", "--use-plugin", plugin]
    run([dataset, folder / "alone", "participant", *options], folder / "said")
    expected = content(folder / "alone")
    faults = []
    for number in range(n):
        out = folder / f"out-{number}"
        command = [dataset, out, "participant", *options, "-w", folder / f"work-{number}"]
        with all_of([start(command, folder / f"said-{number}")]) as pair:
            time.sleep(0.1 * number)
            pair.append(start(command, folder / f"said-twin-{number}"))
            codes = [child.wait() for child in pair]
        told = [f"exit code {code}" for code in codes if code]
        faults.append(told + [f"{name} differs" for name in differences(content(out), expected)])
    return row(PART, f"{n} tasks of a job array started again while their twin runs", faults)
