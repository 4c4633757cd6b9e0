# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The report of the matrix: what ran, which case passed where, what a kernel cannot have, what verification cost.

Reads what the runs left in a directory: KERNEL.check.json (nsmon check), and for each column KERNEL.BACKEND.*.xml
(pytest), and the messages of a recorded run with -vv. Knows nothing of virtual machines.
"""

import collections
import glob
import json
import os
import re
import xml.etree.ElementTree as ET

BACKENDS = ("fentry", "kprobe", "tracepoint")

# A cell of the table of cases.
PASSED, FAILED, SKIPPED = "passed", "FAILED", "skipped"


class Column:
    """One kernel with one backend."""

    def __init__(self, directory, kernel, backend, expected=None):
        """expected: is this kernel known to offer this backend? None: nobody knows."""
        self.kernel, self.backend, self.expected = kernel, backend, expected
        self.name = f"{kernel} {backend}"
        base = os.path.join(directory, f"{kernel}.{backend}")
        self.check = read_json(os.path.join(directory, f"{kernel}.check.json"))
        self.cases = {}
        for path in sorted(glob.glob(glob.escape(base) + ".*.xml")):
            self.cases.update(read_cases(path))
        self.verifier = read_verifier(os.path.join(base, "cases-threads", "err"))
        self.instead = read_text(os.path.join(directory, f"{kernel}.instead"))  # of which kernel it stands in the place

    @property
    def release(self):
        return self.check["kernel"] if self.check else None

    @property
    def refusal(self):
        """Why this kernel does not offer this backend; None where it does or where nobody could ask."""
        return None if not self.check else self.check["backends"][self.backend].get("reason")

    def count(self, outcome):
        return sum(found == outcome for found, _ in self.cases.values())

    @property
    def surprise(self):
        """It works where it is known not to, or the other way round; None where it does as expected."""
        if self.expected is None or not self.check or self.expected == (self.refusal is None):
            return None
        return "FAILED: tests/vm/kernels says that it " + ("works" if self.expected else "does not work")

    def summary(self):
        if self.surprise:
            return "; ".join(filter(None, (self.surprise, self.refusal)))
        if self.cases:
            return ", ".join(f"{self.count(outcome)} {outcome}" for outcome in (PASSED, FAILED, SKIPPED))
        if self.refusal:
            return "cannot: " + self.refusal
        return "no report: the run FAILED" if self.check else "the kernel did not run: FAILED"

    @property
    def good(self):
        return not self.surprise and (bool(self.count(PASSED)) and not self.count(FAILED) or bool(self.refusal))


def read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def read_text(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def read_cases(path):
    """{(file, function, parameters): (outcome, reason)} of a report of pytest; empty where there is none."""
    try:
        cases = list(ET.parse(path).getroot().iter("testcase"))
    except (OSError, ET.ParseError):
        return {}
    found = {}
    for case in cases:
        function, _, parameters = case.get("name").partition("[")
        key = (case.get("classname").split(".")[-1], function, parameters.rstrip("]"))
        if case.find("failure") is not None or case.find("error") is not None:
            found[key] = (FAILED, None)
        elif case.find("skipped") is not None:
            found[key] = (SKIPPED, case.find("skipped").get("message"))
        else:
            found[key] = (PASSED, None)
    return found


def read_verifier(path):
    """{program: (instructions processed, limit)} from the verifier's statistics, as libbpf shows them."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return {}
    costs, program = {}, None
    for line in text.splitlines():
        begin = re.search(r"prog '(\w+)': -- BEGIN PROG LOAD LOG --", line)
        cost = re.search(r"processed (\d+) insns \(limit (\d+)\)", line)
        if begin:
            program = begin.group(1)
        elif cost and program:
            costs[program] = (int(cost.group(1)), int(cost.group(2)))
    return costs


def markdown(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows]


class Notes:
    """Reasons, numbered in the order in which they come up."""

    def __init__(self):
        self.numbers = {}

    def mark(self, reason):
        return f"[{self.numbers.setdefault(reason, len(self.numbers) + 1)}]"

    def lines(self):
        return [f"{number}. {reason}" for reason, number in self.numbers.items()]


def overview(columns):
    kernels = list(dict.fromkeys(c.kernel for c in columns))
    rows = []
    for kernel in kernels:
        of_kernel = {c.backend: c for c in columns if c.kernel == kernel}
        release = next((c.release for c in of_kernel.values() if c.release), "")
        release += "".join({f" ({c.instead})" for c in of_kernel.values() if c.instead})
        rows.append([kernel, release, *(of_kernel[b].summary() if b in of_kernel else "not asked for" for b in BACKENDS)])
    return markdown(["kernel", "release", *BACKENDS], rows)


HERE, ELSEWHERE = "-", "."  # not in this column, but in another of this kernel; in none of this kernel

LEGEND = (f"`{HERE}` run with another backend of this kernel, since it is the same with all of them; `{ELSEWHERE}` not run on this "
          "kernel: the test says that it is the same on every one, or is not among the most telling ones, which run on each. "
          "`make test-vm KERNEL=NAME` runs all of them on one.")


def blank(column, columns, has):
    """The mark of a cell that is empty; has: does another column have it?"""
    return HERE if any(c.kernel == column.kernel and has(c) for c in columns) else ELSEWHERE


def groups(columns):
    """A row for each test function: how many of its cases passed; what did not, by name or by reason."""
    notes, ran = Notes(), [c for c in columns if c.cases]
    functions = sorted({key[:2] for c in ran for key in c.cases})
    rows = []
    for function in functions:
        row = ["::".join(function)]
        for column in ran:
            cases = [outcome for key, outcome in column.cases.items() if key[:2] == function]
            passed = sum(found == PASSED for found, _ in cases)
            failed = sum(found == FAILED for found, _ in cases)
            skipped = collections.Counter(notes.mark(reason) for found, reason in cases if found == SKIPPED)
            cell = [str(passed)] if passed else []
            cell += [f"{failed} FAILED"] if failed else []
            cell += [f"{n} not {mark}" for mark, n in skipped.items()]
            row.append(", ".join(cell) or blank(column, ran, lambda c: any(key[:2] == function for key in c.cases)))
        rows.append(row)
    return markdown(["tests that passed", *(c.name for c in ran)], rows), notes.lines()


def every_case(columns):
    """A row for each case: + passed, FAILED, or the number of the reason why this kernel cannot have it."""
    notes, ran = Notes(), [c for c in columns if c.cases]
    rows = []
    for key in sorted({key for c in ran for key in c.cases}):
        row = ["{}::{}{}".format(*key[:2], f"[{key[2]}]" if key[2] else "")]
        for column in ran:
            outcome, reason = column.cases.get(key, (None, None))
            row.append({PASSED: "+", FAILED: "FAILED", None: blank(column, ran, lambda c: key in c.cases)}.get(outcome)
                       or notes.mark(reason))
        rows.append(row)
    return markdown(["case", *(c.name for c in ran)], rows), notes.lines()


def verification(columns):
    """The costliest programs of each column, and a warning for each above half of the verifier's limit."""
    rows, warnings = [], []
    for column in columns:
        if not column.verifier:
            if column.cases and not column.refusal:
                warnings.append(f"WARNING: {column.name}: what verification cost is not known")
            continue
        costs = sorted(column.verifier.items(), key=lambda item: -item[1][0])
        rows.append([column.name, column.release or "", ", ".join(f"{program} {cost}" for program, (cost, _) in costs)])
        warnings += [f"WARNING: {column.name}: {program} took {cost} of the verifier's {limit} instructions"
                     for program, (cost, limit) in costs if cost > limit // 2]
    return markdown(["column", "release", "instructions processed by the verifier"], rows) + warnings


def left_out(columns, functions):
    """Of all test functions, those that ran in no column."""
    ran = {key[:2] for c in columns for key in c.cases}
    names = ["::".join(function) for function in functions if function not in ran]
    return ["In no column, since none of these runs selected them: " + ", ".join(names) + ".", ""] if names else []


def report(columns, functions=()):
    """(what is shown at the end, the whole for the file). functions: (file, name) of all that there are."""
    grouped, grouped_notes = groups(columns)
    cases, case_notes = every_case(columns)
    short = ["", "## Kernels and backends", "", *overview(columns), "", "## Verification", "", *verification(columns),
             "", "## Tests", "", LEGEND, "", *grouped, "", *left_out(columns, functions), *grouped_notes, ""]
    whole = ["<!-- made by tests/vm/matrix -->", *short, *left_out(columns, functions), "## Cases", "",
             f"`+` passed; a number: this kernel cannot have it, for the reason below. {LEGEND}", "", *cases, "", *case_notes, ""]
    return "\n".join(short) + "\n", "\n".join(whole) + "\n"
