"""The common part of the door's routes: the database, the studio, the rights of clients, and the form of answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

from fastapi import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from adstudio.door import ledger
from adstudio.door.ad import Ad
from adstudio.door.tenants import TENANT_COOKIE, Tenants, is_tenant
from adstudio.door.texts import LANGUAGES, preferred
from adstudio.door.upload import Uploads
from adstudio.studio import Studio
from adstudio.vision.errors import Language
from pgbaton.fastapi import Stages
from pgbaton.web.access import LoginThrottle

T = TypeVar("T")

LANGUAGE_COOKIE = "ads_language"


@dataclass(frozen=True)
class Desk:
    """``title`` is the application's, ``language`` that of answers to clients who name none."""

    stages: Stages
    studio: Studio
    tenants: Tenants
    title: str
    language: Language
    uploads: Uploads = field(default_factory=Uploads)
    brake: LoginThrottle = field(default_factory=LoginThrottle)

    async def query(self, work: Callable[..., Awaitable[T]], *args: object) -> T:
        """Run one of the ledger's functions on a connection of the stages' pool."""
        async with self.stages.pool.acquire() as db:
            return await work(db, *args)

    async def ad(self, request: Request, job: UUID) -> Ad:
        """The ad that a request is about. Raises 404 also where it is another tenant's, and 401."""
        found = await self.query(ledger.look, job, self.tenants.asking(request), base_of(request))
        if found is None:
            raise HTTPException(404, "fault.404")
        return found

    def remember(self, tenant: str, request: Request, answer: Response) -> Response:
        """The answer; at an open door the browser keeps the tenant that it asks for, so that pages show that one's
        ads."""
        if self.tenants.open:
            kept = tenant.encode().hex()
            secure = request.url.scheme == "https"
            answer.set_cookie(
                TENANT_COOKIE, kept, path=base_of(request), secure=secure, httponly=True, samesite="strict"
            )
        return answer

    def language_for(self, request: Request) -> Language:
        """As chosen on the page, or else as the browser prefers."""
        chosen = request.query_params.get("language") or request.cookies.get(LANGUAGE_COOKIE)
        for language in LANGUAGES:
            if language == chosen:
                return language
        return preferred(request.headers.get("accept-language", ""), self.language)


def base_of(request: Request) -> str:
    """The path of the door, with the prefix that a proxy serves it under."""
    return str(request.scope.get("root_path", "")) + "/ads"


def wants_page(request: Request) -> bool:
    """Whether a browser asks, not a program."""
    accepted = request.headers.get("accept", "")
    return "text/html" in accepted and not accepted.startswith("application/json")


def remembered(request: Request) -> str | None:
    """The tenant of this browser's last order, at an open door."""
    try:
        tenant = bytes.fromhex(request.cookies.get(TENANT_COOKIE, "")).decode()
    except ValueError:
        return None
    return tenant if is_tenant(tenant) else None
