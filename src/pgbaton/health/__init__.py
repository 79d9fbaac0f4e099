"""What is wrong with a pipeline: one diagnosis, with one vocabulary, for ``pgbaton doctor`` and for the page.

:func:`diagnose` decides by one look at the pipeline, purely; :func:`examine` asks the database what else there is. The
code of a finding that also explains where a job is, is the code of that explanation.
"""

from pgbaton.health.adoption import adoption_checks
from pgbaton.health.checks import checks, connection_checks, examine, invariant_checks
from pgbaton.health.finding import REMEDIES, SENTENCES, Finding, Level, worst_first
from pgbaton.health.rules import LATELY, diagnose

__all__ = [
    "LATELY",
    "REMEDIES",
    "SENTENCES",
    "Finding",
    "Level",
    "adoption_checks",
    "checks",
    "connection_checks",
    "diagnose",
    "examine",
    "invariant_checks",
    "worst_first",
]
