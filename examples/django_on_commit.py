"""Django: events are published when the transaction that they belong to has committed, and not before.

    python examples/django_on_commit.py

`transaction.on_commit` is all it takes; it knows savepoints. A `SyncEventLog` is used from any of Django's threads.
With several worker processes say `SyncEventLog(url, shared=True)`, and open it in each, in an `AppConfig.ready` or when
it is first used. Between the commit and the publish lies a moment in which the process can die: then the change is
there, and the event is not.
"""

from __future__ import annotations

from functools import partial

import django
from django.conf import settings
from django.db import connection, models, transaction

from tailrace import SyncEventLog

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()


class Order(models.Model):
    """An order."""

    total = models.IntegerField()

    class Meta:
        app_label = "shop"


def place(log: SyncEventLog, total: int) -> None:
    """Store an order, and publish it when that is committed."""
    order = Order.objects.create(total=total)
    transaction.on_commit(partial(log.publish, f"orders/{order.pk}", {"total": total}, type="order.placed"))


class NotMeant(Exception):
    """This order is taken back."""


def main() -> None:
    """Place three orders, of which one is not meant."""
    with connection.schema_editor() as editor:
        editor.create_model(Order)
    with SyncEventLog("memory://") as log:
        with transaction.atomic():
            place(log, 99)
        try:
            with transaction.atomic():
                place(log, 10)
                raise NotMeant
        except NotMeant:
            pass
        with transaction.atomic():
            place(log, 5)
        for one in log.read("orders/*").events:
            print(one.topic, one.type, one.json())


if __name__ == "__main__":
    main()
