-- The log: one totally ordered sequence of events, and the topics they belong to.

CREATE TABLE log (  -- one row
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    last INTEGER NOT NULL,  -- the last position taken: never derived from the events, which may be removed
    recorded_at INTEGER NOT NULL  -- of the newest event, in milliseconds since 1970: time never runs backwards
) STRICT;

CREATE TABLE epochs (  -- past ones, and where each ended
    epoch INTEGER PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT;

-- Every name that ever was a topic, because its marks outlive it. What a topic owns is stored under its id; deleting
-- it gives the name another id, so that all the old id owned is out of reach at once and removed later, bit by bit.
CREATE TABLE topics (
    id INTEGER PRIMARY KEY,  -- rises with every creation and deletion, so its maximum tells whether names are new
    name TEXT NOT NULL UNIQUE,
    config TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    live INTEGER NOT NULL,  -- 0: deleted
    closed_at INTEGER,  -- the position that closing took
    deleted_at INTEGER NOT NULL,  -- the position that the last deletion took, or 0
    removed_through INTEGER NOT NULL,
    compacted_through INTEGER NOT NULL,
    compared_through INTEGER NOT NULL,  -- up to here compaction has left one event of each key
    events INTEGER NOT NULL,
    size INTEGER NOT NULL
) STRICT;
CREATE INDEX topics_by_removal ON topics (removed_through);
CREATE INDEX topics_by_compaction ON topics (compacted_through);

CREATE TABLE orphans (  -- ids of deleted topics that still own something
    topic_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;

-- NULL stands for the usual: type 'message', id '<epoch>-<position>', source '/topics/<topic>', time recorded_at,
-- content_type 'application/json' ('' for none). tags and extensions are JSON.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    topic_id INTEGER NOT NULL,
    entry INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    expires_at INTEGER,
    type TEXT,
    id TEXT,
    source TEXT,
    time TEXT,
    key TEXT,
    tags TEXT,
    extensions TEXT,
    content_type TEXT,
    data BLOB NOT NULL
) STRICT;
CREATE INDEX events_by_topic ON events (topic_id);  -- and position, which every index ends with
CREATE INDEX events_by_key ON events (topic_id, key) WHERE key IS NOT NULL;
CREATE INDEX events_by_expiry ON events (topic_id, expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE event_tags (
    tag TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (tag, position)
) STRICT, WITHOUT ROWID;

-- What is remembered of earlier requests: the three memories of `log/store.py: Entry`.

CREATE TABLE producers (
    topic_id INTEGER NOT NULL,
    producer_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    first INTEGER,
    last INTEGER,
    count INTEGER NOT NULL,
    PRIMARY KEY (topic_id, producer_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE receipts (  -- by Idempotency-Key
    topic_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    first INTEGER,
    last INTEGER,
    count INTEGER NOT NULL,
    PRIMARY KEY (topic_id, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipts_by_age ON receipts (topic_id, recorded_at);

CREATE TABLE ids (  -- explicit event ids within the topic's window; they outlive their events
    topic_id INTEGER NOT NULL,
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    recorded_at INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (topic_id, source, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX ids_by_age ON ids (topic_id, recorded_at);
