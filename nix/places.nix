# Where the server works: what `settings` say of it, over the options of the same meaning. The unit, the firewall and the checks
# follow this, as the server does.
#   instance  one of instances.nix
#   cfg       the service's options
{ instance, cfg }:
let
  util = import ./util.nix;
  # With a file of one's own, `settings` say nothing to the server.
  settings = if cfg.configFile == null then cfg.settings else { };
  place = value: setting: option: fromOption:
    if value == null then { option = option; value = fromOption; } else { option = "settings.${setting}"; inherit value; };
  storage = settings.actions_cache.storage_dir or null;
in
rec {
  # Each with the option that says it.
  said = {
    bridge = place (settings.network.bridge or null) "network.bridge" "networking.bridgeName" cfg.networking.bridgeName;
    subnet = place (settings.network.subnet or null) "network.subnet" "networking.subnet" cfg.networking.subnet;
    dataDir = place (settings.state_dir or null) "state_dir" "dataDir" (toString cfg.dataDir);
    apiSocket = place (settings.api_socket or null) "api_socket" "enable" "/run/${instance.name}/api.sock";
    bindAddress = place (settings.bind_address or null) "bind_address" "bindAddress" cfg.bindAddress;
    metricsAddress = place (settings.metrics.address or null) "metrics.address" "metricsAddress" cfg.metricsAddress;
  };
  bridge = said.bridge.value;
  subnet = said.subnet.value;
  dataDir = said.dataDir.value;
  apiSocket = said.apiSocket.value;
  bindAddress = said.bindAddress.value;
  metricsAddress = said.metricsAddress.value;
  metricsEnable = let value = settings.metrics.enabled or null; in if value == null then cfg.metricsEnable else value;

  # The socket's directory, where neither the service manager nor the server's state has one for it.
  socketDirectory =
    let directory = dirOf apiSocket; in
    if directory == "/run/${instance.name}" || util.hasPrefix "${dataDir}/" apiSocket then null else directory;

  # What the server writes beside its state: the actions cache, where it is elsewhere.
  beside = if storage == null || !(settings.actions_cache.enabled or null == true) then [ ] else [ (toString storage) ];
}
