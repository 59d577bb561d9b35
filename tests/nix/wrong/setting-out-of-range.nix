# throws: services.fireactions.settings.vmm.console_max_kib
{ services.fireactions = { enable = true; settings.vmm.console_max_kib = 1; pools = [{ name = "default"; }]; }; }
