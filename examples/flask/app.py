"""A stage in Flask with plain psycopg.

flask --app app run --port 8000
"""

import os

import psycopg
from flask import Flask, jsonify, request

app = Flask(__name__)

BEGIN = """
UPDATE documents SET step = 'summarise', status = 'running'
 WHERE id = %s AND step = 'upload' AND status = 'done' RETURNING body
"""
END = """
UPDATE documents SET status = 'done', summary = %s WHERE id = %s AND step = 'summarise' AND status = 'running'
"""


def database() -> psycopg.Connection:
    return psycopg.connect(os.environ["DATABASE_URL"])  # as a context manager: one transaction


@app.post("/summarise")
def summarise():
    job = int(request.get_json()["job_id"])
    with database() as db:
        begun = db.execute(BEGIN, (job,)).fetchone()
    if begun is None:
        return jsonify(title="Job not ready"), 409
    summary = begun[0][:20]  # the work, with no transaction open; an exception is a 500, and the job is called again
    with database() as db:
        if db.execute(END, (summary, job)).rowcount != 1:
            db.rollback()
            return jsonify(title="Job moved on"), 409
    return jsonify(summary=summary)
