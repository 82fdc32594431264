# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What o2ctl prints."""

from __future__ import annotations

import json
from types import SimpleNamespace

from ansible_collections.ocfs2.o2cb.plugins.module_utils.ctl.output import in_json, table, tell, when


def test_a_table_is_as_wide_as_what_is_in_it_and_shows_nothing_as_a_dash():
    rows = [("web", 3, None), ("a longer name", 0, "")]
    assert table(("name", "node", "why"), rows).splitlines() == [
        "name           node  why",
        "web            3     -",
        "a longer name  0     -",
    ]
    assert table(("name",), []) == "name"


def test_a_name_from_elsewhere_cannot_move_the_cursor():
    assert table(("name",), [("\x1b[2Jgone\nnext",)]).splitlines() == ["name", "?[2Jgone?next"]


def test_programs_get_json_and_people_a_text(capsys):
    assert tell(SimpleNamespace(json=True), {"held": 3}, "three") == 0
    assert tell(SimpleNamespace(json=False), {"held": 3}, "three") == 0
    assert capsys.readouterr().out.splitlines() == [json.dumps({"held": 3}), "three"]


def test_a_moment_that_nobody_knows_is_none():
    assert when(None) is None
    assert len(when(0.0) or "") == len("1970-01-01 00:00:00")


def test_data_that_are_no_text_are_told_as_base64():
    assert (in_json(b"text"), in_json(b"\xff")) == ("text", {"base64": "/w=="})
