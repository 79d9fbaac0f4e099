"""``/ads``: the paths of the door, and the function behind each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from adstudio.door import branding, coming, deciding, described, entering, leaving, pages, statics
from adstudio.door.answers import fault, with_headers
from adstudio.door.desk import Desk, wants_page
from adstudio.door.upload import TooLarge
from adstudio.vision.errors import InputError

Work = Callable[..., Awaitable[Response]]


class Door(APIRouter):
    """The way in and out. Include it once: ``app.include_router(Door(desk))``."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tags=["ads"])
        self._desk = desk
        add = self._add
        add("", coming.submit, "POST", "Submit a photo and a copy (multipart); answers 202 with the job's id.")
        add("", pages.overview, "GET", "A tenant's newest ads; a form, for browsers.")
        add("/copy", coming.read, "POST", "How a copy in one string is read by roles; keeps nothing.")
        add("/static/{version}/{name}", statics.static, "GET", None)
        add("/sign-in", entering.form, "GET", None)
        add("/sign-in", entering.sign_in, "POST", None)
        add("/sign-out", entering.sign_out, "POST", None)
        add("/language", entering.language, "GET", None)
        add("/brand", branding.kit, "GET", "A tenant's brand kit. A form, for browsers.")
        add("/brand", branding.save, "POST", "Replace it: name, colour, accent, logo (PNG), font (multipart).")
        add("/{job}", pages.one, "GET", "An ad: where it is, its verdict, its pictures. A page, for browsers.")
        add("/{job}/photo", leaving.photo, "GET", "The photo that it is made of.")
        add("/{job}/pictures/{format}/{place}", leaving.picture, "GET", "One picture; `?save=1` to keep it as a file.")
        add("/{job}/download", leaving.download, "GET", "A ZIP with the chosen picture of each format.")
        add("/{job}/decision", deciding.decide, "POST", "Approve, or reject with a reason (form or JSON).")

    def _add(self, path: str, work: Work, method: str, told: str | None) -> None:
        async def endpoint(request: Request) -> Response:
            return with_headers(await self._answer(request, work))

        self.add_api_route(
            f"/ads{path}",
            endpoint,
            methods=[method],
            response_model=None,
            status_code=202 if (path, method) == ("", "POST") else 200,
            summary=told,
            responses=described.responses(path, method),
            openapi_extra=described.request(path, method),
            include_in_schema=told is not None,
            name=f"ads:{method} {path}",
        )

    async def _answer(self, request: Request, work: Work) -> Response:
        """Faults are pages for browsers, and problems for programs."""
        desk = self._desk
        try:
            return await work(desk, request)
        except InputError as error:
            return fault(desk, request, 422, error.told(desk.language_for(request)))
        except TooLarge:
            answer = fault(desk, request, 413, "fault.413")
            answer.headers["connection"] = "close"  # the rest is not read
            return answer
        except HTTPException as error:
            if error.status_code == 401 and wants_page(request) and request.method == "GET":
                return entering.to_sign_in(request)
            return fault(desk, request, error.status_code, str(error.detail), error.headers)
