# builds: unknown key 'max_runers'
{ services.fireactions = { enable = true; pools = [{ name = "default"; settings.max_runers = 4; }]; }; }
