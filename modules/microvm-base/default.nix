# services.microvm-base: what hosts of microVMs have in common.
{ config, lib, ... }:
let cfg = config.services.microvm-base; in
{
  imports = [ ./options.nix ./security ];
  config = lib.mkIf cfg.enable {
    warnings = lib.optional (cfg.containerd.enable != null || cfg.containerd.thinPoolSize != null)
      "services.microvm-base.containerd has no effect: the server converts images itself, without containerd"
    ++ lib.concatMap
      (name: lib.optional (cfg.bridges.${name}.externalInterface != null)
        "services.microvm-base.bridges.${name}.externalInterface has no effect: packets leave by the host's routes")
      (lib.attrNames cfg.bridges);

    boot.kernelModules = [ "tun" "bridge" "nf_conntrack" "nf_conntrack_netlink" "vhost_vsock" ];
    boot.kernel.sysctl."net.ipv4.ip_forward" = lib.mkOverride 990 1;
  };
}
