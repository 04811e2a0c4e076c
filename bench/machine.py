"""What every benchmark tells of its surroundings, and the environments of the programs it compares with."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path


def machine() -> str:
    """The moment, the processor, its cores, the memory and the system, in one line."""
    memory_gb = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {_processor()}, {os.cpu_count()} cores, {memory_gb} GB,"
        f" {platform.system()}"
    )


def peer_environment(python_home: Path, requirements: Path) -> Path:
    """The Python of an environment with just these requirements, from the package index; made the first time.

    Raises:
        subprocess.CalledProcessError: when it cannot be installed.
    """
    python = python_home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python_home)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "-r", str(requirements)]
        subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
    return python


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
