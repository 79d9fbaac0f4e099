"""Tell a webhook when a finding appears and when it ends: one sender at a time, signed, tried again, bounded.

A sender that dies between the answer and its note tells once more: ``X-Pgbaton-Id`` is the same then.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from datetime import datetime, timedelta
from typing import Any, Literal

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from pgbaton.events import Event, EventLog, Language
from pgbaton.health import Finding
from pgbaton.shard import DATABASE

TIMEOUT = timedelta(seconds=10)
"""How long one call of the webhook may take."""
TAKEN = 30.0
"""Seconds for which a finding is one sender's: longer than its call may take."""
TRIES = 8
"""Calls after which a finding is given up; the pauses between them begin with 2 s and double, four minutes in all."""
MOST = 20
"""Findings that are told in one go."""

Format = Literal["json", "slack"]


class Webhook:
    """``url`` and ``secret`` come from operators alone, and are never logged."""

    def __init__(self, url: str, secret: str | None, form: Format, language: Language, log: EventLog) -> None:
        self._url = url
        self._secret = secret
        self._form = form
        self._language: Language = language
        self._log = log

    def __repr__(self) -> str:
        return f"<Webhook {self._form}>"

    async def tell(self, row: dict[str, Any]) -> float | None:
        """Tell of a finding (a row of ``watch/tell_take.sql``). Returns the seconds until it is to be tried again;
        None: it was told, or is given up."""
        event = "ended" if row["ended_at"] else "appeared"
        body = json.dumps(self._body(row, event), ensure_ascii=False).encode()
        of = f"{database}-" if (database := DATABASE.get()) else ""
        answered = await self._post(
            body, {"x-pgbaton-id": f"{of}{row['id']}-{event}", **self.signature(body, time.time())}
        )
        if answered is not None and 200 <= answered < 300:
            return None
        if row["tries"] >= TRIES:
            self._log.warning(Event.WEBHOOK_FAILED, finding=row["id"], http_status=answered, tries=row["tries"])
            return None
        return float(2.0 ** row["tries"])

    def signature(self, body: bytes, now: float) -> dict[str, str]:
        """The header that proves who sent it, and when: HMAC-SHA256 of ``{seconds}.{body}`` under the secret."""
        if self._secret is None:
            return {}
        at = str(int(now))
        signed = hmac.new(self._secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {"x-pgbaton-signature": f"t={at},v1={signed}"}

    def _body(self, row: dict[str, Any], event: str) -> dict[str, Any]:
        finding = Finding.from_json(json.loads(row["finding"]))
        if self._form == "slack":
            return {"text": _slack(finding, event, self._language)}
        at: datetime = row["ended_at"] or row["appeared_at"]
        return {
            "event": f"finding.{event}",
            "id": row["id"],
            "at": at.isoformat(),
            "appeared_at": row["appeared_at"].isoformat(),
            "finding": finding.as_json(self._language),
        } | ({"database": database} if (database := DATABASE.get()) else {})

    async def _post(self, body: bytes, headers: dict[str, str]) -> int | None:
        client = (
            ClientBuilder().follow_redirects(False).no_proxy().connect_timeout(TIMEOUT).user_agent("pgbaton").build()
        )
        try:
            async with client:
                request = (
                    client.post(self._url).timeout(TIMEOUT).headers({"content-type": "application/json", **headers})
                )
                async with request.body_bytes(body).build_streamed() as response:
                    return int(response.status)
        except (PyreqwestError, ValueError):
            return None


def _slack(finding: Finding, event: str, language: Language) -> str:
    """One message; text of others' making cannot mention a channel or make a link."""
    mark = (
        ":white_check_mark:"
        if event == "ended"
        else {"bad": ":red_circle:"}.get(finding.level, ":large_yellow_circle:")
    )
    over = {"ko": "해소: ", "en": "Over: "}[language] if event == "ended" else ""
    of = f"{database}, " if (database := DATABASE.get()) else ""
    parts = [f"{of}{finding.pipeline or ''}: {over}{finding.sentence(language)}"]
    if event == "appeared":
        parts += [finding.cause(language), finding.remedy(language), finding.link]
    said = "\n".join(parts).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{mark} {said[:2900]}"
