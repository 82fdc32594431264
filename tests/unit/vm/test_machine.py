# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read from a machine's description and command line, whoever has written them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ocfs2.o2cb.plugins.module_utils.base.errors import O2cbError
from ansible_collections.ocfs2.o2cb.plugins.module_utils.locks import names
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm import machine
from ansible_collections.ocfs2.o2cb.plugins.module_utils.vm.machine import Machine

UUID = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0"
WEB = f"<domain type='kvm' id='7'>\n  <name>web</name>\n  <uuid>{UUID}</uuid>\n"
OTHERS = "    <os:libosinfo xmlns:os='http://libosinfo.org/x'>\n      <os:os id='debian'/>\n    </os:libosinfo>\n"
REST = "  <devices>\n    <emulator>/usr/bin/qemu</emulator>\n  </devices>\n</domain>\n"
DESCRIPTIONS = {
    "no metadata": WEB + REST,
    "empty metadata": WEB + "  <metadata/>\n" + REST,
    "metadata of others": WEB + "  <metadata>\n" + OTHERS + "  </metadata>\n" + REST,
    "on one line": f"<domain><uuid>{UUID}</uuid><name>web</name></domain>",
    "commands for QEMU": WEB.replace("id='7'", "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'")
    + REST.replace("</domain>", "  <qemu:commandline>\n    <qemu:arg value='-x'/>\n  </qemu:commandline>\n</domain>"),
}


@pytest.mark.parametrize("text", DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_a_permit_is_added_replaced_and_found_and_nothing_else_changes(text):
    def content(description: str) -> str:
        root = ET.fromstring(description)
        metadata = root.find("metadata")
        if metadata is not None and len(metadata) == 0:
            root.remove(metadata)
        return re.sub(r"\s+", "", ET.tostring(root, encoding="unicode"))

    found = machine.parse(text.encode())
    assert (found.uuid, found.name, found.permit) == (UUID, "web", 0)
    once = machine.parse(found.with_permit(17).encode())
    assert (once.permit, once.with_permit(17)) == (17, once.xml)
    twice = machine.parse(once.with_permit(2**63).encode())
    assert (twice, twice.permit) == (Machine(UUID, "web", 2**63), 2**63)
    without = ET.fromstring(twice.xml)
    metadata = without.find("metadata")
    assert metadata is not None
    metadata.remove(metadata.find(f"{{{machine.NAMESPACE}}}permit"))
    assert content(ET.tostring(without, encoding="unicode")) == content(text)


def test_upper_case_is_the_same_machine():
    assert machine.parse((WEB + REST).replace(UUID, UUID.upper()).encode()).uuid == UUID


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "is no XML"),
        (b"<domain", "is no XML"),
        (b"<network><uuid>1</uuid></network>", "'network'"),
        (b"<domain><name>web</name></domain>", "no UUID"),
        (b"<domain><uuid>00000000-0000-0000-0000-000000000000</uuid></domain>", "no UUID"),
        (b"<domain><uuid>../../etc</uuid></domain>", "no UUID"),
        (b'<!DOCTYPE d [<!ENTITY a "b">]><domain><uuid>&a;</uuid></domain>', "document type"),
        (b" " * (machine.MAX_XML + 1), "not libvirt's"),
    ],
)
def test_what_is_no_description_is_refused_in_words(data, word):
    with pytest.raises(O2cbError, match=word):
        machine.parse(data)


@given(st.binary(max_size=300))
def test_no_bytes_do_harm(data):
    try:
        assert machine.normal_uuid(machine.parse(data).uuid)
    except O2cbError:
        return


def test_the_locks_of_a_machine_are_told_from_others():
    found = Machine(UUID, "web")
    assert machine.uuid_of_lock(found.run) == machine.uuid_of_lock(found.incoming) == UUID
    for name in ("vm:", "vm:web", f"vm:{UUID.upper()}", f"vm:{UUID} ", UUID, "maintenance", f"vm-in:x{UUID}"):
        assert machine.uuid_of_lock(name) == ""
    assert names.stored(found.run) != names.stored(found.incoming)
    assert max(len(names.stored(found.run)), len(names.stored(found.incoming))) <= names.MAX_PLAIN_BYTES


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (f"qemu-system-x86_64 -name guest=web,debug-threads=on -S -uuid {UUID} -m 1", "web"),
        (f"qemu-kvm -uuid {UUID.upper()} -name web", "web"),
        (f"/usr/bin/kvm --name guest=a,,b --uuid {UUID}", "a,b"),
        (f"qemu -uuid {UUID}", UUID),
    ],
)
def test_a_process_tells_its_machine(line, name):
    found = machine.of_command_line(line.split())
    assert found == Machine(UUID, name)


@pytest.mark.parametrize("line", ["", "qemu -uuid", "qemu -uuid web", f"pgrep -f uuid={UUID}", f"o2vm {UUID} web"])
def test_other_processes_are_none(line):
    assert machine.of_command_line(line.split()) is None


@pytest.mark.parametrize("pattern", ["web", "w*", "[vw]eb", UUID, UUID.upper()])
def test_a_machine_is_left_out_by_name_pattern_or_uuid(pattern):
    assert machine.pattern_problem(pattern) == ""
    assert machine.is_unguarded(Machine(UUID, "web"), machine.patterns_in(f"# a comment\n\nother\n{pattern}\n"))


@pytest.mark.parametrize("pattern", ["WEB", "eb", "", UUID[:-1]])
def test_other_machines_are_guarded(pattern):
    assert not machine.is_unguarded(Machine(UUID, "web"), machine.patterns_in(pattern))


@pytest.mark.parametrize("pattern", ["", " ", "# web", "a\nb", " web"])
def test_what_cannot_be_a_line_of_the_settings_is_refused(pattern):
    assert "give the name" in machine.pattern_problem(pattern)
