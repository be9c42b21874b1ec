"""Reading and writing netCDF files: results, foreign data, weights, provenance and validation."""
