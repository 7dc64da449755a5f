-- Every statement of the PostgreSQL store. @name is a table of the log. In a part of a larger statement {1} is its own
-- first parameter, and $2 the time that all its events were recorded at.

-- ---- the log ----------------------------------------------------------------------------------------------

-- born: The birth of a log: its format, epoch, last position and server.
INSERT INTO @log (one, format, epoch, last, recorded_at, newest_topic, change, server) VALUES (1, $1, $2, $3, 0, 0, 1, $4);

-- format: The format of the tables.
SELECT format FROM @log;

-- set_format: After a migration.
UPDATE @log SET format = $1;

-- durable: A commit is acknowledged when it is on disk, whatever the server does for others.
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';

-- server: Which server this is, and since which promotion or restoration: both begin a new timeline.
SELECT system_identifier::text || '/' || (pg_control_checkpoint()).timeline_id::text FROM pg_control_system();

-- log: The log as it stands.
SELECT epoch, last, recorded_at, newest_topic, change FROM @log;

-- state: Its epoch and end, and the server that it was last written on.
SELECT epoch, last, server FROM @log;

-- lock: Begin a transaction in which nobody else changes the log.
BEGIN; SELECT 1 FROM @log FOR UPDATE;

-- epochs: Where past epochs ended, with the present one.
SELECT (SELECT epoch FROM @log), past.epoch, past.last FROM @epochs AS past ORDER BY past.epoch;

-- end_epoch: What was lost had positions in this epoch: it ends where the log now ends.
INSERT INTO @epochs (epoch, last) SELECT epoch, last FROM @log;

-- begin_epoch: The next one, on this server.
UPDATE @log SET epoch = epoch + 1, change = change + 1, server = $1;

-- batch: Where a node's batch went, if it was its last, in a transaction that has the log's lock.
SELECT base, recorded_at FROM @nodes WHERE node = $1 AND batch = $2;

-- fence: What this node has sent before, and may still arrive, comes too late now.
UPDATE @log SET change = change + 1;

-- forget_nodes: Nodes that have been silent since a moment.
DELETE FROM @nodes WHERE recorded_at < $1;

-- seek: The position of the newest event recorded before a moment, or 0, by halving: time rises with position. `later`
-- says of the middle whether all that follows it was recorded at the moment or later; NULL: not looked yet.
WITH RECURSIVE halving (low, high, later) AS (
    SELECT 0::bigint, last, NULL::boolean FROM @log
    UNION ALL
    SELECT
        CASE WHEN NOT later THEN (low + high) / 2 + 1 ELSE low END,
        CASE WHEN later THEN (low + high) / 2 ELSE high END,
        CASE WHEN later IS NULL THEN coalesce(
            (SELECT recorded_at FROM @events WHERE position > (low + high) / 2 ORDER BY position LIMIT 1) >= $1, true
        ) END
    FROM halving WHERE low < high
)
SELECT epoch, (SELECT low FROM halving WHERE low = high LIMIT 1) FROM @log;

-- ---- an append, written by one statement ------------------------------------------------------------------

-- turn: The log's turn, taken only if nothing has come since; then the parts below. The node's batch goes with it.
WITH turn AS (
    UPDATE @log SET last = $1, recorded_at = $2, newest_topic = $3, change = change + 1
    WHERE change = $4 AND epoch = $7 AND last = $8 RETURNING $8::bigint AS base, recorded_at
),
batch AS (
    INSERT INTO @nodes (node, batch, base, recorded_at) SELECT $5::text, $6::bigint, base, recorded_at FROM turn
    ON CONFLICT (node) DO UPDATE SET
        batch = excluded.batch, base = excluded.base, recorded_at = excluded.recorded_at
)

-- place: The log's next $1 positions, whichever they are, if nothing but plain events has come since; then the parts
-- `place_…`, which know where they stand after the log's end.
WITH turn AS (
    UPDATE @log SET last = last + $1, recorded_at = greatest(recorded_at, $2)
    WHERE change = $3 AND epoch = $4 AND last >= $5 RETURNING last - $1 AS base, recorded_at
),
batch AS (
    INSERT INTO @nodes (node, batch, base, recorded_at) SELECT $6::text, $7::bigint, base, recorded_at FROM turn
    ON CONFLICT (node) DO UPDATE SET
        batch = excluded.batch, base = excluded.base, recorded_at = excluded.recorded_at
)

-- place_usual: Part of it: events that leave everything to the log.
INSERT INTO @events (position, topic_id, entry, recorded_at, data)
SELECT base + a, b, base + c, recorded_at, d
FROM turn, unnest({1}::bigint[], {2}::bigint[], {3}::bigint[], {4}::bytea[]) AS given (a, b, c, d)

-- place_rich: Part of it: events with attributes.
INSERT INTO @events (
    position, topic_id, entry, recorded_at, data,
    expires_at, type, id, source, time, key, tags, extensions, content_type
)
SELECT base + a, b, base + c, recorded_at, d, e, f, g, h, i, j, k, l, m FROM turn, unnest(
    {1}::bigint[], {2}::bigint[], {3}::bigint[], {4}::bytea[], {5}::bigint[], {6}::text[], {7}::text[], {8}::text[],
    {9}::text[], {10}::text[], {11}::text[], {12}::text[], {13}::text[]
) AS given (a, b, c, d, e, f, g, h, i, j, k, l, m)

-- place_tags: Part of it: which events have which tags.
INSERT INTO @event_tags (tag, position)
SELECT a, base + b FROM turn, unnest({1}::text[], {2}::bigint[]) AS given (a, b)

-- place_counts: Part of it: how much topics keep now, and where they end.
UPDATE @topics AS topic SET events = events + b, size = size + c, tail = base + d
FROM turn, unnest({1}::bigint[], {2}::bigint[], {3}::bigint[], {4}::bigint[]) AS given (a, b, c, d)
WHERE topic.id = a

-- put_usual: Part of it: events that leave everything to the log.
INSERT INTO @events (position, topic_id, entry, recorded_at, data)
SELECT a, b, c, $2, d FROM turn, unnest({1}::bigint[], {2}::bigint[], {3}::bigint[], {4}::bytea[]) AS given (a, b, c, d)

-- put_rich: Part of it: events with attributes.
INSERT INTO @events (
    position, topic_id, entry, recorded_at, data,
    expires_at, type, id, source, time, key, tags, extensions, content_type
)
SELECT a, b, c, $2, d, e, f, g, h, i, j, k, l, m FROM turn, unnest(
    {1}::bigint[], {2}::bigint[], {3}::bigint[], {4}::bytea[], {5}::bigint[], {6}::text[], {7}::text[], {8}::text[],
    {9}::text[], {10}::text[], {11}::text[], {12}::text[], {13}::text[]
) AS given (a, b, c, d, e, f, g, h, i, j, k, l, m)

-- put_tags: Part of it: which events have which tags.
INSERT INTO @event_tags (tag, position)
SELECT a, b FROM turn, unnest({1}::text[], {2}::bigint[]) AS given (a, b)

-- put_topics: Part of it: new topics, or all of what is known of old ones.
INSERT INTO @topics (
    id, name, config, created_at, live, closed_at, deleted_at,
    removed_through, compacted_through, compared_through, events, size,
    tail, touched_at, deadline, stream_seq, gone_id
)
SELECT a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q FROM turn, unnest(
    {1}::bigint[], {2}::text[], {3}::text[], {4}::bigint[], {5}::boolean[], {6}::bigint[], {7}::bigint[],
    {8}::bigint[], {9}::bigint[], {10}::bigint[], {11}::bigint[], {12}::bigint[], {13}::bigint[], {14}::bigint[],
    {15}::bigint[], {16}::text[], {17}::bigint[]
) AS given (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q)
ON CONFLICT (name) DO UPDATE SET
    id = excluded.id, config = excluded.config, created_at = excluded.created_at, live = excluded.live,
    closed_at = excluded.closed_at, deleted_at = excluded.deleted_at, removed_through = excluded.removed_through,
    compacted_through = excluded.compacted_through, compared_through = excluded.compared_through,
    events = excluded.events, size = excluded.size, tail = excluded.tail, touched_at = excluded.touched_at,
    deadline = excluded.deadline, stream_seq = excluded.stream_seq, gone_id = excluded.gone_id

-- count_topics: Part of it: how much existing topics keep, where they end, and until when they live.
UPDATE @topics AS topic SET events = b, size = c, tail = d, touched_at = e, deadline = f
FROM turn, unnest(
    {1}::bigint[], {2}::bigint[], {3}::bigint[], {4}::bigint[], {5}::bigint[], {6}::bigint[]
) AS given (a, b, c, d, e, f)
WHERE topic.id = a

-- put_orphans: Part of it: ids of topics that have just been deleted.
INSERT INTO @orphans (topic_id, name, kept, removed_through)
SELECT a, b, c, d FROM turn, unnest({1}::bigint[], {2}::text[], {3}::boolean[], {4}::bigint[]) AS given (a, b, c, d)

-- put_producers: Part of it: the last accepted request of producers.
INSERT INTO @producers (topic_id, producer_id, epoch, sequence, first, last, count)
SELECT a, b, c, d, e, f, g FROM turn, unnest(
    {1}::bigint[], {2}::text[], {3}::bigint[], {4}::bigint[], {5}::bigint[], {6}::bigint[], {7}::bigint[]
) AS given (a, b, c, d, e, f, g)
ON CONFLICT (topic_id, producer_id) DO UPDATE SET
    epoch = excluded.epoch, sequence = excluded.sequence, first = excluded.first, last = excluded.last,
    count = excluded.count

-- put_receipts: Part of it: first answers to Idempotency-Keys.
INSERT INTO @receipts (topic_id, key, recorded_at, first, last, count)
SELECT a, b, c, d, e, f FROM turn, unnest(
    {1}::bigint[], {2}::text[], {3}::bigint[], {4}::bigint[], {5}::bigint[], {6}::bigint[]
) AS given (a, b, c, d, e, f)
ON CONFLICT (topic_id, key) DO UPDATE SET
    recorded_at = excluded.recorded_at, first = excluded.first, last = excluded.last, count = excluded.count

-- put_ids: Part of it: explicit ids of events.
INSERT INTO @ids (topic_id, source, id, recorded_at, position)
SELECT a, b, c, d, e FROM turn, unnest(
    {1}::bigint[], {2}::text[], {3}::text[], {4}::bigint[], {5}::bigint[]
) AS given (a, b, c, d, e)
ON CONFLICT (topic_id, source, id) DO UPDATE SET recorded_at = excluded.recorded_at, position = excluded.position

-- ---- what an append asks before; each says of which change of the log it speaks -----------------------------

-- topics: The log as it stands, and topics by name, deleted ones included, each with its newest event.
SELECT
    epoch, last, recorded_at, newest_topic, change,
    id, name, config, created_at, live, closed_at, deleted_at,
    removed_through, compacted_through, compared_through, events, size,
    tail, touched_at, deadline, stream_seq, gone_id,
    (SELECT max(position) FROM @events AS event WHERE event.topic_id = topic.id)
FROM @log AS log LEFT JOIN @topics AS topic ON name = ANY ($1::text[]);

-- producers: What is remembered of the producers that are asked for.
SELECT change, known.topic_id, known.producer_id, known.epoch, known.sequence, known.first, known.last, known.count
FROM @log AS log LEFT JOIN (
    @producers AS known JOIN unnest($1::bigint[], $2::text[]) AS asked (a, b)
    ON known.topic_id = a AND known.producer_id = b
) ON true;

-- receipts: The first answers to the Idempotency-Keys that are asked for.
SELECT change, known.topic_id, known.key, known.recorded_at, known.first, known.last, known.count
FROM @log AS log LEFT JOIN (
    @receipts AS known JOIN unnest($1::bigint[], $2::text[]) AS asked (a, b)
    ON known.topic_id = a AND known.key = b
) ON true;

-- ids: Where events stand whose id and source are asked for.
SELECT change, known.topic_id, known.source, known.id, known.recorded_at, known.position
FROM @log AS log LEFT JOIN (
    @ids AS known JOIN unnest($1::bigint[], $2::text[], $3::text[]) AS asked (a, b, c)
    ON known.topic_id = a AND known.source = b AND known.id = c
) ON true;

-- ---- pages ------------------------------------------------------------------------------------------------

-- head: What is true of the moment of a page of topics, and how many of them there are: the selected ones, if they are
-- known by name ($1); of a fork alone ($2) the marks of what it descends from ($3).
SELECT
    epoch, last, newest_topic,
    (SELECT coalesce(max(removed_through), 0) FROM @topics),
    (
        SELECT coalesce(json_agg(json_build_array(
            id, name, live, closed_at, removed_through, deleted_at, tail,
            CASE WHEN $2 THEN EXISTS (SELECT 1 FROM @forks AS fork WHERE fork.topic_id = topic.id) ELSE false END
        )), '[]')::text
        FROM @topics AS topic WHERE name = ANY ($1::text[])
    ),
    (
        SELECT coalesce(json_agg(json_build_array(id, mark)), '[]')::text FROM (
            SELECT id, removed_through AS mark FROM @topics WHERE id = ANY ($3::bigint[])
            UNION ALL
            SELECT topic_id, removed_through FROM @orphans WHERE topic_id = ANY ($3::bigint[])
        ) AS marks
    )
FROM @log

-- page: The head, and one page of {candidates} in {order}; no more than $6 rows and one, and $7 bytes of data, but a
-- single larger event makes a page of its own. `found` counts the candidates, which are at most one more than the rows.
WITH candidates AS MATERIALIZED (
    SELECT position, topic_id, octet_length(data) AS size, row_number() OVER (ORDER BY position {order}) AS number
    FROM (SELECT * FROM ({candidates}) AS source ORDER BY position {order} LIMIT $6 + 1) AS few
),
shown AS (
    SELECT position, topic_id FROM (
        SELECT position, topic_id, number, sum(size) OVER (ORDER BY position {order}) AS so_far FROM candidates
    ) AS sized
    WHERE number <= $6 AND (so_far <= $7 OR number = 1)
),
head (epoch, last, newest_topic, removed_through, topics, marks) AS ({head})
SELECT
    head.*, (SELECT count(*) FROM candidates),
    event.position, event.topic_id, (SELECT name FROM @topics AS topic WHERE topic.id = event.topic_id AND live),
    entry, recorded_at, expires_at, type, event.id, source, time, key, tags, extensions, content_type, data
FROM head LEFT JOIN (shown JOIN @events AS event USING (position)) ON true
ORDER BY shown.position {order};

-- whole: Candidates from the whole log.
SELECT position, topic_id, data FROM @events WHERE position > $4 AND position < $5

-- named: Candidates from the topics named.
SELECT event.position, event.topic_id, event.data FROM (
    SELECT id FROM @topics WHERE name = ANY ($1::text[]) AND live
) AS topic CROSS JOIN LATERAL (
    SELECT position, topic_id, data FROM @events
    WHERE topic_id = topic.id AND position > $4 AND position < $5 ORDER BY position {order} LIMIT $6 + 1
) AS event

-- inherited: Candidates from topics by id ($8), but from each not beyond what was inherited of it ($9).
SELECT event.position, event.topic_id, event.data FROM unnest($8::bigint[], $9::bigint[]) AS topic (id, upto)
CROSS JOIN LATERAL (
    SELECT position, topic_id, data FROM @events
    WHERE topic_id = topic.id AND position > $4 AND position < $5 AND position <= upto
    ORDER BY position {order} LIMIT $6 + 1
) AS event

-- tagged: Candidates with a tag.
SELECT event.position, event.topic_id, event.data FROM (
    SELECT position FROM @event_tags WHERE tag = $8 AND position > $4 AND position < $5
    ORDER BY position {order} LIMIT $6 + 1
) AS tagged JOIN @events AS event USING (position)

-- named_between: Names that ever were a topic's, in order, from $1 on and before $2 (if there is one).
SELECT name FROM @topics WHERE name >= $1 AND ($2::text IS NULL OR name < $2) ORDER BY name LIMIT $3;

-- named_since: The next names that got an id beyond $1.
SELECT id, name FROM @topics WHERE id > $1 ORDER BY id LIMIT $2;

-- newest_topic: The highest id of a topic.
SELECT newest_topic FROM @log;

-- lineage: A fork and the topics it descends from, itself first: ids, names, up to which position each is inherited, and
-- the position of its own birth as a fork.
WITH RECURSIVE line (id, upto, depth) AS (
    SELECT $1::bigint, $2::bigint, 0
    UNION ALL
    SELECT source_id, least(upto, position), depth + 1 FROM line JOIN @forks AS fork ON fork.topic_id = line.id
)
SELECT line.id, coalesce(topic.name, orphan.name, ''), upto, coalesce(born, 0)
FROM line
LEFT JOIN @topics AS topic ON topic.id = line.id
LEFT JOIN @orphans AS orphan ON orphan.topic_id = line.id
LEFT JOIN @forks AS fork ON fork.topic_id = line.id
ORDER BY depth;

-- marked: Topics beyond the name $2, deleted ones included, that have a mark after $1, in order of name.
SELECT name, removed_through, compacted_through, deleted_at FROM @topics
WHERE (removed_through > $1 OR compacted_through > $1) AND name > $2
ORDER BY name LIMIT $3;

-- any_mark: Whether there are any.
SELECT EXISTS (SELECT 1 FROM @topics WHERE removed_through > $1)
    OR EXISTS (SELECT 1 FROM @topics WHERE compacted_through > $1);

-- marks_of: The marks of topics, deleted ones included.
SELECT name, removed_through, compacted_through, deleted_at FROM @topics WHERE name = ANY ($1::text[]);

-- ---- topics -----------------------------------------------------------------------------------------------

-- infos: Existing topics in order of name, from $1 on, beyond $2 and before $3 (if there is one), whose time is not up.
SELECT
    name, config, created_at, closed_at IS NOT NULL,
    (SELECT min(position) FROM @events WHERE topic_id = topic.id),
    (SELECT max(position) FROM @events WHERE topic_id = topic.id),
    events, size, removed_through, compacted_through, tail, deadline, source_name, position, part
FROM @topics AS topic LEFT JOIN @forks AS fork ON fork.topic_id = topic.id
WHERE live AND name >= $1 AND name > $2 AND ($3::text IS NULL OR name < $3) AND (deadline IS NULL OR deadline > $5)
ORDER BY name LIMIT $4;

-- overdue: Existing topics whose time is up.
SELECT name FROM @topics WHERE live AND deadline <= $1 LIMIT $2;

-- needed: Whether a topic that is gone, or whose time is up, has forks left whose time is not.
WITH RECURSIVE descent (id) AS (
    SELECT coalesce(gone_id, id) FROM @topics WHERE name = $1
    UNION ALL
    SELECT topic_id FROM descent JOIN @forks AS fork ON fork.source_id = descent.id
)
SELECT EXISTS (
    SELECT 1 FROM descent JOIN @topics AS topic ON topic.id = descent.id
    WHERE live AND (deadline IS NULL OR deadline > $2)
);

-- ---- forks ------------------------------------------------------------------------------------------------

-- put_fork: The birth of a fork.
INSERT INTO @forks (topic_id, source_id, source_name, position, part, born) VALUES ($1, $2, $3, $4, $5, $6);

-- removed_of: Of all that a topic shows, inherited or its own, the newest position that was removed, or 0. Marks that were
-- raised before a fork's birth are those of an earlier topic of its name.
WITH RECURSIVE line (id, upto) AS (
    SELECT $1::bigint, 9223372036854775807
    UNION ALL
    SELECT source_id, least(upto, position) FROM line JOIN @forks AS fork ON fork.topic_id = line.id
)
SELECT coalesce(max(least(upto, mark)), 0) FROM (
    SELECT
        line.id AS id, upto,
        coalesce(
            (SELECT removed_through FROM @topics AS topic WHERE topic.id = line.id),
            (SELECT removed_through FROM @orphans AS orphan WHERE orphan.topic_id = line.id)
        ) AS mark
    FROM line
) AS shown
WHERE mark > coalesce((SELECT born FROM @forks AS fork WHERE fork.topic_id = shown.id), 0);

-- ties: Whether there are forks of a topic, and the topic that it was forked from.
SELECT EXISTS (SELECT 1 FROM @forks WHERE source_id = $1), (SELECT source_id FROM @forks WHERE topic_id = $1);

-- cut_fork: It is no fork of its source any more.
DELETE FROM @forks WHERE topic_id = $1;

-- unneeded: The name of a deleted topic that was kept for its forks, if there are none any more.
SELECT name FROM @orphans
WHERE topic_id = $1 AND kept AND NOT EXISTS (SELECT 1 FROM @forks WHERE source_id = $1);

-- release_orphan: It may be removed now.
UPDATE @orphans SET kept = false WHERE topic_id = $1;

-- over: Topics whose time is up: of one that is gone, or itself over, and all that descend from it, the last ones first.
WITH RECURSIVE descent (id, depth) AS (
    SELECT coalesce(gone_id, id), 0 FROM @topics WHERE name = $1
    UNION ALL
    SELECT topic_id, depth + 1 FROM descent JOIN @forks AS fork ON fork.source_id = descent.id
)
SELECT name FROM descent JOIN @topics AS topic ON topic.id = descent.id
WHERE live AND deadline <= $2 ORDER BY depth DESC;

-- ---- sweeping: the events first, then, with the log's turn, the marks; all in one transaction ----------------

-- sweep_one: Only one at a time sweeps a topic ($1, of the log $2), whoever else wants to.
SELECT pg_advisory_xact_lock(hashtextextended($2, $1));

-- compared: The next $3 events after $2: how many there are, and the last of them.
SELECT count(*), coalesce(max(position), $2) FROM (
    SELECT position FROM @events WHERE topic_id = $1 AND position > $2 ORDER BY position LIMIT $3
) AS newer;

-- superseded: What events after $2 and up to $3 replace, at most $4 of it.
SELECT DISTINCT older.position FROM (
    SELECT position, key FROM @events WHERE topic_id = $1 AND position > $2 AND position <= $3 AND key IS NOT NULL
) AS newer JOIN @events AS older
ON older.topic_id = $1 AND older.key = newer.key AND older.key IS NOT NULL AND older.position < newer.position
LIMIT $4;

-- expired: Events whose own time is up.
SELECT position FROM @events WHERE topic_id = $1 AND expires_at <= $2 ORDER BY expires_at LIMIT $3;

-- oldest: The oldest events of a topic, with their size and the time each was recorded.
SELECT position, octet_length(data), recorded_at FROM @events WHERE topic_id = $1 ORDER BY position LIMIT $2;

-- remove_tags: Drop the tags of events that are about to be removed.
DELETE FROM @event_tags WHERE (tag, position) IN (
    SELECT value, position FROM @events, json_array_elements_text(tags::json) AS tag (value)
    WHERE position = ANY ($1::bigint[]) AND tags IS NOT NULL
);

-- remove_events: Remove events; answers how many and how large they were.
WITH gone AS (DELETE FROM @events WHERE position = ANY ($1::bigint[]) RETURNING octet_length(data) AS size)
SELECT count(*), coalesce(sum(size), 0)::bigint FROM gone;

-- swept: What a sweep has left of a topic; its marks never fall.
UPDATE @topics SET
    events = events - $2, size = size - $3, removed_through = greatest(removed_through, $4),
    compacted_through = greatest(compacted_through, $5), compared_through = greatest(compared_through, $6)
WHERE id = $1 AND live RETURNING id;

-- forget_receipts: Drop first answers of a topic that were given up to a moment.
DELETE FROM @receipts WHERE (topic_id, key) IN (
    SELECT topic_id, key FROM @receipts WHERE topic_id = $1 AND recorded_at <= $2 LIMIT $3
);

-- forget_ids: Drop explicit ids of a topic that were recorded up to a moment.
DELETE FROM @ids WHERE (topic_id, source, id) IN (
    SELECT topic_id, source, id FROM @ids WHERE topic_id = $1 AND recorded_at <= $2 LIMIT $3
);

-- forget_producers: Drop producers of a deleted topic.
DELETE FROM @producers WHERE (topic_id, producer_id) IN (
    SELECT topic_id, producer_id FROM @producers WHERE topic_id = $1 LIMIT $2
);

-- owned: Whether a deleted topic still owns something.
SELECT EXISTS (SELECT 1 FROM @events WHERE topic_id = $1) OR EXISTS (SELECT 1 FROM @producers WHERE topic_id = $1)
    OR EXISTS (SELECT 1 FROM @receipts WHERE topic_id = $1) OR EXISTS (SELECT 1 FROM @ids WHERE topic_id = $1);

-- orphaned: A deleted topic that still owns something, and that nobody else is removing.
SELECT topic_id FROM @orphans WHERE NOT kept ORDER BY topic_id LIMIT 1 FOR UPDATE SKIP LOCKED;

-- forget_orphan: It owns nothing any more.
DELETE FROM @orphans WHERE topic_id = $1;

-- ---- the outbox -------------------------------------------------------------------------------------------

-- any_waiting: Whether something waits to be placed.
SELECT EXISTS (SELECT 1 FROM @outbox WHERE refused IS NULL);

-- waiting: What waits, in the order in which it was put there, as far as its transactions have committed.
SELECT id, topic, data, type, content_type, event_id, source, time, key, tags, extensions, expires_at
FROM @outbox WHERE refused IS NULL ORDER BY id LIMIT $1;

-- placed: It stands in the log now.
DELETE FROM @outbox WHERE id = ANY ($1::bigint[]);

-- refused: The log does not take it; it is kept aside, with the reason.
UPDATE @outbox AS outbox SET refused = given.reason
FROM unnest($1::bigint[], $2::text[]) AS given (id, reason) WHERE outbox.id = given.id;

-- ---- hints ------------------------------------------------------------------------------------------------

-- notify: Tell all who listen.
SELECT pg_notify($1, $2);
