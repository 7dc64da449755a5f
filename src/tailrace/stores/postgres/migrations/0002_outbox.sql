-- What other transactions of this database want published: it stands here exactly if they have committed, until a node
-- has placed it in the log.

CREATE TABLE @outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    data bytea NOT NULL,
    type text NOT NULL,
    content_type text,
    event_id text,
    source text,
    time text,
    key text,
    tags text[] NOT NULL,
    extensions text,
    expires_at bigint,
    refused text  -- why the log does not take it
);

CREATE FUNCTION @publish_bytes(
    topic text,
    data bytea,
    content_type text DEFAULT 'application/octet-stream',
    type text DEFAULT 'message',
    key text DEFAULT NULL,
    tags text[] DEFAULT '{}',
    id text DEFAULT NULL,
    source text DEFAULT NULL,
    happened_at text DEFAULT NULL,
    expires_at bigint DEFAULT NULL,
    extensions text DEFAULT NULL
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    INSERT INTO @outbox (
        topic, data, type, content_type, event_id, source, time, key, tags, extensions, expires_at
    ) VALUES ($1, $2, $4, $3, $7, $8, $9, $5, coalesce($6, '{}'), $11, $10);
    SELECT pg_notify('~channel', '');
$$;

CREATE FUNCTION @publish(
    topic text,
    data jsonb,
    type text DEFAULT 'message',
    key text DEFAULT NULL,
    tags text[] DEFAULT '{}',
    id text DEFAULT NULL,
    source text DEFAULT NULL
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT @publish_bytes(
        $1, convert_to($2::text, 'UTF8'), 'application/json', $3, $4, $5, $6, $7, NULL, NULL, NULL
    );
$$;
