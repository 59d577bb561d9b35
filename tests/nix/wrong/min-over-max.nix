# says: services.fireactions.pools / pool 'default' has minRunners 3, more than its maxRunners 2; lower the one or raise the other
{ services.fireactions = { enable = true; pools = [{ name = "default"; minRunners = 3; maxRunners = 2; }]; }; }
