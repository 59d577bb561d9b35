# The NATS of a cluster: its configuration, with a user for each host that is known by its certificate, and what that host may do there.
#   cfg    the options of services.fireactions-queue
#   files  `{ cert; key; ca; }`, where NATS finds them
let
  util = import ./util.nix;
in
rec {
  # The cluster's buckets (docs/cluster.md).
  buckets = cluster: { lasting = "fireactions-${cluster}"; hosts = "fireactions-${cluster}-hosts"; leases = "fireactions-${cluster}-leases"; shares = "fireactions-${cluster}-shares"; };

  # What a host needs, and no more: it writes its own key of the hosts' bucket alone.
  permissions = cluster: host:
    let
      named = buckets cluster;
      each = builtins.concatMap
        (bucket: [
          "$JS.API.STREAM.INFO.KV_${bucket}"
          "$JS.API.STREAM.CREATE.KV_${bucket}"
          "$JS.API.DIRECT.GET.KV_${bucket}.>"
          "$JS.API.CONSUMER.CREATE.KV_${bucket}"
          "$JS.FC.KV_${bucket}.>"
        ])
        (builtins.attrValues named);
    in
    {
      publish = [ "$JS.API.INFO" ] ++ each
        ++ [ "$KV.${named.lasting}.>" "$KV.${named.hosts}.${host}" "$KV.${named.leases}.>" "$KV.${named.shares}.>" ]
        # What callers ask of another host, and what is answered.
        ++ [ "fireactions.${cluster}.ask.>" "_INBOX.>" ]
        # What forges tell one host by a webhook, it passes on to all.
        ++ [ "fireactions.${cluster}.heard.>" ];
      subscribe = [ "fireactions.${cluster}.ask.${host}" "fireactions.${cluster}.heard.>" "_INBOX.>" ];
    };

  config = { cfg, files }:
    let
      tls = { cert_file = files.cert; key_file = files.key; ca_file = files.ca; };
    in
    util.merge
      ({
        server_name = cfg.name;
        listen = "0.0.0.0:${toString cfg.port}";
        jetstream = { store_dir = cfg.dataDir; max_file_store = cfg.maxStorage; };
        # Who connects is whom the certificate names: nothing secret is in this file.
        tls = tls // { verify_and_map = true; };
        authorization.users = map (host: { user = host; permissions = permissions cfg.cluster host; }) cfg.hosts;
      } // (if cfg.nodes == [ ] then { } else {
        cluster = {
          name = "fireactions-${cfg.cluster}";
          listen = "0.0.0.0:${toString cfg.routePort}";
          routes = map (node: "nats-route://${node}:${toString cfg.routePort}") cfg.nodes;
          # The hosts have certificates of the same authority, and are no nodes.
          tls = tls // { verify_cert_and_check_known_urls = true; timeout = 5; };
        };
      }))
      cfg.settings;
}
