"""The one-epsilon weight certificate: a key length from one weighted sum of all counts.

Opt-in. Proof published with the code, not yet peer-reviewed: docs/explanation/certificate.md.
"""
