-- Times are microseconds since 1970 (UTC). JSON columns hold the serde form of the model's types.

CREATE TABLE machines (
    id          TEXT PRIMARY KEY,
    pool        TEXT NOT NULL,
    shape       TEXT NOT NULL,              -- JSON Shape
    state       TEXT NOT NULL,
    step        TEXT NOT NULL,
    slot        INTEGER NOT NULL UNIQUE,    -- address, MAC and uid are made from it
    pid         INTEGER,
    start_ticks INTEGER,                    -- field 22 of /proc/PID/stat: tells a reused pid
    image       TEXT,                       -- digest, pinned while the row exists
    job         TEXT,
    failure     TEXT,                       -- JSON Failure
    phases      TEXT NOT NULL DEFAULT '{}', -- JSON PhaseTimes
    created_at  INTEGER NOT NULL,
    state_since INTEGER NOT NULL
) STRICT;

CREATE TABLE journal (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    machine TEXT NOT NULL REFERENCES machines (id) ON DELETE CASCADE,
    at      INTEGER NOT NULL,
    step    TEXT NOT NULL,
    detail  TEXT NOT NULL                   -- JSON, whatever undoing the step needs
) STRICT;
CREATE INDEX journal_by_machine ON journal (machine, seq);

CREATE TABLE pools (
    name   TEXT PRIMARY KEY,
    paused INTEGER NOT NULL,
    min    INTEGER,                         -- both or neither
    max    INTEGER,
    CHECK ((min IS NULL) = (max IS NULL))
) STRICT;

CREATE TABLE jobs (
    seq              INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of the queue, kept by a retry
    id               TEXT NOT NULL UNIQUE,
    spec             TEXT NOT NULL,                     -- JSON JobSpec
    state            TEXT NOT NULL,
    attempt          INTEGER NOT NULL DEFAULT 0,
    pool             TEXT,
    machine          TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    outcome          TEXT,                              -- JSON Outcome
    reason           TEXT,
    usage            TEXT NOT NULL DEFAULT '{"user_us":0,"system_us":0,"max_rss_kib":0,"oom_kills":0}',
    phases           TEXT NOT NULL DEFAULT '{}',
    notes            TEXT NOT NULL DEFAULT '[]',
    queued_at        INTEGER NOT NULL,
    assigned_at      INTEGER,
    started_at       INTEGER,
    finished_at      INTEGER
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state, seq);
CREATE INDEX jobs_by_end ON jobs (finished_at) WHERE finished_at IS NOT NULL;

-- One row per start of a job. `machine` is unique: no machine ever gets a second job, and a machine that
-- tells the end of its job twice is recognised although the job may be on its next attempt by then.
CREATE TABLE attempts (
    job         INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    attempt     INTEGER NOT NULL,
    machine     TEXT NOT NULL UNIQUE,
    pool        TEXT NOT NULL,
    assigned_at INTEGER NOT NULL,
    started_at  INTEGER,
    ended_at    INTEGER,
    outcome     TEXT,
    PRIMARY KEY (job, attempt)
) STRICT;

-- Machines that left without work: nothing is bound to them any more.
CREATE TABLE released (
    machine TEXT PRIMARY KEY,
    at      INTEGER NOT NULL
) STRICT;
