"""Long work, told as it goes: contracts of its events, a context manager, threads, decorated functions, and iterators
such as a language model's answer.
"""

from tailrace.work.contracts import Chunk, Completed, Failed, Progress, Started
from tailrace.work.tracked import current_work
from tailrace.work.work import ThreadWork, Work, WorkStatistics

__all__ = [
    "Chunk",
    "Completed",
    "Failed",
    "Progress",
    "Started",
    "ThreadWork",
    "Work",
    "WorkStatistics",
    "current_work",
]
