"""What is wrong between readers and a server, or with its store, and what to change: `tailrace doctor`.

It acts as a reader and a publisher would, through whatever proxy stands there, and judges by what comes through. Each
check is a `Finding` with a verdict, what was measured, and the directive that mends it (`remedies.py`). It changes
nothing but one topic of its own, which it deletes.
"""

from __future__ import annotations

from tailrace.doctor.examination import Plan, examine
from tailrace.doctor.finding import Bounds, CannotCheck, Finding, Verdict

__all__ = ["Bounds", "CannotCheck", "Finding", "Plan", "Verdict", "examine"]
