-- Topics that were forked from others, and what is new of every topic: where it ends, and when its time is up.

ALTER TABLE topics ADD COLUMN tail INTEGER NOT NULL DEFAULT 0;  -- of its newest event, kept or not
ALTER TABLE topics ADD COLUMN touched_at INTEGER NOT NULL DEFAULT 0;  -- its last use; true of those that have idle_seconds
ALTER TABLE topics ADD COLUMN deadline INTEGER;  -- when its time is up, unless it is used before
ALTER TABLE topics ADD COLUMN stream_seq TEXT;  -- the last one accepted, as JSON
ALTER TABLE topics ADD COLUMN gone_id INTEGER;  -- not live: the id it had, if there are forks of it

UPDATE topics SET touched_at = created_at, tail = max(
    removed_through, compacted_through, coalesce((SELECT max(position) FROM events WHERE topic_id = topics.id), 0)
);

-- Keyed by id, so that a fork goes on when its source, or it itself, has been deleted and forks of it are left.
CREATE TABLE forks (
    topic_id INTEGER PRIMARY KEY,
    source_id INTEGER NOT NULL,
    source_name TEXT NOT NULL,
    position INTEGER NOT NULL,  -- it has inherited what stands in its source up to here
    part INTEGER NOT NULL,
    born INTEGER NOT NULL  -- the position that its birth took
) STRICT;
CREATE INDEX forks_by_source ON forks (source_id);

ALTER TABLE orphans ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;  -- 1: there are forks of it
ALTER TABLE orphans ADD COLUMN removed_through INTEGER NOT NULL DEFAULT 0;  -- before it was deleted
CREATE INDEX orphans_by_kept ON orphans (kept);
