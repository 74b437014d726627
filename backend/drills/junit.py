"""The report as JUnit XML: one test case per phase and expectation, one for each proof the verdict rests on. Pure."""

from __future__ import annotations

from xml.etree import ElementTree

from backend.drills.report import Report


def junit(report: Report) -> str:
    """The whole suite; `unknown` is an error, `fail` a failure."""
    cases = report.verdict.checks
    failures = sum(check.result == "fail" for check in cases)
    errors = sum(check.result == "unknown" for check in cases)
    seconds = 0.0 if report.ended_ts is None else report.ended_ts - report.started_ts
    suite = ElementTree.Element(
        "testsuite",
        name=f"drill.{report.name}",
        tests=str(len(cases) + 1),
        failures=str(failures + (report.exit_code == 1)),
        errors=str(errors + (report.exit_code not in (0, 1))),
        time=f"{seconds:.3f}",
    )
    whole = ElementTree.SubElement(suite, "testcase", classname=f"drill.{report.name}", name="verdict")
    if report.exit_code != 0:
        tag = "failure" if report.exit_code == 1 else "error"
        ElementTree.SubElement(whole, tag, message=report.outcome).text = _printable("\n".join(report.reasons))
    for check in cases:
        place = f"drill.{report.name}.{check.phase or check.kind}"
        name = _printable(f"{check.kind}: {check.text}")
        case = ElementTree.SubElement(suite, "testcase", classname=place, name=name)
        values = "\n".join(f"{text} = {'no data' if v is None else v}" for text, v in check.measured.items())
        if check.result != "pass":
            tag = "failure" if check.result == "fail" else "error"
            ElementTree.SubElement(case, tag, message=_printable(check.note or check.text)).text = _printable(values)
        elif values:
            ElementTree.SubElement(case, "system-out").text = _printable(values)
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _printable(text: str) -> str:
    return "".join(c for c in text if c in "\t\n" or c >= " ")
