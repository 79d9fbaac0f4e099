"""pgbaton's schema, trigger and routes. For a changed pgbaton.toml or a new pgbaton: one more revision like it."""

from pathlib import Path

from alembic import op

from pgbaton import load_pipeline, pipeline_sql

revision, down_revision = "0002", "0001"
PIPELINE = Path(__file__).parents[2] / "pgbaton.toml"


def upgrade():
    script = pipeline_sql(load_pipeline(PIPELINE))
    with op.get_context().autocommit_block():  # the script has transactions of its own
        op.get_bind().connection.driver_connection.execute(script)


def downgrade():
    """`pgbaton detach --config pgbaton.toml` removes the trigger and keeps the history."""
