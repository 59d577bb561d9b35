# The disk: boots from BIOS and from UEFI; the rest is one logical volume. Each system says which disk.
{ lib, ... }: {
  disko.devices = {
    disk.disk1 = {
      type = "disk";
      device = lib.mkDefault "/dev/sda";
      content = {
        type = "gpt";
        partitions = {
          boot = { name = "boot"; size = "1M"; type = "EF02"; };
          esp = {
            name = "ESP";
            size = "500M";
            type = "EF00";
            content = { type = "filesystem"; format = "vfat"; mountpoint = "/boot"; mountOptions = [ "umask=0077" ]; };
          };
          root = { name = "root"; size = "100%"; content = { type = "lvm_pv"; vg = "pool"; }; };
        };
      };
    };
    lvm_vg.pool = {
      type = "lvm_vg";
      lvs.root = { size = "100%FREE"; content = { type = "filesystem"; format = "ext4"; mountpoint = "/"; }; };
    };
  };
}
