# says: services.fireactions.github: pools have an organization, but nothing says how GitHub is asked
{ services.fireactions = { enable = true; pools = [{ name = "default"; runner.organization = "o"; }]; }; }
