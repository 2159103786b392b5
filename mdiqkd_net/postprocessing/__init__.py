"""From sifted to secret: reconcile, verify, amplify. Pure functions and machines without I/O."""
