"""Secrets at rest: certificates, one-time pads and the key store. Blocking code, no trio."""
