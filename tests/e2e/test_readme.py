# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Every command that README.md shows is run as it stands there; and its records and targets are the real ones."""

import os
import pathlib
import re
import shlex
import signal
import subprocess

import pytest

import nsmonlib as lib

# With one backend of each kernel; with each_backend: with all of them.
pytestmark = [pytest.mark.once, pytest.mark.anywhere]

TOP = pathlib.Path(__file__).resolve().parents[2]
README = (TOP / "README.md").read_text(encoding="utf-8")


def commands():
    """The lines after "$ " in the console blocks, without their comments. `make test` is what runs this."""
    for block in re.findall(r"```console\n(.*?)```", README, re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                command = re.sub(r"\s+#.*", "", line[2:])
                if command != "sudo make test":
                    yield command


def as_root(command):
    """We are root already, and the program may be another one than ./nsmon."""
    argv = shlex.split(command)
    if argv[0] == "sudo":
        argv = argv[1:]
    if argv[0] == "./nsmon":
        argv[0] = str(lib.NSMON)
    return argv


def test_there_are_commands():
    assert len(list(commands())) >= 8


@pytest.mark.parametrize("command", list(commands()))
def test_command(command, tmp_path):
    argv = as_root(command)
    if argv[0] == "make" and lib.SLOW > 1:
        pytest.skip("the virtual machine's files are read-only; run on the machine itself")
    if "-w" in argv:  # not into this machine's own log
        argv[argv.index("-w") + 1] = str(tmp_path / "nsmon.json")
    if {"--", "check", "list"} & set(argv):
        done = subprocess.run(argv, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=lib.seconds(60), check=False, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout
        return

    def is_ready():
        """It catches SIGINT, and so it ends as it promises."""
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        return int(re.search(r"SigCgt:\s*(\w+)", status).group(1), 16) & 1 << signal.SIGINT - 1

    # Those that go on until Ctrl-C: they run, and end with 0 on it.
    seen = tmp_path / "out"
    with open(seen, "wb") as out:
        # As at a terminal: what a script runs in the background finds SIGINT ignored, and make leaves it so.
        process = subprocess.Popen(argv, cwd=TOP, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   start_new_session=True,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        watched = tmp_path / "nsmon.json" if "-w" in argv else seen

        def prints():
            assert process.poll() is None, seen.read_text()
            subprocess.run(["unshare", "-n", "-m", "true"], check=True)
            return watched.exists() and any(
                w in watched.read_text() for w in ("ns: pid=", '"event":"ns"')) or "-p" in argv and is_ready()
        lib.wait_until(prints, f"records of {command}", timeout=120)
    finally:
        os.killpg(process.pid, signal.SIGINT)
    assert process.wait(lib.seconds(30)) in ((-signal.SIGINT, 2) if argv[0] == "make" else (0,))


def test_fields_are_those_of_the_schema():
    schema = (TOP / "dist" / "nsmon.schema.json").read_text(encoding="utf-8")
    names = set(re.findall(r'^ {8}"([a-z_]+)": \{', schema, re.M)) - {"event", "type"}
    section = re.search(r"## Records\n(.*?)\n## ", README, re.S).group(1)
    assert {n for n in names if f"`{n}`" not in section and f'"{n}"' not in section} == set()


def test_targets_exist():
    makefile = "".join((TOP / name).read_text(encoding="utf-8") for name in ("Makefile", "dist/package.mk"))
    for target in set(re.findall(r"`(?:sudo )?make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.M), target
