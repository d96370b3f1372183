"""Nipype interfaces: paths in, paths out; the one place where files meet arrays."""
