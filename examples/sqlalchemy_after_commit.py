"""SQLAlchemy: events are published when the transaction that they belong to has committed, and not before.

    python examples/sqlalchemy_after_commit.py

`publish_after_commit(session, …)` remembers an event in the session. When the session commits, what it remembers is
published; a rollback forgets it, and so does the rollback of a savepoint. Between the commit and the publish lies a
moment in which the process can die: then the change is there, and the event is not. Where that matters, keep events in
a table of the same database, and publish from there.
"""

from __future__ import annotations

from sqlalchemy import create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, SessionTransaction, mapped_column

from tailrace import Draft, SyncEventLog, draft


class Base(DeclarativeBase):
    """The tables of this example."""


class Order(Base):
    """An order."""

    __tablename__ = "orders"
    number: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[int]


def publish_after_commit(session: Session, topic: str, data: object, type_: str) -> None:
    """Publish an event once what the session does is committed. Raises InvalidTopic or InvalidEvent, now."""
    waiting: list[tuple[SessionTransaction | None, Draft]] = session.info.setdefault("events", [])
    waiting.append((session.get_nested_transaction(), draft(topic, data, type=type_)))


def connect(log: SyncEventLog) -> None:
    """Have the events of all sessions published to `log`."""

    @event.listens_for(Session, "after_commit")
    def publish(session: Session) -> None:
        if not session.in_nested_transaction():
            waiting = session.info.pop("events", [])
            if waiting:
                log.publish_drafts([one for _, one in waiting])

    @event.listens_for(Session, "after_soft_rollback")
    def forget(session: Session, rolled_back: SessionTransaction) -> None:
        waiting = session.info.get("events", [])
        session.info["events"] = [
            (nested, one) for nested, one in waiting if rolled_back.nested and not _within(nested, rolled_back)
        ]


def _within(transaction: SessionTransaction | None, outer: SessionTransaction) -> bool:
    while transaction is not None and transaction is not outer:
        transaction = transaction.parent
    return transaction is outer


def main() -> None:
    """Place three orders, of which one is not meant and one is half meant."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with SyncEventLog("memory://") as log:
        connect(log)
        with Session(engine) as session:
            session.add(Order(number=1, total=99))
            publish_after_commit(session, "orders/1", {"total": 99}, "order.placed")
            session.commit()
            session.add(Order(number=2, total=10))
            publish_after_commit(session, "orders/2", {"total": 10}, "order.placed")
            session.rollback()
            session.add(Order(number=3, total=5))
            publish_after_commit(session, "orders/3", {"total": 5}, "order.placed")
            savepoint = session.begin_nested()
            publish_after_commit(session, "orders/3", {"discount": 1}, "order.changed")
            savepoint.rollback()
            session.commit()
        for one in log.read("orders/*").events:
            print(one.topic, one.type, one.json())


if __name__ == "__main__":
    main()
