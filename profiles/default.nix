# The profiles: each file beside this one, by its name. A host gets those of its tags, in alphabetical order, over the base and below its
# own hosts/NAME.nix. A new file is a new profile; it need not be added here.
{ ... }:
import ../nix/tags.nix { directory = ./.; }
