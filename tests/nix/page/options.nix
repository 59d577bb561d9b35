# The page's table of options, with the defaults that it names.
{
  services.fireactions = {
    bindAddress = ":8080";
    logLevel = "info";
    metricsEnable = true;
    metricsAddress = "127.0.0.1:8081";
    kernelSource = "upstream";
    kernelVersion = "6.1.141";
  };
}
