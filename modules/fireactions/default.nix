# services.fireactions: runners of GitHub.
import ./module.nix { instance = (import ../../nix/instances.nix).fireactions; }
