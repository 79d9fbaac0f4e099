"""A stage whose work is a Celery task: 202 at once, `done` when the task is.

flask --app app run --port 8000
celery --app app:tasks worker --pool solo
"""

import os

import psycopg
from celery import Celery
from flask import Flask, jsonify, request

app = Flask(__name__)
tasks = Celery("documents", broker=os.environ.get("BROKER_URL", "redis://127.0.0.1:6379/0"))
# A task whose worker dies is delivered again; the compare-and-set at its end lets only one delivery count.
tasks.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, task_ignore_result=True)

BEGIN = """
UPDATE documents SET step = 'summarise', status = 'running'
 WHERE id = %s AND step = 'upload' AND status = 'done' RETURNING id
"""
LOOK = "SELECT body FROM documents WHERE id = %s AND step = 'summarise' AND status = 'running'"
END = """
UPDATE documents SET status = 'done', summary = %s WHERE id = %s AND step = 'summarise' AND status = 'running'
"""
FAIL = "UPDATE documents SET status = 'failed' WHERE id = %s AND step = 'summarise' AND status = 'running'"


def database() -> psycopg.Connection:
    return psycopg.connect(os.environ["DATABASE_URL"])


@app.post("/summarise")
def summarise():
    job = int(request.get_json()["job_id"])
    with database() as db:
        if db.execute(BEGIN, (job,)).fetchone() is None:
            return jsonify(title="Job not ready"), 409
    work.delay(job)  # after the commit, or the task could come first; a broker that is away is a 500: called again
    return jsonify(title="Accepted"), 202


@tasks.task
def work(job: int) -> None:
    with database() as db:
        row = db.execute(LOOK, (job,)).fetchone()
    if row is None:
        return  # delivered again after it was done, or the job was cancelled
    try:
        summary = row[0][:20]
    except Exception:
        with database() as db:
            db.execute(FAIL, (job,))  # the engine calls the stage again, as often as its attempts allow
        raise
    with database() as db:
        db.execute(END, (summary, job))
