# hosts/runner-3.nix: a host that was started from the image `image-qcow2` has the image's disk, not the one that a deployment makes.
{
  imports = [ ../../images/qcow2.nix ];
  disko.enableConfig = false;

  services.fireactions.github.organization = "YOUR-ORG";
}
