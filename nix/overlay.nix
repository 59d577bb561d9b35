# The packages, for other flakes. Firecracker stays nixpkgs' own.
final: _: {
  inherit (import ../pkgs { pkgs = final; })
    fireactions fireteact fireactions-agent firecracker-kernel firecracker-kernel-custom tc-redirect-tap zot;
}
