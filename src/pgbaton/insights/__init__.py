"""The read side: the questions of people to a database that workers share.

No function here reads a whole table, unless its docstring says so. Counts go to :data:`CAP` and no further (``10,001``
means "more than 10,000": show them with :func:`shown_count`), samples are bounded, and a statement that may still be
slow has a timeout and says so (``too_wide``) instead of keeping a person waiting. Times are the database's clock;
durations are in seconds.
"""

from pgbaton.insights.changes import Change, changes
from pgbaton.insights.counts import (
    Circuit,
    Minute,
    Overview,
    PausedTenant,
    Quantiles,
    StageOverview,
    overview,
)
from pgbaton.insights.dead import DeadGroup, DeadGroups, dead_groups
from pgbaton.insights.detail import AttemptSeen, DispatchSeen, JobDetail, RowSeen, Segment, explain, job
from pgbaton.insights.ledger import AuditEntry, AuditFilter, AuditPage, act, act_jobs, audit
from pgbaton.insights.listing import CAP, JobFilter, JobPage, ListedJob, Preview, list_jobs, shown_count
from pgbaton.insights.reasons import Explanation
from pgbaton.insights.status import (
    StageCounts,
    Status,
    WorkerSeen,
    status,
)
from pgbaton.insights.tenant import TenantAtStage, tenant_standing
from pgbaton.insights.trends import SPANS, Bin, Mark, Trend, Trends, trends
from pgbaton.table import table_of
from pgbaton.times import Moment

__all__ = [
    "CAP",
    "SPANS",
    "AttemptSeen",
    "AuditEntry",
    "AuditFilter",
    "AuditPage",
    "Bin",
    "Change",
    "Circuit",
    "DeadGroup",
    "DeadGroups",
    "DispatchSeen",
    "Explanation",
    "JobDetail",
    "JobFilter",
    "JobPage",
    "ListedJob",
    "Mark",
    "Minute",
    "Moment",
    "Overview",
    "PausedTenant",
    "Preview",
    "Quantiles",
    "RowSeen",
    "Segment",
    "StageCounts",
    "StageOverview",
    "Status",
    "TenantAtStage",
    "Trend",
    "Trends",
    "WorkerSeen",
    "act",
    "act_jobs",
    "audit",
    "changes",
    "dead_groups",
    "explain",
    "job",
    "list_jobs",
    "overview",
    "shown_count",
    "status",
    "table_of",
    "tenant_standing",
    "trends",
]
