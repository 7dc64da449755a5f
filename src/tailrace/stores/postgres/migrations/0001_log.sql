-- The log: one totally ordered sequence of events, and the topics they belong to. @name is a table of this log.

CREATE TABLE @log (  -- one row: whoever changes anything of the log updates it first, so that changes come one by one
    one integer PRIMARY KEY CHECK (one = 1),
    format integer NOT NULL,
    epoch bigint NOT NULL,
    last bigint NOT NULL,  -- the last position taken: never derived from the events, which may be removed
    recorded_at bigint NOT NULL,  -- of the newest event, in milliseconds since 1970: time never runs backwards
    newest_topic bigint NOT NULL,  -- the highest id of a topic that was ever given
    change bigint NOT NULL,  -- rises with all that is more than events for open topics: what is remembered of them holds
    server text NOT NULL  -- which server, and since which promotion or restoration: when it differs, data may be lost
) WITH (fillfactor = 10);

CREATE TABLE @epochs (  -- past ones, and where each ended
    epoch bigint PRIMARY KEY,
    last bigint NOT NULL
);

CREATE TABLE @nodes (  -- the last batch of each node, so that one that lost the answer can look for it
    node text PRIMARY KEY,
    batch bigint NOT NULL,
    base bigint NOT NULL,  -- it went after this position
    recorded_at bigint NOT NULL
) WITH (fillfactor = 10);

-- Every name that ever was a topic, because its marks outlive it. What a topic owns is stored under its id; deleting
-- it gives the name another id, so that all the old id owned is out of reach at once and removed later, bit by bit.
CREATE TABLE @topics (
    name text COLLATE "C" PRIMARY KEY,
    id bigint NOT NULL,
    config text NOT NULL,
    created_at bigint NOT NULL,
    live boolean NOT NULL,  -- false: deleted
    closed_at bigint,  -- the position that closing took
    deleted_at bigint NOT NULL,  -- the position that the last deletion took, or 0
    removed_through bigint NOT NULL,
    compacted_through bigint NOT NULL,
    compared_through bigint NOT NULL,  -- up to here compaction has left one event of each key
    events bigint NOT NULL,
    size bigint NOT NULL,
    tail bigint NOT NULL,  -- of its newest event, kept or not
    touched_at bigint NOT NULL,  -- its last use; true of those that have idle_seconds
    deadline bigint,  -- when its time is up, unless it is used before
    stream_seq text,  -- the last one accepted
    gone_id bigint  -- not live: the id it had, if there are forks of it
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX #topics_by_id ON @topics (id);
CREATE INDEX #topics_by_removal ON @topics (removed_through);
CREATE INDEX #topics_by_compaction ON @topics (compacted_through);
CREATE INDEX #topics_by_deadline ON @topics (deadline) WHERE deadline IS NOT NULL;

CREATE TABLE @orphans (  -- ids of deleted topics that still own something
    topic_id bigint PRIMARY KEY,
    name text NOT NULL,
    kept boolean NOT NULL,  -- there are forks of it
    removed_through bigint NOT NULL  -- before it was deleted
);
CREATE INDEX #orphans_by_kept ON @orphans (kept);

-- Keyed by id, so that a fork goes on when its source, or it itself, has been deleted and forks of it are left.
CREATE TABLE @forks (
    topic_id bigint PRIMARY KEY,
    source_id bigint NOT NULL,
    source_name text NOT NULL,
    position bigint NOT NULL,  -- it has inherited what stands in its source up to here
    part bigint NOT NULL,
    born bigint NOT NULL  -- the position that its birth took
);
CREATE INDEX #forks_by_source ON @forks (source_id);

-- NULL stands for the usual: type 'message', id '<epoch>-<position>', source '/topics/<topic>', time recorded_at,
-- content_type 'application/json' ('' for none). tags and extensions are JSON.
CREATE TABLE @events (
    position bigint PRIMARY KEY,
    topic_id bigint NOT NULL,
    entry bigint NOT NULL,
    recorded_at bigint NOT NULL,
    expires_at bigint,
    type text,
    id text,
    source text,
    time text,
    key text,
    tags text,
    extensions text,
    content_type text,
    data bytea NOT NULL
);
CREATE INDEX #events_by_topic ON @events (topic_id, position);
CREATE INDEX #events_by_key ON @events (topic_id, key, position) WHERE key IS NOT NULL;
CREATE INDEX #events_by_expiry ON @events (topic_id, expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE @event_tags (
    tag text COLLATE "C",
    position bigint,
    PRIMARY KEY (tag, position)
);

-- What is remembered of earlier requests: the three memories of `log/store.py: Entry`.

CREATE TABLE @producers (
    topic_id bigint,
    producer_id text COLLATE "C",
    epoch bigint NOT NULL,
    sequence bigint NOT NULL,
    first bigint,
    last bigint,
    count bigint NOT NULL,
    PRIMARY KEY (topic_id, producer_id)
) WITH (fillfactor = 50);

CREATE TABLE @receipts (  -- by Idempotency-Key
    topic_id bigint,
    key text COLLATE "C",
    recorded_at bigint NOT NULL,
    first bigint,
    last bigint,
    count bigint NOT NULL,
    PRIMARY KEY (topic_id, key)
);
CREATE INDEX #receipts_by_age ON @receipts (topic_id, recorded_at);

CREATE TABLE @ids (  -- explicit event ids within the topic's window; they outlive their events
    topic_id bigint,
    source text COLLATE "C",
    id text COLLATE "C",
    recorded_at bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (topic_id, source, id)
);
CREATE INDEX #ids_by_age ON @ids (topic_id, recorded_at);
