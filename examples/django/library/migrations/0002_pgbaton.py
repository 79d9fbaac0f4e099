"""pgbaton's schema, trigger and routes: so the test database has them, too."""

from pathlib import Path

from django.db import migrations

from pgbaton import load_pipeline, pipeline_sql

PIPELINE = Path(__file__).parents[3] / "pgbaton.toml"


def attach(apps, schema_editor):
    # Not RunSQL, which cuts a script at its semicolons.
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(pipeline_sql(load_pipeline(PIPELINE)))


class Migration(migrations.Migration):
    atomic = False  # the script has transactions of its own
    dependencies = [("library", "0001_initial")]
    operations = [migrations.RunPython(attach, migrations.RunPython.noop)]
