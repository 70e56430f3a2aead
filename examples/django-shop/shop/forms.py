from django import forms

from .models import Product


class OrderForm(forms.Form):
    product = forms.ModelChoiceField(
        Product.objects.order_by("name"), to_field_name="name", empty_label=None
    )
    quantity = forms.IntegerField(min_value=1, max_value=100, initial=1)
