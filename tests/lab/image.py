# Copyright: (c) 2026, the ocfs2.o2cb authors
# GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes' root image: built once per recipe, kept in the cache, complete or not there at all.

It is put together in a directory `.new-…` and renamed when it is on disk; whatever an interrupted build left is
removed by the next one, under a lock, so that two builds at once do the work once.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path

from . import prerequisites, progress, sources, ssh, state
from .errors import LabError, NoSpace
from .recipe import FILES, REPOSITORY, WANTED_BY, Recipe, recipe

IMAGES = state.CACHE / "images"
SPACE = 1800 << 20
"""Bytes that a build needs at most: the unpacked tree and the image made of it."""

UNUSED = 3 * 86400
"""Seconds after which an image that no lab uses is removed."""


def path(name: str) -> Path:
    """The root disk of the image called `name`."""
    return IMAGES / name / "root.img"


def ensure(release: str) -> str:
    """Name of the image of `release` by this checkout's recipe; it is built if the cache does not have it."""
    ingredients = recipe(release, prerequisites.kernel_version(), ssh.ensure_key())
    name = ingredients.name
    if path(name).exists():
        os.utime(path(name).parent)
        return name
    with state.locked(state.CACHE / "build.lock", "the image is being built"):
        _remove_leftovers()
        if not path(name).exists():
            state.require_space(IMAGES, SPACE)
            _build(ingredients)
    return name


def _remove_leftovers() -> None:
    for leftover in IMAGES.glob(".new-*"):
        progress.say(f"removing a half-built image: {leftover}")
        _remove_tree(leftover)
    used = {wanted.image for name in state.names() if (wanted := state.load(state.Paths(name)))}
    for image in IMAGES.glob("[!.]*"):
        if image.name not in used and time.time() - image.stat().st_mtime > UNUSED:
            progress.say(f"removing an image that no lab uses: {image}")
            _remove_tree(image)


def _remove_tree(directory: Path) -> None:
    subprocess.run(["rm", "-rf", "--one-file-system", str(directory)], check=True)


def _build(ingredients: Recipe) -> None:
    started = time.monotonic()
    progress.say(f"building the {ingredients.release} node image (once; a minute or two)")
    new = IMAGES / f".new-{ingredients.name}"
    new.mkdir(parents=True)
    log = state.CACHE / "build.log"
    log.write_bytes(b"")
    try:
        root = new / "root"
        _bootstrap(ingredients, root, log)
        _furnish(ingredients, root, log)
        _offer_packages(root, log)
        progress.run_quietly("making the disk image", _mke2fs(ingredients, root, new / "root.img"), log)
        _remove_tree(root)
        _sync(new / "root.img")
        new.rename(IMAGES / ingredients.name)
        _sync(IMAGES)
    except NoSpace as error:
        raise state.no_space(IMAGES) from error
    finally:
        _remove_tree(new)
    progress.say(f"image {ingredients.name} is ready after {time.monotonic() - started:.0f} s")


def _sync(target: Path) -> None:
    handle = os.open(target, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _mke2fs(ingredients: Recipe, root: Path, image: Path) -> list[str]:
    options = ["-t", "ext4", "-F", "-L", "lab-root", "-d", str(root)]
    return ["mke2fs", "-q", *options, str(image), f"{ingredients.size >> 10}k"]


def bootstrap_command(ingredients: Recipe, root: Path, archives: list[str]) -> list[str]:
    """The mmdebstrap call. It ends with this process, whatever ends that, and its mounts end with it."""
    offer = (
        'rm -f "$1"/var/cache/apt/archives/*.deb; '
        'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes --download-only --no-install-recommends install '
        f'{" ".join(ingredients.offered)}; mkdir -p "$1{REPOSITORY}"; '
        f'mv "$1"/var/cache/apt/archives/*.deb "$1{REPOSITORY}/"'
    )
    return [
        *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase", "--skip=cleanup/apt/lists"),
        f"--include={','.join(ingredients.installed)}",
        f"--customize-hook=set -e; {offer}",
        *(ingredients.release, str(root), *archives),
    ]


def _bootstrap(ingredients: Recipe, root: Path, log: Path) -> None:
    archives = [source.line for source in sources.for_release(sources.read(), ingredients.release)]
    if not archives:
        raise LabError(
            "apt on this machine knows no Debian archive, and the node image is made from one: "
            "add a `deb` line of Debian's main component to /etc/apt/sources.list "
            f"(its suite is replaced by {ingredients.release})"
        )
    progress.run_quietly("installing Debian into the image", bootstrap_command(ingredients, root, archives), log)


def _furnish(ingredients: Recipe, root: Path, log: Path) -> None:
    """Kernel modules, units, ssh, names: everything that is not a package."""

    def put(target: str, text: str, mode: int = 0o644) -> None:
        file = root / target.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def link(place: str, target: str) -> None:
        file = root / place.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.symlink_to(target)

    modules = root / "lib/modules"
    modules.mkdir(exist_ok=True)
    copy = ["cp", "--archive", str(prerequisites.MODULES / ingredients.kernel), str(modules)]
    progress.run_quietly("adding the kernel modules", copy, log)
    progress.run_quietly("depmod", ["chroot", str(root), "depmod", ingredients.kernel], log)
    config = subprocess.run(["linux.uml", "--showconfig"], capture_output=True, text=True, check=True).stdout
    put(f"/boot/config-{ingredients.kernel}", config)
    put(
        f"/boot/vmlinuz-{ingredients.kernel}",
        "The kernel of a lab node is a program on the machine that runs the lab.\n",
    )
    link("/vmlinuz", f"boot/vmlinuz-{ingredients.kernel}")
    for name, text in ingredients.files:
        put(FILES[name][0], text, FILES[name][1])
    for unit, targets in WANTED_BY.items():
        for target in targets:
            link(f"/etc/systemd/system/{target}.wants/{unit}", f"../{unit}")
    for unit in ingredients.masked:
        link(f"/etc/systemd/system/{unit}", "/dev/null")
    put("/root/.ssh/authorized_keys", ingredients.public_key + "\n", 0o600)
    (root / "root/.ssh").chmod(0o700)
    put("/etc/fstab", "/dev/ubda / ext4 noatime 0 0\n")
    put("/etc/machine-id", "")
    put("/etc/resolv.conf", "")
    (root / "etc/hostname").unlink(missing_ok=True)
    (root / "etc/hosts").unlink(missing_ok=True)


def _offer_packages(root: Path, log: Path) -> None:
    """Index the downloaded packages and make them the image's only package source."""
    repository = root / REPOSITORY.lstrip("/")
    entries = [package_entry(package) for package in sorted(repository.glob("*.deb"))]
    if not entries:
        raise LabError(f"no packages were downloaded for the nodes (log: {log})")
    (repository / "Packages").write_text("\n".join(entries))
    for leftover in [root / "etc/apt/sources.list", *(root / "etc/apt/sources.list.d").iterdir()]:
        leftover.unlink(missing_ok=True)
    _remove_tree(root / "var/lib/apt/lists")
    (root / "etc/apt/sources.list.d/lab.list").write_text(f"deb [trusted=yes] file:{REPOSITORY} ./\n")
    progress.run_quietly("apt-get update in the image", ["chroot", str(root), "apt-get", "update"], log)


def package_entry(package: Path) -> str:
    """One stanza of a `Packages` index (deb-src-control(5), apt's repository format)."""
    control = subprocess.run(["dpkg-deb", "--field", str(package)], capture_output=True, text=True, check=True).stdout
    checksum = hashlib.sha256(package.read_bytes()).hexdigest()
    return f"{control.rstrip()}\nFilename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {checksum}\n"
