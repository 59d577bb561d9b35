# says: services.fireactions.pools / two pools are called 'default'; give each pool a name of its own
{ services.fireactions = { enable = true; pools = [{ name = "default"; } { name = "default"; }]; }; }
