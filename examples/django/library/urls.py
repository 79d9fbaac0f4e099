from django.urls import path

from library.views import summarise

urlpatterns = [path("summarise", summarise)]
