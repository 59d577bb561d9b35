# In disko's place where its own module is not named: any layout, and the file systems that it would give.
{ lib, ... }: {
  options.disko.devices = lib.mkOption { type = lib.types.submodule { freeformType = lib.types.attrsOf lib.types.anything; }; default = { }; };
  config.fileSystems."/" = { device = "/dev/pool/root"; fsType = "ext4"; };
  config.boot.loader.grub.devices = [ "/dev/sda" ];
}
