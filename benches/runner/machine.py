"""On what, of what and when was measured."""

import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path

from .servers import ROOT


def describe():
    return {
        "cpu": cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {platform.release()}",
        "compiler": said(["rustc", "--version"]),
        "commit": commit(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        # What else the machine did in the minute before: all figures are to be read with it.
        "load_before": round(os.getloadavg()[0], 2),
    }


def cpu():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def commit():
    name = said(["git", "rev-parse", "--short=12", "HEAD"])
    return f"{name} with changes" if said(["git", "status", "--porcelain"]) else name


def said(command):
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"
