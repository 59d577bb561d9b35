# throws: The option `services.fireactions.poolz' does not exist
{ services.fireactions = { enable = true; poolz = [ ]; }; }
