"""A third party as a stage: the call hands the job over and is answered 202; its webhook writes `done`.

PROVIDER=https://queue.example/submit ME=https://me.example WEBHOOK_KEY=… flask --app app run --port 8000
"""

import hashlib
import hmac
import json
import os
from urllib.request import Request, urlopen

import psycopg
from flask import Flask, jsonify, request

app = Flask(__name__)

BEGIN = """
UPDATE documents SET step = 'summarise', status = 'running'
 WHERE id = %s AND step = 'upload' AND status = 'done' RETURNING body
"""
END = """
UPDATE documents SET status = %s, summary = %s WHERE id = %s AND step = 'summarise' AND status = 'running'
"""


def database() -> psycopg.Connection:
    return psycopg.connect(os.environ["DATABASE_URL"])


def seal(job: int) -> str:
    """What only we can have put into the webhook's address: a stranger must not end jobs."""
    return hmac.new(os.environ["WEBHOOK_KEY"].encode(), str(job).encode(), hashlib.sha256).hexdigest()


@app.post("/summarise")
def summarise():
    job = int(request.get_json()["job_id"])
    with database() as db:
        begun = db.execute(BEGIN, (job,)).fetchone()
    if begun is None:
        return jsonify(title="Job not ready"), 409
    order = {"prompt": begun[0], "webhook": f"{os.environ['ME']}/finished/{job}/{seal(job)}"}
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": request.headers["Idempotency-Key"],  # the same for every attempt: paid for once
    }
    # After the commit, or the webhook could come first; a provider that refuses is a 500 here: called again.
    urlopen(Request(os.environ["PROVIDER"], json.dumps(order).encode(), headers), timeout=20).close()
    return jsonify(title="Accepted"), 202


@app.post("/finished/<int:job>/<sealed>")
def finished(job: int, sealed: str):
    if not hmac.compare_digest(sealed, seal(job)):
        return jsonify(title="Not yours"), 403
    answer = request.get_json()
    status = "done" if answer.get("ok") else "failed"
    with database() as db:
        db.execute(END, (status, str(answer.get("text", ""))[:20], job))  # no row: delivered twice, or moved on
    return jsonify(title="Thank you")
