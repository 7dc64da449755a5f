"""The published exam of stores: whoever passes keeps a log as `log/store.py` promises.

Subclass `StoreContract` in a test module and give it the store:

    class TestMemoryStore(StoreContract):
        async def make_store(self, clock: Clock) -> Store:
            return MemoryStore(clock)

A store that outlives its process gives `reopen` as well. Needs pytest, anyio and hypothesis. The checks come in
modules by promise; `model` is a log in plain Python, written from the promises alone, and `history` lets Hypothesis
tell long stories to both and compares what they say (set TAILRACE_EXAMPLES for more of them).
"""

import pytest

_MODULES = (
    *("conditions", "copying", "entries", "forks", "gaps", "history", "lifetimes", "model", "model_topic", "pages"),
    *("repetition", "subject", "survival", "sweeping", "topics", "types"),
)
pytest.register_assert_rewrite(*[f"{__name__}.{module}" for module in _MODULES])

from tailrace.testing.store_contract.conditions import ConditionChecks  # noqa: E402 - rewriting comes first
from tailrace.testing.store_contract.copying import CopyChecks  # noqa: E402
from tailrace.testing.store_contract.entries import EntryChecks  # noqa: E402
from tailrace.testing.store_contract.forks import ForkChecks  # noqa: E402
from tailrace.testing.store_contract.gaps import GapChecks  # noqa: E402
from tailrace.testing.store_contract.history import HistoryChecks  # noqa: E402
from tailrace.testing.store_contract.lifetimes import LifetimeChecks  # noqa: E402
from tailrace.testing.store_contract.pages import PageChecks  # noqa: E402
from tailrace.testing.store_contract.repetition import RepetitionChecks  # noqa: E402
from tailrace.testing.store_contract.subject import Clock  # noqa: E402
from tailrace.testing.store_contract.survival import SurvivalChecks  # noqa: E402
from tailrace.testing.store_contract.sweeping import SweepingChecks  # noqa: E402
from tailrace.testing.store_contract.topics import TopicChecks  # noqa: E402
from tailrace.testing.store_contract.types import TypeChecks  # noqa: E402

__all__ = ["Clock", "StoreContract"]


class StoreContract(
    EntryChecks,
    RepetitionChecks,
    ConditionChecks,
    PageChecks,
    GapChecks,
    TopicChecks,
    TypeChecks,
    ForkChecks,
    LifetimeChecks,
    SweepingChecks,
    SurvivalChecks,
    CopyChecks,
    HistoryChecks,
):
    """Every promise of the port, one check each. See the package's docstring for how to use it."""
