# The packages, for other flakes. Firecracker stays nixpkgs' own.
final: _: {
  inherit (import ./packages { pkgs = final; })
    fireactions fireteact fireactions-agent firecracker-kernel firecracker-kernel-custom tc-redirect-tap zot;
}
