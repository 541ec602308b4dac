"""Runs the checks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from orchestrator.service.doctor.check import Check, Finding, uncheckable
from orchestrator.service.doctor.checks import CHECKS
from orchestrator.service.doctor.context import Context


def examine(
    context: Context, *, only: Collection[str] = (), checks: Iterable[Check] = CHECKS
) -> Iterator[Finding]:
    """Run checks, one after the other.

    Args:
        context: What they look at.
        only: The keys of those to run, none for all.
        checks: The checks that there are.
    """
    told: set[str] = set()
    for check in checks:
        if not only or check.key in only:
            for finding in _isolated(check, context):
                # What several checks need, such as a database that is away, fails for all in the same words.
                sentence = f"{finding.text}: {finding.advice}" if finding.advice else finding.text
                if finding.status == "FAIL" and sentence in told:
                    continue
                told.add(sentence)
                yield replace(finding, check=finding.check or check.title, key=check.key)


def _isolated(check: Check, context: Context) -> Iterator[Finding]:
    """Run a check. If it cannot look, that is a finding, too, and the other checks still run."""
    try:
        yield from check.find(context)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks are worth their while
        yield uncheckable(error)
