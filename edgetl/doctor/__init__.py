"""What works on this machine: packages, backends, devices, CPU features, and how to mend each."""
