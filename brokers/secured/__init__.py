"""Brokers that ask who comes: certificates, users, and what each may do."""
