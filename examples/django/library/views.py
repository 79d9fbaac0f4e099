import json

from django.db import transaction
from django.http import JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from library.models import Document


def at(job, step, status):
    """The compare of the compare-and-set: only a row that is there."""
    return Document.objects.filter(pk=job, step=step, status=status)


@csrf_exempt
@require_POST
def summarise(request):
    job = int(json.loads(request.body)["job_id"])
    if not at(job, "upload", "done").update(step="summarise", status="running"):
        return JsonResponse({"title": "Job not ready"}, status=409)
    summary = Document.objects.get(pk=job).body[:20]  # the work, with no transaction open
    with transaction.atomic():  # together with the stage's other writes
        if not at(job, "summarise", "running").update(summary=summary, status="done"):
            transaction.set_rollback(True)
            return JsonResponse({"title": "Job moved on"}, status=409)
    return JsonResponse({"summary": summary})
