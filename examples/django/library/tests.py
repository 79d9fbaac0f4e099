"""python manage.py test: Django's test database comes from the migrations, and so has the trigger."""

from django.db import connection
from django.test import TestCase

from library.models import Document


class Pipeline(TestCase):
    def test_a_document_that_is_saved_is_due(self):
        document = Document.objects.create(body="The row moves by itself.")
        with connection.cursor() as cursor:
            cursor.execute("SELECT stage, state FROM pgbaton.dispatches WHERE job_key = %s", [str(document.pk)])
            self.assertEqual(cursor.fetchall(), [("summarise", "available")])

    def test_the_stage_moves_it(self):
        document = Document.objects.create(body="The row moves by itself.")
        call = {"job_id": str(document.pk), "tenant_id": None}
        answers = [self.client.post("/summarise", call, "application/json").status_code for _ in range(2)]
        document.refresh_from_db()
        self.assertEqual(answers, [200, 409])
        self.assertEqual((document.step, document.status), ("summarise", "done"))
