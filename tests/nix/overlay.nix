# Stands in for what tests do not build: programs and kernels that only their paths matter of. `binary` is the server under test.
{ binary }:
final: prev:
let
  files = name: paths: final.runCommand name { } ''
    ${builtins.concatStringsSep "\n" (map (path: "mkdir -p $out/${dirOf path}; printf '#!/bin/sh\\n' > $out/${path}; chmod +x $out/${path}") paths)}
  '';
  # As callPackage's results can be.
  kernel = name: final.lib.makeOverridable ({ version ? "6.1.141" }: files "${name}-${version}" [ "vmlinux" ]) { };
in
{
  fireactionsUnderTest = {
    fireactions = final.runCommand "fireactions" { meta.mainProgram = "fireactions"; } "mkdir -p $out/bin; ln -s ${binary} $out/bin/fireactions";
    fireactions-agent = files "fireactions-agent" [ "bin/fireactions-agent" ];
    firecracker-kernel = kernel "firecracker-kernel";
    firecracker-kernel-custom = kernel "firecracker-kernel-custom";
    firecracker = files "firecracker" [ "bin/firecracker" "bin/jailer" ];
    zot = files "zot" [ "bin/zot" ];
  };
}
  # A stand-in of nixpkgs: its kernel stays what it is when NixOS adds patches to it.
// (if prev ? rustPlatform then { } else {
  nixos-firewall-tool = files "nixos-firewall-tool" [ "bin/nixos-firewall-tool" ];
  linuxPackages = prev.linuxPackages.extend (_: before:
    let kernel = before.kernel // { override = _: kernel; overrideAttrs = _: kernel; }; in { inherit kernel; });
})
