"""The most memory that a process held."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

MB = 1e6


def peak_mb() -> float:
    """The most memory that this process held so far [MB].

    On Linux ``ru_maxrss`` begins with what the parent held when it forked; the kernel's own
    high-water mark begins anew with every program.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024 / MB
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / MB
