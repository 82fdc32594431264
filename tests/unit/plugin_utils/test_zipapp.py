# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program behind o2cb.service: the same bytes each time, and it runs on every Python that nodes have."""

from __future__ import annotations

import io
import subprocess
import zipfile
from pathlib import Path

import pytest

from ansible_collections.ocfs2.o2cb.plugins.plugin_utils import zipapp

VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
PYTHONS = sorted(
    {
        Path("/usr/bin/python3"),
        *(path for version in VERSIONS for path in Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
    }
)


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("zipapp") / "o2cb.pyz"
    path.write_bytes(zipapp.pack())
    return path


def run(python: Path, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-I", "-W", "error", str(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_same_sources_give_the_same_bytes():
    assert zipapp.pack() == zipapp.pack()


def test_every_package_in_it_can_be_imported_from_a_zip():
    with zipfile.ZipFile(io.BytesIO(zipapp.pack())) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    assert names == sorted(names)
    for name in names:
        package = name.rpartition("/")[0]
        assert not package or f"{package}/__init__.py" in names


@pytest.mark.parametrize("python", PYTHONS, ids=str)
def test_it_runs_on_this_python_without_a_warning(program, python):
    done = run(python, program, "online", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--wait" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("restart",), ("online", "--wait", "soon")])
def test_wrong_arguments_are_refused(program, arguments):
    done = run(PYTHONS[0], program, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: o2cb.pyz")
