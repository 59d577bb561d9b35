# says: services.fireactions.metricsAddress / the API listens at port 8080 already
{ services.fireactions = { enable = true; metricsAddress = "127.0.0.1:8080"; pools = [{ name = "default"; }]; }; }
