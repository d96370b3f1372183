"""What the tests of the reports have in common."""

from __future__ import annotations

HOSTILE = "<script>alert('x')</script>"
CLASSES = ["gambling", "language", "motor"]
FAILURES = [
    {
        "run": "sub-01_task-nback",
        "step": "parcel_means",
        "message": f"{HOSTILE} ends early.",
        "remedy": "Copy the file again.",
    }
]
