# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepares what ansible-test insists on.

It runs only in a directory that is really called ansible_collections/ocfs2/o2cb, so the working tree is copied to one:
all files except those that git ignores, and except bin/, which no build of the collection holds, and where ansible-test
takes every shell script for Python. And it downloads a pip into its own environments from one fixed address;
with a script in its cache it takes the pip that comes with Python instead, so that no such address need be reachable.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

PIP_FROM_PYTHON = '''\
"""Install the pip that comes with Python, then what ansible-test asks for."""
import subprocess
import sys

packages = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"], stdout=subprocess.DEVNULL)
subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"] + packages)
'''


def copy_collection(root: Path) -> Path:
    """Copy the working tree below .cache and return the copy."""
    copy = root / ".cache/sanity/ansible_collections/ocfs2/o2cb"
    shutil.rmtree(copy, ignore_errors=True)
    for name in working_tree(root):
        source, target = root / name, copy / name
        if source.is_symlink() or source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    # ansible-test lists files with git, and would find the repository around the copy, which ignores it.
    subprocess.run(["git", "init", "--quiet", "--initial-branch=copy", str(copy)], check=True)
    return copy


def working_tree(root: Path) -> list[str]:
    """List the files that git tracks or would track, except bin/; also when the clone belongs to another user."""
    tracked = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run([*tracked, ":!bin"], cwd=root, check=True, capture_output=True, text=True).stdout
    return [name for name in output.split("\0") if name]


def provide_pip(home: Path) -> None:
    """Put the script into ansible-test's cache, unless there is one."""
    spec = importlib.util.find_spec("ansible_test")
    assert spec is not None
    assert spec.submodule_search_locations
    requirements = Path(spec.submodule_search_locations[0]) / "_internal/python_requirements.py"
    wanted = re.search(r"\bpip='([\d.]+)'", requirements.read_text(encoding="utf-8"))
    if wanted is None:
        return
    cached = home / f".ansible/test/cache/get_pip_{wanted[1].replace('.', '_')}.py"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_text(PIP_FROM_PYTHON, encoding="utf-8")
