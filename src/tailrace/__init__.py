"""Tailrace: one durable event log, and every streaming door a web or agent client knocks on."""

from __future__ import annotations
