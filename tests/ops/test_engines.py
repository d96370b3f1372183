"""What is said about the device, and whether the engines here work."""

import pytest
import torch

from bids_neurossm.ops import engines


def test_the_engine_for_processors_works_and_is_exact():
    (cpu, *_) = engines.check_engines()
    assert (cpu.name, cpu.usable) == ("cpu", True)


def test_auto_says_what_it_took(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(engines, "gpu_names", lambda: ["A GPU, 9.0, 80 GiB"])
    assert engines.device_choice("auto") == "Models are trained on A GPU, 9.0, 80 GiB, which --device auto found."


def test_auto_names_all_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(engines, "gpu_names", lambda: ["A, 9.0, 80 GiB", "B, 8.0, 40 GiB"])
    assert engines.device_choice("auto") == (
        "Models are trained on GPUs; --device auto found 2: A, 9.0, 80 GiB; B, 8.0, 40 GiB."
    )


@pytest.mark.parametrize(
    ("built_for", "reason"), [(None, "is built without CUDA"), ("12.6", "finds no GPU with a driver")]
)
def test_auto_never_falls_back_in_silence(monkeypatch, built_for, reason):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(torch.version, "hip", None)
    said = engines.device_choice("auto")
    assert said.startswith("Models are trained on the processor: --device auto found no GPU, since")
    assert reason in said
    assert torch.__version__ in said


def test_a_device_that_was_asked_for_is_repeated():
    assert engines.device_choice("cpu") == "Models are trained on cpu, as --device says."
