# In sops-nix's place where its own module is not named: the options that are used.
{ lib, ... }:
let inherit (lib) mkOption types; any = mkOption { type = types.anything; default = null; }; in
{
  options.sops = {
    defaultSopsFile = any;
    validateSopsFiles = any;
    age = { sshKeyPaths = any; keyFile = any; generateKey = any; };
    secrets = mkOption {
      default = { };
      type = types.attrsOf (types.submodule ({ name, ... }: {
        options = {
          key = any;
          mode = any;
          owner = any;
          group = any;
          restartUnits = any;
          path = mkOption { type = types.str; default = "/run/secrets/${name}"; };
        };
      }));
    };
  };
}
