# The host below the services: guests' kernel, names, and the host's security.
{ lib, pkgs, ... }:
let
  inherit (lib) mkOption mkEnableOption types;
  old = type: mkOption { type = types.nullOr type; default = null; description = "Of nixos-fireactions. Without effect: the server converts images itself, without containerd."; };
in
{
  options.services.microvm-base = {
    enable = mkEnableOption "what hosts of microVMs have in common; a service switches it on";
    bridges = mkOption {
      default = { };
      description = "The services' bridges, by the services' names. They register them themselves.";
      type = types.attrsOf (types.submodule {
        options = {
          bridgeName = mkOption { type = types.str; description = "The bridge."; };
          subnet = mkOption { type = types.str; description = "Its network."; };
          externalInterface = mkOption { type = types.nullOr types.str; default = null; description = "Without effect: packets leave by the host's routes."; };
        };
      });
    };
    dns.upstreamServers = mkOption { type = types.nullOr (types.listOf types.str); default = null; example = [ "8.8.8.8" "1.1.1.1" ]; description = "DNS servers that guests are told; null: the server's own default."; };
    containerd = { enable = old types.bool; thinPoolSize = old types.str; };
    kernel = {
      source = mkOption { type = types.enum [ "upstream" "custom" "nixpkgs" ]; default = "upstream"; description = "Guests' kernel: Firecracker's own, one that runs Docker with bridges, or nixpkgs'."; };
      version = mkOption { type = types.str; default = "6.1.141"; description = "Its version, for `upstream` and `custom`."; };
      package = mkOption { type = types.package; default = pkgs.linuxPackages.kernel; defaultText = lib.literalExpression "pkgs.linuxPackages.kernel"; description = "nixpkgs' kernel."; };
      args = mkOption { type = types.str; default = ""; description = "Appended to the kernel command line of all guests."; };
    };
    security = {
      enable = mkEnableOption "the host's hardening";
      hardening = {
        sysctls.enable = mkOption { type = types.bool; default = true; description = "Kernel settings (nix/sysctls.nix)."; };
        disableHyperthreading = mkOption { type = types.bool; default = false; description = "Whether SMT is off, and all mitigations of side channels are on. Guests of two jobs then never share a core; the host has half of its threads."; };
      };
      storage = {
        enable = mkEnableOption "what protects the guests' data on the disk";
        encryption = {
          enable = mkOption { type = types.bool; default = false; description = "Whether a service's whole state directory is a file system encrypted with a key that is made at boot and that only the kernel has. After a reboot **nothing of it is left**: images are fetched again; rows, logs and artifacts of jobs are gone. Forges elsewhere tell again which jobs wait."; };
          size = mkOption { type = types.str; default = "50G"; description = "Size of that file system. Its file is sparse: only what is written takes space."; };
        };
        secureDelete = {
          enable = mkOption { type = types.bool; default = true; description = "Whether blocks of removed files are given back, every 30 minutes and when the host stops."; };
          method = mkOption { type = types.enum [ "discard" "zero" ]; default = "discard"; description = "`zero` also overwrites the encrypted file system when the host stops; it needs `encryption.enable`."; };
        };
        tmpfsSecrets = {
          enable = mkOption { type = types.bool; default = true; description = "Whether there is a directory in memory for secrets, which is never swapped out."; };
          size = mkOption { type = types.str; default = "64M"; description = "Its size."; };
          path = mkOption { type = types.path; default = "/run/microvm-base/secrets"; description = "Where it is."; };
        };
      };
    };
    stateDirectories = mkOption { type = types.attrsOf types.path; default = { }; internal = true; description = "State directories of the services, by name."; };
  };
}
