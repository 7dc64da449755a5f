-- Every statement of the SQLite store. Each answers one row, or none at all: Python gives up the interpreter at every
-- row, and beside a busy event loop gets it back milliseconds later (docs/decisions/0001-sqlite-in-single-steps.md).
-- So lists go in and come out as JSON, and the data of many events as one blob.

-- ---- the log ----------------------------------------------------------------------------------------------

-- born: The birth of a log.
INSERT INTO log (one, epoch, last, recorded_at) VALUES (1, :epoch, :last, 0);

-- log: The log as it stands, with the highest id of a topic.
SELECT epoch, last, recorded_at, (SELECT coalesce(max(id), 0) FROM topics) FROM log;

-- epochs: Where past epochs ended.
SELECT json_group_array(json_array(epoch, last)) FROM epochs;

-- end_epoch: The log's epoch is past; it ended at :end, or with the log as it stands.
INSERT INTO epochs (epoch, last) SELECT epoch, coalesce(:end, last) FROM log;

-- begin_epoch: The log's new epoch.
UPDATE log SET epoch = :epoch;

-- advance: The log's new tail.
UPDATE log SET last = :last, recorded_at = :recorded_at;

-- seek: The position of the newest event recorded before a moment, or 0, by halving: time rises with position. `later`
-- says of the middle whether all that follows it was recorded at the moment or later; NULL: not looked yet.
WITH RECURSIVE halving (low, high, later) AS (
    SELECT 0, last, NULL FROM log
    UNION ALL
    SELECT
        iif(later = 0, (low + high) / 2 + 1, low),
        iif(later = 1, (low + high) / 2, high),
        iif(later IS NULL, coalesce(
            (SELECT recorded_at FROM events WHERE position > (low + high) / 2 ORDER BY position LIMIT 1) >= :moment, 1
        ), NULL)
    FROM halving WHERE low < high
)
SELECT epoch, (SELECT low FROM halving WHERE low = high) FROM log;

-- ---- pages ------------------------------------------------------------------------------------------------

-- page: A page of {candidates} in {order}, from one snapshot. The head says what else is true of it; `found` is at most
-- one more than the page may hold. Data stops at :bytes, but a single larger event makes a page of its own.
-- {orphans} and {marks} are one of the statements below, or nothing where nobody needs to know.
WITH candidates AS NOT MATERIALIZED ({candidates}),
sized AS MATERIALIZED (
    SELECT position, topic_id, length(data) AS size FROM candidates ORDER BY position {order} LIMIT :limit + 1
)
SELECT
    json_array(
        (SELECT last FROM log),
        (SELECT coalesce(max(id), 0) FROM topics),
        (SELECT coalesce(max(removed_through), 0) FROM topics),
        (SELECT count(*) FROM sized),
        json(({orphans})),
        json((
            SELECT json_group_array(json_array(
                id, name, live, closed_at, removed_through, deleted_at, tail,
                iif(:alone, EXISTS (SELECT 1 FROM forks WHERE forks.topic_id = topics.id), 0)
            ))
            FROM topics WHERE name IN (SELECT value FROM json_each(:names))
        )),
        json(({marks}))
    ),
    json_group_array(json_array(
        position, topic_id, entry, recorded_at, length(data),
        expires_at, type, id, source, time, key, tags, extensions, content_type
    )),
    CAST(group_concat(data, '') AS BLOB)
FROM (
    SELECT
        position, topic_id, entry, recorded_at, expires_at, type, id, source, time, key, tags, extensions,
        content_type, CAST(data AS BLOB) AS data
    FROM candidates ORDER BY position {order}
    LIMIT (
        SELECT min(:limit, CASE WHEN sum(size) <= :bytes THEN count(*) ELSE max(1, (
            SELECT count(*) FROM (SELECT sum(size) OVER (ORDER BY position {order}) AS so_far FROM sized)
            WHERE so_far <= :bytes
        )) END)
        FROM sized
    )
);

-- orphans: Part of `page`: deleted topics whose events may be among the candidates. Those that are kept for their forks
-- may be many, so if there are any, only those on the page are told.
SELECT json_group_array(topic_id) FROM orphans
WHERE NOT EXISTS (SELECT 1 FROM orphans WHERE kept = 1) OR topic_id IN (SELECT topic_id FROM sized)

-- marks: Part of `page`: what was removed of topics by id, deleted ones included.
SELECT json_group_array(json_array(id, removed_through)) FROM (
    SELECT id, removed_through FROM topics WHERE id IN (SELECT value FROM json_each(:ids))
    UNION ALL
    SELECT topic_id, removed_through FROM orphans WHERE topic_id IN (SELECT value FROM json_each(:ids))
)

-- nothing: Part of `page`.
SELECT '[]'

-- whole: Candidates from the whole log.
SELECT * FROM events WHERE position > :after AND position < :before

-- named: Candidates from the topic named :name{n}; several are joined by UNION ALL, and merged by position.
SELECT * FROM events
WHERE topic_id = (SELECT id FROM topics WHERE name = :name{n}) AND position > :after AND position < :before

-- inherited: Candidates from the topic with the id :id{n}, but not beyond what was inherited of it.
SELECT * FROM events WHERE topic_id = :id{n} AND position > :after AND position < :before{n}

-- tagged: Candidates with a tag, already in order because the position is that of the tag.
SELECT
    tagged.position AS position, topic_id, entry, recorded_at, expires_at, type, id, source, time, key, tags, extensions,
    content_type, data
FROM event_tags AS tagged CROSS JOIN events ON events.position = tagged.position
WHERE tagged.tag = :tag AND tagged.position > :after AND tagged.position < :before

-- names: Names of topics by id, deleted ones included while they own something.
SELECT json_group_array(json_array(id, name)) FROM (
    SELECT id, name FROM topics WHERE id IN (SELECT value FROM json_each(:ids))
    UNION ALL
    SELECT topic_id, name FROM orphans WHERE topic_id IN (SELECT value FROM json_each(:ids))
);

-- named_between: Names that ever were a topic's, in order, from :low on and before :high (if there is one).
SELECT json_group_array(name) FROM (
    SELECT name FROM topics WHERE name >= :low AND (:high IS NULL OR name < :high) ORDER BY name LIMIT :limit
);

-- named_since: The next names that got an id beyond :id, after the last of those ids.
SELECT coalesce(max(id), :id), json_group_array(name) FROM (
    SELECT id, name FROM topics WHERE id > :id ORDER BY id LIMIT :limit
);

-- newest_topic: The highest id of a topic.
SELECT coalesce(max(id), 0) FROM topics;

-- lineage: A fork and the topics it descends from, itself first: ids, names, up to which position each is inherited, and
-- the position of its own birth as a fork.
WITH RECURSIVE line (id, upto, depth) AS (
    SELECT :id, :end, 0
    UNION ALL
    SELECT source_id, min(upto, position), depth + 1 FROM line JOIN forks ON forks.topic_id = line.id
)
SELECT json_group_array(json_array(id, name, upto, born)) FROM (
    SELECT
        line.id AS id,
        coalesce(topics.name, orphans.name, '') AS name,
        upto,
        coalesce(born, 0) AS born
    FROM line
    LEFT JOIN topics ON topics.id = line.id
    LEFT JOIN orphans ON orphans.topic_id = line.id
    LEFT JOIN forks ON forks.topic_id = line.id
    ORDER BY depth
);

-- marked: Topics beyond the name :name, deleted ones included, that have a mark after :after, in order of name. The
-- plus signs have them found by their marks, which are few, and not by name.
SELECT json_group_array(json_array(name, removed_through, compacted_through, deleted_at)) FROM (
    SELECT * FROM topics
    WHERE (removed_through > :after OR compacted_through > :after) AND +name > :name
    ORDER BY +name LIMIT :limit
);

-- marks_of: The marks of topics, deleted ones included.
SELECT json_group_array(json_array(name, removed_through, compacted_through, deleted_at))
FROM topics WHERE name IN (SELECT value FROM json_each(:names));

-- ---- topics -----------------------------------------------------------------------------------------------

-- infos: Existing topics in order of name, from :low on, beyond :beyond and before :high (if there is one), whose time is
-- not up.
SELECT json_group_array(json_array(
    name, json(config), created_at, json(iif(closed_at IS NULL, 'false', 'true')),
    (SELECT min(position) FROM events WHERE topic_id = topic.id),
    (SELECT max(position) FROM events WHERE topic_id = topic.id),
    events, size, removed_through, compacted_through, tail, deadline,
    json((SELECT json_array(source_name, position, part) FROM forks WHERE forks.topic_id = topic.id))
))
FROM (
    SELECT * FROM topics
    WHERE live AND name >= :low AND name > :beyond AND (:high IS NULL OR name < :high)
    AND (deadline IS NULL OR deadline > :now)
    ORDER BY name LIMIT :limit
) AS topic;

-- overdue: Existing topics whose time is up.
SELECT json_group_array(name) FROM (SELECT name FROM topics WHERE live AND deadline <= :now LIMIT :limit);

-- needed: Whether a topic that is gone, or whose time is up, has forks left whose time is not.
WITH RECURSIVE descent (id) AS (
    SELECT coalesce(gone_id, id) FROM topics WHERE name = :name
    UNION ALL
    SELECT topic_id FROM descent JOIN forks ON forks.source_id = descent.id
)
SELECT EXISTS (
    SELECT 1 FROM descent JOIN topics ON topics.id = descent.id
    WHERE live AND (deadline IS NULL OR deadline > :now)
);

-- topics: Topics by name, deleted ones included, as the writer keeps them.
SELECT json_group_array(json_array(
    id, name, json(config), created_at, json(iif(live, 'true', 'false')), closed_at, deleted_at,
    removed_through, compacted_through, compared_through, events, size,
    tail, touched_at, deadline, json(stream_seq), gone_id
))
FROM topics WHERE name IN (SELECT value FROM json_each(:names));

-- put_topics: New topics, or all of what is known of old ones.
INSERT OR REPLACE INTO topics (
    id, name, config, created_at, live, closed_at, deleted_at,
    removed_through, compacted_through, compared_through, events, size,
    tail, touched_at, deadline, stream_seq, gone_id
)
SELECT
    value ->> 0, value ->> 1, value -> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
    value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11,
    value ->> 12, value ->> 13, value ->> 14, value -> 15, value ->> 16
FROM json_each(:topics);

-- count_topics: How much existing topics keep, where they end, and until when they live.
UPDATE topics SET
    events = counted.value ->> 1, size = counted.value ->> 2,
    tail = counted.value ->> 3, touched_at = counted.value ->> 4, deadline = counted.value ->> 5
FROM json_each(:topics) AS counted
WHERE topics.id = counted.value ->> 0;

-- newest: The position of a topic's newest event.
SELECT max(position) FROM events WHERE topic_id = :topic;

-- put_orphans: Ids of topics that have just been deleted.
INSERT INTO orphans (topic_id, name, kept, removed_through)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:orphans);

-- ---- forks ------------------------------------------------------------------------------------------------

-- any_fork: Whether there are any.
SELECT EXISTS (SELECT 1 FROM forks);

-- put_fork: The birth of a fork.
INSERT INTO forks (topic_id, source_id, source_name, position, part, born)
VALUES (:topic, :source, :name, :position, :part, :born);

-- removed_of: Of all that a topic shows, inherited or its own, the newest position that was removed, or 0. Marks that were
-- raised before a fork's birth are those of an earlier topic of its name.
WITH RECURSIVE line (id, upto) AS (
    SELECT :topic, :end
    UNION ALL
    SELECT source_id, min(upto, position) FROM line JOIN forks ON forks.topic_id = line.id
)
SELECT coalesce(max(min(upto, mark)), 0) FROM (
    SELECT
        line.id AS id, upto,
        coalesce(
            (SELECT removed_through FROM topics WHERE topics.id = line.id),
            (SELECT removed_through FROM orphans WHERE orphans.topic_id = line.id)
        ) AS mark
    FROM line
) AS shown
WHERE mark > coalesce((SELECT born FROM forks WHERE forks.topic_id = shown.id), 0);

-- ties: Whether there are forks of a topic, and the topic that it was forked from.
SELECT EXISTS (SELECT 1 FROM forks WHERE source_id = :topic), (SELECT source_id FROM forks WHERE topic_id = :topic);

-- cut_fork: It is no fork of its source any more.
DELETE FROM forks WHERE topic_id = :topic;

-- unneeded: The name of a deleted topic that was kept for its forks, if there are none any more.
SELECT max(name) FROM orphans
WHERE topic_id = :topic AND kept = 1 AND NOT EXISTS (SELECT 1 FROM forks WHERE source_id = :topic);

-- release_orphan: It may be removed now.
UPDATE orphans SET kept = 0 WHERE topic_id = :topic;

-- over: Topics whose time is up: of one that is gone, or itself over, and all that descend from it, the last ones first.
WITH RECURSIVE descent (id, depth) AS (
    SELECT coalesce(gone_id, id), 0 FROM topics WHERE name = :name
    UNION ALL
    SELECT topic_id, depth + 1 FROM descent JOIN forks ON forks.source_id = descent.id
)
SELECT json_group_array(name) FROM (
    SELECT name FROM descent JOIN topics ON topics.id = descent.id
    WHERE live AND deadline <= :now ORDER BY depth DESC
);

-- ---- events -----------------------------------------------------------------------------------------------

-- put_plain: Events that leave everything to the log; each row says where in the blob its data begins.
INSERT INTO events (position, topic_id, entry, recorded_at, data)
SELECT
    value ->> 0, value ->> 1, value ->> 2, :recorded_at, substr(:data, value ->> 3, value ->> 4)
FROM json_each(:rows);

-- put_events: Events with attributes.
INSERT INTO events (
    position, topic_id, entry, recorded_at, data,
    expires_at, type, id, source, time, key, tags, extensions, content_type
)
SELECT
    value ->> 0, value ->> 1, value ->> 2, :recorded_at, substr(:data, value ->> 3, value ->> 4),
    value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12,
    value ->> 13
FROM json_each(:rows);

-- put_event: One event by parameters, for texts that hold a NUL: SQLite's JSON would cut them off there.
INSERT INTO events (
    position, topic_id, entry, expires_at, type, id, source, time, key, tags, extensions, content_type,
    recorded_at, data
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- put_tags: Which events have which tags.
INSERT OR IGNORE INTO event_tags (tag, position) SELECT value ->> 0, value ->> 1 FROM json_each(:tags);

-- ---- memories ---------------------------------------------------------------------------------------------

-- producers: What is remembered of the producers that are asked for.
SELECT json_group_array(json_array(
    json_array(known.topic_id, known.producer_id),
    json_array(known.epoch, known.sequence, known.first, known.last, known.count)
))
FROM json_each(:keys) AS asked CROSS JOIN producers AS known
ON known.topic_id = asked.value ->> 0 AND known.producer_id = asked.value ->> 1;

-- put_producers: The last accepted request of producers.
INSERT OR REPLACE INTO producers (topic_id, producer_id, epoch, sequence, first, last, count)
SELECT
    value ->> '$[0][0]', value ->> '$[0][1]',
    value ->> '$[1][0]', value ->> '$[1][1]', value ->> '$[1][2]', value ->> '$[1][3]', value ->> '$[1][4]'
FROM json_each(:rows);

-- receipts: The first answers to the Idempotency-Keys that are asked for.
SELECT json_group_array(json_array(
    json_array(known.topic_id, known.key), json_array(known.recorded_at, known.first, known.last, known.count)
))
FROM json_each(:keys) AS asked CROSS JOIN receipts AS known
ON known.topic_id = asked.value ->> 0 AND known.key = asked.value ->> 1;

-- put_receipts: First answers to Idempotency-Keys.
INSERT OR REPLACE INTO receipts (topic_id, key, recorded_at, first, last, count)
SELECT
    value ->> '$[0][0]', value ->> '$[0][1]',
    value ->> '$[1][0]', value ->> '$[1][1]', value ->> '$[1][2]', value ->> '$[1][3]'
FROM json_each(:rows);

-- ids: Where events stand whose id and source are asked for.
SELECT json_group_array(json_array(
    json_array(known.topic_id, known.source, known.id), json_array(known.recorded_at, known.position)
))
FROM json_each(:keys) AS asked CROSS JOIN ids AS known
ON known.topic_id = asked.value ->> 0 AND known.source = asked.value ->> 1 AND known.id = asked.value ->> 2;

-- put_ids: Explicit ids of events.
INSERT OR REPLACE INTO ids (topic_id, source, id, recorded_at, position)
SELECT
    value ->> '$[0][0]', value ->> '$[0][1]', value ->> '$[0][2]', value ->> '$[1][0]', value ->> '$[1][1]'
FROM json_each(:rows);

-- forget_receipts: Drop first answers of a topic that were given up to :moment.
DELETE FROM receipts WHERE (topic_id, key) IN (
    SELECT topic_id, key FROM receipts WHERE topic_id = :topic AND recorded_at <= :moment LIMIT :limit
);

-- forget_ids: Drop explicit ids of a topic that were recorded up to :moment.
DELETE FROM ids WHERE (topic_id, source, id) IN (
    SELECT topic_id, source, id FROM ids WHERE topic_id = :topic AND recorded_at <= :moment LIMIT :limit
);

-- forget_producers: Drop producers of a deleted topic.
DELETE FROM producers WHERE (topic_id, producer_id) IN (
    SELECT topic_id, producer_id FROM producers WHERE topic_id = :topic LIMIT :limit
);

-- ---- sweeping ---------------------------------------------------------------------------------------------

-- superseded: Of the next :scan events after :compared, how many there are and the last; and the events they replace.
WITH newer AS MATERIALIZED (
    SELECT position, key FROM events
    WHERE topic_id = :topic AND position > :compared ORDER BY position LIMIT :scan
)
SELECT json_array(
    (SELECT count(*) FROM newer),
    (SELECT coalesce(max(position), :compared) FROM newer),
    json((
        SELECT json_group_array(json_array(position, size)) FROM (
            SELECT DISTINCT older.position AS position, length(older.data) AS size
            FROM newer CROSS JOIN events AS older
            ON older.topic_id = :topic AND older.key = newer.key AND older.position < newer.position
            WHERE newer.key IS NOT NULL LIMIT :limit
        )
    ))
);

-- expired: Events whose own time is up.
SELECT json_group_array(json_array(position, size)) FROM (
    SELECT position, length(data) AS size FROM events
    WHERE topic_id = :topic AND expires_at <= :now ORDER BY expires_at LIMIT :limit
);

-- oldest: The oldest events of a topic, with the time each was recorded.
SELECT json_group_array(json_array(position, size, recorded_at)) FROM (
    SELECT position, length(data) AS size, recorded_at FROM events
    WHERE topic_id = :topic ORDER BY position LIMIT :limit
);

-- orphaned: A deleted topic that still owns something.
SELECT min(topic_id) FROM orphans WHERE kept = 0;

-- forget_orphan: It owns nothing any more.
DELETE FROM orphans WHERE topic_id = :topic;

-- remove_tags: Drop the tags of events that are about to be removed.
DELETE FROM event_tags WHERE (tag, position) IN (
    SELECT tag.value, events.position FROM json_each(:positions) AS victim
    CROSS JOIN events ON events.position = victim.value CROSS JOIN json_each(events.tags) AS tag
);

-- remove_events: Remove events.
DELETE FROM events WHERE position IN (SELECT value FROM json_each(:positions));

-- ---- those who send their batches here -----------------------------------------------------------------------

-- put_batch: Keep a sender's last batch: its number, its answer, and when.
INSERT OR REPLACE INTO batches (sender, number, answer, recorded_at) VALUES (?, ?, ?, ?);

-- batches: Each sender with the number of its last batch.
SELECT json_group_array(json_array(sender, number)) FROM batches;

-- batch: The answer to a sender's last batch.
SELECT answer FROM batches WHERE sender = :sender;

-- forget_batches: Forget the senders that have been silent since a moment.
DELETE FROM batches WHERE recorded_at < :before;
