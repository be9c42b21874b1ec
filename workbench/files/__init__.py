"""Files, netCDF in and out: results, data of other origin, weights, provenance, validation."""
