-- The statements of `archiving.py`, which moves whole logs. Unlike those of `statements.sql` they answer many rows: a copy
-- has the process to itself, and no event loop waits beside it.

-- is_empty: Whether nothing ever was in the log.
SELECT last = :birth AND NOT EXISTS (SELECT 1 FROM topics) AND NOT EXISTS (SELECT 1 FROM epochs) FROM log;

-- is_copy: Whether this is a copy that is not finished.
SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'copying');

-- make_copying: How far an unfinished copy has come: its events up to a position were taken.
CREATE TABLE copying (one INTEGER PRIMARY KEY CHECK (one = 1), taken INTEGER NOT NULL) STRICT;

-- begin_copying: Nothing was taken yet.
INSERT INTO copying (one, taken) VALUES (1, 0);

-- taken: How far it has come.
SELECT taken FROM copying;

-- take: It has come further.
UPDATE copying SET taken = :taken;

-- end_copying: The copy is a log like any other.
DROP TABLE copying;

-- put_head: The log itself.
UPDATE log SET epoch = :epoch, last = :last, recorded_at = :recorded_at;

-- put_epoch: Where a past epoch ended.
INSERT OR REPLACE INTO epochs (epoch, last) VALUES (?, ?);

-- find_sources: Forks know their sources by id, and these may have come after them.
UPDATE forks SET source_id = (SELECT coalesce(gone_id, id) FROM topics WHERE name = source_name) WHERE source_id = 0;

-- head: The log as it stands.
SELECT epoch, last, recorded_at FROM log;

-- ends: Where past epochs ended.
SELECT epoch, last FROM epochs ORDER BY epoch;

-- states: The next names that are or have been topics.
SELECT
    name, topics.removed_through, compacted_through, deleted_at, live, config, created_at, touched_at, tail, events,
    size, closed_at IS NOT NULL, stream_seq, kept.removed_through, source_name, forks.position, part, born
FROM topics
LEFT JOIN (SELECT topic_id, removed_through FROM orphans) AS kept ON kept.topic_id = gone_id
LEFT JOIN forks ON forks.topic_id = coalesce(gone_id, topics.id)
WHERE name > :name ORDER BY name LIMIT :limit;

-- owners: Names with their ids, and the ids that their events have.
SELECT name, id, coalesce(gone_id, id) FROM topics WHERE name IN (SELECT value FROM json_each(:names));

-- newest_id: The highest id of a topic, gone ones included.
SELECT max((SELECT coalesce(max(id), 0) FROM topics), (SELECT coalesce(max(topic_id), 0) FROM orphans));

-- put_state: A name that is or has been a topic.
INSERT OR REPLACE INTO topics (
    id, name, config, created_at, live, closed_at, deleted_at, removed_through, compacted_through, compared_through,
    events, size, tail, touched_at, deadline, stream_seq, gone_id
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?);

-- put_kept: A topic that is gone and kept for its forks.
INSERT OR REPLACE INTO orphans (topic_id, name, kept, removed_through) VALUES (?, ?, 1, ?);

-- put_descent: What a fork has inherited; its source is found at the end.
INSERT OR REPLACE INTO forks (topic_id, source_id, source_name, position, part, born) VALUES (?, 0, ?, ?, ?, ?);

-- next: Of the next events that somebody may still read: the last position, and how large they are together.
SELECT max(position), coalesce(sum(length(data)), 0) FROM (
    SELECT position, data FROM events
    WHERE position > :after AND topic_id NOT IN (SELECT topic_id FROM orphans WHERE kept = 0)
    ORDER BY position LIMIT :limit
);

-- fitting: The last position of those of them that fit on a page. (It takes seven times as long.)
SELECT max(position) FROM (
    SELECT position, sum(length(data)) OVER (ORDER BY position) AS so_far, row_number() OVER (ORDER BY position) AS nth
    FROM (
        SELECT position, data FROM events
        WHERE position > :after AND topic_id NOT IN (SELECT topic_id FROM orphans WHERE kept = 0)
        ORDER BY position LIMIT :limit
    )
)
WHERE so_far <= :bytes OR nth = 1;

-- events: Those between two positions, and their data, one after the other.
SELECT
    json_group_array(json_array(
        position, topic_id, entry, recorded_at, length(data),
        expires_at, type, id, source, time, key, tags, extensions, content_type
    )),
    CAST(group_concat(data, '') AS BLOB)
FROM (
    SELECT
        position, topic_id, entry, recorded_at, expires_at, type, id, source, time, key, tags, extensions,
        content_type, CAST(data AS BLOB) AS data
    FROM events
    WHERE position > :after AND position <= :through
    AND topic_id NOT IN (SELECT topic_id FROM orphans WHERE kept = 0)
    ORDER BY position
);

-- put_plain: An event that leaves everything to the log.
INSERT INTO events (position, topic_id, entry, recorded_at, data) VALUES (?, ?, ?, ?, ?);

-- put_event: An event with attributes.
INSERT INTO events (
    position, topic_id, entry, recorded_at, data, expires_at, type, id, source, time, key, tags, extensions, content_type
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- put_tag: It has a tag.
INSERT OR IGNORE INTO event_tags (tag, position) VALUES (?, ?);

-- producers: The next producers of living topics.
SELECT topic_id, producer_id, name, epoch, sequence, first, last, count
FROM producers JOIN topics ON topics.id = topic_id AND live
WHERE (topic_id, producer_id) > (?, ?) ORDER BY topic_id, producer_id LIMIT ?;

-- receipts: The next first answers to Idempotency-Keys of living topics.
SELECT topic_id, key, name, recorded_at, first, last, count
FROM receipts JOIN topics ON topics.id = topic_id AND live
WHERE (topic_id, key) > (?, ?) ORDER BY topic_id, key LIMIT ?;

-- ids: The next explicit ids of living topics.
SELECT topic_id, source, id, name, recorded_at, position
FROM (SELECT topic_id, source, ids.id AS id, name, recorded_at, position
      FROM ids JOIN topics ON topics.id = topic_id AND live)
WHERE (topic_id, source, id) > (?, ?, ?) ORDER BY topic_id, source, id LIMIT ?;

-- put_producers: What is remembered of a producer.
INSERT OR REPLACE INTO producers (topic_id, producer_id, epoch, sequence, first, last, count)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- put_receipts: A first answer to an Idempotency-Key.
INSERT OR REPLACE INTO receipts (topic_id, key, recorded_at, first, last, count) VALUES (?, ?, ?, ?, ?, ?);

-- put_ids: An explicit id.
INSERT OR REPLACE INTO ids (topic_id, source, id, recorded_at, position) VALUES (?, ?, ?, ?, ?);
