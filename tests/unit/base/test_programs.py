# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs are run from a list, in a known language, and never for ever."""

from __future__ import annotations

import errno

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base import programs
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError


def test_code_output_and_errors_come_back_and_no_shell_is_in_between():
    assert programs.run(["sh", "-c", 'printf %s "$1"; printf x >&2; exit 3', "sh", "a; $(b)"]) == (3, "a; $(b)", "x")


def test_messages_are_in_the_language_that_the_library_reads(monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert programs.run(["sh", "-c", "printf %s $LC_ALL"])[1] == "C"


def test_the_system_s_programs_are_found_whatever_the_path_is(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert programs.run(["true"])[0] == 0


@pytest.mark.parametrize(
    ("message", "number"),
    [
        ("mkdir: cannot create directory '/dlm/x': Invalid argument", errno.EINVAL),
        ("rmdir: failed to remove '/dlm/x': Directory not empty\n", errno.ENOTEMPTY),
        ("mkdir: cannot create directory '/dlm/x': Unknown error 512", 512),
        ("mkdir: it was too late", errno.EIO),
        ("", errno.EIO),
    ],
)
def test_the_error_number_is_read_from_the_message(message, number):
    assert programs.errno_in(message) == number


def test_one_that_is_not_there_or_does_not_end_is_named():
    with pytest.raises(O2cbError, match="no program o2cb-nowhere here"):
        programs.run(["o2cb-nowhere"])
    with pytest.raises(O2cbError, match=r"`sleep 30` did not come back within 0\.2 s"):
        programs.run(["sleep", "30"], seconds=0.2)
