# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Definitions of resources: what is understood, and what is refused in words."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.agent import configuration
from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.resources import resource
from ansible_collections.ocfs2.o2cb.plugins.module_utils.resources.resource import Address, Commands, Unit

PARTS: list[dict[str, Any]] = [
    {"address": "192.0.2.10/24", "device": "eth0"},
    {"unit": "nginx.service", "stop_timeout": 5},
    {"start": ["/bin/a", "start"], "stop": ["/bin/a", "stop"], "check": ["/bin/a", "is"]},
]
WEB: dict[str, Any] = {"name": "web", "parts": PARTS, "nodes": {"node1": 2, "node2": 1}, "prefer": "node2"}


def test_a_definition_is_read_and_written_as_it_was():
    found = resource.from_values(WEB, "here")
    assert found.parts == (
        Address("192.0.2.10/24", "eth0"),
        Unit("nginx.service", stop_timeout=5),
        Commands(("/bin/a", "start"), ("/bin/a", "stop"), ("/bin/a", "is")),
    )
    assert resource.parse(found.as_definition(), "there") == found
    assert (found.priority("node1"), found.priority("node3")) == (2, None)
    assert found.priority("node2") == 1 + resource.PREFERRED


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "a b"}, "up to 64 letters"),
        ({"name": None}, "up to 64 letters"),
        ({"parts": []}, "parts is missing"),
        ({"parts": [{"unit": "nginx"}]}, "no name of a unit"),
        ({"parts": [{"unit": "../x.service"}]}, "no name of a unit"),
        ({"parts": [{"unit": "a.service", "address": "192.0.2.1/24"}]}, "give one of unit, address, or start"),
        ({"parts": [{"address": "192.0.2.1", "device": "eth0"}]}, "has no prefix"),
        ({"parts": [{"address": "nonsense/24", "device": "eth0"}]}, "no address with prefix"),
        ({"parts": [{"address": "127.0.0.1/8", "device": "lo"}]}, "can move between nodes"),
        ({"parts": [{"address": "192.0.2.1/24"}]}, "device is missing"),
        ({"parts": [{"start": ["/a"], "stop": ["/a"]}]}, "check is missing"),
        ({"parts": [{"start": ["a"], "stop": ["/a"], "check": ["/a"]}]}, "no absolute path"),
        ({"parts": [{"start": "/a", "stop": ["/a"], "check": ["/a"]}]}, "give a list of words"),
        ({"parts": [{"unit": "a.service", "start_timeout": 0}]}, "more than 0"),
        ({"parts": [{"unit": "a.service", "stop_timout": 5}]}, "no option 'stop_timout'"),
        ({"check_interval": "often"}, "give seconds"),
        ({"check_interval": True}, "give seconds"),
        ({"sticky": "yes"}, "a value of type bool"),
        ({"attempts": 0}, "give 1 or more"),
        ({"nodes": {"node1": "high"}}, "whole numbers"),
        ({"state": "running"}, "it is started or stopped"),
        ({"colour": "red"}, "no option 'colour'"),
    ],
)
def test_what_is_not_understood_is_refused_in_words(change: dict[str, Any], why: str) -> None:
    with pytest.raises(O2cbError, match=why):
        resource.from_values({**WEB, **change}, "here")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_json_makes_it_fall_over(values: Any) -> None:
    for text in (json.dumps(values), json.dumps({**WEB, "parts": [values], "nodes": values})):
        with contextlib.suppress(O2cbError):
            assert resource.parse(text, "here").parts


def test_two_resources_share_no_unit_and_no_address():
    web = resource.from_values(WEB, "here")
    other = resource.from_values({"name": "other", "parts": [{"unit": "nginx.service"}]}, "here")
    third = resource.from_values({"name": "third", "parts": [{"address": "192.0.2.10/32", "device": "x"}]}, "here")
    assert "nginx.service is part of other and of web" in resource.problems({"web": web, "other": other})
    assert "192.0.2.10 is part of third and of web" in resource.problems({"web": web, "third": third})
    assert resource.problems({"other": other, "third": third}) == ""


def test_a_file_that_is_broken_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(configuration, "RESOURCES", str(tmp_path))
    (tmp_path / "web.json").write_text(json.dumps(WEB))
    (tmp_path / "notes.txt").write_text("not ours")
    assert list(configuration.resources()) == ["web"]
    (tmp_path / "other.json").write_text(json.dumps(WEB))
    with pytest.raises(O2cbError, match=r"other.json defines resource 'web': name the file web.json"):
        configuration.resources()
    (tmp_path / "other.json").write_text("{")
    with pytest.raises(O2cbError, match=r"other.json is not JSON"):
        configuration.resources()


@pytest.mark.parametrize("text", ["{", "[]", '{"on_stop": "x"}', '{"colour": 1}'])
def test_settings_that_are_not_understood_are_refused(tmp_path, monkeypatch, text):
    monkeypatch.setattr(configuration, "SETTINGS", str(tmp_path / "agent.json"))
    assert configuration.settings() == configuration.Settings()
    (tmp_path / "agent.json").write_text(text)
    with pytest.raises(O2cbError, match=r"agent.json"):
        configuration.settings()
