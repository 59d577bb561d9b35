# In nixos-generators' place: what its two formats make of a system, with nixpkgs' own maker of disks. A tree from before November 2024
# lacks an option for Azure, which is made up for here.
{ tree, nixosSystem }:
{ system, format, modules }:
let
  older = !builtins.pathExists (tree + "/nixos/modules/virtualisation/disk-size-option.nix");
  disk = { modulesPath, ... }@arguments: more: import (modulesPath + "/../lib/make-disk-image.nix") ({ inherit (arguments) config lib pkgs; } // more);
  formats = {
    qcow = { config, lib, modulesPath, pkgs, ... }@arguments: {
      fileSystems."/" = { device = "/dev/disk/by-label/nixos"; autoResize = true; fsType = "ext4"; };
      boot.growPartition = true;
      boot.kernelParams = [ "console=ttyS0" ];
      boot.loader.grub.device = lib.mkDefault "nodev";
      boot.loader.timeout = 0;
      system.build.image = disk arguments { format = "qcow2"; partitionTableType = "hybrid"; };
    };
    azure = { config, lib, modulesPath, ... }: {
      imports = [ (modulesPath + "/virtualisation/azure-image.nix") ];
      options = lib.optionalAttrs older { virtualisation.azureImage.vmGeneration = lib.mkOption { type = lib.types.enum [ "v1" "v2" ]; default = "v1"; }; };
      config = { system.build.image = lib.mkDefault config.system.build.azureImage; } // lib.optionalAttrs older {
        boot.loader.grub.device = lib.mkIf (config.virtualisation.azureImage.vmGeneration == "v2") (lib.mkForce "nodev");
        fileSystems."/boot" = { device = "/dev/disk/by-label/ESP"; fsType = "vfat"; };
      };
    };
  };
  # Without what only a whole nixpkgs has.
  lean = { pkgs, ... }: { documentation.enable = false; boot.initrd.enable = false; system.build = { initialRamdisk = pkgs.emptyDirectory; initialRamdiskSecretAppender = pkgs.emptyDirectory; }; };
  image = nixosSystem { inherit system; modules = [ formats.${format} lean ] ++ modules; };
in
image.config.system.build.image // { evaluated = image; }
