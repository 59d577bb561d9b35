rec {
  fireactions = ../../modules/fireactions;
  fireteact = ../../modules/fireteact;
  microvm-base = ../../modules/microvm-base;
  registry-cache = ../../modules/registry-cache;
  default = fireactions;
  # The name of before.
  fireactions-node = fireactions;
}
