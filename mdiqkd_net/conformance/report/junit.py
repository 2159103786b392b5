"""JUnit's XML, as continuous integration reads it: one suite per area."""

from collections.abc import Sequence
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from mdiqkd_net.conformance.cases import FAILING, Verdict
from mdiqkd_net.conformance.report.summary import About
from mdiqkd_net.conformance.runner import Result


def junit(about: About, results: Sequence[Result]) -> str:
    """The report as XML text."""
    root = Element("testsuites", name=f"mdiqkd conformance, {about.role} {about.address}")
    for area, group in groupby(results, key=lambda result: result.case.area):
        members = list(group)
        suite = SubElement(
            root,
            "testsuite",
            name=area,
            tests=str(len(members)),
            failures=str(sum(r.verdict in FAILING for r in members)),
            skipped=str(sum(r.verdict is Verdict.SKIP for r in members)),
            time=f"{sum(r.seconds for r in members):.4f}",
            timestamp=about.started_utc,
        )
        for result in members:
            _case(suite, result)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _case(suite: Element, result: Result) -> None:
    case = SubElement(
        suite,
        "testcase",
        name=_plain(f"{result.case.id} {result.case.text}"),
        classname=result.case.id.rpartition("-")[0],
        time=f"{result.seconds:.4f}",
    )
    if result.verdict in FAILING:
        failure = SubElement(
            case, "failure", type=result.verdict.value, message=_plain(result.found)
        )
        lines = (f"{e.t_s:9.4f} {e.direction:4} {e.link}: {e.text}" for e in result.log)
        failure.text = _plain("\n".join(lines))
    elif result.verdict in (Verdict.SKIP, Verdict.UNIMPLEMENTED):
        SubElement(case, "skipped", message=_plain(result.found))
    elif result.found:
        SubElement(case, "system-out").text = _plain(f"{result.verdict.value}: {result.found}")


def _plain(text: str) -> str:
    """Text without the control characters that XML cannot hold."""
    return "".join(c if c in "\n\t" or c.isprintable() else "?" for c in text)
