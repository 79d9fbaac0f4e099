"""The page: see and steer the pipeline from a browser.

    app.include_router(dashboard(settings, token=…), prefix="/admin")

Server-rendered, live by server-sent events (polling where no notification can arrive), with its own small pool and one
listening connection for all viewers. It shows nothing to a reader without a login or an identity from the host.
"""

from importlib.util import find_spec

if find_spec("fastapi") is None or find_spec("jinja2") is None:
    raise ModuleNotFoundError('fastapi or jinja2 is not installed: pip install "pgbaton[web]"', name="jinja2")

from pgbaton.web.access import Identity, Role
from pgbaton.web.context import View
from pgbaton.web.router import Access, Dashboard, Dashboards, JobExtra, dashboard, dashboards

__all__ = ["Access", "Dashboard", "Dashboards", "Identity", "JobExtra", "Role", "View", "dashboard", "dashboards"]
