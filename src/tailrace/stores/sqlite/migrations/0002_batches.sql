-- The last batch of each process that sends its batches to the one that writes, with the answer it got: one that does
-- not know what became of its batch asks again, and is answered instead of stored a second time.

CREATE TABLE batches (
    sender TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    answer BLOB NOT NULL,
    recorded_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
