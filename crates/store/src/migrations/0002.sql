-- A machine lives by the configuration that it was made with, also when the next server has another.
-- JSON PoolSpec; NULL in rows of the first schema.
ALTER TABLE machines ADD COLUMN spec TEXT;
-- Until when a failed machine is kept to be looked into.
ALTER TABLE machines ADD COLUMN held_until INTEGER;

-- What was known of the last machine that was lost under the job: JSON Autopsy.
ALTER TABLE jobs ADD COLUMN autopsy TEXT;

-- The host as its operators want it: one row, made when there is something to say.
CREATE TABLE host (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    drained_at  INTEGER,                    -- no work is taken since; NULL: work is taken
    drained_why TEXT NOT NULL DEFAULT ''
) STRICT;
