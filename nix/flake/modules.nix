# As sets, which every `nix flake check` takes; a module that is imported twice is still one, by its path.
let module = path: { imports = [ path ]; }; in
rec {
  fireactions = module ../../modules/fireactions;
  fireteact = module ../../modules/fireteact;
  fireglab = module ../../modules/fireglab;
  microvm-base = module ../../modules/microvm-base;
  registry-cache = module ../../modules/registry-cache;
  queue = module ../../modules/queue;
  default = fireactions;
  # The name of before.
  fireactions-node = fireactions;
}
