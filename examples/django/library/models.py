from django.db import models


class Document(models.Model):
    class Status(models.TextChoices):
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    body = models.TextField()
    summary = models.TextField(null=True)
    step = models.CharField(max_length=20, default="upload")
    status = models.CharField(max_length=20, choices=Status, default=Status.DONE)

    class Meta:
        db_table = "documents"
