# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module `certificate` does on a node: trust authorities, and have a certificate of the one that signs.

A new authority takes the place of the old one in two steps, each on all nodes before the next begins: first all trust
both, then each node gets a certificate of the new one. The old one is forgotten at the next run of the role.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import Any

from ..base import files, programs
from ..base.changes import Changes
from ..base.errors import O2cbError
from ..transport import authority
from ..transport.authority import AUTHORITY, Authority
from ..transport.credentials import OWN, TRUSTED


def look(number: int) -> dict[str, Any]:
    """What there is, without any secret."""
    have = authority.have()
    return {
        "authority": have.certificate if have else "",
        "trusted": authority.trusted(),
        "openssl": shutil.which("openssl", path=programs.environment()["PATH"]) is not None,
        "good": bool(have and authority.is_good(number, have.certificate, time.time())),
    }


def plan(options: Mapping[str, Any]) -> Changes:
    """Compare and plan. Raises O2cbError for an authority that is none."""
    wanted = Authority(_whole(options["authority"]), _whole(options["authority_key"]))
    if authority.split(wanted.certificate) != [wanted.certificate] or "PRIVATE KEY" not in wanted.key:
        raise O2cbError("authority and authority_key are not one PEM certificate and its key: take them from `create`")
    result = Changes()
    have, old = authority.have(), authority.trusted()
    keep = [] if options["purge"] else old
    trusted = list(dict.fromkeys([*([wanted.certificate] if options["use"] else []), *keep, wanted.certificate]))
    if trusted != old:
        result.add(f"trust {len(trusted)} authorities in {TRUSTED}", lambda: files.write(TRUSTED, "".join(trusted)))
        result.show(TRUSTED, "".join(old), "".join(trusted))
    if not options["use"]:
        return result
    if have != wanted:
        result.add(f"write {AUTHORITY}", lambda: files.write(AUTHORITY, "".join(wanted), mode=0o600))
        result.show(AUTHORITY, have.certificate if have else "", wanted.certificate)
    number = options["number"]
    if have != wanted or not authority.is_good(number, wanted.certificate, time.time()):
        result.add(f"write {OWN}", lambda: files.write(OWN, authority.issue(number, wanted), mode=0o600))
        result.show(OWN, "as before\n", f"a new certificate for node {number}\n")
    return result


def _whole(text: str) -> str:
    """Ansible may take the last line break of a text away."""
    return text.strip() + "\n"
