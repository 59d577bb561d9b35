# Options → the file that the server reads, checked by the server itself when the system is built.
{ instance }:
{ config, lib, pkgs, ... }:
let
  cfg = config.services.${instance.name};
  base = config.services.microvm-base;
  cache = config.services.registry-cache;
  packages = import ../../pkgs { inherit pkgs; };
  secrets = import ../../nix/secrets.nix { inherit instance cfg; };

  kernels = {
    upstream = { image = "${packages.firecracker-kernel.override { version = cfg.kernelVersion; }}/vmlinux"; modules = null; };
    custom = { image = "${packages.firecracker-kernel-custom.override { version = cfg.kernelVersion; }}/vmlinux"; modules = null; };
    nixpkgs = {
      image = "${lib.getDev cfg.kernelPackage}/vmlinux";
      modules = "${lib.getOutput "modules" cfg.kernelPackage}/lib/modules/${cfg.kernelPackage.modDirVersion or cfg.kernelPackage.version}";
    };
  };
  kernel = if cfg.settings.kernel.image or null != null then { image = null; modules = null; } else kernels.${cfg.kernelSource};

  rendered = import ../../nix/engine.nix {
    inherit instance cfg;
    host = {
      cache = if cache.enable then cache.guestPorts else null;
      registries = if cache.enable then (import ../../nix/cache.nix).server cache "${packages.zot}/bin/zot" else null;
      dns = base.dns.upstreamServers;
      kernelArgs = base.kernel.args;
    };
    paths = {
      kernel = kernel.image;
      kernelModules = kernel.modules;
      agent = "${cfg.agentPackage}/bin/fireactions-agent";
      firecracker = "${cfg.firecrackerPackage}/bin/firecracker";
      jailer = "${cfg.firecrackerPackage}/bin/jailer";
      qemu = "${cfg.qemuPackage}/bin/qemu-system-x86_64";
    };
  };

  # What checks must run where the system is built.
  runs = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
  checker = if runs then cfg.package else (import ../../pkgs { pkgs = pkgs.buildPackages; }).fireactions;
  samples = map (entry: "-e 's|${secrets.placeholder entry.name}|${entry.sample}|g'") secrets.values;
  checked = pkgs.runCommand "${instance.name}.yaml"
    { text = (pkgs.formats.yaml { }).generate "${instance.name}-unchecked.yaml" rendered; }
    ''
      sed -e 's/^//' ${toString samples} "$text" > sample.yaml
      if ! ${checker}/bin/fireactions validate --any-host sample.yaml >&2; then
        echo "services.${instance.name}: the server refuses this configuration, for the reason above. Keys come from the options of the" >&2
        echo "same name (max_runners: maxRunners), from services.${instance.name}.settings and from pools.*.settings." >&2
        exit 1
      fi
      cp "$text" "$out"
    '';
in
{
  config = lib.mkIf cfg.enable {
    services.${instance.name}.renderedConfig = rendered;
    environment.etc."${instance.name}/config.yaml".source = if cfg.configFile != null then cfg.configFile else checked;
  };
}
