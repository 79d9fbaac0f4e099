"""An OpenAI-compatible vision endpoint on a real port, that answers well, badly or never, as it is told."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

WELL = {
    "PhotoAnswer": {"fits_copy": True, "publishable": True, "reasons": ["A rocket before the dawn."]},
    "AdAnswer": {"publishable": True, "legible": True, "covers_subject": False, "reasons": ["The sky is calm."]},
    "CopyAnswer": dict.fromkeys(("headline", "sub", "offer", "note", "cta", "brand", "legal"), ""),  # no reading
}
REFUSING = {
    "PhotoAnswer": {"fits_copy": False, "publishable": True, "reasons": ["A rocket is no coffee."]},
    "AdAnswer": {"publishable": True, "legible": True, "covers_subject": False, "reasons": ["The sky is calm."]},
    "CopyAnswer": dict.fromkeys(("headline", "sub", "offer", "note", "cta", "brand", "legal"), ""),  # no reading
}


class VisionServer:
    """Serves while the block lasts; ``asked`` is set once it was asked anything, ``questions`` holds the bodies."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.questions: list[dict[str, Any]] = []
        self._how = "well"
        self._over = threading.Event()
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["content-length"])))
                model.questions.append(question)
                model.asked.set()
                status, body = model._answer(question["response_format"]["json_schema"]["name"])
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                with suppress(BrokenPipeError, ConnectionResetError):  # the caller had enough
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def behave(self, how: str) -> None:
        """well · refusing · second format refused · nonsense · wrong schema · busy · never"""
        self._how = how

    def _answer(self, schema: str) -> tuple[int, bytes]:
        if self._how == "never":
            self._over.wait()
        if self._how == "busy":
            return 500, b"out of memory"
        if self._how == "second format refused" and schema == "AdAnswer":
            looked = sum(q["response_format"]["json_schema"]["name"] == "AdAnswer" for q in self.questions)
            fine = looked != 2
            said: object = WELL[schema] | {"publishable": fine, "reasons": [f"Picture {looked}."]}
            message = {"role": "assistant", "content": json.dumps(said)}
            return 200, json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
        said = (REFUSING if self._how == "refusing" else WELL)[schema]
        if self._how == "wrong schema":
            said = {"publishable": "yes, I think", "score": 7}
        content = "As a language model I like rockets." if self._how == "nonsense" else json.dumps(said)
        message = {"role": "assistant", "content": content}
        return 200, json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
