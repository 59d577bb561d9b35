# Tags of hosts and the profiles that they name: each `NAME.nix` (or `NAME/default.nix`) of a directory is one. `default.nix` is the
# directory's index, and what begins with `_` is for profiles to share.
#   more  another directory of profiles; of one name, its own counts
{ directory, more ? null }:
let
  util = import ./util.nix;
  profilesIn = directory:
    let
      files = builtins.readDir directory;
      profileOf = file:
        let name = builtins.match "([^_.].*)[.]nix" file;
        in if files.${file} == "directory" && builtins.pathExists (directory + "/${file}/default.nix") && !util.hasPrefix "_" file then [ file ]
        else if name != null && name != [ "default" ] && files.${file} != "directory" then name else [ ];
      pathOf = name: if files ? "${name}.nix" then directory + "/${name}.nix" else directory + "/${name}";
    in
    builtins.listToAttrs (map (name: { inherit name; value = pathOf name; }) (builtins.concatMap profileOf (builtins.attrNames files)));
  distinct = list: builtins.attrNames (builtins.listToAttrs (map (name: { inherit name; value = null; }) list));
in
rec {
  allProfiles = profilesIn directory // (if more == null then { } else profilesIn more);

  # Sorted.
  availableProfiles = builtins.attrNames allProfiles;

  # What is wrong with a tag; null where it has a profile.
  mistake = tag:
    if builtins.elem tag availableProfiles then null
    else "there is no profile '${tag}': known are ${builtins.concatStringsSep ", " availableProfiles}${util.didYouMean tag availableProfiles}";

  # The profiles of these tags, in the tags' alphabetical order. A tag without a profile is an error.
  getProfilesForTags = tags:
    map (tag: allProfiles.${tag} or (throw "tags: ${mistake tag} (add profiles/${tag}.nix, or correct the tag in hosts/registry.json)"))
      (distinct tags);
}
