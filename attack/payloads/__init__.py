"""The texts that attackers send: pure lists, each built from few parts, without files and without requests."""
