# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""The report of the matrix (tests/vm/report.py), of made-up results: what must not look good does not."""

import importlib.util
import json
import pathlib

import pytest

# By its file: bench/ has one of this name, too.
_spec = importlib.util.spec_from_file_location("matrix_report", pathlib.Path(__file__).resolve().parents[1] / "vm" / "report.py")
report = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(report)

pytestmark = [pytest.mark.once, pytest.mark.anywhere]

XML = """<testsuites><testsuite>
<testcase classname="tests.e2e.test_a" name="test_one[x]"/>
{more}</testsuite></testsuites>"""
SKIPPED = '<testcase classname="tests.e2e.test_a" name="test_two"><skipped message="no such call"/></testcase>'
FAILED = '<testcase classname="tests.e2e.test_b" name="test_three"><failure message="1 is not 2"/></testcase>'
LOG = """nsmon: libbpf: prog 'on_fork': -- BEGIN PROG LOAD LOG --
nsmon: processed {n} insns (limit 1000000) max_states_per_insn 4 total_states 359 peak_states 356 mark_read 0
"""


@pytest.fixture
def results(tmp_path):
    """Writes a kernel's check, and for each backend what ran there: XML or why it is refused."""

    def write(kernel, instructions=100, **backends):
        check = {"kernel": kernel + ".1", "backends": {}}
        for backend, (more, reason) in backends.items():
            check["backends"][backend] = {"works": reason is None, **({"reason": reason} if reason else {})}
            if more is None:
                continue
            (tmp_path / f"{kernel}.{backend}.0.xml").write_text(XML.format(more=more), encoding="ascii")
            if instructions:
                log = tmp_path / f"{kernel}.{backend}" / "cases-threads"
                log.mkdir(parents=True)
                (log / "err").write_text(LOG.format(n=instructions), encoding="ascii")
        (tmp_path / f"{kernel}.check.json").write_text(json.dumps(check), encoding="ascii")

    def column(kernel, backend, expected=None):
        return report.Column(str(tmp_path), kernel, backend, expected)

    write.column = column
    return write


def test_what_is_good(results):
    results("5.9", fentry=("", None), kprobe=(None, "no kprobes"), tracepoint=(FAILED, None))
    assert results.column("5.9", "fentry", True).good and results.column("5.9", "kprobe", False).good
    assert not results.column("5.9", "tracepoint", True).good
    refused, unexpected = results.column("5.9", "kprobe", True), results.column("5.9", "fentry", False)
    assert not refused.good and not unexpected.good
    assert "FAILED" in refused.summary() and "no kprobes" in refused.summary() and "FAILED" in unexpected.summary()
    assert results.column("5.9", "kprobe").good  # an image of which nothing is known
    assert not results.column("5.8", "fentry", True).good  # it did not even boot


def test_marks(results):
    results("5.9", fentry=(SKIPPED, None), kprobe=("", None))
    results("6.9", fentry=("", None), kprobe=(FAILED, None))
    columns = [results.column(k, b, True) for k in ("5.9", "6.9") for b in ("fentry", "kprobe")]
    short, whole = report.report(columns, [("test_a", "test_one"), ("test_c", "test_four")])
    assert "| test_a::test_one | 1 | 1 | 1 | 1 |" in short
    assert "| test_a::test_two | 1 not [1] | - | . | . |" in short and "1. no such call" in short
    assert "| test_b::test_three | . | . | - | 1 FAILED |" in short
    assert "In no column, since none of these runs selected them: test_c::test_four." in whole
    assert "| test_a::test_one[x] | + | + | + | + |" in whole and "| test_b::test_three | . | . | - | FAILED |" in whole


def test_verification(results):
    results("5.9", instructions=500001, fentry=("", None))
    results("6.9", instructions=500000, fentry=("", None))
    results("7.9", instructions=0, fentry=("", None))
    short, _ = report.report([results.column(k, "fentry", True) for k in ("5.9", "6.9", "7.9")])
    assert "| 5.9 fentry | 5.9.1 | on_fork 500001 |" in short and "| 6.9 fentry | 6.9.1 | on_fork 500000 |" in short
    assert "WARNING: 5.9 fentry: on_fork took 500001 of the verifier's 1000000" in short
    assert "WARNING: 6.9" not in short and "WARNING: 7.9 fentry: what verification cost is not known" in short


def test_a_kernel_in_the_place_of_another(results, tmp_path):
    results("5.9", fentry=("", None))
    (tmp_path / "5.9.instead").write_text("instead of one that matches 5\\.9.*\n", encoding="ascii")
    assert "5.9.1 (instead of one that matches 5\\.9.*)" in report.report([results.column("5.9", "fentry")])[0]
