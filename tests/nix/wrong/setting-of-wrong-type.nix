# throws: services.fireactions.settings.host.vcpus
{ services.fireactions = { enable = true; settings.host.vcpus = "many"; pools = [{ name = "default"; }]; }; }
