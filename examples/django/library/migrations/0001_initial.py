from django.db import migrations, models


class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel(
            name="Document",
            fields=[
                ("id", models.BigAutoField(primary_key=True, auto_created=True, serialize=False, verbose_name="ID")),
                ("body", models.TextField()),
                ("summary", models.TextField(null=True)),
                ("step", models.CharField(max_length=20, default="upload")),
                (
                    "status",
                    models.CharField(
                        max_length=20,
                        default="done",
                        choices=[
                            ("running", "Running"),
                            ("done", "Done"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                    ),
                ),
            ],
            options={"db_table": "documents"},
        )
    ]
