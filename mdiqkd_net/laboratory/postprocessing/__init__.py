"""How fast, and how well, this machine makes secret keys of sifted ones. The keys are made up."""
