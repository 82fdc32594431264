# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine's apt sources become those of the node image."""

from __future__ import annotations

from pathlib import Path

from lab import sources
from lab.sources import Source

DEB822 = """\
# the main archive
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://mirror.example/security/
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://only-sources.example/debian
Suites: bookworm
Components: main
"""

LIST = """\
deb http://mirror.example/debian bookworm main # the archive
# deb http://commented.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://other.example/apt nodistro main
deb [ Trusted=yes ] file:/srv/debian trixie main contrib
"""


def test_a_deb822_file_is_read_suite_by_suite_without_disabled_and_source_stanzas():
    keyring = (("signed-by", "/usr/share/keyrings/archive.gpg"),)
    assert sources.parse_deb822(DEB822) == [
        Source("http://mirror.example/debian", "bookworm", ("main", "contrib"), keyring),
        Source("http://mirror.example/debian", "bookworm-updates", ("main", "contrib"), keyring),
        Source("http://mirror.example/debian", "bookworm-backports", ("main", "contrib"), keyring),
        Source("http://mirror.example/security/", "bookworm-security", ("main",)),
    ]


def test_a_list_file_is_read_line_by_line_with_the_options_that_matter():
    assert sources.parse_list(LIST) == [
        Source("http://mirror.example/debian", "bookworm", ("main",)),
        Source("http://other.example/apt", "nodistro", ("main",), (("signed-by", "/k.gpg"),)),
        Source("file:/srv/debian", "trixie", ("main", "contrib"), (("trusted", "yes"),)),
    ]


def test_another_release_takes_the_place_of_the_machines_own_and_foreign_archives_are_left_out():
    lines = [s.line for s in sources.for_release(sources.parse_deb822(DEB822) + sources.parse_list(LIST), "trixie")]
    assert lines == [
        "deb [signed-by=/usr/share/keyrings/archive.gpg] http://mirror.example/debian trixie main",
        "deb [signed-by=/usr/share/keyrings/archive.gpg] http://mirror.example/debian trixie-updates main",
        "deb http://mirror.example/security/ trixie-security main",
        "deb http://mirror.example/debian trixie main",
        "deb [trusted=yes] file:/srv/debian trixie main",
    ]


def test_a_machine_without_a_debian_archive_gives_nothing():
    assert sources.for_release(sources.parse_list("deb http://mirror.example/ubuntu noble main\n"), "bookworm") == []


def test_apt_reads_only_files_with_its_own_suffixes(tmp_path: Path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://a.example/debian bookworm main\n")
    (tmp_path / "sources.list.d/b.sources").write_text(
        "Types: deb\nURIs: http://b.example\nSuites: bookworm\nComponents: main\n"
    )
    (tmp_path / "sources.list.d/c.list.disabled").write_text("deb http://c.example/debian bookworm main\n")
    assert [source.uri for source in sources.read(tmp_path)] == ["http://a.example/debian", "http://b.example"]
