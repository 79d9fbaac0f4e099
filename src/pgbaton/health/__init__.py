"""The health of a pipeline: one model, with one vocabulary, for the page, ``pgbaton doctor``, ``/readyz``, the
metrics and the webhook.

:func:`look` makes every check and returns a :class:`Health`; "all is well" means that nothing was found and that
everything was looked at. The code of a finding that also explains where a job is, is the code of that explanation.
"""

from pgbaton.health.adoption import adoption_checks
from pgbaton.health.checks import checks
from pgbaton.health.finding import Check, Finding, Health, Level, Share, worst_first
from pgbaton.health.incident import Happened, happened, report
from pgbaton.health.look import examine, look, of_all
from pgbaton.health.record import record
from pgbaton.health.rules import LATELY, diagnose
from pgbaton.health.steady import Steady
from pgbaton.health.words import WORDS

__all__ = [
    "LATELY",
    "WORDS",
    "Check",
    "Finding",
    "Happened",
    "Health",
    "Level",
    "Share",
    "Steady",
    "adoption_checks",
    "checks",
    "diagnose",
    "examine",
    "happened",
    "look",
    "of_all",
    "record",
    "report",
    "worst_first",
]
