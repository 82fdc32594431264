# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A root directory of a test's own: what a module does with files and the system's calls, it does below that."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import changes, files


def move(monkeypatch: pytest.MonkeyPatch, under: Callable[[str], str], *modules: ModuleType) -> None:
    """`under` gives the real path of one. What the modules share is moved along."""
    moved_files = SimpleNamespace(
        read=lambda path: files.read(under(path)),
        read_line=lambda path: files.read_line(under(path)),
        write=lambda path, text, *how, **more: files.write(under(path), text, *how, **more),
        remove=lambda path: files.remove(under(path)),
        remove_with_directory=lambda path: files.remove_with_directory(under(path)),
    )
    moved_os = SimpleNamespace(
        path=SimpleNamespace(
            exists=lambda path: os.path.exists(under(path)), lexists=lambda path: os.path.lexists(under(path))
        ),
        access=lambda path, how: os.access(under(path), how),
        chmod=lambda path, mode: os.chmod(under(path), mode),
        open=lambda path, flags: os.open(under(path), flags | os.O_TRUNC),
        write=os.write,
        close=os.close,
        O_WRONLY=os.O_WRONLY,
        O_CLOEXEC=os.O_CLOEXEC,
        X_OK=os.X_OK,
    )
    for module in (changes, *modules):
        monkeypatch.setattr(module, "files", moved_files)
        monkeypatch.setattr(module, "os", moved_os)
