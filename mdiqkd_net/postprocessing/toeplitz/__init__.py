"""Toeplitz products over GF(2): an additive FFT, Karatsuba's scheme, and a float64 fallback."""
