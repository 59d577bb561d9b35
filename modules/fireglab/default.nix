# services.fireglab: runners of GitLab, which the server does not have yet. Its options are read and mean nothing, so that the
# configuration of a fleet that imports the module evaluates; to enable it is a mistake.
{ config, lib, ... }:
{
  options.services.fireglab = lib.mkOption {
    type = lib.types.submodule {
      freeformType = lib.types.attrsOf lib.types.anything;
      options.enable = lib.mkOption {
        type = lib.types.bool;
        default = false;
        description = "Runners of GitLab. Not supported yet: leave it off.";
      };
    };
    default = { };
    description = "Runners of GitLab, which are not supported yet. All options are read, and none has an effect.";
  };
  config.assertions = [
    {
      assertion = !config.services.fireglab.enable;
      message = "services.fireglab.enable: GitLab is not supported yet, only GitHub (services.fireactions), Gitea and Forgejo (services.fireteact); set it to false, and leave runners of a GitLab to the fireglab of before";
    }
  ];
}
