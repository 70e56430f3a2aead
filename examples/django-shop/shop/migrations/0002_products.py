from django.db import migrations


def add_products(apps, schema_editor):
    product = apps.get_model("shop", "Product")
    for name, left in [("tea", 10), ("coffee", 5), ("cocoa", 1)]:
        product.objects.create(name=name, left=left)


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]

    operations = [migrations.RunPython(add_products, migrations.RunPython.noop)]
