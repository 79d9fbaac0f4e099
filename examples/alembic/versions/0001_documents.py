"""The table."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade():
    op.create_table(
        "documents",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("summary", sa.Text),
        sa.Column("step", sa.String(20), nullable=False, server_default="upload"),
        sa.Column("status", sa.String(20), nullable=False, server_default="done"),
    )


def downgrade():
    op.drop_table("documents")
