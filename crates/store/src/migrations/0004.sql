-- Seconds for which a machine is held once its job has ended, because an operator wants to look into it.
ALTER TABLE machines ADD COLUMN hold_secs INTEGER;
