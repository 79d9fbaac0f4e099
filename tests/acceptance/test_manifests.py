"""deploy/: what Kustomize makes of it fits the schemas of its kinds, and says the same as the rest of the project. KEDA's question
is put to a real Postgres, with the rights that the manifests give."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import yaml

from pgbaton import load_pipeline
from pgbaton.install.attach import attach
from pgbaton.install.migrate import migrate
from support.kinds import misfits

ROOT = Path(__file__).parents[2]
OVERLAY = ROOT / "deploy/overlays/adstudio"
FILES = ("pgbaton.toml", "ad_variants.toml")
"""The pipelines, in the order in which they are attached: a parent's before its children's."""
KUBERNETES = "1.34"
DRAINED_IN = 10
"""Seconds beside the drain's own that a worker needs to give its calls back."""

Object = dict[str, Any]

pytestmark = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl, which has Kustomize in it, is not there"
)


@cache
def rendered() -> tuple[Object, ...]:
    text = subprocess.run(["kubectl", "kustomize", OVERLAY], check=True, capture_output=True, text=True).stdout
    return tuple(yaml.safe_load_all(text))


def objects(*kinds: str) -> list[Object]:
    return [o for o in rendered() if o["kind"] in kinds]


def named(kind: str, name: str) -> Object:
    (found,) = (o for o in objects(kind) if o["metadata"]["name"] == name)
    return found


def pods() -> Iterator[tuple[str, Object]]:
    for o in objects("Deployment", "Job"):
        yield o["metadata"]["name"], o["spec"]["template"]


def containers(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def groups() -> dict[str, Object]:
    return {o["metadata"]["name"]: o for o in objects("Deployment") if "worker" in o["metadata"]["name"]}


def environment(container: Object) -> dict[str, str]:
    return {e["name"]: e.get("value", "") for e in container.get("env", [])}


# -- the schemas ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "o", rendered() if shutil.which("kubectl") else (), ids=lambda o: f"{o['kind']}-{o['metadata']['name']}"
)
def test_every_object_fits_the_schema_of_its_kind(o: Object) -> None:
    assert misfits(o, KUBERNETES) == []


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [
        ("Deployment", lambda o: o["spec"].update(replica=2)),
        ("Deployment", lambda o: o["spec"]["template"]["spec"]["containers"][0].pop("name")),
        ("ScaledObject", lambda o: o["spec"].update(maxReplicas=2)),
        ("ScaledObject", lambda o: o["spec"].update(maxReplicaCount="2")),
        ("ScaledObject", lambda o: o["spec"]["triggers"][0].pop("type")),
        ("Cluster", lambda o: o["spec"].update(instances=None)),
        ("Cluster", lambda o: o["spec"]["postgresql"]["parameters"].update(max_connections=200)),
    ],
)
def test_an_object_that_is_spoilt_fits_no_more(kind: str, spoil: Any) -> None:
    o = yaml.safe_load(yaml.safe_dump(objects(kind)[0]))
    spoil(o)
    assert misfits(o, KUBERNETES)


# -- what a reviewer asks for -----------------------------------------------------------------------


def test_every_pod_runs_as_nobody_and_writes_nothing_where_it_should_not() -> None:
    for name, pod in pods():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers(pod):
            secure = container["securityContext"]
            assert (secure["readOnlyRootFilesystem"], secure["allowPrivilegeEscalation"]) == (True, False), name
            assert secure["capabilities"] == {"drop": ["ALL"]}, name
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert "memory" in container["resources"]["limits"], name
            assert not container["image"].endswith((":latest", "pgbaton")), "an image that is not pinned"


def test_servers_have_probes_and_replicas_have_a_disruption_budget() -> None:
    budgets = [b["spec"]["selector"]["matchLabels"] for b in objects("PodDisruptionBudget")]
    for o in objects("Deployment"):
        (container,) = o["spec"]["template"]["spec"]["containers"]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
        labels = o["spec"]["template"]["metadata"]["labels"]
        if o["spec"].get("replicas") != 1:
            assert any(budget.items() <= labels.items() for budget in budgets), o["metadata"]["name"]


def test_secrets_come_by_reference_and_the_readme_says_how_to_make_them() -> None:
    text = (ROOT / "deploy/README.md").read_text(encoding="utf-8")
    for _, pod in pods():
        for e in (e for c in containers(pod) for e in c.get("env", [])):
            secret = e.get("valueFrom", {}).get("secretKeyRef", {}).get("name")
            assert secret or not any(word in e["name"] for word in ("URL", "TOKEN", "PASSWORD", "SECRET", "KEY"))
            assert secret in (None, "pgbaton-db-app") or f"create secret generic {secret}" in text
    assert objects("Secret") == []


def test_a_worker_has_the_time_that_its_drain_takes() -> None:
    for deployment in groups().values():
        spec = deployment["spec"]["template"]["spec"]
        drain = int(environment(spec["containers"][0])["PGBATON_DRAIN_TIMEOUT"])
        assert spec["terminationGracePeriodSeconds"] >= drain + DRAINED_IN


def test_every_network_policy_chooses_pods_that_are_there() -> None:
    labels = [pod["metadata"]["labels"] for _, pod in pods()]
    for policy in objects("NetworkPolicy"):
        chosen = policy["spec"]["podSelector"]["matchLabels"]
        cluster = chosen.get("cnpg.io/cluster")
        if cluster:
            assert named("Cluster", cluster)
        else:
            assert any(chosen.items() <= have.items() for have in labels), policy["metadata"]["name"]
    assert all(have["app.kubernetes.io/part-of"] == "pgbaton" for have in labels), "nothing is left out of the denial"


# -- the same as elsewhere --------------------------------------------------------------------------


def test_the_groups_have_every_stage_once_and_keda_asks_for_just_those() -> None:
    files = {f"/etc/pgbaton/{file}": load_pipeline(OVERLAY / file) for file in FILES}
    taken = []
    for name, deployment in groups().items():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        (stages,) = (word.removeprefix("--stages=") for word in container["command"] if word.startswith("--stages="))
        pipeline = files[container["command"][container["command"].index("--config") + 1]]
        capacity = environment(container)["PGBATON_CAPACITY"]
        (scaled,) = (s for s in objects("ScaledObject") if s["spec"]["scaleTargetRef"]["name"] == name)
        listed = ",".join(f"'{stage}'" for stage in stages.split(","))
        query = " ".join(scaled["spec"]["triggers"][0]["metadata"]["query"].split())
        assert query == f"SELECT pgbaton.workers_wanted('{pipeline.name}', ARRAY[{listed}], {capacity}, 60)"
        authentication = named("TriggerAuthentication", scaled["spec"]["triggers"][0]["authenticationRef"]["name"])
        assert authentication["spec"]["secretTargetRef"][0]["name"] == "pgbaton-metrics"
        taken += [(pipeline.name, stage) for stage in stages.split(",")]
    assert sorted(taken) == sorted((p.name, stage.step) for p in files.values() for stage in p.stages)


def test_the_job_migrates_then_attaches_every_pipeline_each_in_its_turn() -> None:
    (job,) = objects("Job")
    spec = job["spec"]["template"]["spec"]
    assert len(spec["containers"]) == 1, "containers run at once, those of initContainers one after the other"
    commands = [container["command"] for container in containers(job["spec"]["template"])]
    attached = [["pgbaton", "attach", "--config", f"/etc/pgbaton/{file}"] for file in FILES]
    assert commands == [["pgbaton", "migrate"], *attached]
    assert set(FILES) == set(named("ConfigMap", "pgbaton")["data"])


def test_the_copies_that_kustomize_needs_are_the_originals() -> None:
    def lines(file: Path) -> list[str]:
        kept = file.read_text(encoding="utf-8").splitlines()
        return [line for line in kept if not line.startswith(("base_url", "# img_gen"))]

    for file in FILES:
        assert lines(OVERLAY / file) == lines(ROOT / "apps/adstudio/src/adstudio" / file)
    tables = (ROOT / "db/init/01_schema.sql").read_text(encoding="utf-8")
    assert (OVERLAY / "tables.sql").read_text(encoding="utf-8") == f"SET ROLE app;\n{tables}RESET ROLE;\n"


async def test_the_cluster_gives_keda_the_right_to_ask_and_no_more(empty_database: str) -> None:
    """The scripts that CloudNativePG runs as a superuser in a new database, then those that the job runs as the owner."""
    bootstrap = named("Cluster", "pgbaton-db")["spec"]["bootstrap"]["initdb"]
    refs = bootstrap["postInitApplicationSQLRefs"]["configMapRefs"]
    scripts = [named("ConfigMap", ref["name"])["data"][ref["key"]] for ref in refs]
    database, owner, asks = urlsplit(empty_database).path[1:], bootstrap["owner"], "pgbaton_metrics"
    admin = await asyncpg.connect(empty_database)
    try:
        await admin.execute(
            f'CREATE ROLE {owner}; GRANT CREATE ON SCHEMA public TO {owner}; GRANT CREATE ON DATABASE "{database}" TO {owner}'
        )
        for statement in [*bootstrap["postInitApplicationSQL"], *scripts]:
            await admin.execute(statement)
        await admin.execute(f"SET ROLE {owner}")
        await migrate(admin)
        for file in FILES:
            await attach(admin, load_pipeline(OVERLAY / file))
        await admin.execute("INSERT INTO jobs (tenant_id, current_step, status) VALUES ('acme', 'img_gen', 'done')")
        await admin.execute(f"RESET ROLE; SET ROLE {asks}")
        wanted = [
            await admin.fetchval(s["spec"]["triggers"][0]["metadata"]["query"])
            for s in sorted(objects("ScaledObject"), key=lambda s: str(s["metadata"]["name"]))
        ]
        assert wanted == [0, 0, 1], "layout, variants, vision"
        for statement in ("TABLE jobs", "DELETE FROM pgbaton.due", "UPDATE pgbaton.stages SET paused_at = now()"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await admin.execute(statement)
    finally:
        await admin.execute(f"RESET ROLE; DROP OWNED BY {asks}, {owner} CASCADE; DROP ROLE {asks}, {owner}")
        await admin.close()
