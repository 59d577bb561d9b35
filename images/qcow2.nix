# A disk for QEMU and KVM: libvirt, Proxmox, OpenStack. Boots from BIOS and from UEFI.
# A host of the fleet that was started from it imports this file too (docs/deployment.md, "Images").
{ lib, modulesPath, pkgs, ... }: {
  imports = [ ./_cloud.nix (modulesPath + "/profiles/qemu-guest.nix") ];

  services.qemuGuest.enable = true;
  services.cloud-init.settings.datasource_list = [ "ConfigDrive" "DigitalOcean" "NoCloud" "None" ];

  boot.loader.grub.device = if pkgs.stdenv.hostPlatform.isx86_64 then "/dev/vda" else "nodev";
  boot.kernelParams = lib.mkAfter [ (if pkgs.stdenv.hostPlatform.isx86_64 then "console=ttyS0" else "console=ttyAMA0") ];
  boot.growPartition = true;
  fileSystems."/" = { device = "/dev/disk/by-label/nixos"; fsType = "ext4"; autoResize = true; };
  fileSystems."/boot" = { device = "/dev/disk/by-label/ESP"; fsType = "vfat"; };
}
