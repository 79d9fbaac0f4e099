"""alembic upgrade head"""

import os

from alembic import context
from sqlalchemy import create_engine

url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
with create_engine(url).connect() as connection:
    # Autogenerate looks at your own schema alone, so it leaves the schema pgbaton alone; triggers it never looks at.
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
