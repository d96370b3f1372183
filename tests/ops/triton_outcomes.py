"""Run the Triton kernels on cases from one file and write what they give to another.

A program of its own: kernels are interpreted on a CPU only where TRITON_INTERPRET is set before they are defined.
"""

import os
import sys
from pathlib import Path

NAMES = ["u", "delta", "A", "B", "C", "D", "z", "delta_bias"]


def main(source: Path, target: Path) -> None:
    import numpy as np
    import torch

    from bids_neurossm.ops import selective_scan

    cases, outcomes = np.load(source, allow_pickle=False), {}
    for case in sorted({key.split("/")[0] for key in cases.files}):
        arguments = {
            name: torch.tensor(cases[f"{case}/{name}"]).requires_grad_() for name in NAMES if f"{case}/{name}" in cases
        }
        out, state = selective_scan(
            **arguments,
            delta_softplus=bool(cases[f"{case}/delta_softplus"]),
            return_last_state=True,
            backend="triton",
        )
        incoming = [torch.tensor(cases[f"{case}/{name}"]) for name in ("grad_out", "grad_last_state")]
        gradients = torch.autograd.grad((out, state), list(arguments.values()), incoming)
        outcomes |= {f"{case}/out": out.detach().numpy(), f"{case}/last_state": state.detach().numpy()}
        outcomes |= {f"{case}/grad_{name}": g.numpy() for name, g in zip(arguments, gradients, strict=True)}
    np.savez(target, **outcomes)


if __name__ == "__main__":
    os.environ["TRITON_INTERPRET"] = "1"
    main(Path(sys.argv[1]), Path(sys.argv[2]))
