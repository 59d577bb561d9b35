# builds: app_private_key
{ services.fireactions = { enable = true; settings.github.app_private_key = "x"; pools = [{ name = "default"; }]; }; }
