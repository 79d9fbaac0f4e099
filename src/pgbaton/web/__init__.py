"""The page: see what the pipeline does, and steer it, from a browser.

    app.include_router(dashboard(settings, token=…), prefix="/admin")

Server-rendered, live by server-sent events (polling where nothing can be heard), with its own small pool and one
listening connection for all viewers. It never shows anything to anybody who has not said who they are.
"""

from importlib.util import find_spec

if find_spec("fastapi") is None or find_spec("jinja2") is None:
    raise ModuleNotFoundError('fastapi or jinja2 is not installed: pip install "pgbaton[web]"', name="jinja2")

from pgbaton.web.access import Identity, Role
from pgbaton.web.context import View
from pgbaton.web.router import Access, Dashboard, Dashboards, JobExtra, dashboard, dashboards

__all__ = ["Access", "Dashboard", "Dashboards", "Identity", "JobExtra", "Role", "View", "dashboard", "dashboards"]
