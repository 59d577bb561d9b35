# DigitalOcean: addresses and the host's name come from cloud-init.
{ lib, modulesPath, ... }: {
  imports = [ (modulesPath + "/virtualisation/digital-ocean-config.nix") ];
  # The root is a logical volume, which its service cannot grow.
  fileSystems."/".autoResize = lib.mkForce false;
  networking.useDHCP = lib.mkForce false;
  networking.hostName = lib.mkOverride 90 "";
  services.cloud-init = {
    enable = true;
    network.enable = true;
    settings = {
      datasource_list = [ "ConfigDrive" "DigitalOcean" ];
      datasource = { ConfigDrive = { }; DigitalOcean = { }; };
    };
  };
}
