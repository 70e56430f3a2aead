from django.urls import path
from django.urls import re_path as url  # what was django.conf.urls.url

from anybridge_django import dispatcher
from first_description.views import received, vue_normale

urlpatterns = [path("vue_normale/", vue_normale), path("received/", received)]

# The description had patterns('', …), which Django has no more. The slash that its pattern
# begins with stays: so the dispatcher is below some folder, /bridge/wamp/ for example.
urlpatterns += (url("/wamp/", dispatcher),)
