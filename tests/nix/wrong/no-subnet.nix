# says: services.fireactions.networking.subnet / '10.200.0.0' is no IPv4 network; write it as 10.200.0.0/24
{ services.fireactions = { enable = true; networking.subnet = "10.200.0.0"; pools = [{ name = "default"; }]; }; }
