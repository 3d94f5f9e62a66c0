#!/usr/bin/python3
"""Prints what a CTest run found: a line per test, the end of each failing test's output, and the closing line.

The closing line is `N passed, N failed`. The exit status is 0 only if CTest ended well, something ran and nothing failed.
"""

from __future__ import annotations

import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

OUTPUT_LINES = 40


def case_count(output: str) -> str:
    """What the test program says about its own cases (doctest, unittest), or nothing."""
    doctest = re.search(r"test cases:\s*(\d+)\s*\|", output)
    unittest = re.search(r"^Ran (\d+) tests? in", output, re.MULTILINE)
    found = doctest or unittest
    return f"{found.group(1)} cases" if found else ""


def summarize(results: str, ctest_status: int, name_filter: str) -> tuple[str, int]:
    """The text to print and the exit status, from CTest's JUnit file content (empty: it wrote none)."""
    lines: list[str] = []
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    try:
        cases = list(ElementTree.fromstring(results).iter("testcase")) if results else []
    except ElementTree.ParseError as error:
        lines.append(f"the result file of the test run cannot be read: {error}")
        cases = []
    failures: list[tuple[str, str]] = []
    for case in sorted(cases, key=lambda case: case.get("name", "")):
        status = {"run": "passed", "fail": "failed"}.get(case.get("status", ""), "skipped")
        output = case.findtext("system-out") or ""
        counts[status] += 1
        seconds = float(case.get("time", "0"))
        lines.append(f"{status:8} {case.get('name', ''):32} {seconds:7.1f} s  {case_count(output)}".rstrip())
        if status == "failed":
            failures.append((case.get("name", ""), output))
        elif status == "skipped":
            reason = output.strip().splitlines()
            lines.append(f"         {reason[-1] if reason else 'no reason given'}")
    for name, output in failures:
        tail = output.rstrip().splitlines()[-OUTPUT_LINES:]
        lines += ["", f"== {name}, end of its output:", *(f"    {line}" for line in tail)]
    if failures:
        lines.append("")
    if counts["skipped"]:
        lines.append(f"{counts['skipped']} skipped")
    ran = counts["passed"] + counts["failed"]
    if not cases and name_filter:
        return f"no test matches {name_filter}", 2
    if ran == 0:
        lines.append("no test ran")
    lines.append(f"{counts['passed']} passed, {counts['failed']} failed")
    good = ran > 0 and counts["failed"] == 0 and ctest_status == 0
    return "\n".join(lines), 0 if good else 1


def main() -> int:
    path, ctest_status, name_filter = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    results = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    # Terminal sequences in a test's output are not XML.
    results = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", results)
    text, status = summarize(results, ctest_status, name_filter)
    print(text, file=sys.stderr if status == 2 else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main())
