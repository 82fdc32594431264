# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cluster's certificate authority, and the certificate of this node, made by openssl(1).

Every node has the authority's key, as every node of corosync has its authkey: whoever is root on one node can write to
the shared disks, so there is nothing left to protect from him. In return a node renews its own certificate, without a
controller and before it expires. Files are written by temporary file, fsync and rename; keys are for root only.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
import time
from typing import NamedTuple

from ..base import files, programs
from ..base.errors import O2cbError
from .credentials import DIRECTORY, OWN, TRUSTED, common_name

AUTHORITY = f"{DIRECTORY}/authority.pem"
"""The authority's certificate and its key."""

AUTHORITY_DAYS = 7300
DAYS = 397
RENEW_DAYS = 130
"""A certificate that is valid for less than this is made anew."""

SECONDS = 30.0
DAY = 86400.0

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
_KEY = re.compile(r"-----BEGIN (?:EC )?PRIVATE KEY-----.*?-----END (?:EC )?PRIVATE KEY-----\n?", re.DOTALL)
_CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Authority(NamedTuple):
    """A certificate and its key, as PEM."""

    certificate: str
    key: str


def create(cluster: str) -> Authority:
    """A new authority."""
    with tempfile.TemporaryDirectory(prefix="o2cb-") as directory:
        key, certificate = os.path.join(directory, "key"), os.path.join(directory, "crt")
        _openssl(
            *("req", "-x509", *_CURVE, "-sha256", "-days", str(AUTHORITY_DAYS), "-keyout", key, "-out", certificate),
            *("-subj", f"/O=o2cb/CN={cluster} {secrets.token_hex(4)}"),
            *("-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", "-addext", "keyUsage=critical,keyCertSign"),
        )
        return Authority(_read(certificate), _read(key))


def have() -> Authority | None:
    """The authority that this node signs with, where it has one."""
    text = files.read(AUTHORITY) or ""
    certificates, keys = split(text), _KEY.findall(text)
    return Authority(certificates[0], keys[0]) if certificates and keys else None


def trusted() -> list[str]:
    """The certificates of the authorities that this node trusts."""
    return split(files.read(TRUSTED) or "")


def split(text: str) -> list[str]:
    """The certificates in a PEM file, in their order."""
    return [found if found.endswith("\n") else found + "\n" for found in _CERTIFICATE.findall(text)]


def expires(path: str = OWN) -> float:
    """When a certificate expires, in seconds of the epoch. Raises O2cbError when it cannot be read."""
    text = _openssl("x509", "-in", path, "-noout", "-enddate").strip().partition("=")[2]
    return float(time.mktime(time.strptime(text, "%b %d %H:%M:%S %Y %Z")) - time.timezone)


def is_good(number: int, authority: str, now: float) -> bool:
    """Whether this node's certificate is for this number, of this authority, and valid for long enough."""
    if not os.path.exists(OWN):
        return False
    try:
        subject = _openssl("x509", "-in", OWN, "-noout", "-subject", "-nameopt", "RFC2253")
        if f"CN={common_name(number)}" not in subject.strip().partition("=")[2].split(","):
            return False
        with tempfile.NamedTemporaryFile("w", suffix=".crt") as file:
            file.write(authority)
            file.flush()
            _openssl("verify", "-no-CApath", "-CAfile", file.name, OWN)
        return expires() - now > RENEW_DAYS * DAY
    except O2cbError:
        return False


def issue(number: int, authority: Authority, days: int = DAYS) -> str:
    """A new certificate for a node with its key, the text of OWN."""
    with tempfile.TemporaryDirectory(prefix="o2cb-") as directory:

        def path(name: str, text: str = "") -> str:
            found = os.path.join(directory, name)
            if text:
                files.write(found, text, mode=0o600)
            return found

        name = common_name(number)
        extensions = f"subjectAltName=DNS:{name}\nkeyUsage=critical,digitalSignature\n"
        extensions += "extendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=critical,CA:FALSE\n"
        request, key, certificate = path("csr"), path("key"), path("crt")
        _openssl("req", "-new", *_CURVE, "-keyout", key, "-out", request, "-subj", f"/O=o2cb/CN={name}")
        _openssl(
            *("x509", "-req", "-sha256", "-in", request, "-out", certificate, "-days", str(days)),
            *("-CA", path("authority.crt", authority.certificate), "-CAkey", path("authority.key", authority.key)),
            *("-set_serial", f"0x{secrets.token_hex(16)}", "-extfile", path("extensions", extensions)),
        )
        return _read(certificate) + _read(key)


def renew(number: int) -> bool:
    """Make this node's certificate anew where it is due. Whether it was."""
    authority = have()
    if authority is None or is_good(number, authority.certificate, time.time()):
        return False
    files.write(OWN, issue(number, authority), mode=0o600)
    return True


def _read(path: str) -> str:
    return files.read(path) or ""


def _openssl(*words: str) -> str:
    code, output, errors = programs.run(["openssl", *words], SECONDS)
    if code:
        raise O2cbError(f"openssl {words[0]}: {errors.strip()[:500]}")
    return output
