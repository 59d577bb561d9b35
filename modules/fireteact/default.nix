# services.fireteact: runners of Gitea and Forgejo. The same module as services.fireactions, beside which it runs.
import ../fireactions/module.nix { instance = (import ../../nix/instances.nix).fireteact; }
