# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Distributions, their packages and the way to a kernel with OCFS2."""

from __future__ import annotations

import pytest

from ansible_collections.ocfs2.o2cb.plugins.module_utils.install import distribution
from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import kernel


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n', "debian"),
        ("ID=ubuntu\nID_LIKE=debian\n", "ubuntu"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "ubuntu"),
        ('ID="ol"\nID_LIKE="fedora"\n', "oracle"),
        ('ID="sles"\nID_LIKE="suse"\n', "suse"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "suse"),
        ('ID="rhel"\nID_LIKE="fedora"\n', "redhat"),
        ("ID=rocky\nID_LIKE='rhel centos fedora'\n", "redhat"),
        ("ID=arch\n", None),
        ("", None),
        ('ID="unclosed\n', None),
    ],
)
def test_a_distribution_is_recognised_by_itself_or_its_kin(text, name):
    found = distribution.recognise(distribution.parse_os_release(text))
    assert (found.name if found else None) == name


def test_only_installed_packages_count():
    output = "installed ocfs2-tools\nconfig-files nftables\nnot-installed multipath-tools\n"
    assert distribution.installed(output) == ["ocfs2-tools"]


@pytest.mark.parametrize(
    ("found", "release", "words"),
    [
        (distribution.DEBIAN, "6.1.0-18-cloud-amd64", "cloud kernel has no OCFS2: install linux-image-amd64"),
        (distribution.DEBIAN, "6.12.43+deb13-arm64", "linux-image-arm64"),
        (distribution.UBUNTU, "6.8.0-40-generic", "linux-modules-extra-6.8.0-40-generic"),
        (distribution.ORACLE, "5.14.0", "Unbreakable Enterprise Kernel"),
        (distribution.SUSE, "6.4.0-default", "ocfs2-kmp-default"),
        (distribution.UNSUPPORTED_RED_HAT, "5.14.0", "use Oracle Linux with UEK"),
        (None, "6.1", "CONFIG_OCFS2_FS"),
    ],
)
def test_a_kernel_without_ocfs2_is_answered_with_what_helps(found, release, words):
    assert words in distribution.modules_remedy(found, release)


@pytest.mark.parametrize(
    "releases",
    [
        ["6.1.9", "6.1.10", "6.2.0"],
        ["6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-21-amd64", "6.12.43+deb13-amd64"],
        ["5.15.0-99-generic", "5.15.0-100-generic", "6.8.0-40-generic"],
        ["5.15.0-9.96.2.el8uek.x86_64", "5.15.0-200.131.27.el8uek.x86_64"],
    ],
)
def test_kernels_are_sorted_by_number(releases):
    assert sorted(releases, key=kernel.version_key) == releases


def test_a_module_is_available_as_a_file_of_any_kind_or_built_in(tmp_path):
    release = tmp_path / "6.1"
    release.mkdir()
    assert kernel.unavailable("6.1", str(tmp_path)) == list(kernel.MODULES)
    top = "kernel/fs/ocfs2"
    (release / "modules.dep").write_text(
        f"{top}/cluster/ocfs2_nodemanager.ko:\n{top}/ocfs2_stackglue.ko.xz: kernel/fs/configfs/configfs.ko\n"
        f"{top}/ocfs2_stack_o2cb.ko.zst:\nkernel/x.ko: {top}/dlmfs/ocfs2_dlmfs.ko.gone\n"
    )
    (release / "modules.builtin").write_text("kernel/fs/configfs/configfs.ko\n")
    assert kernel.unavailable("6.1", str(tmp_path)) == ["ocfs2_dlmfs"]
