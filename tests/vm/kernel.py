# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""From a distribution's kernel image and modules to the two files that QEMU boots; knows nothing of QEMU."""

import hashlib
import os
import shutil
import stat
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

# What `init` needs before it has a root file system; dependencies come with them, absent ones are built in.
MODULES = ("virtio_pci", "virtio_console", "9p", "9pnet_virtio", "overlay")

COMPRESSED = ((b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\x1f\x8b\x08", "gzip"))
SUFFIXES = {".xz": "xz", ".zst": "zstd", ".gz": "gzip"}


class KernelError(Exception):
    """The kernel cannot be prepared; the message says why."""


def decompress(program, data):
    """The output of `program -dc`, whatever it says about trailing bytes."""
    return subprocess.run([program, "-dc"], input=data, capture_output=True, check=False).stdout


def uncompressed_image(image):
    """The kernel proper inside a bzImage, a compressed arm64 Image or an EFI zboot image; itself if none is found.

    Under software emulation the decompressor takes longer than the whole boot: 5 s of 8 s for an xz-compressed one.
    """
    with open(image, "rb") as file:
        data = file.read()
    for magic, program in COMPRESSED:
        at = data.find(magic)
        while at >= 0 and shutil.which(program):
            kernel = decompress(program, data[at:])
            if kernel[:4] == b"\x7fELF" or kernel[56:60] == b"ARM\x64":
                return kernel
            at = data.find(magic, at + 1)
    return data


def cpio(entries):
    """A cpio archive (newc, the format of initramfs) of (name, mode, content), owned by root.

    The archive is padded, so that another one can be appended: the kernel unpacks all of them, one over the other.
    """
    archive = bytearray()
    entries = list(entries) + [("TRAILER!!!", 0, b"")]
    for number, (name, mode, content) in enumerate(entries):
        name = name.encode() + b"\0"
        fields = (number + 1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        archive += bytes(-len(archive) % 4) + content
        archive += bytes(-len(archive) % 4)
    return bytes(archive + bytes(-len(archive) % 512))


def directories(name):
    """Entries for the directories that the file `name` is in."""
    parts = name.split("/")[:-1]
    return [("/".join(parts[:n]), stat.S_IFDIR | 0o755, b"") for n in range(1, len(parts) + 1)]


def file_entry(name, path):
    """The entry `name` with content and permissions of the file at `path`."""
    with open(path, "rb") as file:
        return (name, stat.S_IFREG | stat.S_IMODE(os.stat(path).st_mode), file.read())


def module_files(modules):
    """The files below the directory /lib/modules/RELEASE `modules` that MODULES need, in the order to load them."""
    if not modules:
        return []
    release = os.path.basename(modules)
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    files = []
    with tempfile.TemporaryDirectory() as base:
        for parent in ("lib/modules", "usr/lib/modules"):
            os.makedirs(os.path.join(base, parent))
            os.symlink(modules, os.path.join(base, parent, release))
        for module in MODULES:
            command = ["modprobe", "-C", "/dev/null", "-d", base, "-S", release, "--show-depends", module]
            result = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": path})
            if result.returncode:
                raise KernelError("kernel %s has no module %s: %s" % (release, module, result.stderr.strip()))
            for line in result.stdout.splitlines():
                words = line.split()
                file = os.path.realpath(words[1]) if words[0] == "insmod" else None
                if file and file not in files:
                    files.append(file)
    return files


def static_busybox():
    """This machine's busybox, which has to run without libraries."""
    path = shutil.which("busybox") or "/bin/busybox"
    try:
        with open(path, "rb") as file:
            dynamic = b"/ld-linux" in file.read()
    except OSError:
        dynamic = True
    if dynamic:
        raise KernelError("no static busybox here: install busybox-static")
    return path


def initramfs(modules, busybox):
    """The part of the initramfs that is the same for every run of a kernel; only `init` uses busybox."""
    entries = directories("bin/") + directories("modules/")
    entries += [file_entry("init", os.path.join(HERE, "init")), file_entry("bin/busybox", busybox)]
    order = []
    for path in module_files(modules):
        _, mode, content = file_entry("", path)
        name, suffix = os.path.splitext(os.path.basename(path))
        if suffix in SUFFIXES:
            content = decompress(SUFFIXES[suffix], content)
        else:
            name += suffix
        order.append(name + "\n")
        entries.append(("modules/" + name, mode, content))
    entries.append(("modules/order", stat.S_IFREG | 0o644, "".join(order).encode()))
    return cpio(entries)


def fingerprint(*paths):
    """Changes when one of the files does."""
    digest = hashlib.sha256()
    for path in paths:
        status = os.stat(path)
        digest.update(repr((path, status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()


def write(path, content):
    """All of it or nothing, whoever else does the same."""
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path))
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), 0o644)
    os.rename(temporary, path)


def prepare(image, modules, busybox, directory):
    """Paths of the uncompressed kernel and its initramfs, made in `directory` unless they are there and up to date.

    `busybox` is a static one of the kernel's architecture; None is this machine's.
    """
    os.makedirs(directory, exist_ok=True)
    busybox = busybox or static_busybox()
    kernel, initrd, stamp = (os.path.join(directory, name) for name in ("kernel", "initrd", "stamp"))
    sources = [image, busybox, os.path.join(HERE, "init"), os.path.abspath(__file__)]
    if modules:
        sources.append(os.path.join(modules, "modules.dep"))
    wanted = fingerprint(*sources).encode()
    try:
        with open(stamp, "rb") as file:
            if file.read() == wanted and os.path.exists(kernel) and os.path.exists(initrd):
                return kernel, initrd
    except FileNotFoundError:
        pass
    write(kernel, uncompressed_image(image))
    write(initrd, initramfs(modules, busybox))
    write(stamp, wanted)
    return kernel, initrd
