# A disk for Azure: of generation 2, which is the only one that aarch64 has. Create the machine without secure boot.
# A host of the fleet that was started from it imports this file too (docs/deployment.md, "Images").
{ modulesPath, ... }: {
  imports = [ ./_cloud.nix (modulesPath + "/virtualisation/azure-image.nix") ];
  virtualisation.azureImage.vmGeneration = "v2";
}
