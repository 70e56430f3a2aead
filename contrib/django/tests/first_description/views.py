from django.http import JsonResponse

from anybridge_django import call, publish, rpc, sub

events = []


@rpc()
def nom_fonction_1(val1, val2):
    return [val1, val2]


@sub()
def nom_topic_1(val1, val2):
    events.append([val1, val2])


def vue_normale(request):
    publish("sujet", ["arg1"])
    resultat = call("function", ["arg1"])
    return JsonResponse({"resultat": resultat})


def received(request):
    return JsonResponse(events, safe=False)
