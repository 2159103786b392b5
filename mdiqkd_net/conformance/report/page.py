"""One HTML page that needs nothing beside itself: no network, no other file."""

import json
from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Final

from mdiqkd_net import __version__
from mdiqkd_net.conformance.cases import FAILING, Verdict
from mdiqkd_net.conformance.report.style import SCRIPT, STYLE
from mdiqkd_net.conformance.report.summary import About, counts
from mdiqkd_net.conformance.runner import Result, conforms
from mdiqkd_net.conformance.wirelog import Entry

_MEANING: Final = {
    Verdict.PASS: "as the specification says",
    Verdict.FAIL: "a MUST is broken",
    Verdict.UNCLEAN: "refused as it must, but with another code or close",
    Verdict.NON_STRICT: "a SHOULD is not followed",
    Verdict.INFO: "left open by the specification",
    Verdict.UNIMPLEMENTED: "not offered by the node",
    Verdict.INCONCLUSIVE: "the node did not answer the probe before the case",
    Verdict.SKIP: "the harness was not given what the case needs",
}
_ARROWS: Final = {"sent": "→", "got": "←", "note": "·"}


def page(about: About, results: Sequence[Result]) -> str:
    """The report as one HTML document."""
    title = f"Conformance of the {about.role} at {about.address}"
    areas = groupby(results, key=lambda result: result.case.area)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{_head(about, results, title)}{_filters(results)}"
        f"{''.join(_area(name, list(members)) for name, members in areas)}"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _head(about: About, results: Sequence[Result], title: str) -> str:
    good = conforms(results)
    n_failing = sum(result.verdict in FAILING for result in results)
    n_played = sum(result.verdict is not Verdict.SKIP for result in results)
    verdict = (
        f"Conforms in all {n_played} cases that were played"
        if good
        else f"{n_failing} of {n_played} cases that were played do not pass"
    )
    facts = {
        "Started": about.started_utc,
        "Harness": f"mdiqkd-net {__version__}",
        "Strict": "yes" if about.strict else "no",
        "Time scale": f"{about.time_scale:g}",
        "Seed": str(about.seed),
        "Cases": str(len(results)),
        "Took": f"{sum(result.seconds for result in results):.1f} s",
    }
    rows = "".join(f"<div><dt>{k}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    mark = "good" if good else "bad"
    return (
        f'<header><h1>{escape(title)}</h1><p class="overall {mark}">{verdict}</p>'
        f"<dl>{rows}</dl>{_bar(results)}</header>\n"
    )


def _bar(results: Sequence[Result]) -> str:
    parts = "".join(
        f'<span class="{_css(name)}" style="flex:{n}" title="{name}: {n}"></span>'
        for name, n in counts(results).items()
    )
    return f'<div class="bar" role="img" aria-label="{escape(_spoken(results))}">{parts}</div>'


def _spoken(results: Sequence[Result]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts(results).items())


def _filters(results: Sequence[Result]) -> str:
    buttons = "".join(
        f'<button type="button" data-verdict="{verdict.value}" aria-pressed="false" '
        f'title="{_MEANING[verdict]}"><span class="chip {_css(verdict.value)}">{verdict.value}'
        f"</span> {counts(results)[verdict.value]}</button>"
        for verdict in Verdict
        if verdict.value in counts(results)
    )
    return (
        f'<nav aria-label="Show by verdict"><button type="button" data-verdict="" '
        f'aria-pressed="true">All {len(results)}</button>{buttons}'
        '<input type="search" placeholder="id, clause or words" aria-label="Search"></nav>\n'
    )


def _area(name: str, members: Sequence[Result]) -> str:
    rows = "".join(_row(result) for result in members)
    tally = " · ".join(f"{n} {verdict}" for verdict, n in counts(members).items())
    return (
        f"<section><h2>{escape(name)} <small>{tally}</small></h2><table><thead><tr>"
        "<th>Case</th><th>Verdict</th><th>What is expected</th><th>Clause</th><th>Level</th>"
        f"<th>Close</th><th>Time</th></tr></thead><tbody>{rows}</tbody></table></section>\n"
    )


def _row(result: Result) -> str:
    case, name = result.case, result.verdict.value
    found = f'<div class="found">{escape(result.found)}</div>' if result.found else ""
    return (
        f'<tr id="{case.id}" data-verdict="{name}"><td class="id"><a href="#{case.id}">{case.id}'
        f'</a></td><td><span class="chip {_css(name)}">{name}</span></td>'
        f"<td>{escape(case.text)}{found}{_log(result.log)}</td>"
        f"<td>{escape(', '.join(case.clauses))}</td><td>{case.level}</td>"
        f'<td class="close">{escape(result.close.value)}</td>'
        f'<td class="time">{result.seconds:.2f} s</td></tr>'
    )


def _log(entries: Sequence[Entry]) -> str:
    if not entries:
        return ""
    lines = "".join(
        f'<div class="{entry.direction}"><span class="t">{entry.t_s:.4f}</span>'
        f'<span class="who">{escape(entry.link)}</span><span>{_ARROWS[entry.direction]}</span>'
        f"<span>{escape(entry.text)}</span></div>"
        for entry in entries
    )
    return (
        f"<details><summary>Wire log, {len(entries)} lines</summary>"
        f'<div class="log">{lines}</div></details>'
    )


def _css(verdict: str) -> str:
    return f"v-{verdict.lower()}"


def for_machines(data: object) -> str:
    """JSON as it is written to files."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
