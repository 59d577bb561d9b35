-- A hosted forge's job and its runner: JSON RemoteJob. NULL for jobs of the built-in queue.
ALTER TABLE jobs ADD COLUMN remote TEXT;
-- The runner's one-job credential, from its making until its program runs. It is never part of a record.
ALTER TABLE jobs ADD COLUMN credential TEXT;

-- What tells this server's runners from another host's, where both have the same prefix. Made once.
ALTER TABLE host ADD COLUMN runner_key TEXT;
