# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the README.md of each role from its argument_specs.

`PYTHONPATH=tests .venv/bin/python -m suite.role_readme`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def roles() -> list[Path]:
    return sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())


def readme(role: Path) -> str:
    """The page of one role: what it does, its variables, an example."""
    spec = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]
    meta = yaml.safe_load((role / "meta/main.yml").read_text(encoding="utf-8"))
    depends = [dependency["role"] for dependency in meta["dependencies"]]
    lines = [f"# Role ocfs2.o2cb.{role.name}", "", f"{spec['short_description']}.", ""]
    lines += [*(f"* {plain(text)}" for text in texts(spec)), ""]
    if depends:
        lines += [f"Runs {', '.join(f'`{name}`' for name in depends)} first.", ""]
    lines += ["| variable | type | default | meaning |", "|---|---|---|---|", *rows(spec["options"]), ""]
    lines += ["```yaml", "- hosts: nodes", "  gather_facts: false", "  any_errors_fatal: true", "  roles:"]
    lines += [f"    - role: ocfs2.o2cb.{role.name}", "```", "", "This page is made from `meta/argument_specs.yml`.", ""]
    return "\n".join(lines)


def texts(option: dict[str, Any]) -> list[str]:
    description = option.get("description", [])
    return [description] if isinstance(description, str) else description


def rows(options: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, option in options.items():
        default = "required" if option.get("required") else cell(option.get("default"))
        choices = f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}." if "choices" in option else ""
        meaning = " ".join(plain(text) for text in texts(option)) + choices
        found.append(f"| `{prefix}{name}` | {option.get('type', 'str')} | {default} | {meaning} |")
        found += rows(option.get("options", {}), f"{prefix}{name}[].")
    return found


def cell(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dict):
        return ", ".join(f"`{key}: {item}`" for key, item in value.items())
    return "" if value is None else f"`{value}`"


def plain(text: str) -> str:
    """Ansible's markup as Markdown."""
    return re.sub(r"\b[OVCM]\(([^)]*)\)", r"`\1`", text)


if __name__ == "__main__":
    for path in roles():
        (path / "README.md").write_text(readme(path), encoding="utf-8")
