# says: services.fireglab.enable: GitLab is not supported yet
{ imports = [ ../../../modules/fireglab ]; services.fireglab = { enable = true; gitlab.instanceUrl = "https://gitlab.example.com"; }; }
