# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an agent proves itself with, and by what it knows the others: certificates of the cluster's own authority.

All nodes trust the certificates in TRUSTED, and no others. A node's own certificate names its number, and both sides
of a link look at it. Files are read again at each `load`, so that a new certificate needs no restart.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass

from ..base.errors import O2cbError

DIRECTORY = "/etc/o2agent/tls"
TRUSTED = f"{DIRECTORY}/trusted.crt"
"""The certificates of all authorities that are trusted: two of them while one takes the place of the other."""

OWN = f"{DIRECTORY}/node.pem"
"""This node's certificate and its key in one file, so that both change at once."""


def common_name(number: int) -> str:
    """The name in the certificate of a node."""
    return f"o2cb-node-{number}"


@dataclass(frozen=True)
class Credentials:
    """Contexts for the side that accepts a link and for the one that dials."""

    accepting: ssl.SSLContext
    dialling: ssl.SSLContext


def present() -> bool:
    """Whether this node has got its certificate."""
    return os.path.exists(TRUSTED) and os.path.exists(OWN)


def load() -> Credentials:
    """Read the files. Raises O2cbError that names the one that is no good."""
    return Credentials(_context(ssl.PROTOCOL_TLS_SERVER), _context(ssl.PROTOCOL_TLS_CLIENT))


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    for path, read in ((TRUSTED, context.load_verify_locations), (OWN, context.load_cert_chain)):
        try:
            read(path)
        except (OSError, ssl.SSLError) as error:
            raise O2cbError(f"{path}: {error.strerror or error}: run role ocfs2.o2cb.agent") from None
    return context


def node_of(found: object) -> int:
    """The node that a verified peer's certificate (SSLObject.getpeercert) is for; -1 where it is for none."""
    subject = found.get("subject", ()) if isinstance(found, dict) else ()
    names = [value for part in subject for key, value in part if key == "commonName"]
    prefix = common_name(0)[:-1]
    if len(names) == 1 and names[0].startswith(prefix) and names[0][len(prefix) :].isdigit():
        return int(names[0][len(prefix) :])
    return -1
