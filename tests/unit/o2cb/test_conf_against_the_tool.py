# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our parser of cluster.conf against the distribution's own o2cb tool, on generated files."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

from ansible_collections.ocfs2.o2cb.plugins.module_utils.o2cb import conf, model

FILES = 2000
SEED = 20261120

TOOL = shutil.which("o2cb", path="/usr/sbin:/sbin:/usr/bin:/bin")


def test_the_tool_is_installed():
    assert TOOL, "install the package ocfs2-tools: this suite compares with the real tool (bin/setup does it)"


def tool_accepts(path: Path) -> bool:
    """The tool crashes on some bad files (a cluster without a name); that is a rejection too."""
    done = subprocess.run(
        [str(TOOL), "--config-file", str(path), "list-clusters"], capture_output=True, timeout=10, check=False
    )
    return done.returncode == 0


def we_accept(text: str) -> bool:
    try:
        conf.parse(text)
    except conf.ConfError:
        return False
    return True


class Generator:
    """Files near the edge of validity: a sound one with a few mutations, so that about half are accepted."""

    NUMBERS = ("0", "1", "2", "254", "255", "256", "7777", "99999", "-1", "+3", " 4", "0x10", "1 ", "", "4294967295",
               "4294967296", "2147483646", "2147483647", "18446744073709551616", "abc", "1 # x", "\\")  # fmt: skip
    NAMES = ("n1", "n2", "n-3.example", "", "lab", "a" * 70, "ü", "n1 ", "x y", "LAB", "#", "n\\")
    ADDRESSES = (
        "10.0.0.1",
        "10.0.0.2",
        "010.0.0.1",
        "10.0.0",
        "10.0.0.256",
        "fe80::1",
        "host",
        "",
        "10.0.0.1 ",
        "1.2.3.4\\",
    )
    MODES = ("local", "global", "GLOBAL", "Local", "none", "", "global ")
    REGIONS = ("A" * 32, "0123456789ABCDEF0123456789ABCDEF", "abc", "", "A" * 40)
    LINES = (
        "", " ", "\t", "# comment", " # comment", "#\\", "\r", "node:", "cluster:", "heartbeat: ",
        "other:", "other: x",
        "\tkey = value", "\tkey", " key=value", "key = value", "\t= x", "node", ":", "\tk = a\\",
        "\tk == b", "\tname=", "é:",
        "\té = 1", "\t- = 1", "a b:", "\ta b = 1", "\tname = n9\\\\", "_:", "9:",
    )  # fmt: skip

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, good: str, choices: tuple[str, ...]) -> str:
        return self.random.choice(choices) if self.random.random() < 0.02 else good

    def attribute(self, key: str, value: str) -> list[str]:
        if self.random.random() < 0.01:
            return []
        indent = self.random.choice(("\t", "\t", "\t", " ", "    ", "\t \t"))
        equals = self.random.choice((" = ", " = ", "=", " =", "=  ", "\t=\t"))
        return [f"{indent}{key}{equals}{value}"]

    def stanza(self, kind: str, attributes: list[tuple[str, str]]) -> list[str]:
        self.random.shuffle(attributes)
        lines = [f"{kind}:" + self.random.choice(("", "", "", " ", "\t"))]
        for key, value in attributes:
            lines += self.attribute(key, value)
        return lines + ([""] if self.random.random() < 0.95 else [])

    def text(self) -> str:
        pick = self.random
        clusters = pick.choice((["lab"], ["lab"], ["lab", "other"], ["lab", "lab"], []))
        stanzas = []
        for cluster in clusters:
            count = pick.randrange(4)
            stanzas.append(
                self.stanza(
                    "cluster",
                    [("name", self.value(cluster, self.NAMES)), ("node_count", self.value(str(count), self.NUMBERS))]
                    + ([("heartbeat_mode", self.value("global", self.MODES))] if pick.random() < 0.7 else []),
                )
            )
            for number in range(count):
                stanzas.append(
                    self.stanza(
                        "node",
                        [
                            ("name", self.value(f"node{number}", self.NAMES)),
                            ("number", self.value(str(number), self.NUMBERS)),
                            ("ip_address", self.value(f"10.0.0.{number + 1}", self.ADDRESSES)),
                            ("ip_port", self.value("7777", self.NUMBERS)),
                            ("cluster", self.value(cluster, self.NAMES)),
                        ],
                    )
                )
            for number in range(pick.randrange(3)):
                region = f"{number:032X}"
                stanzas.append(
                    self.stanza("heartbeat", [("region", self.value(region, self.REGIONS)), ("cluster", cluster)])
                )
        pick.shuffle(stanzas)
        lines = [line for stanza in stanzas for line in stanza]
        for _mutation in range(pick.choice((0, 0, 0, 1, 2))):
            lines.insert(pick.randrange(len(lines) + 1), pick.choice(self.LINES))
        end = pick.choice(("\n",) * 40 + ("\r\n",))
        return end.join(lines) + pick.choice(("\n", "\n", "\n", "", "\n\n"))


def test_both_give_the_same_verdict_on_every_file(tmp_path):
    generator = Generator(SEED)
    path = tmp_path / "cluster.conf"
    accepted = 0
    for number in range(FILES):
        text = generator.text()
        path.write_text(text, encoding="utf-8", newline="")
        verdict = tool_accepts(path)
        assert we_accept(text) == verdict, f"file {number}: the tool says {verdict}\n{text!r}"
        accepted += verdict
    assert FILES // 4 < accepted < FILES - FILES // 10, f"{accepted} accepted: the files do not test both verdicts"


def test_the_tool_accepts_what_we_render_and_we_read_it_back(tmp_path):
    generator = Generator(SEED + 1)
    path = tmp_path / "cluster.conf"
    cluster = model.Cluster(
        name="lab",
        nodes=tuple(model.Node(f"node{number}", number, f"10.0.0.{number + 1}") for number in (1, 2, 254)),
        regions=("A" * 32, "B" * 32),
    )
    rendered = 0
    for _file in range(FILES):
        text = generator.text()
        if not we_accept(text):
            continue
        new = conf.parse(text).with_cluster(cluster).render()
        again = conf.parse(new)
        assert again.cluster("lab") == cluster, f"{text!r} became {new!r}"
        assert set(conf.parse(text).cluster_names()) <= set(again.cluster_names())
        assert again.with_cluster(cluster).render() == new, "a second rendering changes nothing"
        rendered += 1
        if rendered % 10 == 0:
            path.write_text(new, encoding="utf-8", newline="")
            assert tool_accepts(path), new
    assert rendered > FILES // 4
