"""Jobs that wait though nothing fails: for a rate, for a place, for a person, for a standby, for a certificate. See
test_night_stages."""

from __future__ import annotations

import asyncio
import os
import resource
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import asyncpg
from night import night
from test_night_stages import add

from line import JOBS, until
from pgbaton.embedded import EmbeddedPostgres
from pgbaton.install.migrate import migrate
from pgbaton.operate.adjust import limit_stage
from pgbaton.table import table_of
from postgres import Cluster
from stage_server import Call, Say, StageServer, work

THROUGH = "SELECT count(*) = $1 FROM jobs WHERE (current_step, status) = ('glue', 'done')"


async def through(at: Any, count: int) -> None:
    await until(lambda: at.craft.db.fetchval(THROUGH, count), f"{count} jobs are through", 20)


async def test_a_rate_that_somebody_set_and_forgot_is_the_cause(
    cluster: Any, template: str, browser: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("pgbaton.health.rules.LONG_WAIT", 2.0)
    async with night(cluster, template, browser) as at, at.craft.worker():
        await at.well()
        async with at.craft.db.acquire() as conn:
            table = await table_of(conn, "craft")
            await limit_stage(conn, table, "glue", {"rate": 0.05}, reset=False, who="kim")
            await add(at, 4)
            said = await at.says("The rate of glue, 3/min, keeps", 10)
            assert "jobs waiting" in said
            await limit_stage(conn, table, "glue", {}, reset=True, who="lee")
        await through(at, 4)
        await at.well()


async def test_a_stage_that_takes_all_places_of_the_workers_is_named_where_another_waits(
    cluster: Any, template: str, browser: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("pgbaton.health.rules.LONG_WAIT", 2.0)
    goes_on = asyncio.Event()

    async def hangs(server: StageServer, call: Call) -> Say:
        if call.path == "/cut":
            await server.move(call, "running")
            await goes_on.wait()
        return await work(server, call)

    async with night(cluster, template, browser, hangs) as at, at.craft.worker(capacity=4):
        await at.well()
        await add(at, 4)
        await until(lambda: at.craft.db.fetchval("SELECT count(*) = 4 FROM pgbaton.calls"), "all places are taken")
        await at.craft.add("cut", "done")
        said = await at.says("All 4 places of the workers are taken, 4 by cut; 1 waits for glue", 10)
        assert "--concurrency" in said
        goes_on.set()
        await through(at, 5)
        await at.well()


async def test_jobs_that_nobody_decides_about_are_told_of(cluster: Any, template: str, browser: Any) -> None:
    waits = {"at": ["review", "waiting"], "choices": {"approve": ["review", "approved"]}}
    graph = {"glue_after": "review", "glue_status": "approved", "wait": [waits]}
    route = [{"after": "cut", "to": ["review", "waiting"]}]
    async with night(cluster, template, browser, **graph, route=route) as at, at.craft.worker():
        at.oracle.clear()  # these rows stand still on purpose
        await add(at, 2)
        await until(
            lambda: at.craft.db.fetchval("SELECT count(*) = 2 FROM pgbaton.calls WHERE stage = 'review'"), "they wait"
        )
        await at.well()
        await at.craft.db.execute("UPDATE pgbaton.calls SET started_at = started_at - interval '3 h'")
        said = await at.says("2 jobs wait for a person's decision at review, the oldest for 3 h", 5)
        assert "pgbaton decide JOB CHOICE" in said
        await at.craft.db.execute("UPDATE jobs SET status = 'approved' WHERE current_step = 'review'")
        await through(at, 2)
        at.oracle.set()
        await at.well()


async def test_a_worker_without_a_file_descriptor_gives_its_calls_back_says_so_and_recovers(
    cluster: Any, template: str, browser: Any, tmp_path: Path
) -> None:
    """No stage is to blame, so no attempt is lost and no circuit opens."""
    async with night(cluster, template, browser) as at, at.worker_process(tmp_path) as worker:
        await at.well()
        most = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{worker.pid}/fd")), most[1]))
        await add(at, 5)
        said = await at.says("has no file descriptor left, so it calls no stage", 9)
        assert f":{worker.pid} " in said
        assert "does not answer" not in await at.page.inner_text("#findings")
        resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, most)
        await through(at, 5)
        await at.well(30)
        assert await at.craft.db.fetchval("SELECT max(failures) FROM pgbaton.history") == 0
        assert await at.craft.db.fetchval("SELECT max(strikes) FROM pgbaton.stages") == 0


async def test_a_standby_that_commits_wait_for_is_the_cause(browser: Any, tmp_path: Path) -> None:
    """Everything can be read, and nothing is ever committed: workers look dead, and are not."""
    settings = {"wal_level": "replica", "max_wal_senders": "2", "synchronous_commit": "on"}

    async def prepare(dsn: str) -> None:
        conn = await asyncpg.connect(dsn)
        await conn.execute(JOBS)
        await migrate(conn)
        await conn.close()

    with tempfile.TemporaryDirectory(prefix="pgbaton-tests-") as folder:
        Path(folder).chmod(0o711)  # as root, the server runs as another user
        with EmbeddedPostgres(Path(folder, "alone"), settings=settings, durable=False) as server:
            cluster = Cluster(server.dsn())
            async with cluster.new_template(prepare) as template, night(cluster, template, browser) as at:
                admin = await asyncpg.connect(at.craft.dsn)
                async with at.craft.worker(lease=2):
                    await at.well()
                    await admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'replica_b'")
                    await admin.execute("SELECT pg_reload_conf()")
                    adding = asyncio.create_task(add(at, 2))
                    said = await at.says("for a standby (replica_b)", 15)
                    assert "synchronous_standby_names" in said
                    assert "No worker" not in await at.page.inner_text("#findings")
                    await admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
                    await admin.execute("SELECT pg_reload_conf()")
                    await adding
                    await through(at, 2)
                    await at.well(30)
                await admin.close()


async def test_a_certificate_that_has_expired_is_in_the_sentence(
    cluster: Any, template: str, browser: Any, tmp_path: Path
) -> None:
    files = expired_certificate(tmp_path)
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    async with (
        night(cluster, template, browser) as at,
        await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as proxy,
    ):
        plain = at.craft.pipeline
        address = f"https://localhost:{proxy.sockets[0].getsockname()[1]}"
        at.craft.pipeline = plain.model_copy(update={"base_url": address})
        async with at.craft.worker():
            await add(at, 3)
            said = await at.says("cut does not answer", 10)
            assert "certificate expired" in said
        at.craft.pipeline = plain
        async with at.craft.worker():
            await through(at, 3)
            await at.well(30)


def expired_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of localhost that ended yesterday, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now - timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files
