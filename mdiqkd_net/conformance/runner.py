"""Play cases: a probe before and after each, behavior and close judged apart."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from mdiqkd_net.conformance.cases import (
    FAILING,
    Broken,
    Case,
    Close,
    Ending,
    Skipped,
    Unimplemented,
    Verdict,
)
from mdiqkd_net.conformance.harness import Harness
from mdiqkd_net.conformance.wirelog import Entry
from mdiqkd_net.runtime.node import leaves

_MEANS: Final[dict[type[Exception], Verdict]] = {
    Broken: Verdict.FAIL,
    Skipped: Verdict.SKIP,
    Unimplemented: Verdict.UNIMPLEMENTED,
}


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one case.

    Attributes:
        case: Which.
        verdict: Of both sides of it together.
        behavior: Whether the node did what it must, whatever became of the link.
        close: How it closed a link that it refused.
        found: In words.
        seconds: How long it took.
        log: What passed on the wire; kept for cases that did not pass.
    """

    case: Case[Any]
    verdict: Verdict
    behavior: Verdict
    close: Close
    found: str
    seconds: float
    log: list[Entry] = field(default_factory=list)


async def play(
    harness: Harness,
    cases: Iterable[Case[Any]],
    *,
    strict: bool = False,
    tell: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """Play cases one after another.

    The probe after a case is the probe before the next one. A node that does not answer it has
    failed that case, and is probed again before the next.

    Args:
        harness: Speaks to the node.
        cases: In this order.
        strict: Whether a SHOULD counts as a MUST.
        tell: Called with every result as it comes.
    """
    results: list[Result] = []
    problem: str | None = "not probed yet"
    await harness.start()
    try:
        for case in cases:
            result, problem = await _one(harness, case, problem, strict=strict)
            results.append(result)
            tell(result)
    finally:
        with trio.CancelScope(shield=True):
            await harness.stop()
    return results


async def _one(
    harness: Harness, case: Case[Any], problem: str | None, *, strict: bool
) -> tuple[Result, str | None]:
    """Play one case; `problem` is what the last probe found, before it and after it."""
    why = harness.why_not(case)
    if why is not None:
        return Result(case, Verdict.SKIP, Verdict.SKIP, Close.NOT_JUDGED, why, 0.0), problem
    started_s = trio.current_time()
    if problem is not None:
        harness.begin(case)
        problem = await harness.probe()
    if problem is not None:
        behavior, ending = (
            Verdict.INCONCLUSIVE,
            Ending(found=f"the node does not answer: {problem}"),
        )
        log = harness.log.so_far()
    else:
        behavior, ending = await _play(harness, case)
        log = harness.log.so_far()
        problem = await harness.probe()
        if problem is not None:
            behavior = Verdict.FAIL
            found = f"afterwards the node does not answer: {problem}; {ending.found}"
            ending = Ending(ending.close, found.rstrip("; "))
    verdict = judge(case, behavior, ending.close, strict=strict)
    seconds = round(trio.current_time() - started_s, 4)
    kept = log.entries() if verdict not in (Verdict.PASS, Verdict.INFO) else []
    return Result(case, verdict, behavior, ending.close, ending.found, seconds, kept), problem


async def _play(harness: Harness, case: Case[Any]) -> tuple[Verdict, Ending]:
    harness.begin(case)
    behavior, ending = Verdict.PASS, Ending()
    try:
        ending = await case.run(harness) or ending
    except* (Broken, Skipped, Unimplemented) as group:
        # A case may run tasks of its own; what the first of them found is the finding.
        finding = leaves(group)[0]
        behavior, ending = _MEANS[type(finding)], Ending(found=str(finding))
    finally:
        await harness.finish()
    return behavior, ending


def judge(case: Case[Any], behavior: Verdict, close: Close, *, strict: bool) -> Verdict:
    """The verdict of a case from what was seen on its two sides."""
    verdict = behavior
    if behavior is Verdict.PASS and close not in (Close.CLEAN, Close.NOT_JUDGED):
        verdict = Verdict.UNCLEAN
    if case.level == "INFO" and verdict in (Verdict.PASS, Verdict.FAIL, Verdict.UNCLEAN):
        return Verdict.INFO
    if case.level == "SHOULD" and verdict in (Verdict.FAIL, Verdict.UNCLEAN) and not strict:
        return Verdict.NON_STRICT
    return verdict


def conforms(results: Iterable[Result]) -> bool:
    """Whether the node has shown that it does what it was asked for."""
    return all(result.verdict not in FAILING for result in results)
