"""The shell around the cores: the only package that imports trio."""
