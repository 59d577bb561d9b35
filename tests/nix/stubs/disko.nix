# In disko's place where its own module is not named: any layout, and the file systems that it would give.
{ config, lib, ... }: {
  options.disko.devices = lib.mkOption { type = lib.types.submodule { freeformType = lib.types.attrsOf lib.types.anything; }; default = { }; };
  options.disko.enableConfig = lib.mkOption { type = lib.types.bool; default = true; };
  config = lib.mkIf config.disko.enableConfig {
    fileSystems."/" = { device = "/dev/pool/root"; fsType = "ext4"; };
    boot.loader.grub.devices = [ "/dev/sda" ];
  };
}
