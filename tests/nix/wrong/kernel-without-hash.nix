# says: services.fireactions.kernelVersion / no hash is known for the upstream kernel 6.6.1; known are 6.1.141
{ services.fireactions = { enable = true; kernelVersion = "6.6.1"; pools = [{ name = "default"; }]; }; }
