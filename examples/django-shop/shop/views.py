import logging

from anybridge_django import BridgeError, call
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from .forms import OrderForm
from .models import Order
from .ordering import SoldOut, place

log = logging.getLogger(__name__)


@require_http_methods(["GET", "HEAD", "POST"])
def orders(request: HttpRequest) -> HttpResponse:
    """The one page: the orders, and a form for a new one."""
    form = OrderForm(request.POST if request.method == "POST" else None)
    status = 200
    if form.is_valid():
        try:
            place(**form.cleaned_data)
            return redirect("orders")
        except SoldOut:
            form.add_error("quantity", "There are not so many left.")
        except BridgeError as error:
            log.warning("no price: %s", error)
            form.add_error(None, "The warehouse cannot be asked now. Please try again later.")
            status = 503
    context = {
        "form": form,
        "orders": Order.objects.select_related("product").order_by("-pk")[:20],
        "weather": weather(),
    }
    return render(request, "shop/orders.html", context, status=status)


def weather() -> str:
    """What the drivers can expect; empty if nobody knows: the page can do without."""
    try:
        report = call("com.weather.report", ["paris"], timeout=2)
    except BridgeError as error:
        log.warning("no weather: %s", error)
        return ""
    return f"{report['celsius']} °C in Paris"
