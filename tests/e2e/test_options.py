# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The option table of the program is what --help, the manual, README.md and the completions of bash, zsh and fish say.

The table is read from the program: --help prints it (argp), and what an option takes stands in the message for a value
that is none. The completions are asked in the shells themselves.
"""

import os
import pathlib
import pty
import re
import shutil
import subprocess
import time

import pytest

import nsmonlib as lib

pytestmark = [pytest.mark.once, pytest.mark.anywhere]

TOP = pathlib.Path(__file__).resolve().parents[2]
COMPLETIONS = TOP / "dist" / "completions"
README = (TOP / "README.md").read_text(encoding="utf-8")
MANUAL = (TOP / "dist" / "nsmon.8.scd").read_text(encoding="utf-8")


def nsmon(*arguments):
    return subprocess.run([lib.NSMON, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, text=True, timeout=lib.seconds(30))


HELP = nsmon("--help").stdout

# long name -> (short name or None, name of its argument or None)
TABLE = {long: (short or None, value or None)
         for short, long, value in re.findall(r"^  (?:-(.),|   ) --([a-z-]+)(?:=([A-Z]+))?", HELP, re.M)}
COMMANDS = re.findall(r"^ {2}or: {2}nsmon \[OPTION\.\.\.\] ([a-z]+)$", HELP, re.M)


def values(option):
    """What an option takes, where it takes certain words: as it says itself. A lonely "--" is never run."""
    said = nsmon(f"--{option}=no such value", "--").stderr.splitlines()[0]
    found = re.search(r"(?:is not one of|it takes) ([a-z_]+(?:(?:, | or |,)[a-z_]+)+)$", said)
    return re.split(r", | or |,", found.group(1)) if found else None


VALUES = {option: values(option) for option, (_, value) in TABLE.items() if value}


def names(table):
    """--long and -s of each."""
    return {f"--{long}" for long in table} | {f"-{short}" for short, _ in table.values() if short}


def mode_options(command):
    """The options that a command (list) does not refuse. Its other mistake keeps it from running."""
    taken = {}
    for long, (short, value) in TABLE.items():
        if long in ("help", "usage", "version", "schema"):
            continue
        good = {"PID": str(os.getpid()), "PATH": "/x", "SIZE": "8M", "NAME": "root"}.get(value, "x")
        good = (VALUES.get(long) or [good])[0]
        said = nsmon(command, f"--{long}={good}" if value else f"--{long}", "--tree", "--containers").stderr
        assert "option" in said or "take" in said, said
        if f"--{long}: {command} does not take it" not in said:
            taken[long] = (short, value)
    return taken


def test_the_table_is_read():
    assert len(TABLE) > 20 and COMMANDS == ["check", "list"]
    assert TABLE["output"] == ("o", "FORMAT") and TABLE["buffer"] == (None, "SIZE") and TABLE["help"] == ("?", None)
    assert VALUES["backend"] == ["auto", "fentry", "kprobe", "tracepoint"] and VALUES["types"] == lib.TYPES
    assert VALUES["write"] is None
    usage = nsmon("--usage").stdout
    assert set(re.findall(r"--([a-z-]+)", usage)) == set(TABLE)


# ---- README and the manual


def documented(text):
    """The options of a table or list of them, as TABLE has them."""
    found = {}
    for line in text:
        short = None
        for name, value in re.findall(r"(?<![\w-])(-[a-zA-Z?]|--[a-z-]+)(?:=([A-Z]+))?(?![\w-])", line):
            if name.startswith("--"):
                assert name[2:] not in found, f"{name} twice"
                found[name[2:]] = (short, value or None)
                short = None
            else:
                short = name[1:]
    return found


def readme_options():
    section = re.search(r"## Options\n(.*?)\n## ", README, re.S).group(1)
    return [row.split(" | ")[0] for row in section.splitlines() if row.startswith("| `-")]


def manual_options():
    section = re.search(r"# OPTIONS\n(.*?)\n# EVENTS", MANUAL, re.S).group(1)
    return [line.translate({ord("*"): None, ord("_"): None}) for line in section.splitlines() if line.startswith("*-")]


@pytest.mark.parametrize("text", [readme_options, manual_options])
def test_documented(text):
    assert documented(text()) == TABLE


@pytest.mark.parametrize("option", [o for o, v in VALUES.items() if v])
def test_values_are_documented(option):
    """Each value stands at its option, in --help, README and manual; README shows no other."""
    name = f"--{option}="
    shown = re.search(rf"{name}(.*?)(?=\n +-|\n\n)", HELP, re.S).group(1)
    row = next(line for line in README.splitlines() if line.startswith("| `") and name in line)
    entry = re.search(rf"\*--{option}\*=.*?\n(.*?)\n\n\S", MANUAL, re.S).group(1)
    assert set(VALUES[option]) <= set(re.findall(r"[a-z_]+", shown))
    assert set(VALUES[option]) <= set(re.findall(r"_([a-z_]+)_(?![a-z_])", entry))
    assert set(VALUES[option]) == set(",".join(re.findall(r"`([a-z_,]+)`", row)).split(","))


def shown_commands():
    """Every nsmon command line that README and manual show, without its COMMAND."""
    lines = re.findall(r"\./nsmon([^\n#|`]*)", README) + re.findall(r"`nsmon([^`]*)`", README)
    lines += [line.replace("*", "") for line in re.findall(r"^\t\*nsmon (.*)\*$", MANUAL, re.M)]
    lines += re.findall(r"sudo nsmon(.*)", HELP)
    return [re.split(r" -- |  +", line)[0] for line in lines]


def test_what_is_shown_exists():
    lines = shown_commands()
    assert len(lines) > 20
    for line in lines:
        assert set(re.findall(r"(?<!\S)(--[a-z-]+|-[a-zA-Z])(?![\w-])", line)) <= names(TABLE), line
    # In the running text of the manual options are bold.
    assert set(re.findall(r"\*(--?[a-zA-Z?][a-z-]*)\*", MANUAL)) <= names(TABLE)


def test_commands_are_documented():
    for command in COMMANDS:
        assert f"nsmon {command}" in README and f"*nsmon* *{command}*" in MANUAL
    assert set(re.findall(r"^\*nsmon\* \*(\w+)\*", MANUAL, re.M)) == set(COMMANDS)


def test_one_version():
    version = re.search(r'NSMON_VERSION "(.*)"', (TOP / "src/version.h").read_text()).group(1)
    assert nsmon("--version").stdout == f"nsmon {version}\n"
    assert re.search(r"^(\d\S*)", (TOP / "CHANGES").read_text(), re.M).group(1) == version, "CHANGES begins with another"
    known = subprocess.run(["git", "grep", "-lF", version], cwd=TOP, stdout=subprocess.PIPE, check=False, text=True)
    if known.returncode == 0:  # in a source archive there is no git
        # The results of the benchmark say which version was measured.
        places = {"src/version.h", "CHANGES", "bench/RESULTS.md"}
        assert set(known.stdout.split()) <= places, "the version stands in a second place"


# ---- completions, as the shells make them


def needs(shell):
    found = shutil.which(shell)
    if not found:
        pytest.skip(f"{shell} is not installed")
    return found


BASH = r"""
source "$1"
complete -p nsmon >/dev/null || exit 1
# Words as readline makes them: "=" is one of its own.
read -r -a COMP_WORDS <<<"${2//=/ = }"
[[ $2 == *[\ =] ]] && COMP_WORDS+=("")
[[ $2 == *= ]] && unset 'COMP_WORDS[-1]'
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$2 COMP_POINT=${#2}
_nsmon nsmon "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


def bash(line, directory):
    done = subprocess.run([needs("bash"), "--norc", "-c", BASH, "bash", COMPLETIONS / "nsmon.bash", line], cwd=directory,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True, text=True)
    assert not done.stderr, done.stderr
    return done.stdout.split()


def fish(line, directory):
    script = f"source {COMPLETIONS}/nsmon.fish; complete -C '{line}'"
    done = subprocess.run([needs("fish"), "-N", "-c", script], cwd=directory, env=dict(os.environ, HOME=str(directory)),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True, text=True)
    assert not done.stderr, done.stderr
    return [found.split("\t")[0] for found in done.stdout.splitlines()]


# zsh completes in its line editor alone. Each match goes to a file on its way to the terminal.
ZSH = r"""
PROMPT= RPROMPT= fpath=({completions} $fpath)
autoload -Uz compinit && compinit -D -u
compadd() {{
  local -a found
  [[ ${{@[1,(i)(-|--)]}} == *-(O|A|D)\ * ]] || {{ builtin compadd -A found "$@"; print -rl -- $found >>{found} }}
  builtin compadd "$@"
}}
complete-once() {{ zle list-choices; print END >>{found} }}
zle -N complete-once && bindkey '^I' complete-once && : >{found}
"""


def zsh(line, directory):
    found = pathlib.Path(directory) / "found"
    found.unlink(missing_ok=True)
    master, slave = pty.openpty()
    process = subprocess.Popen([needs("zsh"), "-f", "-i"], cwd=directory, stdin=slave, stdout=slave, stderr=slave,
                               start_new_session=True, env=dict(os.environ, HOME=str(directory), TERM="dumb"))
    os.close(slave)

    def said(ending):
        lib.read_some(master, 0.02)  # or zsh waits for its terminal
        return found.exists() and found.read_text().endswith(ending)

    try:
        for part in ZSH.format(completions=COMPLETIONS, found=found).splitlines(True):
            os.write(master, part.encode())
        lib.wait_until(lambda: said(""), "zsh")
        time.sleep(lib.seconds(0.1))  # until its editor has the terminal
        os.write(master, f"{line}\t".encode())
        lib.wait_until(lambda: said("END\n"), f"completions of {line!r}")
    finally:
        process.kill()
        process.wait()
        os.close(master)
    # "-\?" is how zsh quotes, and it fills up with blanks.
    return [text.strip().replace("\\", "") for text in found.read_text().splitlines()[:-1] if text.strip()]


SHELLS = pytest.mark.parametrize("shell", [bash, zsh, fish])


def complete(shell, line, directory):
    """The last words of `line` that a shell offers, in one form: without what is in front of a value."""
    return {re.sub(r"^--[a-z-]+=(?=.)", "", word) for word in shell(line, directory)}


def offered_options(shell, command, directory):
    found = set()
    for begin in ("-", "--"):
        found |= {w.rstrip("=") for w in shell(f"nsmon {command}{begin}", directory) if w.startswith("-")}
    return found


@SHELLS
def test_options_are_completed(shell, tmp_path):
    assert offered_options(shell, "", tmp_path) == names(TABLE)


@SHELLS
@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_a_command_are_completed(shell, command, tmp_path):
    """Only what it takes; and all that list takes, which refuses the others."""
    found = offered_options(shell, command + " ", tmp_path)
    taken = names(mode_options(command))
    assert found <= taken
    if command == "list":
        assert found == taken


@SHELLS
def test_commands_are_completed(shell, tmp_path):
    assert {w for w in complete(shell, "nsmon ", tmp_path) if not w.startswith("-")} == set(COMMANDS)


@SHELLS
@pytest.mark.parametrize("option", [o for o, v in VALUES.items() if v])
def test_values_are_completed(shell, option, tmp_path):
    spellings = [f"--{option}=", f"--{option} "]
    if TABLE[option][0]:
        spellings.append(f"-{TABLE[option][0]} ")
    for spelling in spellings:
        assert complete(shell, f"nsmon {spelling}", tmp_path) == set(VALUES[option]), spelling
    if TABLE[option][1] == "LIST":
        first, *others = VALUES[option]
        rest = {w.split(",")[-1] for w in complete(shell, f"nsmon --{option}={first},", tmp_path)}
        assert set(others) <= rest <= set(VALUES[option])


@SHELLS
@pytest.mark.parametrize("option", [o for o, v in VALUES.items() if v and TABLE[o][0]])
def test_glued_values_are_completed(shell, option, tmp_path):
    """Behind the letter of the option, and behind letters that take no value."""
    value = VALUES[option][0]
    meant = {v for v in VALUES[option] if v.startswith(value[:1])}
    for letters in (f"-{TABLE[option][0]}", f"-q{TABLE[option][0]}"):
        found = set(shell(f"nsmon {letters}{value[:1]}", tmp_path))
        assert found in (meant, {letters + v for v in meant}), found


@SHELLS
@pytest.mark.parametrize("command", COMMANDS)
def test_formats_of_a_command_are_completed(shell, command, tmp_path):
    """Without those that it refuses. Its other mistake, again, keeps it from running."""
    said = {v: nsmon(command, f"--output={v}", "--tree", "--containers").stderr for v in VALUES["output"]}
    taken = {v for v in said if "--output" not in said[v]}
    assert complete(shell, f"nsmon {command} -o ", tmp_path) == taken != set()


@SHELLS
def test_other_values_are_completed(shell, tmp_path):
    """By what the argument is called in --help; what a new name means has to be said here."""
    (tmp_path / "a file").write_text("")
    meant = {
        "FILE": lambda w: "afile" in w.replace(" ", "").replace("\\", ""),
        "PID": lambda w: w == str(os.getpid()) or w == "1",
        "NAME": lambda w: w == "root",
        "PATH": lambda w: "/" in w or pathlib.Path("/sys/fs/cgroup", w).is_dir(),
        "SIZE": lambda w: nsmon(f"--buffer={w}", "--version").returncode == 0,
    }
    for option, (_, value) in TABLE.items():
        if not value or VALUES[option]:
            continue
        offered = complete(shell, f"nsmon --{option}=" + ("/sys/fs/cgroup/" if value == "PATH" and shell is not zsh else ""),
                           tmp_path)
        assert not offered & names(TABLE), f"--{option} takes a value"
        if value == "ID":
            assert not offered
        elif value == "SIZE":
            assert offered and all(map(meant[value], offered)), option
        elif value == "FILE" and shell is bash:
            assert {"a", "file"} <= offered
        else:
            assert any(map(meant[value], offered)), f"--{option}: {offered}"


@SHELLS
def test_the_command_is_completed(shell, tmp_path):
    (tmp_path / "unique-name").write_text("")
    assert "setpriv" in complete(shell, "nsmon -q -- setpri", tmp_path)
    found = complete(shell, "nsmon -q -- cat -", tmp_path) & (names(TABLE) - {"--help", "--version", "-n", "-s", "-e", "-t", "-T", "-v"})
    assert not found, "nsmon's own options for COMMAND"
    assert "unique-name" in complete(shell, "nsmon -- cat uni", tmp_path)
    assert not {"list", "check"} & complete(shell, "nsmon -- ", tmp_path)


def test_bash_completes_files_with_blanks(tmp_path):
    """One candidate, not two."""
    (tmp_path / "a file").write_text("")
    script = f'source {COMPLETIONS}/nsmon.bash; COMP_WORDS=(nsmon -w a) COMP_CWORD=2; _nsmon; printf "<%s>" "${{COMPREPLY[@]}}"'
    done = subprocess.run([needs("bash"), "--norc", "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, check=True, text=True)
    assert done.stdout == "<a file>"
