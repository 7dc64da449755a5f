-- The statements of `archiving.py`, which moves whole logs. As in `statements.sql`, @name is a table of the log.

-- ---- the log itself ---------------------------------------------------------------------------------------

-- alone: For the rest of the transaction nobody else reads or changes the log.
LOCK TABLE @log IN ACCESS EXCLUSIVE MODE;

-- is_empty: Whether nothing ever was in the log, which began at position $1.
SELECT last = $1 AND NOT EXISTS (SELECT 1 FROM @topics) AND NOT EXISTS (SELECT 1 FROM @epochs) FROM @log;

-- begin_copying: How far an unfinished copy has come: its events up to a position were taken. Until it is finished
-- PostgreSQL itself refuses every change of the log, whichever node asks for it: all of them change its one row.
CREATE TABLE @copying (one integer PRIMARY KEY CHECK (one = 1), taken bigint NOT NULL);
INSERT INTO @copying (one, taken) VALUES (1, 0);
ALTER TABLE @log ADD CONSTRAINT #copying CHECK (false) NOT VALID;

-- taken: How far it has come; until the end of the transaction nobody else puts anything.
SELECT taken FROM @copying FOR UPDATE;

-- take: It has come further.
UPDATE @copying SET taken = $1;

-- end_copying: The copy is a log like any other.
DROP TABLE @copying;
ALTER TABLE @log DROP CONSTRAINT #copying;

-- put_head: The log itself. What any node remembers of it from before is of another `change`.
UPDATE @log SET epoch = $1, last = $2, recorded_at = $3, server = $4, change = change + 1, newest_topic = greatest(
    (SELECT coalesce(max(id), 0) FROM @topics), (SELECT coalesce(max(topic_id), 0) FROM @orphans)
);

-- put_epochs: Where past epochs ended.
INSERT INTO @epochs (epoch, last) SELECT * FROM unnest($1::bigint[], $2::bigint[]);

-- find_sources: Forks know their sources by id, and these may have come after them.
UPDATE @forks AS fork SET source_id = coalesce(gone_id, id)
FROM @topics AS topic WHERE topic.name = source_name AND source_id = 0;

-- head: The log as it stands.
SELECT epoch, last, recorded_at FROM @log;

-- ends: Where past epochs ended.
SELECT epoch, last FROM @epochs ORDER BY epoch;

-- ---- topics -----------------------------------------------------------------------------------------------

-- states: The next names that are or have been topics, after $1.
SELECT
    topic.name, topic.removed_through, compacted_through, deleted_at, live, config, created_at, touched_at, tail, events,
    size, closed_at IS NOT NULL, stream_seq, kept.removed_through, source_name, fork.position, part, born
FROM @topics AS topic
LEFT JOIN @orphans AS kept ON kept.topic_id = gone_id
LEFT JOIN @forks AS fork ON fork.topic_id = coalesce(gone_id, topic.id)
WHERE topic.name > $1 ORDER BY topic.name LIMIT $2;

-- owners: Names with their ids, and the ids that their events have.
SELECT name, id, coalesce(gone_id, id) FROM @topics WHERE name = ANY ($1::text[]);

-- names: The names of the topics, living or gone, that own what stands under these ids.
SELECT id, name FROM @topics WHERE id = ANY ($1::bigint[])
UNION ALL SELECT topic_id, name FROM @orphans WHERE topic_id = ANY ($1::bigint[]);

-- newest_id: The highest id of a topic, gone ones included.
SELECT greatest((SELECT coalesce(max(id), 0) FROM @topics), (SELECT coalesce(max(topic_id), 0) FROM @orphans));

-- put_states: Names that are or have been topics.
INSERT INTO @topics (
    id, name, config, created_at, live, closed_at, deleted_at, removed_through, compacted_through, compared_through,
    events, size, tail, touched_at, deadline, stream_seq, gone_id
)
SELECT a, b, c, d, e, f, g, h, i, 0, j, k, l, m, n, o, p FROM unnest(
    $1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::boolean[], $6::bigint[], $7::bigint[], $8::bigint[],
    $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::text[], $16::bigint[]
) AS given (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
ON CONFLICT (name) DO UPDATE SET
    id = excluded.id, config = excluded.config, created_at = excluded.created_at, live = excluded.live,
    closed_at = excluded.closed_at, deleted_at = excluded.deleted_at, removed_through = excluded.removed_through,
    compacted_through = excluded.compacted_through, events = excluded.events, size = excluded.size,
    tail = excluded.tail, touched_at = excluded.touched_at, deadline = excluded.deadline,
    stream_seq = excluded.stream_seq, gone_id = excluded.gone_id;

-- put_kept: Topics that are gone and kept for their forks.
INSERT INTO @orphans (topic_id, name, kept, removed_through)
SELECT a, b, true, c FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS given (a, b, c)
ON CONFLICT (topic_id) DO UPDATE SET removed_through = excluded.removed_through;

-- put_descents: What forks have inherited; their sources are found at the end.
INSERT INTO @forks (topic_id, source_id, source_name, position, part, born)
SELECT a, 0, b, c, d, e
FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) AS given (a, b, c, d, e)
ON CONFLICT (topic_id) DO UPDATE SET
    source_id = 0, source_name = excluded.source_name, position = excluded.position, part = excluded.part,
    born = excluded.born;

-- ---- events -----------------------------------------------------------------------------------------------

-- events: The next $2 events after $1 that somebody may still read; no more than $3 bytes of data, or one larger event.
SELECT
    position, topic_id, NULL, entry, recorded_at, expires_at, type, id, source, time, key, tags, extensions,
    content_type, data
FROM (
    SELECT
        *, row_number() OVER upwards AS number, sum(octet_length(data)) OVER upwards AS so_far
    FROM (
        SELECT * FROM @events
        WHERE position > $1 AND topic_id NOT IN (SELECT topic_id FROM @orphans WHERE NOT kept)
        ORDER BY position LIMIT $2
    ) AS next
    WINDOW upwards AS (ORDER BY position ROWS UNBOUNDED PRECEDING)
) AS sized
WHERE so_far <= $3 OR number = 1
ORDER BY position;

-- ---- memories ---------------------------------------------------------------------------------------------

-- producers: The next producers of living topics, after ($1, $2).
SELECT topic_id, producer_id, name, epoch, sequence, first, last, count
FROM @producers AS known JOIN @topics AS topic ON topic.id = topic_id AND live
WHERE (topic_id, producer_id) > ($1, $2) ORDER BY topic_id, producer_id LIMIT $3;

-- receipts: The next first answers to Idempotency-Keys of living topics, after ($1, $2).
SELECT topic_id, key, name, recorded_at, first, last, count
FROM @receipts AS known JOIN @topics AS topic ON topic.id = topic_id AND live
WHERE (topic_id, key) > ($1, $2) ORDER BY topic_id, key LIMIT $3;

-- ids: The next explicit ids of living topics, after ($1, $2, $3).
SELECT topic_id, source, known.id, name, recorded_at, position
FROM @ids AS known JOIN @topics AS topic ON topic.id = topic_id AND live
WHERE (topic_id, source, known.id) > ($1, $2, $3) ORDER BY topic_id, source, known.id LIMIT $4;

-- put_producers: What is remembered of producers.
INSERT INTO @producers (topic_id, producer_id, epoch, sequence, first, last, count)
SELECT * FROM unnest(
    $1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[]
)
ON CONFLICT (topic_id, producer_id) DO UPDATE SET
    epoch = excluded.epoch, sequence = excluded.sequence, first = excluded.first, last = excluded.last,
    count = excluded.count;

-- put_receipts: First answers to Idempotency-Keys.
INSERT INTO @receipts (topic_id, key, recorded_at, first, last, count)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
ON CONFLICT (topic_id, key) DO UPDATE SET
    recorded_at = excluded.recorded_at, first = excluded.first, last = excluded.last, count = excluded.count;

-- put_ids: Explicit ids.
INSERT INTO @ids (topic_id, source, id, recorded_at, position)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
ON CONFLICT (topic_id, source, id) DO UPDATE SET recorded_at = excluded.recorded_at, position = excluded.position;
